"""Where people went: journeys and funnels of pages, out of the roll-ups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import numpy as np
import sqlalchemy as sa

from ...metrics.answers import FunnelRow, JourneyRow
from ...metrics.arguments import Step
from ...metrics.percentiles import ratio
from ...metrics.tables import Rows
from . import schema
from . import sections as s
from .address import SQLITE
from .packing import Ints
from .rollups import Rollups
from .sections import Range

#: Visits whose trails are read at once.
AT_ONCE = 100_000


def journeys(
    rollups: Rollups, start: datetime | None, end: datetime | None, depth: int, limit: int | None
) -> Rows[JourneyRow]:
    """`MetricsReader.get_journeys` from the first view on."""
    trails, visits, ended = _journeys(rollups, rollups.range_of(start, end), depth)
    order = np.argsort(-visits, kind="stable")
    if limit is not None and limit < len(order):  # those behind need no names
        order = order[visits[order] >= visits[order[limit - 1]]] if limit else order[:0]
    pages = [[number for number in trail if number] for trail in trails[order].tolist()]
    texts = rollups.texts(schema.PAGE, {number for trail in pages for number in trail})
    rows = [
        JourneyRow(tuple(texts.get(number) or "" for number in trail), count, last)
        for trail, count, last in zip(pages, visits[order].tolist(), ended[order].tolist())
    ]
    rows.sort(key=lambda row: (-row.visits, row.pages))
    return Rows(tuple(rows[:limit]), total=len(visits))


def _journeys(rollups: Rollups, whole: Range, depth: int) -> tuple[Ints, Ints, Ints]:
    """The first *depth* pages of the visits that begin in a range, each once: labels, and 0 where there are fewer.

    Beside them how many visits have them, and how many of these have no more.
    """
    found = [(np.zeros((0, depth), np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64))]
    if rollups.segments and rollups.connection.dialect.name == SQLITE:
        for packed in _trails(rollups, whole, depth + 1):
            pages = np.frombuffer(packed, ">u4").reshape(-1, depth + 1).astype(np.int64)
            found.append(_united(pages[:, :depth], np.ones(len(pages), np.int64), (pages[:, depth] == 0).astype(int)))
    elif rollups.segments:
        found.append(_counted(rollups, whole, depth))
    return _united(*(np.concatenate(part) for part in zip(*found)))


def _trails(rollups: Rollups, whole: Range, length: int) -> Iterator[bytes]:
    """The first *length* pages of visits, some visits at a time: four bytes for each page, 0 where there are fewer.

    SQLite joins them, which takes half the time of grouping them.
    """
    visit = schema.visit.c
    padded = sa.func.substr(sa.func.hex(visit.trail).op("||")("0" * 8 * length), 1, 8 * length)
    low, high = whole
    while low < high:
        own = [visit.t0 >= low, visit.t0 < high]
        after = sa.select(visit.t0).where(*own).order_by(visit.t0).offset(AT_ONCE).limit(1)
        until = max(low + 1, rollups.connection.execute(after).scalar() or high)
        query = sa.select(sa.func.group_concat(padded, "")).where(
            visit.t0 >= low, visit.t0 < until, visit.segment.in_(list(rollups.segments)), visit.views > 0
        )
        yield bytes.fromhex(rollups.connection.execute(query).scalar() or "")
        low = until


def _counted(rollups: Rollups, whole: Range, depth: int) -> tuple[Ints, Ints, Ints]:
    """What `_journeys` finds, as a server groups it."""
    visit = schema.visit.c
    head = sa.func.substr(visit.trail, 1, 4 * depth)
    is_whole = sa.func.length(visit.trail) <= 4 * depth
    query = (
        sa.select(head, sa.func.count(), sa.func.sum(sa.case((is_whole, 1), else_=0)))
        .where(visit.t0 >= whole[0], visit.t0 < whole[1], visit.segment.in_(rollups.segments), visit.views > 0)
        .group_by(head)
    )
    rows = rollups.connection.execute(query).all()
    heads = b"".join(bytes(row[0]).ljust(4 * depth, b"\0") for row in rows)
    trails = np.frombuffer(heads, ">u4").reshape(-1, depth).astype(np.int64)
    return trails, np.array([row[1] for row in rows], np.int64), np.array([int(row[2]) for row in rows], np.int64)


def _united(trails: Ints, visits: Ints, ended: Ints) -> tuple[Ints, Ints, Ints]:
    """Each of the trails once, with its sums."""
    if not len(trails):
        return trails, visits, ended
    # Two labels of four bytes to a number: half as many to sort by.
    halves = np.pad(trails, ((0, 0), (0, trails.shape[1] % 2)))
    keys = halves[:, ::2] << 32 | halves[:, 1::2]
    order = np.lexsort(keys.T)
    keys = keys[order]
    first = np.flatnonzero(np.concatenate(([True], (keys[1:] != keys[:-1]).any(axis=1))))
    return trails[order[first]], np.add.reduceat(visits[order], first), np.add.reduceat(ended[order], first)


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
