"""The numbers of pages, users and callbacks of a range."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from . import sections as s
from .batches import Added
from .packing import Column, Ints, unpack, unpack_columns
from .pieces import Piece
from .sections import DAY, NEVER, QUARTER, QUARTERS, Range, Section, unpack_sets

if TYPE_CHECKING:
    from .rollups import Rollups


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
            keys, sums = unpack_columns(packed, 0, 1 + column)
            place = int(keys.searchsorted(key))
            if place < len(keys) and keys[place] == key:
                found += int(sums[place])
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
            rows = self._rollups.packed([base + number for number in numbers], first, last)
            for kept, period, segment, packed in rows:
                if period not in skipped and (kept == base + section.number or (period, segment) not in found):
                    found[period, segment] = period * length, packed
            yield from found.values()

    def _added(self, section: Section) -> Iterator[Added]:
        for piece in self._read:
            yield from piece.added(section)

    @cached_property
    def _read(self) -> list[Piece]:
        return [Piece(self._rollups, whole) for whole in self.pieces]
