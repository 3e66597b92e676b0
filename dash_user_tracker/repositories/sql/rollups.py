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
from .batches import OF_DERIVED, Added, Batch, Derived
from .connections import Memory
from .packing import Column, Ints, unpack, unpack_column
from .recounting import void_quarters
from .rows import Context
from .sections import DAY, HOUR, NEVER, QUARTER, QUARTERS, Section, unpack_cells, unpack_sets
from .stays import AUTOMATED, CONTEXT, INTERACTION_GAP, READ, TS, Row, Stay, first_runs
from .texts import from_column, to_microseconds

#: A range of microseconds, half open.
Range = tuple[int, int]


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


class Hours:
    """Numbers of ranges, by hours; each section is read when it is asked for."""

    def __init__(self, rollups: Rollups, ranges: Sequence[Range]) -> None:
        self._rollups = rollups
        self.count = len(ranges)
        #: Parts of ranges that are no whole hours, each with the number of its range.
        self.pieces: list[tuple[int, Range]] = []
        firsts, lasts, numbers = [], [], []
        for number, (low, high) in enumerate(ranges) if rollups.segments else ():
            if low >= high:
                continue
            first, last = -(-low // HOUR), high // HOUR
            if first >= last:
                self.pieces += [(number, (low, high))]
                continue
            firsts.append(first)
            lasts.append(last)
            numbers.append(number)
            for piece in ((low, first * HOUR), (last * HOUR, high)):
                if piece[0] < piece[1]:
                    self.pieces.append((number, piece))
        self._firsts, self._lasts, self._numbers = (np.array(part, np.int64) for part in (firsts, lasts, numbers))
        for quarter in sorted(rollups.void):
            for hour in range(quarter * (QUARTER // HOUR), (quarter + 1) * (QUARTER // HOUR)):
                (number,) = self._numbers_of(np.array([hour], np.int64))
                if number >= 0:
                    self.pieces.append((int(number), (hour * HOUR, (hour + 1) * HOUR)))
        self._void = np.array(sorted(rollups.void), np.int64)
        self._histograms: dict[Section, tuple[Ints, Ints]] = {}
        self._counts: dict[Section, Ints] = {}

    def kept_total(self, column: int) -> int:
        """One sum of `TOTALS` of all ranges together, without `pieces`."""
        found = 0
        of_day, whole = None, False
        for ranges, packed in self._kept(s.TOTALS):
            if ranges is not of_day:
                of_day, whole = ranges, bool((ranges >= 0).all())
            numbers = unpack_column(packed, 1 + column)
            found += int(numbers.sum() if whole else numbers[ranges[unpack_column(packed, 0)] >= 0].sum())
        return found

    @cached_property
    def totals(self) -> Ints:
        """The sums of `TOTALS` of each range."""
        found = np.zeros((self.count, s.TOTALS.sums), np.int64)
        for ranges, _, numbers in self._tables(s.TOTALS):
            np.add.at(found, ranges, numbers)
        for number, added in self._added(s.TOTALS):
            found[number] += added.numbers.sum(axis=0)
        return found

    def histogram(self, section: Section, number: int) -> tuple[Ints, Ints]:
        """The buckets of a range, in order, and how many values each has."""
        if section not in self._histograms:
            parts = [(ranges * section.span + keys, numbers) for ranges, keys, numbers in self._tables(section)]
            parts += [(number * section.span + added.keys, added.numbers) for number, added in self._added(section)]
            cells = s.united(section, [s.no_cells(section), *(s.Cells(*part) for part in parts)])
            self._histograms[section] = cells.keys, cells.numbers[:, 0]
        keys, counts = self._histograms[section]
        own = slice(*np.searchsorted(keys, (number * section.span, (number + 1) * section.span)))
        return keys[own] - number * section.span, counts[own]

    def counts(self, section: Section) -> Ints:
        """How many members the sets of each range have together."""
        if section not in self._counts:
            self._counts[section] = s.count_distinct(*self._members(section), self.count)
        return self._counts[section]

    def flags(self, section: Section) -> npt.NDArray[np.bool_]:
        """A row for each range, a column for each label: it is in a set of the range."""
        ranges, members = self._members(section)
        found = np.zeros((self.count, int(members.max(initial=0)) + 1), bool)
        found[ranges, members] = True
        return found

    # -- inside ----------------------------------------------------------------------

    def _numbers_of(self, hours: Ints) -> Ints:
        """The range that each hour is a whole one of, or -1."""
        if not len(self._firsts):
            return np.full(len(hours), -1)
        place = np.searchsorted(self._firsts, hours, side="right") - 1
        return np.where((place >= 0) & (hours < self._lasts[place]), self._numbers[place], -1)

    def _kept(self, section: Section) -> Iterator[tuple[Ints, bytes]]:
        """The range of each hour of a day, and what the day has packed."""
        if not len(self._firsts):
            return
        hours = np.arange(24)
        first, last = int(self._firsts[0]) // 24, (int(self._lasts[-1]) - 1) // 24
        day, ranges = None, hours
        for _, period, _, packed in self._rollups.packed([section.number], first, last):
            if period != day:
                day, own = period, period * 24 + hours
                ranges = self._numbers_of(own)
                if len(self._void):
                    ranges[np.isin(own // (QUARTER // HOUR), self._void)] = -1
            yield ranges, packed

    def _tables(self, section: Section) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Ranges, keys and numbers of rows."""
        for ranges, packed in self._kept(section):
            cells = unpack_cells(section, packed)
            own = ranges[cells.keys // section.span]
            kept = own >= 0
            yield own[kept], cells.keys[kept] % section.span, cells.numbers[kept]

    def _members(self, section: Section) -> tuple[Column, Column]:
        """Ranges and members of sets."""
        groups: list[Column] = [np.zeros(0, np.int32)]
        members: list[Column] = [np.zeros(0, np.uint8)]
        for ranges, packed in self._kept(section):
            hours, those = unpack_sets(packed)
            own = ranges.astype(np.int32)[hours]
            kept = slice(None) if (ranges >= 0).all() else own >= 0
            groups.append(own[kept])
            members.append(those[kept])
        for number, added in self._added(section):
            groups.append(np.full(len(added.numbers), number, np.int32))
            members.append(added.numbers)
        return np.concatenate(groups), np.concatenate(members)

    def _added(self, section: Section) -> Iterator[tuple[int, Added]]:
        """What the pieces add, each with the number of its range."""
        for number, piece in self._read:
            for added in piece.added(section):
                yield number, added

    @cached_property
    def _read(self) -> list[tuple[int, Piece]]:
        return [(number, Piece(self._rollups, whole)) for number, whole in self.pieces]


class Detail:
    """Numbers of pages, users and callbacks of one range; each section is read when it is asked for."""

    def __init__(self, rollups: Rollups, whole: Range) -> None:
        self._rollups = rollups
        low, high = whole
        first, last = -(-low // QUARTER), high // QUARTER  # whole quarters
        days = -(-first // QUARTERS), last // QUARTERS
        #: Base of sections, first and last period, those of them that are read otherwise.
        self._periods: list[tuple[int, int, int, set[int]]] = []
        #: Parts of the range that are no whole quarters.
        self.pieces: list[Range] = []
        if not rollups.segments or low >= high:
            return
        if first >= last:
            self.pieces = [whole]
            return
        if days[0] < days[1]:
            self._periods.append((s.BY_DAY, days[0], days[1] - 1, rollups.changed))
            self._periods += [(0, first, days[0] * QUARTERS - 1, rollups.void)]
            for day in sorted(day for day in rollups.changed if days[0] <= day < days[1]):
                self._periods.append((0, day * QUARTERS, (day + 1) * QUARTERS - 1, rollups.void))
            self._periods += [(0, days[1] * QUARTERS, last - 1, rollups.void)]
        else:
            self._periods.append((0, first, last - 1, rollups.void))
        pieces = [(low, first * QUARTER), (last * QUARTER, high)]
        pieces += [(quarter * QUARTER, (quarter + 1) * QUARTER) for quarter in rollups.void if first <= quarter < last]
        self.pieces = [piece for piece in pieces if piece[0] < piece[1]]

    def table(self, section: Section, columns: Sequence[int]) -> tuple[Ints, list[Ints]]:
        """The keys, some of them more than once, and some of their sums."""
        heavy = bool(section.light) and max(columns) >= section.light
        found: list[list[Column]] = [[np.zeros(0, np.int64) for _ in range(1 + len(columns))]]
        for _, packed in self._kept(section):
            kept = unpack(packed) + (unpack(packed, 1) if heavy else [])
            found.append([kept[0], *(kept[1 + column] for column in columns)])
        for added in self._added(section):
            found.append([added.keys, *(added.numbers[:, column] for column in columns)])
        whole = [np.concatenate(column).astype(np.int64) for column in zip(*found)]
        return whole[0], whole[1:]

    def kept_sum(self, section: Section, column: int, key: int) -> int:
        """One sum of one key, without `pieces`."""
        found = 0
        for _, packed in self._kept(section):
            keys = unpack_column(packed, 0)
            place = int(np.searchsorted(keys, key))
            if place < len(keys) and keys[place] == key:
                found += int(unpack_column(packed, 1 + column)[place])
        return found

    def sets(self, section: Section) -> tuple[Column, Column]:
        """Keys and members, some of them more than once."""
        keys: list[Column] = [np.zeros(0, np.uint8)]
        members: list[Column] = [np.zeros(0, np.uint8)]
        for _, packed in self._kept(section):
            own, those = unpack_sets(packed)
            keys.append(own)
            members.append(those)
        for added in self._added(section):
            keys.append(added.keys)
            members.append(added.numbers)
        return np.concatenate(keys), np.concatenate(members)

    def lasts(self, section: Section, wanted: Sequence[int]) -> dict[int, int]:
        """The latest moment of each of the *wanted* keys that has one."""
        parts: list[tuple[int, bytes, Added | None]] = [(start, packed, None) for start, packed in self._kept(section)]
        parts += [(int(added.ts.min()), b"", added) for added in self._added(section) if len(added.ts)]
        parts.sort(key=lambda part: -part[0])
        found: dict[int, int] = {}
        missing = np.array(sorted(wanted), np.int64)
        reached = None
        for start, packed, added in parts:
            if reached is not None and start + DAY <= reached:
                missing = np.array([key for key in missing.tolist() if key not in found], np.int64)
                if not len(missing):
                    break
                reached = None
            keys: Column = unpack(packed)[0] if added is None else added.keys
            lasts: Column = unpack(packed, 1)[-1] if added is None else added.numbers[:, -1]
            own = np.isin(keys, missing) & (lasts > NEVER)
            for key, last in zip(keys[own].tolist(), lasts[own].tolist()):
                if last > found.get(key, last - 1):
                    found[key] = last
            reached = start if reached is None else reached
        return found

    # -- inside ----------------------------------------------------------------------

    def _kept(self, section: Section) -> Iterator[tuple[int, bytes]]:
        """Moment at which each period begins, and what it has packed."""
        same = s.SAME.get(section)
        numbers = [section.number] if same is None else [section.number, same.number]
        for base, first, last, skipped in self._periods:
            length = DAY if base else QUARTER
            found: dict[tuple[int, int], tuple[int, bytes]] = {}
            for row in self._rollups.packed([base + number for number in numbers], first, last):
                if row.period not in skipped and (
                    row.section == base + section.number or (row.period, row.segment) not in found
                ):
                    found[row.period, row.segment] = row.period * length, row.packed
            yield from found.values()

    def _added(self, section: Section) -> Iterator[Added]:
        for piece in self._read:
            yield from piece.added(section)

    @cached_property
    def _read(self) -> list[Piece]:
        return [Piece(self._rollups, whole) for whole in self.pieces]


class Piece:
    """The events of a range that is no whole period."""

    def __init__(self, rollups: Rollups, whole: Range) -> None:
        self._rollups = rollups
        self._whole = whole

    def added(self, section: Section) -> list[Added]:
        """What they add."""
        found = [self._batch.added(section)]
        if section in OF_DERIVED:
            found += self._derived.added(section)
        return found

    @cached_property
    def _rows(self) -> list[Row]:
        """Also those shortly before, on which it depends what is the first run of an interaction."""
        return self._rollups.rows((self._whole[0] - INTERACTION_GAP, self._whole[1]))

    @cached_property
    def _contexts(self) -> dict[int, Context]:
        return self._rollups.memory.contexts(self._rollups.connection)

    @cached_property
    def _segments(self) -> dict[tuple[int, int], int]:
        numbers = {text: number for number, text in self._rollups.segments.items()}
        keys = {(row[CONTEXT], row[AUTOMATED]) for row in self._rows}
        return {key: numbers[self._contexts[key[0]].segment(key[1])] for key in keys}

    @cached_property
    def _batch(self) -> Batch:
        own = [row for row in self._rows if row[TS] >= self._whole[0]]
        return Batch(own, self._contexts, self._segments)

    @cached_property
    def _derived(self) -> Derived:
        derived, rollups, segments = Derived(), self._rollups, self._segments
        firsts = first_runs(
            rollups.connection, self._rows, lambda row: segments[row[CONTEXT], row[AUTOMATED]], rollups.folded
        )
        for row in firsts:
            if row[TS] >= self._whole[0]:
                derived.add_interaction(row, segments[row[CONTEXT], row[AUTOMATED]])
        for stay in rollups.visits(self._whole):
            derived.add_visit(stay)
        return derived


def _are(wanted: npt.NDArray[np.bool_], labels: Column) -> npt.NDArray[np.bool_]:
    """Which of the labels are wanted; *wanted* is a flag for each up to the last one that is."""
    numbers = labels.astype(np.int64)  # a short type need not hold the last one
    found: npt.NDArray[np.bool_] = wanted[np.minimum(numbers, len(wanted) - 1)] & (numbers < len(wanted))
    return found


def sums_by(keys: Ints, values: Ints, count: int) -> Ints:
    """The sums of the values of each key from 0 to *count* - 1."""
    # As doubles, which are exact up to 2**53: in two halves where that could be too little.
    if not len(values) or int(np.abs(values).max()) < (1 << 53) // len(values):
        return np.bincount(keys, values, count).astype(np.int64)
    low, high = values & 0xFFFFFFFF, values >> 32
    return (np.bincount(keys, high, count).astype(np.int64) << 32) + np.bincount(keys, low, count).astype(np.int64)
