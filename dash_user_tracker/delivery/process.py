"""What the delivery of one process knows."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import attrs

from ..codec import EventOrLine
from .spool import Segment, Spool
from .tally import Tally

Item = TypeVar("Item")

#: Turns an item into its events, in the order they happened.
Read = Callable[[Item], Sequence[EventOrLine]]

NOWHERE = -1  # no process has this pid


@attrs.define(eq=False)
class Batch:
    """Events on their way; the same ones on every attempt."""

    events: list[EventOrLine]
    items: int  # how many queue items are done with when these events are
    since: float  # monotonic
    spooled: bool = False  # on disk as well
    segment: Segment | None = None  # that is done with when these events are
    attempt: int = 0
    retry_at: float = 0.0  # monotonic


@attrs.frozen(eq=False)
class Large(Generic[Item]):
    """An item of many bytes; only those are weighed, and they are few."""

    item: Item
    kilobytes: int


class Process(Generic[Item]):
    """Everything that belongs to one process. A forked child gets a new one and never touches the old."""

    def __init__(self, pid: int, spool: Spool | None = None) -> None:
        self.pid = pid
        self.queue: deque[Item | Large[Item]] = deque()
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
        # The owner's code runs under it (ignore_route), and that may track an event.
        self.reading = threading.RLock()
        self.paused = False  # for a fork
        self.thread: threading.Thread | None = None
        self.start_after = 0.0
        self.closed = False
        self.enough = 0  # queue items from which a `put` does more than add one: wakes or starts a worker, or refuses
        self.looked = -1.0  # when the pid was compared last
        # Written under `reading` only.
        self.grown = 0  # events beyond one for each item
        self.skipped = 0  # queue items that are done with and amount to no event
        self.held: deque[Batch] = deque()  # what the disk would not take
        self.spool_after = 0.0  # monotonic; the spool is not used before
        # Written under `delivering` only.
        self.batch: Batch | None = None
        self.rest: deque[Batch] = deque()  # of the same segment
        self.sent = 0  # queue items dealt with
        self.adopted = 0  # events of processes that ended
        self.adopt_after = 0.0  # monotonic
        self.delivered = 0
        self.batches = 0
        self.retries = 0
        self.reported: dict[str, int] = {}  # of the dropped, what the receiver was told
        self.failing: str | None = None
        self.refusal_logged = float("-inf")  # monotonic
        self.last_error: str | None = None
        self.last_success: float | None = None
        # Each reason has one writer, or one lock.
        self.dropped: Counter[str] = Counter()
        self.wanted = 0  # queue items that a flush waits for
        self.spool = spool
        self.spool_wake = threading.Event()
        self.spool_thread: threading.Thread | None = None

    @property
    def appended(self) -> int:
        """Queue items taken in so far."""
        return self.offered.read() - self.full.read() - self.late.read()

    @property
    def finished(self) -> int:
        """Queue items dealt with so far."""
        return self.sent + self.skipped

    def losses(self) -> dict[str, int]:
        """Events lost so far, by reason."""
        lost = {reason: count for reason, count in dict(self.dropped).items() if count}
        for reason, tally in (("queue_full", self.full), ("closed", self.late)):
            count = tally.read()
            if count:
                lost[reason] = count
        return lost
