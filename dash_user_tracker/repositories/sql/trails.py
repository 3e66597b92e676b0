"""Where people went: journeys and funnels of pages, out of the roll-ups."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa

from ...metrics.answers import FunnelRow, JourneyRow
from ...metrics.arguments import Step
from ...metrics.percentiles import ratio
from ...metrics.tables import Rows
from . import schema
from . import sections as s
from .packing import Ints
from .rollups import Rollups


def journeys(
    rollups: Rollups, start: datetime | None, end: datetime | None, depth: int, limit: int | None
) -> Rows[JourneyRow]:
    """`MetricsReader.get_journeys` from the first view on."""
    low, high = rollups.range_of(start, end)
    visit = schema.visit.c
    head = sa.func.substr(visit.trail, 1, 4 * depth)
    whole = sa.func.length(visit.trail)
    query = (
        sa.select(head, sa.func.count(), sa.func.sum(sa.case((whole <= 4 * depth, 1), else_=0)))
        .where(visit.t0 >= low, visit.t0 < high, visit.segment.in_(rollups.segments), visit.views > 0)
        .group_by(head)
    )
    found = list(rollups.connection.execute(query).all()) if rollups.segments else []
    found.sort(key=lambda row: -row[1])
    shown = found
    if limit is not None and limit < len(found):  # those behind need no names
        least = found[limit - 1][1] if limit else 0
        shown = [*found[:limit]] + [row for row in found[limit:] if limit and row[1] == least]
    trails = [
        [int.from_bytes(bytes(row[0])[place : place + 4], "big") for place in range(0, len(row[0]), 4)] for row in shown
    ]
    texts = rollups.texts(schema.PAGE, {number for trail in trails for number in trail})
    rows = [
        JourneyRow(tuple(texts.get(number) or "" for number in trail), int(row[1]), int(row[2]))
        for trail, row in zip(trails, shown)
    ]
    rows.sort(key=lambda row: (-row.visits, row.pages))
    return Rows(tuple(rows[:limit]), total=len(found))


def funnel(
    rollups: Rollups,
    steps: Sequence[Step],
    start: datetime | None,
    end: datetime | None,
    within: timedelta | None,
) -> Rows[FunnelRow]:
    """`MetricsReader.get_funnel` of pages."""
    low, high = rollups.range_of(start, end)
    keys = [(schema.PAGE, step.name) for step in steps]
    numbers = rollups.memory.labels.look_up(rollups.connection, keys)
    seen = rollups.seen((low, high), list(numbers.values()))
    views: list[Ints] = []  # of each step: rows of moment, seq, actor
    for key in keys:
        number = numbers.get(key, -1)
        own = (seen[:, 1 + s.SEEN_PATH] == number) | (seen[:, 1 + s.SEEN_PAGE] == number)
        views.append(seen[own][:, : 2 + s.SEEN_ACTOR])
    reached = _reached(views, None if within is None else within // timedelta(microseconds=1))
    steps_taken: list[FunnelRow] = []
    for place, (step, actors) in enumerate(zip(steps, reached)):
        people = int((actors > 0).sum())
        steps_taken.append(
            FunnelRow(
                step=str(step),
                people=people,
                visitors=len(actors) - people,
                share=ratio(len(actors), len(reached[0])),
                from_previous=ratio(len(actors), len(reached[place - 1])) if place else None,
            )
        )
    return Rows(tuple(steps_taken))


def _reached(views: Sequence[Ints], within: int | None) -> list[Ints]:
    """The actors that took each step; *views*: of each step the moments, seq and actors.

    A view takes a step if the one before was taken earlier, the first of all at most *within* before: of the latest
    attempt, see `metrics.funnels.furthest`.
    """
    found = []
    # Who took the step, when, and when the latest attempt that got there began.
    taken = np.zeros((0, 4), np.int64)
    for place, (ts, seq, actor) in enumerate(own.T for own in views):
        if not place:
            taken = np.column_stack((actor, ts, seq, ts))
        else:
            # In the order of actor, moment, seq: the last step before each view.
            both = np.concatenate((taken, np.column_stack((actor, ts, seq, np.full(len(ts), s.NEVER)))))
            # A view that may be both steps is no step to itself: as a later step it stands in front.
            is_view = np.arange(len(both)) >= len(taken)
            both = both[np.lexsort((~is_view, both[:, 2], both[:, 1], both[:, 0]))]
            is_view = both[:, 3] == s.NEVER
            before = np.maximum.accumulate(np.where(is_view, -1, np.arange(len(both))))
            known = is_view & (before >= 0)
            known[known] = both[before[known], 0] == both[known, 0]
            begun = both[before, 3]
            if within is not None:
                known &= both[:, 1] - begun <= within
            taken = np.column_stack((both[known, :3], begun[known]))
        found.append(np.unique(taken[:, 0]))
    return found
