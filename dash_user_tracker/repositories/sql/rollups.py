"""Counts of ranges, out of the roll-ups and, for the parts of periods at the edges, out of the events.

Everything is as of the watermark: what was saved after it is not there yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ...metrics.filters import Filters
from . import schema
from . import sections as s
from .connections import Memory
from .detail import Detail
from .hours import Hours
from .packing import Column, Ints, unpack
from .pieces import Piece
from .recounting import void_quarters
from .sections import DAY, QUARTER, Range, unpack_cells
from .stays import READ, Row, Stay
from .texts import from_column, to_microseconds


def is_answered(filters: Filters) -> bool:
    """The roll-ups tell apart what *filters* do: apps and automated clients."""
    return filters == Filters(app=filters.app, automated=filters.automated)


class Rollups:
    """The counts of what *filters* select."""

    def __init__(self, connection: sa.Connection, memory: Memory, filters: Filters) -> None:
        self.connection = connection
        self.memory = memory
        self.filters = filters
        self.folded = memory.state.folded
        self.segments = self._segments()

    def _segments(self) -> dict[int, str]:
        """The selected segments."""
        query = sa.select(schema.label.c.id, schema.label.c.value).where(schema.label.c.kind == schema.SEGMENT)
        found = {}
        for number, value in self.connection.execute(query):
            text = from_column(value)
            app, automated = json.loads(text)
            if self.filters.automated in (None, automated) and self.filters.app in (None, app):
                found[number] = text
        return found

    @cached_property
    def void(self) -> set[int]:
        """Quarters of a day whose counts are void."""
        return void_quarters(self.connection)

    @cached_property
    def changed(self) -> set[int]:
        """Days that are not added up."""
        return set(self.connection.execute(sa.select(schema.day.c.day)).scalars())

    def range_of(self, start: datetime | None, end: datetime | None) -> Range:
        """The range in microseconds, as far as there are events: to the end of a day where the last one is before."""
        event = schema.event.c
        first = self.connection.execute(sa.select(sa.func.min(event.ts))).scalar_one()
        last = self.connection.execute(sa.select(sa.func.max(event.ts))).scalar_one()
        if first is None:
            return 0, 0
        # Whole days wherever nothing is left out: what is counted of them need not be counted again.
        low, high = first // DAY * DAY, (last // DAY + 1) * DAY
        if start is not None and to_microseconds(start) > first:
            low = to_microseconds(start)
        if end is not None and to_microseconds(end) <= last:
            high = to_microseconds(end)
        return low, max(low, high)

    def hours(self, ranges: Sequence[Range]) -> Hours:
        """The numbers of *ranges*, none of which begins before the one before it ends; empty ones may be anywhere."""
        return Hours(self, ranges)

    def detail(self, whole: Range) -> Detail:
        """Pages, users and callbacks of a range."""
        return Detail(self, whole)

    def views(self, whole: Range) -> int:
        """How many page views there are; cheaper than all totals."""
        hours = self.hours([whole])
        return hours.kept_total(s.VIEWS) + sum(self._views_in(piece) for _, piece in hours.pieces)

    def views_of(
        self, path: str, start: datetime | None, end: datetime | None, conditions: Sequence[sa.ColumnElement[bool]]
    ) -> int:
        """How many page views of a path there are, those after the watermark, too; *conditions*: which they are."""
        event = schema.event.c
        count = sa.select(sa.func.count()).select_from(schema.event).where(*conditions)
        if self.void:
            return int(self.connection.execute(count).scalar_one())
        key = (schema.PAGE, path)
        number = self.memory.labels.look_up(self.connection, [key])[key]
        detail = self.detail(self.range_of(start, end))
        found = detail.kept_sum(s.PATHS, s.PAGE_VIEWS, number)
        for low, high in detail.pieces:
            piece = count.where(event.ts >= low, event.ts < high, event.seq <= self.folded)
            found += int(self.connection.execute(piece).scalar_one())
        last = self.connection.execute(sa.select(sa.func.max(event.seq))).scalar_one() or 0
        if last > self.folded:  # by number: the index of paths would be gone through for them
            tail = count.where(event.seq.in_(sa.select(event.seq).where(event.seq > self.folded)))
            found += int(self.connection.execute(tail).scalar_one())
        return found

    def _views_in(self, piece: Range) -> int:
        event = schema.event.c
        query = sa.select(sa.func.count()).where(
            event.ts >= piece[0],
            event.ts < piece[1],
            event.seq <= self.folded,
            event.kind == sa.literal_column(str(schema.VIEW)),
            *self.conditions(),
        )
        return int(self.connection.execute(query).scalar_one())

    def texts(self, kind: int, numbers: Iterable[int]) -> dict[int, str]:
        """The texts of labels of one kind, but for 0, which is none."""
        wanted = [(kind, number) for number in numbers if number]
        values = self.memory.labels.read(self.connection, wanted)
        return {number: values[kind, number] for _, number in wanted}

    # -- what is kept ----------------------------------------------------------------

    def packed(self, numbers: Sequence[int], first: int, last: int) -> Iterator[Any]:
        """The rows of some sections from period *first* to *last*: section, period, segment, packed."""
        table = schema.rollup.c
        if first > last or not self.segments:
            return
        query = (
            sa.select(table.section, table.period, table.segment, table.packed)
            .where(
                table.section.in_(numbers), table.period.between(first, last), table.segment.in_(list(self.segments))
            )
            .order_by(table.period)
        )
        yield from self.connection.execute(query)

    def seen(self, whole: Range, pages: Sequence[int]) -> Ints:
        """The page views of people and visitors on some paths or pages: moments, and the columns of `SEEN`."""
        low, high = whole
        found = [np.zeros((0, 1 + s.SEEN.sums), np.int64)]
        wanted = np.zeros(max(pages, default=0) + 1, bool)
        wanted[list(pages)] = True
        wanted[0] = False
        for row in self.packed([s.SEEN.number], low // DAY, (high - 1) // DAY) if low < high else ():
            columns = unpack(row.packed)
            path, page = columns[1 + s.SEEN_PATH], columns[1 + s.SEEN_PAGE]
            own = _are(wanted, path) | _are(wanted, page)
            if own.any():
                cells = unpack_cells(s.SEEN, row.packed)
                ts = row.period * DAY + cells.keys
                own &= (ts >= low) & (ts < high)
                if self.void:
                    own &= ~np.isin(ts // QUARTER, list(self.void))
                found.append(np.column_stack((ts[own], cells.numbers[own])))
        for quarter in self.void:
            piece = max(low, quarter * QUARTER), min(high, (quarter + 1) * QUARTER)
            if piece[0] < piece[1] and self.segments:
                (added,) = Piece(self, piece).added(s.SEEN)
                own = _are(wanted, added.numbers[:, s.SEEN_PATH]) | _are(wanted, added.numbers[:, s.SEEN_PAGE])
                found.append(np.column_stack((added.ts, added.numbers))[own])
        return np.concatenate(found)

    # -- events ------------------------------------------------------------------------

    def rows(self, whole: Range) -> list[Row]:
        """The selected events of a range, in order."""
        event = schema.event.c
        query = (
            sa.select(*READ)
            .where(event.ts >= whole[0], event.ts < whole[1], event.seq <= self.folded, *self.conditions())
            .order_by(event.ts, event.seq)
        )
        return list(self.connection.execute(query).all())

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """What the filters for which `is_answered` holds say of events."""
        event = schema.event.c
        found: list[sa.ColumnElement[bool]] = []
        if self.filters.automated is not None:
            found.append(event.automated == int(self.filters.automated))
        if self.filters.app is not None:
            contexts = self.memory.contexts(self.connection).items()
            own = [number for number, context in contexts if context.values["app_name"] == self.filters.app]
            # Written out: clients that make up host names make contexts, and there may be more than a statement has
            # parameters.
            found.append(event.context.in_(sa.bindparam("contexts", own, expanding=True, literal_execute=True)))
        return found

    def visits(self, whole: Range) -> list[Stay]:
        """The visits that begin in a range."""
        visit = schema.visit
        query = sa.select(*visit.columns).where(
            visit.c.t0 >= whole[0], visit.c.t0 < whole[1], visit.c.segment.in_(list(self.segments))
        )
        return [Stay.of(tuple(row)) for row in self.connection.execute(query)] if self.segments else []

    def durations_of_visits(self, whole: Range, low: int, high: int) -> list[int]:
        """Microseconds of the visits that begin in a range, are from *low* to *high* long and did not bounce."""
        visit = schema.visit.c
        duration = visit.t1 - visit.t0
        query = sa.select(duration).where(
            visit.t0 >= whole[0],
            visit.t0 < whole[1],
            visit.segment.in_(list(self.segments)),
            duration.between(low, high),
            sa.or_(visit.views != 1, visit.busy == 1),
        )
        return list(self.connection.execute(query).scalars())


def _are(wanted: npt.NDArray[np.bool_], labels: Column) -> npt.NDArray[np.bool_]:
    """Which of the labels are wanted; *wanted* is a flag for each up to the last one that is."""
    numbers = labels.astype(np.int64)  # a short type need not hold the last one
    found: npt.NDArray[np.bool_] = wanted[np.minimum(numbers, len(wanted) - 1)] & (numbers < len(wanted))
    return found
