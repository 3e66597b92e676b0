"""From the queue to events, in memory or on disk."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Generic

from ..codec import EventOrLine, line_of
from .process import Batch, Item, Large, Process, Read
from .spool import Spool

log = logging.getLogger("dash_user_tracker")

#: Seconds after which a disk that took no events is tried again.
_DISK_RETRY = 5.0

#: Seconds that are read at a stretch, those of rest behind them, and items between two looks at the clock. Python runs
#: one thread at a time and changes over after 5 ms at the earliest: each request would wait that long for a worker that
#: reads a batch. But to change over costs the app more than to read a hundred items.
_STRETCH = 0.003
_REST = 0.0005
_LOOK = 25


class Reader(Generic[Item]):
    """Turns queued items into events.

    *read* is never called by two threads of a process at once. Where it has a ``batch()``, that is a context which
    gives the function that is called in its place, for several items together: what they have in common is prepared
    there.
    """

    def __init__(self, read: Read[Item], batch_size: int) -> None:
        self._together: Callable[[], AbstractContextManager[Read[Item]]]
        self._together = getattr(read, "batch", None) or (lambda: nullcontext(read))
        self._batch_size = batch_size

    def batch(self, process: Process[Item]) -> Batch | None:
        """The next events: what the disk would not take, or of the queue; None where there are none."""
        with process.reading:
            return process.held.popleft() if process.held else self._next(process)

    def _next(self, process: Process[Item]) -> Batch | None:
        """Events of the queue, at least a batch where there are so many."""
        events: list[EventOrLine] = []
        items = 0
        worker = process.thread is threading.current_thread()
        begun = time.monotonic()
        with self._together() as read:
            while len(events) < self._batch_size:
                try:
                    item = process.queue.popleft()
                except IndexError:
                    break
                if isinstance(item, Large):
                    for _ in range(item.kilobytes):
                        process.kilobytes.popleft()
                    item = item.item
                items += 1
                events += self._events(process, read, item)
                if worker and items % _LOOK == 0 and time.monotonic() - begun >= _STRETCH:
                    if self._has_time(process):
                        time.sleep(_REST)
                    begun = time.monotonic()
        if events:
            return Batch(events, items, since=time.monotonic())
        process.skipped += items
        return None

    def _has_time(self, process: Process[Item]) -> bool:
        """Nobody waits for the worker."""
        return not process.closed and process.finished >= process.wanted and len(process.queue) < 2 * self._batch_size

    def _events(self, process: Process[Item], read: Read[Item], item: Item) -> Sequence[EventOrLine]:
        try:
            found = read(item)
        except Exception:
            # A fault of ours must not stop those that follow.
            log.exception("a request could not be read and is not counted")
            process.dropped["unreadable"] += 1
            return []
        process.grown += len(found) - 1
        return found

    # -- with a spool ------------------------------------------------------------------------

    def spool(self, process: Process[Item], timeout: float = -1) -> None:
        """Move what is queued to the disk, waiting at most *timeout* seconds for another thread that does so.

        What the disk does not take stays in memory.
        """
        if not process.reading.acquire(timeout=timeout):
            return
        try:
            while time.monotonic() >= process.spool_after:
                batch = process.held.popleft() if process.held else self._next(process)
                if batch is None:
                    return
                self._write(process, batch)
        finally:
            process.reading.release()

    def write(self, process: Process[Item], item: Item) -> bool:
        """Put one item to the disk at once; False where the disk is not to be used now."""
        with process.reading:
            if process.held or time.monotonic() < process.spool_after:
                return False
            with self._together() as read:
                events = self._events(process, read, item)
            if events:
                self._write(process, Batch(list(events), 1, since=time.monotonic()))
            else:
                process.skipped += 1
            return True

    def keep(self, process: Process[Item], batches: list[Batch]) -> None:
        """Put *batches* and all that is queued to the disk, however lately that failed."""
        with process.reading:
            process.held.extendleft(batches)
            if not process.held or self._write(process, process.held.popleft()):
                self.spool(process)

    def _write(self, process: Process[Item], batch: Batch) -> bool:
        assert process.spool is not None
        lines = _lines(batch.events)
        try:
            if lines:
                process.spool.append(b"".join(lines), events=len(lines), items=batch.items)
        except BaseException as error:  # SystemExit too: gunicorn ends a request that takes too long with it
            process.held.appendleft(batch)
            if not isinstance(error, OSError):
                raise
            self._failed(process, error)
            return False
        finally:
            self._count_dropped(process, process.spool)
        if not lines:
            process.skipped += batch.items
        process.dropped["encode_error"] += len(batch.events) - len(lines)
        if process.spool_after:
            process.spool_after = 0.0
            log.info("events go to the spool again")
        return True

    def _count_dropped(self, process: Process[Item], spool: Spool) -> None:
        for segment in spool.dropped():
            if segment.adopted:
                process.grown += segment.events
            process.dropped["spool_full"] += segment.events
            process.skipped += segment.items

    def _failed(self, process: Process[Item], error: OSError) -> None:
        first = process.spool_after == 0.0
        process.spool_after = time.monotonic() + _DISK_RETRY
        process.last_error = f"spool: {error.strerror or error}"
        if first:
            log.warning("the spool takes no events (%s); they are kept in memory", error.strerror or error)


def _lines(events: list[EventOrLine]) -> list[bytes]:
    """The events as lines of JSON, without those that cannot be."""
    lines = []
    for event in events:
        try:
            lines.append(line_of(event).encode() + b"\n")
        except (TypeError, ValueError, RecursionError) as error:
            log.warning("an event is no JSON and is lost: %s", type(error).__name__)
    return lines
