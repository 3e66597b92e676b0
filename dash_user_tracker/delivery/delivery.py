"""The hand-over from request threads to one worker, and the worker."""

from __future__ import annotations

import atexit
import functools
import itertools
import logging
import os
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import attrs

from ..errors import ConfigurationError, RejectedError, UnavailableError
from ..events import Event
from ..repositories.base import TrackerRepository
from .retry import retry_delay
from .tally import Tally

log = logging.getLogger("dash_user_tracker")

Item = TypeVar("Item")

#: Bytes from which an item counts for the bound in memory as well.
_LARGE = 2048

#: Seconds between two log lines about refused events.
_LOG_PERIOD = 60.0

#: Seconds between two looks at the pid.
_PID_INTERVAL = 0.02

#: Of multiprocessing and its likes (Dash runs background callbacks in them), where they are in use.
_FINALIZERS = ("multiprocessing.util", "multiprocess.util", "billiard.util")

_NOWHERE = -1  # no process has this pid

#: Seconds after which events that a receiver keeps failing to take are given up.
MAX_AGE = 3600.0


@attrs.define(eq=False)
class _Batch:
    """Events on their way; the same ones on every attempt."""

    events: list[Event]
    items: int  # how many queue items they came from
    since: float  # monotonic
    attempt: int = 0
    retry_at: float = 0.0  # monotonic


@attrs.frozen(eq=False)
class _Large(Generic[Item]):
    """An item of `_LARGE` bytes or more; only those are weighed, and they are few."""

    item: Item
    kilobytes: int


