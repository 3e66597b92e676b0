"""The numbers of ranges, by hours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from . import sections as s
from .batches import Added
from .packing import Column, Ints, unpack_columns
from .pieces import Piece
from .sections import HOUR, QUARTER, Range, Section, unpack_cells, unpack_sets

if TYPE_CHECKING:
    from .rollups import Rollups


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
            if whole:
                (numbers,) = unpack_columns(packed, 1 + column)
                found += sum(numbers.tolist())  # 24 of them at most, for which NumPy takes longer
            else:
                hours, numbers = unpack_columns(packed, 0, 1 + column)
                found += int(numbers[ranges[hours] >= 0].sum())
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
