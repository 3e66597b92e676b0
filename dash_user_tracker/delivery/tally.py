"""Counting without a lock."""

from __future__ import annotations

import functools
import itertools
import threading


class Tally:
    """A count that many threads raise and any thread reads, exact once the raising stops.

    Raising is one C call (``next`` on an ``itertools.count``), so it needs no lock and
    cannot be cut short; ``+=`` on an attribute can lose a step between two threads.
    """

    __slots__ = ("_lock", "_reads", "_ticks", "add")

    def __init__(self) -> None:
        self._ticks = itertools.count()
        self._reads = 0
        self._lock = threading.Lock()
        #: One more. A bound C function, without a frame of its own.
        self.add = functools.partial(next, self._ticks)

    def read(self) -> int:
        """The count. Reading takes a tick as well, so reads are counted and taken off."""
        with self._lock:
            value = next(self._ticks) - self._reads
            self._reads += 1
            return value
