"""The hand-over from request threads to the worker of the process, and the worker's life."""

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
from collections.abc import Callable
from typing import Any, Generic

from ..errors import ConfigurationError
from ..repositories.base import TrackerRepository
from . import host
from .process import NOWHERE, Batch, Item, Large, Process, Read
from .reading import Reader
from .sending import Sender
from .spool import Spool, Spooling

log = logging.getLogger("dash_user_tracker")

#: Bytes from which an item counts for the bound in memory as well.
_LARGE = 2048

#: Seconds between two looks at the pid.
_PID_INTERVAL = 0.02

#: Before any moment: a look is due.
_LONG_AGO = float("-inf")

#: Seconds that an event waits at most before it is on disk, where there is a spool.
_SPOOL_INTERVAL = 0.05

#: Seconds between two looks for what ended processes left in the spool.
_ADOPT_INTERVAL = 5.0

#: Of multiprocessing and its likes (Dash runs background callbacks in them), where they are in use.
_FINALIZERS = ("multiprocessing.util", "multiprocess.util", "billiard.util")


class Delivery(Generic[Item]):
    """Takes items from any thread and hands the events in them to a repository, in batches, on a worker.

    *read* turns an item into events; one thread at a time calls it, mostly the worker. Nothing is
    started before the first `put`, and a forked child starts a worker of its own. `put` takes
    no lock of ours that anybody holds for long, does no I/O and does not raise.

    With a *spool* a second worker moves the events to disk at once, and the first sends them from
    there; while the disk takes none they stay in memory. A *durable* spool is written by `put` itself.
    """

    def __init__(
        self,
        repository: TrackerRepository,
        read: Read[Item],
        *,
        queue_size: int = 10_000,  # items; the newest is dropped and counted when it is full
        queue_bytes: int = 16 << 20,  # the same bound in memory, for items of `_LARGE` bytes and more
        batch_size: int = 500,  # events handed over in one call
        interval: float = 1.0,  # seconds an event waits at most for its batch to fill
        shutdown_timeout: float = 3.0,  # seconds that ending the process may take
        spool: Spooling | None = None,
    ) -> None:
        for name, value in (("queue_size", queue_size), ("batch_size", batch_size), ("queue_bytes", queue_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name} must be a whole number of at least 1, got {value!r}")
        self._repository = repository
        self._reader = Reader(read, batch_size)
        self._sender = Sender(repository)
        self._spooling = spool
        self._durable = spool is not None and spool.durable
        self._queue_size = queue_size
        self._queue_kilobytes = max(1, queue_bytes >> 10)
        self._batch_size = batch_size
        self._interval = interval
        self._shutdown_timeout = shutdown_timeout
        # Made at the first use and not here: gunicorn's gevent worker patches `threading` after the app was
        # preloaded, and a worker has to be made of what is there then.
        self._process: Process[Item] = Process(NOWHERE)
        self._processes: dict[int, Process[Item]] = {}
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

    def put(self, item: Item, size: int = 0, now: float = _LONG_AGO, quiet: bool = False) -> bool:
        """Queue *item*, which holds about *size* bytes; False where it was dropped (and counted).

        With *quiet* nothing is woken or started: a finaliser must not take a lock, since the thread that it
        interrupted may hold it. What it queues goes with what comes next.

        *now* (seconds, any steady clock) spares most calls the look at the pid, which is a
        system call: Python's own forks are told by a hook, and where none runs (uWSGI) a look
        every `_PID_INTERVAL` finds out.
        """
        process = self._process
        if not 0 <= now - process.looked < _PID_INTERVAL:
            process = self._current()
            process.looked = now
            if process.thread is not None and not quiet and not self._works(process):
                self._start(process)
        process.offered.add()
        queue = process.queue
        if size < _LARGE and len(queue) + 1 < process.enough and not process.kilobytes:
            queue.append(item)  # nearly always: there is room, and a worker that has time
            return True
        if self._durable and not quiet and not process.closed and self._reader.write(process, item):
            if process.thread is None:
                self._start(process)
            return True
        if process.closed or len(queue) >= self._queue_size or len(process.kilobytes) >= self._queue_kilobytes:
            (process.late if process.closed else process.full).add()
            return False
        enough = process.enough
        if size < _LARGE:
            queue.append(item)
        else:
            process.kilobytes.extend(itertools.repeat(None, size >> 10))
            queue.append(Large(item, size >> 10))
            if len(process.kilobytes) * 2 >= self._queue_kilobytes:
                enough = 0
        if len(queue) < enough or quiet:
            return True
        if process.thread is None:
            self._start(process)
        elif process.spool is not None:
            if not process.spool_wake.is_set():
                process.spool_wake.set()
        elif process.batch is None and not process.wake.is_set():
            # A worker with a batch sends it, and then looks; or waits to try it again, and each request would wake it.
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
        """Deliver what is queued within *timeout* seconds, count the rest as lost, end the worker. Idempotent.

        Nothing that is in a spool is lost: it stays there for others.
        """
        process = self._current()
        if process.closed:
            return
        thread = process.thread
        working = thread is not None and thread.is_alive()
        process.enough = 0
        process.closed = True
        atexit.unregister(self._at_exit)
        deadline = time.monotonic() + (self._shutdown_timeout if timeout is None else timeout)
        if process.spool is not None:
            # First of all: a receiver that hangs may take all the time there is.
            self._reader.spool(process, max(0.0, deadline - time.monotonic()))
            process.spool_wake.set()
        process.wake.set()
        if thread is not None and working and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
        if thread is None or not thread.is_alive():
            # What the worker's last attempt could not deliver is not tried again: that may take long.
            if not working or process.batch is None:
                self._deliver_inline(process, deadline)
            self._abandon(process)
        kept = process.spool.events if process.spool is not None else 0
        lost = self.stats()["pending"] - kept + process.dropped["shutdown"]
        if process.spool is not None:
            process.spool.close()
        if kept > 0:
            log.info("%d events stay in the spool when the process ends", kept)
        if lost > 0:
            why = process.last_error or "no time"
            log.warning("%d events were not delivered when the process ended: %s", lost, why)

    def stats(self) -> dict[str, Any]:
        """Numbers of this process; ``accepted == delivered + pending + sum(dropped.values())``."""
        process = self._current()
        # In this order: what comes and goes in between is pending, never less than nothing.
        delivered = process.delivered
        dropped = process.losses()
        adopted = process.adopted
        grown = process.grown
        accepted = process.offered.read() + grown + adopted
        return {
            "accepted": accepted,
            "delivered": delivered,
            "pending": accepted - delivered - sum(dropped.values()),
            "dropped": dropped,
            "adopted": adopted,
            "queued": len(process.queue),
            "queued_bytes": len(process.kilobytes) << 10,
            "spool_bytes": process.spool.bytes if process.spool is not None else 0,
            "batches": process.batches,
            "retries": process.retries,
            "last_error": process.last_error,
            "last_success": process.last_success,
            "worker_alive": self._works(process),
        }

    def _abandon(self, process: Process[Item]) -> None:
        """What is left after the last attempt stays on disk, or else is lost and counted."""
        if process.delivering.acquire(blocking=False):
            try:
                lost = [process.batch] if process.batch is not None and not process.batch.spooled else []
                process.batch = None
                if process.spool is not None:
                    self._reader.keep(process, lost)
                    lost = list(process.held)
                for batch in lost:
                    process.dropped["shutdown"] += len(batch.events)
                    process.sent += batch.items
                process.dropped["shutdown"] += len(process.queue)
                process.sent += len(process.queue)
                process.queue.clear()
                process.kilobytes.clear()
            finally:
                process.delivering.release()

    # -- life ----------------------------------------------------------------------------

    def _current(self) -> Process[Item]:
        """This process's state. Threads of a fresh child may race here: setdefault lets one of them win."""
        pid = os.getpid()
        process = self._process
        if process.pid != pid:
            process = self._processes.setdefault(pid, Process(pid, self._new_spool()))
            self._process = process
            for key in [key for key in list(self._processes) if key != pid]:
                old = self._processes.pop(key, None)  # one thread gets it
                if old is not None and old.spool is not None:
                    old.spool.forget()
        return process

    def _new_spool(self) -> Spool | None:
        return self._spooling.open(self._repository.destination) if self._spooling is not None else None

    def _works(self, process: Process[Item]) -> bool:
        """The workers that there are to be are alive."""
        threads = [process.thread] if process.spool is None else [process.thread, process.spool_thread]
        return all(thread is not None and thread.is_alive() for thread in threads)

    def _start(self, process: Process[Item]) -> bool:
        """There is a worker, or one could be started."""
        if self._works(process):
            return True
        if process.closed or time.monotonic() < process.start_after or not process.starting.acquire(blocking=False):
            return False
        try:
            if process.thread is None:
                self._mind_the_end()
                if not host.runs_threads():
                    log.warning(
                        "uWSGI runs no threads, so events are delivered late, while requests run and when the process "
                        "ends: set enable-threads = true"
                    )
            if process.spool is not None and (process.spool_thread is None or not process.spool_thread.is_alive()):
                process.spool_thread = self._thread(self._work_on_spool, process)
                process.spool_thread.start()
            if process.thread is None or not process.thread.is_alive():
                # Known before it runs: it may close the delivery, and must not wait for itself.
                process.thread = self._thread(self._work, process)
                process.thread.start()
            # Half of a queue at most: the other half is for what comes until the worker gets its turn.
            if process.spool is None:
                process.enough = min(self._batch_size, self._queue_size // 2)
            if process.closed:  # meanwhile
                process.enough = 0
        except RuntimeError as error:  # no more threads, or the interpreter is ending: deliver inline later
            if process.thread is not None and not process.thread.is_alive():
                process.thread = None
            process.start_after = time.monotonic() + self._interval
            process.last_error = f"{type(error).__name__}: {error}"
            return False
        finally:
            process.starting.release()
        return True

    def _thread(self, work: Callable[[Process[Item]], None], process: Process[Item]) -> threading.Thread:
        return threading.Thread(target=work, args=(process,), name="dash-user-tracker", daemon=True)

    def _mind_the_end(self) -> None:
        atexit.register(self._at_exit)
        for name in _FINALIZERS:
            module = sys.modules.get(name)
            if module is not None:
                # A child of theirs ends without atexit.
                module.Finalize(None, self._at_exit, exitpriority=100)

    def _at_exit(self) -> None:
        self.close()

    # -- the workers -----------------------------------------------------------------------

    def _work(self, process: Process[Item]) -> None:
        host.prepare()
        while not process.closed:
            process.wake.wait(self._wait(process))
            process.wake.clear()
            with process.delivering:
                self._deliver(process)
            process.progress.set()
        with process.delivering:
            self._deliver(process, last=True)
        process.progress.set()

    def _wait(self, process: Process[Item]) -> float:
        if process.batch is None:
            return self._interval
        return max(0.0, min(self._interval, process.batch.retry_at - time.monotonic()))

    def _work_on_spool(self, process: Process[Item]) -> None:
        pause = threading.Event()  # never set
        while not process.closed:
            process.spool_wake.wait()
            # So that a busy app's events are written a few at a time and not each for itself.
            pause.wait(_SPOOL_INTERVAL)
            process.spool_wake.clear()
            self._reader.spool(process)

    def _deliver_inline(self, process: Process[Item], deadline: float) -> None:
        if process.delivering.acquire(timeout=max(0.0, deadline - time.monotonic())):
            try:
                with self._sender.until(deadline):
                    self._deliver(process, last=process.closed, deadline=deadline)
            finally:
                process.delivering.release()

    def _deliver(self, process: Process[Item], *, last: bool = False, deadline: float | None = None) -> None:
        """Hand over what is queued now, and go on while whole batches wait; stop where the receiver fails."""
        due = process.finished + len(process.queue) + (process.batch.items if process.batch else 0)
        while True:
            if deadline is not None and time.monotonic() >= deadline:
                return
            if process.batch is None:
                process.batch = self._next_batch(process, due, last)
                if process.batch is None:
                    return
            if not last and time.monotonic() < process.batch.retry_at:
                return
            if not self._sender.attempt(process, process.batch) and last:
                return
            process.progress.set()

    def _next_batch(self, process: Process[Item], due: int, last: bool) -> Batch | None:
        """What is to be sent next; None where that has time until there is more of it."""
        if process.spool is not None:
            batch = self._next_spooled(process, process.spool, last)
            if batch is not None or time.monotonic() >= process.spool_after:
                return batch
        if last or process.finished < max(due, process.wanted) or len(process.queue) >= self._batch_size:
            return self._reader.batch(process)
        return None

    def _next_spooled(self, process: Process[Item], spool: Spool, last: bool) -> Batch | None:
        if process.rest:
            return process.rest.popleft()
        self._reader.spool(process)  # mostly the other worker has done so
        self._adopt(process, spool)
        hurry = last or process.finished < process.wanted
        while True:
            segment = spool.take(0.0 if hurry else self._interval / 2)
            if segment is None:
                return None
            try:
                events, damaged = spool.read(segment)
            except OSError as error:
                process.last_error = f"spool: {error.strerror or error}"
                spool.put_back(segment)
                return None
            if segment.adopted:
                segment.events = len(events) + damaged
                process.adopted += segment.events
            if damaged:
                process.dropped["spool_damaged"] += damaged
            now = time.monotonic()
            for first in range(0, len(events), self._batch_size):
                process.rest.append(Batch(list(events[first : first + self._batch_size]), 0, since=now, spooled=True))
            if process.rest:
                process.rest[-1].items = segment.items
                process.rest[-1].segment = segment
                return process.rest.popleft()
            process.sent += segment.items
            spool.done(segment)

    def _adopt(self, process: Process[Item], spool: Spool) -> None:
        now = time.monotonic()
        if now < process.adopt_after:
            return
        process.adopt_after = now + _ADOPT_INTERVAL
        try:
            found = spool.adopt()
        except OSError as error:
            process.last_error = f"spool: {error.strerror or error}"
            return
        if found:
            log.info("delivering what %d files of the spool hold of processes that ended", found)


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
        parents = delivery._process
        delivery._process = Process(NOWHERE)
        delivery._processes = {}
        if parents.spool is not None:
            parents.spool.forget()