class _Process(Generic[Item]):
    """Everything that belongs to one process. A forked child gets a new one and never touches the old."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.queue: deque[Item | _Large[Item]] = deque()
        # One entry for each whole kilobyte of large items: its length is their size, kept exact without a
        # lock because extend() and popleft() are single C calls.
        self.kilobytes: deque[None] = deque()
        self.offered = Tally()
        self.full = Tally()
        self.late = Tally()
        self.wake = threading.Event()
        self.progress = threading.Event()
        self.starting = threading.Lock()
        self.delivering = threading.Lock()
        self.paused = False  # for a fork
        self.thread: threading.Thread | None = None
        self.start_after = 0.0
        self.closed = False
        self.looked = -1.0  # when the pid was compared last
        # Written under `delivering` only.
        self.batch: _Batch | None = None
        self.finished = 0  # queue items dealt with
        self.wanted = 0  # queue items that a flush waits for
        self.grown = 0  # events beyond one for each item
        self.delivered = 0
        self.batches = 0
        self.retries = 0
        self.dropped: Counter[str] = Counter()
        self.reported: dict[str, int] = {}  # of the dropped, what the receiver was told
        self.failing: str | None = None
        self.refusal_logged = -_LOG_PERIOD  # monotonic
        self.last_error: str | None = None
        self.last_success: float | None = None

    @property
    def appended(self) -> int:
        return self.offered.read() - self.full.read() - self.late.read()


class Delivery(Generic[Item]):
    """Takes items from any thread and hands the events in them to a repository, in batches, on a worker.

    *read* turns an item into events; it runs on the worker. Nothing is started before the
    first `put`, and a forked child starts a worker of its own. `put` takes no lock of
    ours that anybody holds for long, does no I/O and does not raise.
    """

    def __init__(
        self,
        repository: TrackerRepository,
        read: Callable[[Item], list[Event]],
        *,
        queue_size: int = 10_000,  # items; the newest is dropped and counted when it is full
        queue_bytes: int = 16 << 20,  # the same bound in memory, for items of `_LARGE` bytes and more
        batch_size: int = 100,  # events handed over in one call
        interval: float = 1.0,  # seconds an event waits at most for its batch to fill
        shutdown_timeout: float = 3.0,  # seconds that ending the process may take
    ) -> None:
        for name, value in (("queue_size", queue_size), ("batch_size", batch_size), ("queue_bytes", queue_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name} must be a whole number of at least 1, got {value!r}")
        self._repository = repository
        self._read = read
        self._queue_size = queue_size
        self._queue_kilobytes = max(1, queue_bytes >> 10)
        self._batch_size = batch_size
        self._interval = interval
        self._shutdown_timeout = shutdown_timeout
        self._reports_losses = hasattr(repository, "dropped")
        self._one_by_one = type(repository).save_events is TrackerRepository.save_events
        # Made at the first use and not here: gunicorn's gevent worker patches `threading` after the app was
        # preloaded, and a worker has to be made of what is there then.
        self._process: _Process[Item] = _Process(_NOWHERE)
        self._processes: dict[int, _Process[Item]] = {}
        if hasattr(os, "register_at_fork"):
            # Weak: what it holds can never be taken back.
            reference = weakref.ref(self)
            if hasattr(repository, "keep_open") and "uwsgi" not in sys.modules:  # it forks without a word before
                repository.keep_open()
            if repository.wait_before_fork > 0:
                os.register_at_fork(
                    before=functools.partial(_pause, reference), after_in_parent=functools.partial(_resume, reference)
                )
            os.register_at_fork(after_in_child=functools.partial(_forget, reference))

    # -- any thread ----------------------------------------------------------------------

    def put(self, item: Item, size: int = 0, now: float | None = None) -> bool:
        """Queue *item*, which holds about *size* bytes; False where it was dropped (and counted).

        *now* (seconds, any steady clock) spares most calls the look at the pid, which is a
        system call: Python's own forks are told by a hook, and where none runs (uWSGI) a look
        every `_PID_INTERVAL` finds out.
        """
        process = self._process
        if now is None or not 0 <= now - process.looked < _PID_INTERVAL:
            process = self._current()
            process.looked = now or 0.0
            if process.thread is not None and not process.thread.is_alive():
                self._start(process)
        process.offered.add()
        queue = process.queue
        if process.closed or len(queue) >= self._queue_size or len(process.kilobytes) >= self._queue_kilobytes:
            (process.late if process.closed else process.full).add()
            return False
        if size < _LARGE:
            queue.append(item)
        else:
            process.kilobytes.extend(itertools.repeat(None, size >> 10))
            queue.append(_Large(item, size >> 10))
        if process.thread is None:
            self._start(process)
        elif len(queue) >= self._batch_size and not process.wake.is_set():
            if not process.thread.is_alive():
                self._start(process)
            process.wake.set()
        return True

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything put before is delivered, or counted as dropped.

        False where *timeout* seconds did not suffice.
        """
        process = self._current()
        target = process.appended
        if process.finished >= target:
            return True
        if process.thread is threading.current_thread():
            return False
        deadline = time.monotonic() + timeout
        process.wanted = max(process.wanted, target)
        while process.finished < target:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if not self._start(process):
                self._deliver_inline(process, deadline)
                return process.finished >= target
            process.wake.set()
            # Short waits: another flush may have taken this wake-up.
            process.progress.wait(min(left, 0.05))
            process.progress.clear()
        return True

    def close(self, timeout: float | None = None) -> None:
        """Deliver what is queued within *timeout* seconds, count the rest as lost, end the worker. Idempotent."""
        process = self._current()
        if process.closed:
            return
        thread = process.thread
        working = thread is not None and thread.is_alive()
        process.closed = True
        atexit.unregister(self._at_exit)
        deadline = time.monotonic() + (self._shutdown_timeout if timeout is None else timeout)
        process.wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        if thread is None or not thread.is_alive():
            # What the worker's last attempt could not deliver is not tried again: that may take long.
            if not working or process.batch is None:
                self._deliver_inline(process, deadline)
            self._abandon(process)
        lost = self.stats()["pending"] + process.dropped["shutdown"]
        if lost:
            why = process.last_error or "no time"
            log.warning("%d events were not delivered when the process ended: %s", lost, why)

    def stats(self) -> dict[str, Any]:
        """Numbers of this process; ``accepted == delivered + pending + sum(dropped.values())``."""
        process = self._current()
        # In this order: what comes and goes in between is pending, never less than nothing.
        delivered = process.delivered
        dropped = self._dropped(process)
        grown = process.grown
        accepted = process.offered.read() + grown
        thread = process.thread
        return {
            "accepted": accepted,
            "delivered": delivered,
            "pending": accepted - delivered - sum(dropped.values()),
            "dropped": dropped,
            "queued": len(process.queue),
            "queued_bytes": len(process.kilobytes) << 10,
            "batches": process.batches,
            "retries": process.retries,
            "last_error": process.last_error,
            "last_success": process.last_success,
            "worker_alive": thread is not None and thread.is_alive(),
        }

    def _dropped(self, process: _Process[Item]) -> dict[str, int]:
        dropped = {reason: count for reason, count in dict(process.dropped).items() if count}
        for reason, tally in (("queue_full", process.full), ("closed", process.late)):
            count = tally.read()
            if count:
                dropped[reason] = count
        return dropped

    def _abandon(self, process: _Process[Item]) -> None:
        """What is left after the last attempt is lost, and counted."""
        if process.delivering.acquire(blocking=False):
            try:
                left = len(process.batch.events) if process.batch else 0
                process.dropped["shutdown"] += left + len(process.queue)
                process.finished += len(process.queue) + (process.batch.items if process.batch else 0)
                process.batch = None
                process.queue.clear()
                process.kilobytes.clear()
            finally:
                process.delivering.release()

    # -- life ----------------------------------------------------------------------------

    def _current(self) -> _Process[Item]:
        """This process's state. Threads of a fresh child may race here: setdefault lets one of them win."""
        pid = os.getpid()
        process = self._process
        if process.pid != pid:
            process = self._processes.setdefault(pid, _Process(pid))
            self._process = process
            for old in [key for key in list(self._processes) if key != pid]:
                self._processes.pop(old, None)
        return process

    def _start(self, process: _Process[Item]) -> bool:
        """There is a worker, or one could be started."""
        thread = process.thread
        if thread is not None and thread.is_alive():
            return True
        if process.closed or time.monotonic() < process.start_after or not process.starting.acquire(blocking=False):
            return False
        try:
            if process.thread is not None and process.thread.is_alive():
                return True
            if process.thread is None:
                atexit.register(self._at_exit)
                for name in _FINALIZERS:
                    module = sys.modules.get(name)
                    if module is not None:
                        # A child of theirs ends without atexit.
                        module.Finalize(None, self._at_exit, exitpriority=100)
            thread = threading.Thread(target=self._work, args=(process,), name="dash-user-tracker", daemon=True)
            process.thread = thread
            thread.start()
        except RuntimeError as error:  # no more threads, or the interpreter is ending: deliver inline later
            process.thread = None
            process.start_after = time.monotonic() + self._interval
            process.last_error = f"{type(error).__name__}: {error}"
            return False
        finally:
            process.starting.release()
        return True

    def _at_exit(self) -> None:
        self.close()

    # -- the worker ------------------------------------------------------------------------

    def _work(self, process: _Process[Item]) -> None:
        while not process.closed:
            process.wake.wait(self._wait(process))
            process.wake.clear()
            with process.delivering:
                self._deliver(process)
            process.progress.set()
        with process.delivering:
            self._deliver(process, last=True)
        process.progress.set()

    def _wait(self, process: _Process[Item]) -> float:
        if process.batch is None:
            return self._interval
        return max(0.0, min(self._interval, process.batch.retry_at - time.monotonic()))

    def _deliver_inline(self, process: _Process[Item], deadline: float) -> None:
        if process.delivering.acquire(timeout=max(0.0, deadline - time.monotonic())):
            try:
                self._deliver(process, last=process.closed, deadline=deadline)
            finally:
                process.delivering.release()

    def _deliver(self, process: _Process[Item], *, last: bool = False, deadline: float | None = None) -> None:
        """Hand over what is queued now, and go on while whole batches wait; stop where the receiver fails."""
        due = process.finished + len(process.queue) + (process.batch.items if process.batch else 0)
        while process.finished < max(due, process.wanted) or last or len(process.queue) >= self._batch_size:
            if deadline is not None and time.monotonic() >= deadline:
                return
            if process.batch is None:
                process.batch = self._next_batch(process)
                if process.batch is None:
                    return
            if not last and time.monotonic() < process.batch.retry_at:
                return
            if not self._attempt(process, process.batch) and last:
                return
            process.progress.set()

    def _next_batch(self, process: _Process[Item]) -> _Batch | None:
        """The next events of the queue, at least a batch where there are so many; None where it is empty."""
        events: list[Event] = []
        items = 0
        while len(events) < self._batch_size:
            try:
                item = process.queue.popleft()
            except IndexError:
                break
            if isinstance(item, _Large):
                for _ in range(item.kilobytes):
                    process.kilobytes.popleft()
                item = item.item
            items += 1
            try:
                found = self._read(item)
            except Exception:
                # A fault of ours must not stop those that follow.
                log.exception("a request could not be read and is not counted")
                process.dropped["unreadable"] += 1
                continue
            process.grown += len(found) - 1
            events += found
        if not events:
            process.finished += items
            return None
        return _Batch(events, items, since=time.monotonic())

    def _attempt(self, process: _Process[Item], batch: _Batch) -> bool:
        """One call of the repository; False where the batch has to wait for another."""
        failed = False
        dropped = self._dropped(process) if self._reports_losses else {}
        if dropped != process.reported:
            losses = {reason: count - process.reported.get(reason, 0) for reason, count in dropped.items()}
            self._repository.dropped = losses  # type: ignore[attr-defined]
        try:
            self._save(process, batch)
        except RejectedError as error:
            self._take(process, batch, 0 if self._one_by_one else error.taken)
            refused = self._refused(batch, error)
            del batch.events[:refused]
            process.dropped["rejected"] += refused
            self._failed(process, error, f"the repository refused {refused} events for good")
        except Exception as error:  # noqa: BLE001 - the repository is the owner's code
            self._take(
                process, batch, error.taken if isinstance(error, UnavailableError) and not self._one_by_one else 0
            )
            self._failed(process, error, "events cannot be delivered; they are kept and tried again")
            self._postpone(process, batch, error)
            failed = True
        else:
            self._take(process, batch, len(batch.events))
            self._recovered(process)
            if dropped != process.reported:
                process.reported = dropped
                self._repository.dropped = {}  # type: ignore[attr-defined]
        if batch.events:
            return not failed
        process.finished += batch.items
        process.batches += 1
        process.batch = None
        return True

    def _save(self, process: _Process[Item], batch: _Batch) -> None:
        if not self._one_by_one:
            self._repository.save_events(list(batch.events))
            return
        while batch.events:
            self._repository.save_event(batch.events[0])
            self._take(process, batch, 1)

    def _refused(self, batch: _Batch, error: RejectedError) -> int:
        """How many events from the front are lost; at least one where none was taken, or it would go on for ever."""
        left = len(batch.events)
        if self._one_by_one:
            return min(1, left)
        if error.refused is None:
            return left
        return min(left, max(error.refused, 0 if error.taken > 0 else 1))

    def _take(self, process: _Process[Item], batch: _Batch, count: int) -> None:
        count = min(count, len(batch.events))
        if count > 0:
            del batch.events[:count]
            process.delivered += count
            process.last_success = time.time()

    def _postpone(self, process: _Process[Item], batch: _Batch, error: Exception) -> None:
        now = time.monotonic()
        if now - batch.since > MAX_AGE:
            process.dropped["expired"] += len(batch.events)
            batch.events.clear()
            return
        batch.attempt += 1
        process.retries += 1
        retry_after = error.retry_after if isinstance(error, UnavailableError) else None
        batch.retry_at = now + retry_delay(batch.attempt, retry_after)

    def _failed(self, process: _Process[Item], error: Exception, what: str) -> None:
        """One log line for each change of state, with the traceback where the fault is not the network's."""
        process.last_error = f"{type(error).__name__}: {error}"[:500]
        kind = type(error).__name__
        if process.failing == kind:
            return
        process.failing = kind
        if isinstance(error, RejectedError):
            # One refused event in each batch would be two changes of state a second.
            now = time.monotonic()
            if now - process.refusal_logged < _LOG_PERIOD:
                return
            process.refusal_logged = now
        known = isinstance(error, (RejectedError, UnavailableError))
        log.warning("%s: %s", what, process.last_error, exc_info=None if known else error)

    def _recovered(self, process: _Process[Item]) -> None:
        if process.failing is not None:
            if process.failing != RejectedError.__name__:
                log.info("events are delivered again")
            process.failing = None


def _pause(reference: weakref.ref[Delivery[Any]]) -> None:
    """Before a fork: no save is going on, if that takes no longer than the repository is willing to wait."""
    delivery = reference()
    if delivery is not None:
        process = delivery._process
        if process.thread is not threading.current_thread():
            process.paused = process.delivering.acquire(timeout=delivery._repository.wait_before_fork)
        if process.paused and hasattr(delivery._repository, "before_fork"):
            delivery._repository.before_fork()


def _resume(reference: weakref.ref[Delivery[Any]]) -> None:
    """After a fork, in the parent."""
    delivery = reference()
    if delivery is not None and delivery._process.paused:
        delivery._process.paused = False
        delivery._process.delivering.release()


def _forget(reference: weakref.ref[Delivery[Any]]) -> None:
    """In a forked child: what was inherited is the parent's. Comparing pids finds out as well, where no hook runs."""
    delivery = reference()
    if delivery is not None:
        delivery._process = _Process(_NOWHERE)
        delivery._processes = {}
