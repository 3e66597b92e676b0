"""Events printed, and readable all the same: the repository of development."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import TextIO

from ..codec import encode_event
from ..events import Event
from .memory import MemoryTrackerRepository

log = logging.getLogger(__name__)


class ConsoleTrackerRepository(MemoryTrackerRepository):
    """Prints each event as one line of JSON, and keeps the newest *max_events* readable.

    *stream* None is what ``sys.stdout`` is at the time of printing. A stream that is
    closed or broken costs the lines, not the events: they were kept before, so nothing is
    raised, for "try again" would print those lines twice that did get out.
    """

    def __init__(self, *, stream: TextIO | None = None, max_events: int = 10_000) -> None:
        super().__init__(max_events=max_events)
        self._stream = stream
        self._failing = False

    def save_events(self, events: Sequence[Event]) -> None:
        fresh = self._keep(events)
        stream = self._stream if self._stream is not None else sys.stdout
        if not fresh or stream is None:  # pythonw.exe has no stdout
            return
        try:
            # One write, so that lines of other writers fall between batches and not into a line.
            stream.write("".join(f"{encode_event(event)}\n" for event in fresh))
            stream.flush()
        except (OSError, TypeError, ValueError, RecursionError) as error:  # ValueError: the stream is closed
            if not self._failing:
                log.warning("events are kept but cannot be printed: %s: %s", type(error).__name__, error)
            self._failing = True
        else:
            self._failing = False
