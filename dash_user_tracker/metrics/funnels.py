"""How far people come along a series of steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from .answers import FunnelRow
from .arguments import Step, steps_of
from .checks import check_range, check_within
from .filters import Filters
from .history import History
from .percentiles import ratio
from .records import CUSTOM, RUN, VIEW, Actor, Record, text_of
from .tables import Rows


def funnel(
    history: History,
    steps: Sequence[Step | str],
    start: datetime | None,
    end: datetime | None,
    within: timedelta | None,
    filters: Filters,
) -> Rows[FunnelRow]:
    """`MetricsReader.get_funnel`."""
    wanted = steps_of(steps)
    check_range(start, end)
    check_within(within)
    taken: dict[Actor, list[tuple[datetime, list[int]]]] = {}
    for record in history.selected(start, end, filters):
        matched = [number for number, step in enumerate(wanted) if takes(record, step)]
        if matched:
            taken.setdefault(record.actor, []).append((record.at, matched))
    reached = {
        actor: furthest(moments, len(wanted), within) for actor, moments in taken.items() if actor.user or actor.visitor
    }
    return rows_of(wanted, reached)


def rows_of(steps: Sequence[Step], reached: dict[Actor, int]) -> Rows[FunnelRow]:
    """The answer, when each actor has come as many *steps* as *reached* says."""
    rows: list[FunnelRow] = []
    totals: list[int] = []
    for number, step in enumerate(steps):
        there = [actor for actor, count in reached.items() if count > number]
        people = sum(actor.user is not None for actor in there)
        totals.append(len(there))
        rows.append(
            FunnelRow(
                step=str(step),
                people=people,
                visitors=len(there) - people,
                share=ratio(len(there), totals[0]),
                from_previous=ratio(len(there), totals[number - 1]) if number else None,
            )
        )
    return Rows(tuple(rows))


def furthest(moments: Iterable[tuple[datetime, list[int]]], count: int, within: timedelta | None) -> int:
    """How many of *count* steps somebody took; *moments* are the events in order, with the steps that each of them is.

    For each step the latest start of a series that has come there is kept: whatever can be
    reached from an earlier start can be reached from it, too.
    """
    starts: list[datetime | None] = [None] * count
    for at, steps in moments:
        for number in sorted(steps, reverse=True):  # an event takes one step of a series, not two
            begun = at if number == 0 else starts[number - 1]
            if begun is not None and (within is None or at - begun <= within):
                starts[number] = begun
    return next((number for number, begun in enumerate(starts) if begun is None), count)


def takes(record: Record, step: Step) -> bool:
    """The event is the *step*."""
    if step.kind == "page":
        return record.kind == VIEW and step.name in (record.route, record.path)
    if step.kind == "control":
        return record.kind == RUN and record.active and text_of(record.data.get("trigger")) == step.name
    return record.kind == CUSTOM and record.event.event == step.name
