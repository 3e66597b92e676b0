"""Counts of ranges, out of the roll-ups and, for the parts of hours at the edges, out of the events.

Everything is as of the watermark: what was saved after it is not there yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from ...metrics.filters import Filters
from . import schema
from .cells import BY_DAY, CORE, DAY, HOUR, INTERACTIONS, QUARTER, TOTALS, VIEWS, Core, Detail, Totals
from .connections import Memory
from .recounting import void_quarters
from .stays import (
    ACTIVE,
    ACTOR,
    AUTOMATED,
    COLUMNS,
    CONTEXT,
    INTERACTION_GAP,
    KIND,
    LOAD,
    SEQ,
    TS,
    Row,
    Stay,
    first_actions,
    is_scripted,
    unscripted_firsts,
)
from .texts import from_column, to_microseconds

#: A range of microseconds, half open.
Range = tuple[int, int]

C = TypeVar("C", Core, Totals, Detail)


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

    def range_of(self, start: datetime | None, end: datetime | None) -> Range:
        """The range in microseconds, as far as there are events."""
        event = schema.event.c
        first = self.connection.execute(sa.select(sa.func.min(event.ts))).scalar_one()
        last = self.connection.execute(sa.select(sa.func.max(event.ts))).scalar_one()
        if first is None:
            return 0, 0
        low = first if start is None else max(first, to_microseconds(start))
        high = last + 1 if end is None else min(last + 1, to_microseconds(end))
        return low, max(low, high)

    def cores(self, ranges: Sequence[Range]) -> list[Core]:
        """The numbers of adjoining or separate *ranges*, in order."""
        return self._collected(ranges, Core, HOUR, (CORE,))

    def views(self, whole: Range) -> int:
        """How many page views there are."""
        return self._collected([whole], Totals, HOUR, (TOTALS,))[0].totals[VIEWS]

    def detail(self, whole: Range, sections: Sequence[int]) -> Detail:
        """Some sections of a range."""
        return self._collected([whole], Detail, QUARTER, sections)[0]

    # -- inside --------------------------------------------------------------------

    def _collected(self, ranges: Sequence[Range], kind: type[C], length: int, sections: Sequence[int]) -> list[C]:
        found = [kind() for _ in ranges]
        if not self.segments:
            return found
        changed = set(self.connection.execute(sa.select(schema.day.c.day)).scalars())
        void = void_quarters(self.connection)
        days: dict[int, int] = {}  # to the number of the range
        parts: dict[int, int] = {}
        raw: list[tuple[int, Range]] = []
        for number, (low, high) in enumerate(ranges):
            for day, piece in _pieces(low, high, DAY):
                if piece[1] - piece[0] == DAY and day not in changed:
                    days[day] = number
                    continue
                for part, inner in _pieces(*piece, length):
                    if inner[1] - inner[0] == length and inner[0] // QUARTER not in void:
                        parts[part] = number
                    else:
                        raw.append((number, inner))
        for base, wanted in ((BY_DAY, days), (0, parts)):
            for row in self._packed([section + base for section in sections], wanted):
                found[wanted[row.period]].merge(row.section - base, bytes(row.packed))
        for number, piece in raw:
            cell = found[number]
            if isinstance(cell, Totals):
                cell.totals[VIEWS] += self._views_in(piece)
            else:
                self._add_raw(cell, piece)
        return found

    def _packed(self, sections: Sequence[int], wanted: dict[int, int]) -> Iterator[Any]:
        table = schema.rollup
        columns = (table.c.section, table.c.period, table.c.packed)
        for first, last in _runs(sorted(wanted)):
            query = sa.select(*columns).where(
                table.c.section.in_(sections), table.c.period.between(first, last), table.c.segment.in_(self.segments)
            )
            yield from self.connection.execute(query).all()

    def _views_in(self, piece: Range) -> int:
        event = schema.event.c
        query = sa.select(sa.func.count()).where(
            event.ts >= piece[0],
            event.ts < piece[1],
            event.seq <= self.folded,
            event.kind == schema.VIEW,
            *self.conditions(),
        )
        if self.filters.app is not None:
            contexts = self.memory.contexts(self.connection).items()
            own = [number for number, one in contexts if one.values["app_name"] == self.filters.app]
            query = query.where(event.context.in_(own))
        return int(self.connection.execute(query).scalar_one())

    def _add_raw(self, cell: Core | Detail, piece: Range) -> None:
        """Count the events of a range that is no whole hour."""
        low, high = piece
        rows = self.rows((low - INTERACTION_GAP, high))
        contexts = self.memory.contexts(self.connection)
        loads = set()
        streams: dict[Any, list[Row]] = {}
        for row in rows:
            if row[ACTIVE] and row[KIND] == schema.RUN:
                if is_scripted(row):
                    loads.add(bytes(row[LOAD]))
                else:
                    app = contexts[row[CONTEXT]].segment(row[AUTOMATED])
                    streams.setdefault((row[ACTOR], app), []).append(row)
            if row[TS] >= low:
                values = contexts[row[CONTEXT]].values
                cell.add(row, values["cause"], values["outcome"])
        firsts = {row[SEQ] for row in first_actions(self.connection, loads, self.folded).values()}
        firsts |= {row[SEQ] for own in streams.values() for row in unscripted_firsts(own)}
        for row in rows:
            if row[TS] >= low and row[SEQ] in firsts:
                if isinstance(cell, Core):
                    cell.totals[INTERACTIONS] += 1
                else:
                    cell.add_interaction(row[ACTOR], 1)
        for stay in self.visits(piece):
            if isinstance(cell, Core):
                cell.add_visit(stay.t1 - stay.t0, stay.bounce, 1)
            else:
                cell.add_visit(stay.actor, 1)

    def rows(self, whole: Range) -> list[Row]:
        """The selected events of a range, in order."""
        event = schema.event.c
        columns = [event[name] for name in COLUMNS]
        query = (
            sa.select(*columns)
            .where(event.ts >= whole[0], event.ts < whole[1], event.seq <= self.folded, *self.conditions())
            .order_by(event.ts, event.seq)
        )
        found = self.connection.execute(query).all()
        if self.filters.app is None:
            return list(found)
        contexts = self.memory.contexts(self.connection)
        return [row for row in found if contexts[row[CONTEXT]].values["app_name"] == self.filters.app]

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """What the filters say of events, but for the app."""
        if self.filters.automated is None:
            return []
        return [schema.event.c.automated == int(self.filters.automated)]

    def visits(self, whole: Range) -> list[Stay]:
        """The visits that begin in a range."""
        visit = schema.visit
        query = sa.select(*visit.columns).where(
            visit.c.t0 >= whole[0], visit.c.t0 < whole[1], visit.c.segment.in_(self.segments)
        )
        return [Stay.of(tuple(row)) for row in self.connection.execute(query)] if self.segments else []

    def durations_of_visits(self, whole: Range, low: int, high: int) -> list[int]:
        """Microseconds of the visits that begin in a range and are from *low* to *high* long."""
        visit = schema.visit.c
        duration = visit.t1 - visit.t0
        query = sa.select(duration).where(
            visit.t0 >= whole[0],
            visit.t0 < whole[1],
            visit.segment.in_(self.segments),
            duration.between(low, high),
        )
        return list(self.connection.execute(query).scalars())


def _pieces(low: int, high: int, length: int) -> Iterator[tuple[int, Range]]:
    """The range cut at multiples of *length*: the number of each, and what is in the range."""
    while low < high:
        number = low // length
        until = min((number + 1) * length, high)
        yield number, (low, until)
        low = until


def _runs(numbers: Iterable[int]) -> Iterator[Range]:
    """First and last of each run of adjoining numbers."""
    first = last = None
    for number in numbers:
        if first is None or last is None:
            first = last = number
        elif number == last + 1:
            last = number
        else:
            yield first, last
            first = last = number
    if first is not None and last is not None:
        yield first, last
