"""Visits: the activities of somebody in one app that belong together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import attrs

from .records import CUSTOM, RUN, VIEW, Actor, Record, Stream, is_error, is_interactive, text_of
from .referrers import referrer_site
from .words import VISIT_CAP_HOURS, VISIT_GAP_MINUTES

GAP = timedelta(minutes=VISIT_GAP_MINUTES)
CAP = timedelta(hours=VISIT_CAP_HOURS)


@attrs.frozen(eq=False)
class Stay:
    """One visit: its *activities*, and all *events* of it, in order."""

    stream: Stream
    activities: Sequence[Record]
    events: Sequence[Record]

    @property
    def id(self) -> str:
        return self.activities[0].event.id

    @property
    def actor(self) -> Actor:
        return self.stream.actor

    @property
    def started(self) -> datetime:
        return self.activities[0].at

    @property
    def ended(self) -> datetime:
        return self.activities[-1].at

    @property
    def seconds(self) -> float:
        return (self.ended - self.started).total_seconds()

    @property
    def views(self) -> list[Record]:
        return [record for record in self.activities if record.kind == VIEW]

    @property
    def custom(self) -> list[Record]:
        return [record for record in self.activities if record.kind == CUSTOM]

    @property
    def errors(self) -> int:
        return sum(record.kind == RUN and is_error(record.data) for record in self.events)

    @property
    def entry(self) -> str | None:
        return next((record.page for record in self.activities if record.kind == VIEW), None)

    @property
    def exit(self) -> str | None:
        return next((record.page for record in reversed(self.activities) if record.kind == VIEW), None)

    @property
    def referrer(self) -> str | None:
        first = next((record.data for record in self.activities if record.kind == VIEW), {})
        return referrer_site(text_of(first.get("referrer")), text_of(first.get("base_url")))

    @property
    def bounce(self) -> bool:
        """One page was viewed and nothing done: the activities are one view, and what the app tracked on its own."""
        return len(self.views) == 1 and all(
            record.kind == VIEW or (record.kind == CUSTOM and not is_interactive(record.data))
            for record in self.activities
        )


def visits_of(records: Iterable[Record]) -> list[Stay]:
    """All visits that *records*, in order, make; in the order in which they began."""
    streams: dict[Stream, list[Record]] = {}
    for record in records:
        if record.path is not None:
            streams.setdefault(record.stream, []).append(record)
    found = [stay for stream, own in streams.items() for stay in _stays(stream, own)]
    return sorted(found, key=lambda stay: stay.activities[0].position)


def _stays(stream: Stream, own: Sequence[Record]) -> Iterator[Stay]:
    """The visits of one stream, whose records are *own*."""
    starts: list[int] = []
    ends: list[datetime] = []
    activities: list[list[Record]] = []
    for index, record in enumerate(own):
        if not record.active:
            continue
        if activities and record.at - ends[-1] <= GAP and record.at - own[starts[-1]].at <= CAP:
            activities[-1].append(record)
            ends[-1] = record.at
        else:
            starts.append(index)
            ends.append(record.at)
            activities.append([record])
    for number, done in enumerate(activities):
        until = starts[number + 1] if number + 1 < len(starts) else len(own)
        events = [record for record in own[starts[number] : until] if record.at - ends[number] <= GAP]
        yield Stay(stream, done, events)
