"""What events count for where they make no whole period of the roll-ups."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from .batches import OF_DERIVED, Added, Batch, Derived
from .rows import Context
from .sections import Range, Section
from .stays import AUTOMATED, CONTEXT, INTERACTION_GAP, TS, Row, first_runs

if TYPE_CHECKING:
    from .rollups import Rollups


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
