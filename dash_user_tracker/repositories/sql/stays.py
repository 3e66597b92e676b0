"""Visits and interactions, out of the rows of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from . import schema
from .connections import Memory
from .driver import driver_rows
from .labels import CHUNK
from .sections import DAY

COLUMNS = (
    "seq",
    "ts",
    "kind",
    "automated",
    "active",
    "actor",
    "context",
    "page",
    "path",
    "who",
    "control",
    "callback",
    "page_load",
    "action",
    "duration",
    "request_bytes",
    "response_bytes",
    "rest",
)
#: What stands for null, so that columns are numbers. A page that is its path is not kept twice.
_NULLS = {
    "actor": "COALESCE(actor, 0)",
    "page": "COALESCE(page, path, 0)",
    "path": "COALESCE(path, 0)",
    "who": "COALESCE(who, -1)",
    "callback": "COALESCE(callback, 0)",
    "duration": "COALESCE(duration, -1)",
    "request_bytes": "COALESCE(request_bytes, 0)",
    "response_bytes": "COALESCE(response_bytes, 0)",
}
#: How they are read.
READ = [sa.literal_column(_NULLS[name]).label(name) if name in _NULLS else schema.event.c[name] for name in COLUMNS]
(SEQ, TS, KIND, AUTOMATED, ACTIVE, ACTOR, CONTEXT, PAGE, PATH, WHO, CONTROL, _, LOAD, ACTION) = range(14)
REST = 17

#: Microseconds; see `repositories.metrics`.
VISIT_GAP = 1_800_000_000
VISIT_CAP = DAY
INTERACTION_GAP = 250_000

#: Pages of a visit that are kept, one more than the longest journey.
TRAIL = 9

Row = Sequence[Any]
Stream = tuple[int, int]  # actor or 0, segment


@attrs.define
class Stay:
    """A visit, while it is made."""

    t0: int
    first: int
    t1: int
    actor: int
    segment: int
    views: int = 0
    busy: bool = False
    entry: int | None = None
    exit: int | None = None
    trail: tuple[int, ...] = ()

    @property
    def bounce(self) -> bool:
        return self.views == 1 and not self.busy

    @property
    def stayed(self) -> int:
        """Microseconds in the mean and the median."""
        return 0 if self.bounce else self.t1 - self.t0

    def add(self, row: Row) -> None:
        """The next activity."""
        self.t1 = row[TS]
        kind = row[KIND]
        if kind == schema.VIEW:
            page = row[PAGE] or 0
            if not self.views:
                self.entry = page
            self.views += 1
            self.exit = page
            if len(self.trail) < TRAIL and (not self.trail or self.trail[-1] != page):
                self.trail += (page,)
        elif kind == schema.RUN or not _is_silent(row[REST]):
            self.busy = True

    def to_row(self) -> tuple[Any, ...]:
        trail = b"".join(page.to_bytes(4, "big") for page in self.trail)
        return (
            self.t0, self.first, self.t1, self.actor, self.segment,
            self.views, int(self.busy), self.entry, self.exit, trail,
        )  # fmt: skip

    @classmethod
    def of(cls, row: Row) -> Stay:
        trail = bytes(row[9])
        pages = tuple(int.from_bytes(trail[place : place + 4], "big") for place in range(0, len(trail), 4))
        return cls(row[0], row[1], row[2], row[3], row[4], row[5], bool(row[6]), row[7], row[8], pages)


def _is_silent(rest: str | None) -> bool:
    """A custom event says ``interactive=False``."""
    if rest is None or '"interactive":false' not in rest:
        return False
    found = json.loads(rest)
    if "rest" in found and "id" in found and len(found) == 2:
        found = found["rest"]
    properties = found.get("properties")
    return isinstance(properties, dict) and properties.get("interactive") is False


def is_scripted(row: Row) -> bool:
    """The page script gave the run a page load and a number."""
    return row[LOAD] is not None and row[ACTION] is not None


def unscripted_firsts(rows: Iterable[Row]) -> list[Row]:
    """The first run of each interaction among *rows*: unscripted runs of one stream, in order."""
    latest: dict[tuple[Any, Any], int] = {}
    found = []
    for row in rows:
        key = (row[PATH], row[CONTROL])
        if key not in latest or row[TS] - latest[key] > INTERACTION_GAP:
            found.append(row)
        latest[key] = row[TS]
    return found


def first_runs(
    connection: sa.Connection, rows: Sequence[Row], segment_of: Callable[[Row], int | str], high: int
) -> list[Row]:
    """The first run of each interaction, as far as it is among *rows*, in order; among all events up to seq *high*."""
    loads = set()
    streams: dict[tuple[int, int | str], list[Row]] = {}
    actions = [row for row in rows if row[ACTIVE] and row[KIND] == schema.RUN]
    for row in actions:
        if is_scripted(row):
            loads.add(bytes(row[LOAD]))
        else:
            streams.setdefault((row[ACTOR] or 0, segment_of(row)), []).append(row)
    firsts = {row[SEQ] for row in first_actions(connection, loads, high).values()}
    firsts |= {row[SEQ] for own in streams.values() for row in unscripted_firsts(own)}
    return [row for row in actions if row[SEQ] in firsts]


def first_actions(connection: sa.Connection, loads: Iterable[bytes], high: int) -> dict[tuple[bytes, int], Row]:
    """The first run of each action of some page loads, among the events up to seq *high*."""
    event = schema.event.c
    found: dict[tuple[bytes, int], Row] = {}
    for own in chunks(sorted(loads)):
        query = sa.select(*READ).where(
            event.page_load.in_(own),
            event.active == sa.literal_column("1"),
            event.kind == sa.literal_column("0"),
            event.action.is_not(None),
            event.seq <= high,
        )
        for row in connection.execute(query):
            key = (bytes(row[LOAD]), row[ACTION])
            before = found.get(key)
            if before is None or (row[TS], row[SEQ]) < (before[TS], before[SEQ]):
                found[key] = row
    return found


def visits_from(
    connection: sa.Connection, memory: Memory, stream: Stream, since: int, past: tuple[int, int], high: int
) -> tuple[list[Stay], int | None]:
    """The visits that the events of a stream make from *since* on, and the beginning of the first that is known.

    From that one on they are those in the store: nothing changed after the moment and seq *past*. None where
    everything until the end is made anew.
    """
    made: list[Stay] = []
    for row in _activities(connection, memory, stream, since, high):
        current = made[-1] if made else None
        if current is None or row[TS] - current.t1 > VISIT_GAP or row[TS] - current.t0 > VISIT_CAP:
            if (row[TS], row[SEQ]) > past and _is_visit(connection, row):
                return made, row[TS]
            current = Stay(row[TS], row[SEQ], row[TS], *stream)
            made.append(current)
        current.add(row)
    return made, None


def known_visits(connection: sa.Connection, stream: Stream, since: int, until: int | None) -> list[Stay]:
    """The visits in the store that a stream began in a range."""
    visit = schema.visit
    query = sa.select(*visit.columns).where(
        visit.c.actor == stream[0], visit.c.segment == stream[1], visit.c.t0 >= since
    )
    if until is not None:
        query = query.where(visit.c.t0 < until)
    return [Stay.of(tuple(row)) for row in connection.execute(query)]


def _is_visit(connection: sa.Connection, row: Row) -> bool:
    visit = schema.visit.c
    query = sa.select(visit.t0).where(visit.t0 == row[TS], visit.first == row[SEQ])
    return connection.execute(query).first() is not None


def _activities(connection: sa.Connection, memory: Memory, stream: Stream, since: int, high: int) -> Iterator[Row]:
    """The activities of a stream from *since* on, in order, some at a time."""
    contexts = memory.contexts(connection)
    text = memory.labels.read(connection, [(schema.SEGMENT, stream[1])])[schema.SEGMENT, stream[1]]
    after = (since, 0)
    while True:
        rows = rows_where(
            connection,
            f"{is_actor(stream[0])} AND ts >= {int(after[0])} AND (ts > {int(after[0])} OR seq > {int(after[1])}) "
            f"AND seq <= {int(high)} AND active = 1",
            limit=CHUNK,
        )
        for row in rows:
            if contexts[row[CONTEXT]].segment(row[AUTOMATED]) == text:
                yield row
        if len(rows) < CHUNK:
            return
        after = (rows[-1][TS], rows[-1][SEQ])


def rows_where(connection: sa.Connection, condition: str, *, limit: int | None = None) -> Sequence[Row]:
    """The rows that meet a condition, in order, with `COLUMNS`."""
    columns = ", ".join(_NULLS.get(name, name) for name in COLUMNS[:-1])
    statement = (
        f"SELECT {columns}, CASE WHEN kind = {schema.CUSTOM} THEN rest END FROM dut_event WHERE {condition} "
        "ORDER BY ts, seq"
    )
    return driver_rows(connection, statement if limit is None else f"{statement} LIMIT {limit}")


def is_actor(actor: int) -> str:
    """The condition for events of an actor, 0 for nobody."""
    return f"actor = {int(actor)}" if actor else "actor IS NULL"


def visit_row(row: Any) -> Row:
    """The columns of a visit in the order of its table."""
    return tuple(getattr(row, column.name) for column in schema.visit.columns)


def chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    """The values, as many at a time as a statement takes."""
    return (values[place : place + CHUNK] for place in range(0, len(values), CHUNK))
