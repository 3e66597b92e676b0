"""The reading primitives as SQL: page views, users, paths, events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ...events import CALLBACK, PAGE_VIEW, Event
from ..base import check_limit, check_range
from .connections import Memory
from .rows import COLUMNS, columns_of
from .schema import ANONYMOUS_ID, RUN, VIEW, event
from .texts import to_microseconds

Conditions = Sequence[sa.ColumnElement[bool]]

#: Written out: SQLite does not use a partial index for a bound value.
IS_VIEW = event.c.kind == sa.literal_column(str(VIEW))
#: The label of the user: of an actor it is not kept twice.
USER = sa.case((event.c.actor > 0, event.c.actor), else_=event.c.who)
IS_ANONYMOUS = event.c.who == sa.literal_column(str(ANONYMOUS_ID))


def between(start: datetime | None, end: datetime | None) -> list[sa.ColumnElement[bool]]:
    """Conditions for a half-open range; ValueError where it is none."""
    check_range(start, end)
    conditions: list[sa.ColumnElement[bool]] = []
    if start is not None:
        conditions.append(event.c.ts >= to_microseconds(start))
    if end is not None:
        conditions.append(event.c.ts < to_microseconds(end))
    return conditions


def views(start: datetime | None, end: datetime | None, automated: bool | None) -> list[sa.ColumnElement[bool]]:
    """Conditions for page views."""
    conditions = [IS_VIEW, *between(start, end)]
    if automated is not None:
        conditions.append(event.c.automated == int(automated))
    return conditions


def by_user(user_id: str, number: int | None) -> list[sa.ColumnElement[bool]]:
    """Conditions for one user; *number* is the label, None where the user was never met."""
    if number is None:
        return [sa.false()]
    if number == ANONYMOUS_ID:
        return [IS_ANONYMOUS]
    if not user_id:  # identifies nobody, so it is no actor
        return [event.c.who == number]
    return [event.c.actor == number]  # which has an index, and visitors are negative


def by_path(number: int | None) -> list[sa.ColumnElement[bool]]:
    """Conditions for one path, by the label: None for one that was never met."""
    return [sa.false()] if number is None else [event.c.path == number]


def by_name(name: str, contexts: Sequence[int]) -> list[sa.ColumnElement[bool]]:
    """Conditions for one kind of event; *contexts* are the labels whose name is *name*."""
    if name == PAGE_VIEW:
        return [event.c.kind == VIEW]
    if name == CALLBACK:
        return [event.c.kind == RUN]
    return [event.c.context.in_(contexts)] if contexts else [sa.false()]


def newest(conditions: Conditions, limit: int | None) -> sa.Select[Any]:
    """Whole rows, newest first; of equal moments the later arrival first."""
    check_limit(limit)
    columns = columns_of(COLUMNS)
    return sa.select(*columns).where(*conditions).order_by(event.c.ts.desc(), event.c.seq.desc()).limit(limit)


def count(conditions: Conditions, most: int | None = None) -> sa.Select[Any]:
    """How many rows there are; at *most* so many are looked at."""
    if most is None:
        return sa.select(sa.func.count()).select_from(event).where(*conditions)
    return sa.select(sa.func.count()).select_from(sa.select(event.c.ts).where(*conditions).limit(most).subquery())


def distinct(value: sa.ColumnElement[Any], conditions: Conditions) -> sa.Select[Any]:
    """How many values there are."""
    return sa.select(sa.func.count(sa.distinct(value))).where(*conditions)


def events_of(connection: sa.Connection, memory: Memory, query: sa.Select[Any]) -> list[Event]:
    """The events that a query for whole rows finds."""
    rows = connection.execute(query).all()
    values = memory.labels.read(connection, memory.decoder.labels_of(rows))
    return [memory.decoder.event(row, values) for row in rows]


#: Events that are read at once where all are asked for.
PAGE = 1000


def page_after(
    connection: sa.Connection, memory: Memory, conditions: Conditions, after: tuple[int, int] | None, last: int
) -> list[tuple[tuple[int, int], Event]]:
    """The next events, oldest first, up to seq *last*, each with its place; *after*: the place of the one before."""
    conditions = [*conditions, event.c.seq <= last]
    if after is not None:
        ts, seq = after
        conditions += [event.c.ts >= ts, sa.or_(event.c.ts > ts, event.c.seq > seq)]
    query = (
        sa.select(event.c.seq, *columns_of(COLUMNS)).where(*conditions).order_by(event.c.ts, event.c.seq).limit(PAGE)
    )
    rows = connection.execute(query).all()
    values = memory.labels.read(connection, memory.decoder.labels_of(rows))
    return [((row.ts, row.seq), memory.decoder.event(row, values)) for row in rows]
