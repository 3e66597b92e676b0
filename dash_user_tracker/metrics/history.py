"""All events of a store, and the part of them that a question is about."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import attrs

from ..events import Event
from .filters import Filters
from .interactions import first_runs
from .periods import Period
from .records import Actor, Record, is_selected, records_of
from .visits import Stay, visits_of


@attrs.frozen(eq=False)
class Slice:
    """What an answer is computed from: selected events, visits and interactions.

    *actors* are those who count as people or visitors.
    """

    events: Sequence[Record] = ()
    visits: Sequence[Stay] = ()
    interactions: Sequence[Record] = ()  # their first runs
    actors: Sequence[Actor] = ()


@attrs.frozen(eq=False, slots=False)
class History:
    """All events, in order; visits and interactions are made of all of them before anything is selected."""

    records: Sequence[Record]

    @classmethod
    def of(cls, events: Iterable[Event]) -> History:
        """The history that *events*, in order of arrival, make."""
        return cls(records_of(events))

    @cached_property
    def visits(self) -> list[Stay]:
        return visits_of(self.records)

    @cached_property
    def visit_of(self) -> dict[int, Stay]:
        """The visit of each activity, by position."""
        return {record.position: stay for stay in self.visits for record in stay.activities}

    @cached_property
    def seconds_to_next(self) -> dict[int, float]:
        """Seconds from an activity to the next one of the same visit, by position; none for the last."""
        return {
            one.position: (following.at - one.at).total_seconds()
            for stay in self.visits
            for one, following in zip(stay.activities, stay.activities[1:])
        }

    @cached_property
    def interactions(self) -> set[int]:
        """The positions of the first runs of interactions."""
        return {record.position for record in first_runs(self.records)}

    def between(self, start: datetime | None, end: datetime | None) -> Sequence[Record]:
        """The events in the range."""
        times = self._times
        low = 0 if start is None else bisect.bisect_left(times, start)
        high = len(times) if end is None else bisect.bisect_left(times, end)
        return self.records[low:high]

    def selected(self, start: datetime | None, end: datetime | None, filters: Filters) -> list[Record]:
        """The events in the range that *filters* select."""
        return [record for record in self.between(start, end) if is_selected(record, filters)]

    def slice(self, start: datetime | None, end: datetime | None, filters: Filters) -> Slice:
        """What the range and the filters select."""
        return self.slice_of(self.selected(start, end, filters), start)

    def slice_of(self, events: Sequence[Record], start: datetime | None) -> Slice:
        """The selected *events*, with the visits that began at *start* or later and have an activity among them."""
        activities = [record for record in events if record.active]
        stays = {id(stay): stay for stay in (self.visit_of[record.position] for record in activities)}
        return Slice(
            events=events,
            visits=sorted(
                (stay for stay in stays.values() if start is None or stay.started >= start),
                key=lambda stay: stay.activities[0].position,
            ),
            interactions=[record for record in events if record.position in self.interactions],
            actors=[record.actor for record in activities],
        )

    @cached_property
    def _times(self) -> list[datetime]:
        return [record.at for record in self.records]


def by_period(whole: Slice, periods: Sequence[Period]) -> list[Slice]:
    """A slice cut into one for each period; people are those of the activities in it."""
    events = _cut(whole.events, periods, lambda record: record.at)
    visits = _cut(whole.visits, periods, lambda stay: stay.started)
    interactions = _cut(whole.interactions, periods, lambda record: record.at)
    return [
        Slice(found, stays, firsts, [record.actor for record in found if record.active])
        for found, stays, firsts in zip(events, visits, interactions)
    ]


def _cut(items: Sequence[Any], periods: Sequence[Period], when: Callable[[Any], datetime]) -> list[list[Any]]:
    """The *items* of each of adjoining periods; none lies outside of all."""
    edges = [period.start for period in periods]
    found: list[list[Any]] = [[] for _ in periods]
    for item in items:
        found[bisect.bisect_right(edges, when(item)) - 1].append(item)
    return found
