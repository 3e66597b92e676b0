"""Events out of the store, for good: in small transactions, each of which leaves right counts.

Every transaction deletes the oldest of what is to go, makes the visits again that lost their beginning, and marks the
periods whose counts are void.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import sqlalchemy as sa

from . import recounting, schema
from .cells import QUARTER
from .connections import Memory
from .labels import driver_insert
from .schema import event, label, visit
from .stays import INTERACTION_GAP, Stay, chunks, first_actions, known_visits, visits_from

#: Events that one transaction deletes: others wait for it.
AT_ONCE = 2000

#: Columns of labels that may say who somebody is.
_PERSONAL = {"who": schema.WHO, "person": schema.PERSON, "client": schema.CLIENT, "visitor": schema.VISITOR}

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


def delete_user(connection: sa.Connection, memory: Memory, number: int) -> tuple[int, set[tuple[str, int]]]:
    """Delete some events of the user with a label; how many, and the personal labels that they had."""
    columns = [event.c[name] for name in _PERSONAL]
    found = connection.execute(
        sa.select(event.c.seq, event.c.ts, *columns)
        .where(event.c.actor == number, event.c.who == number)
        .order_by(event.c.ts, event.c.seq)
        .limit(AT_ONCE)
    ).all()
    if not found:
        return 0, set()
    labels = {(name, value) for row in found for name, value in zip(_PERSONAL, row[2:]) if value is not None}
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
    return len(found), labels


def delete_labels(connection: sa.Connection, labels: set[tuple[str, int]]) -> None:
    """Delete those of the personal *labels* that no event has any more."""
    gone = False
    for name, number in labels:
        if name == "who" and number == schema.ANONYMOUS_ID:
            continue
        used = sa.select(event.c.seq).where(event.c[name] == number).limit(1)
        if connection.execute(used).first() is None:
            connection.execute(label.delete().where(label.c.kind == _PERSONAL[name], label.c.id == number))
            gone = True
    if gone:  # no process may use their numbers any more
        connection.execute(schema.store.update().values(erased=schema.store.c.erased + 1))


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
