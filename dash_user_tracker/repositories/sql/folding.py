"""The roll-ups: what events amount to, counted once.

`store.folded` is the watermark. Events beyond it are folded in transactions of a bounded number of events, each of
which also moves the watermark: a process that is killed on the way leaves nothing half done, and none is counted
twice. Who folds is whoever asks a question, and whoever saves when many have gathered. Events may be of any time: an
hour that is counted already is counted on, and visits that a late one joins, splits or moves are made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs
import sqlalchemy as sa

from . import cells, schema
from .batches import Batch, Derived
from .connections import Memory
from .driver import driver_insert, driver_rows
from .labels import CHUNK
from .rows import Context
from .stays import (
    ACTION,
    ACTIVE,
    ACTOR,
    AUTOMATED,
    CONTEXT,
    INTERACTION_GAP,
    KIND,
    LOAD,
    SEQ,
    TS,
    VISIT_CAP,
    VISIT_GAP,
    Row,
    Stay,
    Stream,
    first_actions,
    is_actor,
    is_scripted,
    known_visits,
    rows_where,
    unscripted_firsts,
    visit_row,
    visits_from,
)

#: Events in one transaction.
AT_ONCE = 5000


def is_due(connection: sa.Connection, memory: Memory, least: int = AT_ONCE) -> bool:
    """At least so many events have gathered: from `AT_ONCE` on, whoever saves folds some."""
    last = driver_rows(connection, "SELECT max(seq) FROM dut_event")[0][0] or 0
    return bool(last - memory.state.folded >= least)


class Folding:
    """Folds what one transaction folds."""

    def __init__(self, connection: sa.Connection, memory: Memory) -> None:
        self._connection = connection
        self._memory = memory
        self._derived = Derived()
        self._segments: dict[tuple[int, int], int] = {}  # context, automated

    def run(self) -> bool:
        """Fold the next events; false where none are left."""
        connection, state = self._connection, self._memory.state
        low = state.folded
        high = connection.exec_driver_sql("SELECT max(seq) FROM dut_event").scalar_one() or 0
        if high <= low:
            return False
        high = min(high, low + AT_ONCE)
        self.count(low, high)
        connection.exec_driver_sql(f"UPDATE dut_store SET folded = {int(high)}")
        self._memory.state = attrs.evolve(state, folded=high)
        return True

    def count(self, low: int, high: int) -> None:
        """Count the events after seq *low* up to *high*."""
        rows = self._rows(f"seq > {int(low)} AND seq <= {int(high)}")
        contexts = self._memory.contexts(self._connection)
        self._resolve_segments(rows, contexts)
        streams: dict[Stream, list[Row]] = {}
        for row in rows:
            if row[ACTIVE]:
                segment = self._segments[row[CONTEXT], row[AUTOMATED]]
                streams.setdefault((row[ACTOR] or 0, segment), []).append(row)
        newest = self._newest_visits(streams)
        self._add_scripted(rows, low)
        for stream, own in streams.items():
            last = newest.get(stream)
            self._add_unscripted(stream, own, last, high)
            self._add_visits(stream, own, last, high)
        self._write_visits()
        batch = Batch(rows, contexts, self._segments)
        cells.add(self._connection, lambda section: [batch.added(section), *self._derived.added(section)])

    # -- reading -----------------------------------------------------------------

    def _rows(self, condition: str) -> Sequence[Row]:
        return rows_where(self._connection, condition)

    def _resolve_segments(self, rows: Iterable[Row], contexts: dict[int, Context]) -> None:
        wanted = {(row[CONTEXT], row[AUTOMATED]) for row in rows} - self._segments.keys()
        texts = {key: (schema.SEGMENT, contexts[key[0]].segment(key[1])) for key in wanted}
        missing = set(texts.values()) - self._memory.labels.numbers.keys()
        if missing:
            self._memory.labels.resolve(self._connection, missing)
        for key, text in texts.items():
            self._segments[key] = self._memory.labels.numbers[text]

    def _segment_of(self, row: Row) -> int:
        key = row[CONTEXT], row[AUTOMATED]
        if key not in self._segments:
            self._resolve_segments([row], self._memory.contexts(self._connection))
        return self._segments[key]

    def _newest_visits(self, streams: dict[Stream, list[Row]]) -> dict[Stream, Stay]:
        """The visit of each stream that began last."""
        self._gone: list[Stay] = []
        self._made: list[Stay] = []
        found: dict[Stream, Stay] = {}
        actors = sorted({actor for actor, _ in streams})
        for place in range(0, len(actors), CHUNK):
            own = ", ".join(map(str, actors[place : place + CHUNK]))
            # Of each actor and segment; few visits of an actor are read.
            earliest = min(rows[0][TS] for rows in streams.values())
            # One that began two days before the earliest of them cannot go on.
            statement = (
                f"SELECT v.* FROM dut_visit v JOIN (SELECT actor, segment, max(t0) AS t0 FROM dut_visit "
                f"WHERE actor IN ({own}) AND t0 > {earliest - 2 * VISIT_CAP} GROUP BY actor, segment) n "
                "ON v.actor = n.actor AND v.segment = n.segment AND v.t0 = n.t0"
            )
            for row in self._connection.exec_driver_sql(statement):
                stay = Stay.of(visit_row(row))
                known = found.get((stay.actor, stay.segment))
                if known is None or (stay.t0, stay.first) > (known.t0, known.first):
                    found[stay.actor, stay.segment] = stay
        return found

    # -- interactions --------------------------------------------------------------

    def _add_scripted(self, rows: Sequence[Row], low: int) -> None:
        """Interactions that the page script numbered: the first run of each counts."""
        firsts: dict[tuple[bytes, int], Row] = {}
        for row in rows:
            if row[ACTIVE] and row[KIND] == schema.RUN and is_scripted(row):
                firsts.setdefault((bytes(row[LOAD]), row[ACTION]), row)
        known = self._known_firsts({load for load, _ in firsts}, low)
        for key, row in firsts.items():
            before = known.get(key)
            if before is not None:
                if (before[TS], before[SEQ]) < (row[TS], row[SEQ]):
                    continue
                self._derived.add_interaction(before, self._segment_of(before), -1)
            self._derived.add_interaction(row, self._segment_of(row), 1)

    def _known_firsts(self, loads: Iterable[bytes], low: int) -> dict[tuple[bytes, int], Row]:
        """The first runs up to seq *low* of the actions of page loads."""
        return first_actions(self._connection, loads, low)

    def _add_unscripted(self, stream: Stream, own: Sequence[Row], last: Stay | None, high: int) -> None:
        """Interactions that are told by time: runs of one trigger within 250 ms are one."""
        runs = [row for row in own if row[KIND] == schema.RUN and not is_scripted(row)]
        if not runs:
            return
        if last is None or runs[0][TS] - last.t1 > INTERACTION_GAP:
            around: Sequence[Row] = runs
        else:
            low, top = runs[0][TS] - INTERACTION_GAP, runs[-1][TS] + INTERACTION_GAP
            around = [
                row
                for row in self._rows(
                    f"{is_actor(stream[0])} AND ts >= {low} AND ts <= {top} AND seq <= {int(high)} "
                    f"AND kind = {schema.RUN} AND active = 1"
                )
                if not is_scripted(row) and self._segment_of(row) == stream[1]
            ]
        new = {row[SEQ] for row in runs}
        since = runs[0][TS]
        before = {row[SEQ] for row in unscripted_firsts([row for row in around if row[SEQ] not in new])}
        after = {row[SEQ] for row in unscripted_firsts(around)}
        for row in around:
            if row[TS] >= since:
                change = (row[SEQ] in after) - (row[SEQ] in before)
                if change:
                    self._derived.add_interaction(row, stream[1], change)

    # -- visits ----------------------------------------------------------------------

    def _add_visits(self, stream: Stream, own: Sequence[Row], last: Stay | None, high: int) -> None:
        begin = own[0][TS]
        current: Stay | None = None
        if last is None or begin >= last.t1:
            rows: Sequence[Row] = own
            if last is not None and begin - last.t1 <= VISIT_GAP and begin - last.t0 <= VISIT_CAP:
                current = last  # it goes on
                self._count_visit(current, -1)
                self._gone.append(attrs.evolve(current))
        else:
            # Some are of an earlier time: what follows is made again from the visit they may belong to.
            before = self._visit_before(stream, begin)
            since = before.t0 if before is not None else begin
            made, until = visits_from(self._connection, self._memory, stream, since, (own[-1][TS], own[-1][SEQ]), high)
            for stay in known_visits(self._connection, stream, since, until):
                self._count_visit(stay, -1)
                self._gone.append(stay)
            for stay in made:
                self._end_visit(stay)
            return
        for row in rows:
            if current is None or row[TS] - current.t1 > VISIT_GAP or row[TS] - current.t0 > VISIT_CAP:
                self._end_visit(current)
                current = Stay(row[TS], row[SEQ], row[TS], *stream)
            current.add(row)
        self._end_visit(current)

    def _end_visit(self, stay: Stay | None) -> None:
        if stay is not None:
            self._count_visit(stay, 1)
            self._made.append(stay)

    def _count_visit(self, stay: Stay, sign: int) -> None:
        self._derived.add_visit(stay, sign)

    def _visit_before(self, stream: Stream, moment: int) -> Stay | None:
        """The last visit of a stream that began at *moment* or before."""
        row = self._connection.exec_driver_sql(
            f"SELECT * FROM dut_visit WHERE actor = {stream[0]} AND segment = {stream[1]} AND t0 <= {int(moment)} "
            "ORDER BY t0 DESC, first DESC LIMIT 1"
        ).first()
        return None if row is None else Stay.of(visit_row(row))

    def _write_visits(self) -> None:
        made = {(stay.t0, stay.first): stay for stay in self._made}
        gone = {(stay.t0, stay.first): stay for stay in self._gone}
        same = {key for key, stay in made.items() if gone.get(key) == stay}
        keys = [key for key in gone if key not in same]
        if keys:
            mark = "?" if self._connection.dialect.paramstyle == "qmark" else "%s"
            self._connection.exec_driver_sql(f"DELETE FROM dut_visit WHERE t0 = {mark} AND first = {mark}", keys)
        rows = [stay.to_row() for key, stay in made.items() if key not in same]
        if rows:
            self._connection.exec_driver_sql(driver_insert(self._connection.dialect, schema.visit), rows)
