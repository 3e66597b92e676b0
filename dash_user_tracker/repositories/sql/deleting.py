"""Events out of the store, for good: in small transactions, each of which leaves right counts.

Every transaction deletes the oldest of what is to go, makes the visits again that lost their beginning, and marks the
periods whose counts are void. Texts that no event has any more go last: who somebody was, and where.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from . import recounting, schema
from .connections import Memory
from .driver import driver_insert
from .primitives import USER
from .schema import event, label, visit
from .sections import QUARTER
from .stays import INTERACTION_GAP, Stay, chunks, first_actions, known_visits, visits_from

#: Events that one transaction deletes: others wait for it.
AT_ONCE = 2000

#: Labels that one transaction deletes.
LABELS_AT_ONCE = 5000

#: Columns of labels that may say who somebody is, or what the person did: not what an app is called.
_TELLING = [
    (USER, schema.WHO),
    (event.c.person, schema.PERSON),
    (event.c.client, schema.CLIENT),
    (event.c.visitor, schema.VISITOR),
    (event.c.page, schema.PAGE),
    (event.c.path, schema.PAGE),
    (event.c.referrer, schema.REFERRER),
    (event.c.callback, schema.CALLBACK),
    (event.c.control, schema.CONTROL),
    (event.c.error, schema.ERROR),
]

#: A row of an event that is an action the page script numbered.
_IS_ACTION = sa.and_(
    event.c.active == sa.literal_column("1"),
    event.c.kind == sa.literal_column("0"),
    event.c.action.is_not(None),
    event.c.page_load.is_not(None),
)


def delete_before(connection: sa.Connection, memory: Memory, moment: int) -> tuple[int, bool]:
    """Delete some events before *moment*, the oldest first; how many, and whether there may be more."""
    oldest = sa.select(event.c.ts).where(event.c.ts < moment).order_by(event.c.ts)
    first = connection.execute(oldest.limit(1)).scalar()
    if first is None:
        return 0, False
    following = connection.execute(oldest.limit(1).offset(AT_ONCE)).scalar()
    bound = moment if following is None else max(following, first + 1)
    gone = sa.select(*visit.columns).where(visit.c.t0 < bound, visit.c.t1 >= bound)
    cut = [Stay.of(tuple(row)) for row in connection.execute(gone)]
    actions = _actions(connection, [event.c.ts < bound])
    count = connection.execute(event.delete().where(event.c.ts < bound)).rowcount
    connection.execute(visit.delete().where(visit.c.t0 < bound))
    _lower_watermark(connection, memory)
    recounting.drop_before(connection, bound // QUARTER)
    void = _remake(connection, memory, cut, (bound, 0)) | _moved(connection, memory, actions)
    void |= {bound // QUARTER, (bound + INTERACTION_GAP) // QUARTER}
    recounting.mark_void(connection, [quarter for quarter in void if quarter >= bound // QUARTER])
    return count, following is not None


def delete_user(connection: sa.Connection, memory: Memory, number: int) -> int:
    """Delete some events of the user with a label; how many."""
    found = connection.execute(
        sa.select(event.c.seq, event.c.ts)
        .where(event.c.actor == number)
        .order_by(event.c.ts, event.c.seq)
        .limit(AT_ONCE)
    ).all()
    if not found:
        return 0
    bound: tuple[int, int] = (found[-1].ts, found[-1].seq)
    begun = [
        visit.c.actor == number,
        sa.or_(visit.c.t0 < bound[0], sa.and_(visit.c.t0 == bound[0], visit.c.first <= bound[1])),
    ]
    gone = [Stay.of(tuple(row)) for row in connection.execute(sa.select(*visit.columns).where(*begun))]
    actions: set[tuple[bytes, int]] = set()
    for own in chunks([row.seq for row in found]):
        actions |= _actions(connection, [event.c.seq.in_(own)])
        connection.execute(event.delete().where(event.c.seq.in_(own)))
    connection.execute(visit.delete().where(*begun))
    _lower_watermark(connection, memory)
    void = {moment // QUARTER for row in found for moment in (row.ts, row.ts + INTERACTION_GAP)}
    void |= {stay.t0 // QUARTER for stay in gone}
    void |= _remake(connection, memory, [stay for stay in gone if stay.t1 >= bound[0]], bound)
    void |= _moved(connection, memory, actions)
    recounting.mark_void(connection, void)
    return len(found)


@attrs.frozen
class Unused:
    """Labels, each a kind and a number, that no event had at one moment; *last*: the last event then, by seq and id."""

    labels: Sequence[tuple[int, int]]
    last: tuple[int, bytes] | None


def unused_labels(connection: sa.Connection) -> Unused:
    """The labels that no event has. This reads all events: it is for a transaction that nobody waits for."""
    last = connection.execute(sa.select(event.c.seq, event.c.id).order_by(event.c.seq.desc()).limit(1)).first()
    used = _used(connection)
    found = [
        (kind, number)
        for kind in sorted(used)
        for number in connection.execute(sa.select(label.c.id).where(label.c.kind == kind)).scalars()
        if number not in used[kind]
    ]
    return Unused(found, None if last is None else (last.seq, bytes(last.id)))


def delete_labels(connection: sa.Connection, unused: Unused) -> bool:
    """Delete the *unused* labels, but for those that events have got since; false where that cannot be told."""
    since = 0
    if unused.last is not None:
        since = unused.last[0]
        key = connection.execute(sa.select(event.c.id).where(event.c.seq == since)).scalar()
        if key is None or bytes(key) != unused.last[1]:
            return False  # it was deleted, and the numbers of events up to it may have been given again
    used = _used(connection, event.c.seq > since)
    by_kind: dict[int, list[int]] = {}
    for kind, number in unused.labels:
        if number not in used[kind]:
            by_kind.setdefault(kind, []).append(number)
    for kind, numbers in by_kind.items():
        for own in chunks(numbers):
            connection.execute(label.delete().where(label.c.kind == kind, label.c.id.in_(own)))
    if by_kind:  # no process may use their numbers any more
        connection.execute(schema.store.update().values(erased=schema.store.c.erased + 1))
    return True


def _used(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> dict[int, set[int]]:
    """The numbers of labels that some events have, by kind."""
    used: dict[int, set[int]] = {schema.WHO: {schema.ANONYMOUS_ID}}
    for column, kind in _TELLING:
        query = sa.select(column).where(column.is_not(None), *conditions).distinct()
        used.setdefault(kind, set()).update(connection.execute(query).scalars())
    return used


def _lower_watermark(connection: sa.Connection, memory: Memory) -> None:
    """The numbers of the last events are given again: what gets them is not in the roll-ups."""
    last = connection.execute(sa.select(sa.func.max(event.c.seq))).scalar_one() or 0
    if last < memory.state.folded:
        connection.execute(schema.store.update().values(folded=last))
        memory.state = attrs.evolve(memory.state, folded=last)


def _remake(connection: sa.Connection, memory: Memory, cut: Iterable[Stay], bound: tuple[int, int]) -> set[int]:
    """Make the visits again of which events are left after *bound*; the quarters of a day that they are in."""
    void: set[int] = set()
    rows: list[Sequence[Any]] = []
    for stream in {(stay.actor, stay.segment) for stay in cut}:
        made, until = visits_from(connection, memory, stream, bound[0], bound, memory.state.folded)
        for stay in known_visits(connection, stream, bound[0], until):
            connection.execute(visit.delete().where(visit.c.t0 == stay.t0, visit.c.first == stay.first))
            void.add(stay.t0 // QUARTER)
        rows += [stay.to_row() for stay in made]
        void |= {stay.t0 // QUARTER for stay in made}
    if rows:
        connection.exec_driver_sql(driver_insert(connection.dialect, visit), rows)
    return void


def _actions(connection: sa.Connection, conditions: Sequence[sa.ColumnElement[bool]]) -> set[tuple[bytes, int]]:
    """Page load and number of the actions of some events."""
    query = sa.select(event.c.page_load, event.c.action).where(*conditions, _IS_ACTION).distinct()
    return {(bytes(row[0]), row[1]) for row in connection.execute(query)}


def _moved(connection: sa.Connection, memory: Memory, actions: set[tuple[bytes, int]]) -> set[int]:
    """The quarters of a day of what now is the first run of *actions* whose first run is gone."""
    found = first_actions(connection, {load for load, _ in actions}, memory.state.folded)
    return {row[1] // QUARTER for key, row in found.items() if key in actions}
