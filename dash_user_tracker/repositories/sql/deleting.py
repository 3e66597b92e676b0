"""Events out of the store, for good: in small transactions, with what was counted of them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from . import schema
from .schema import event, label

#: Events that one transaction deletes: others wait for it.
AT_ONCE = 2000

#: Columns of labels that may say who somebody is.
_PERSONAL = {"who": schema.WHO, "person": schema.PERSON, "client": schema.CLIENT, "visitor": schema.VISITOR}


def uncount(connection: sa.Connection) -> None:
    """Forget what was counted: it is counted again, from the events that are left."""
    for table in (schema.rollup, schema.visit, schema.day):
        connection.execute(table.delete())
    connection.execute(schema.store.update().values(folded=0))


def delete_before(connection: sa.Connection, moment: int) -> int:
    """Delete some events before *moment*, the oldest first; how many."""
    oldest = sa.select(event.c.seq).where(event.c.ts < moment).order_by(event.c.ts).limit(AT_ONCE)
    return _delete(connection, connection.execute(oldest).scalars().all())


def delete_user(connection: sa.Connection, number: int) -> tuple[int, set[tuple[str, int]]]:
    """Delete some events of the user with a label; how many, and the personal labels that they had."""
    columns = [event.c[name] for name in _PERSONAL]
    found = connection.execute(
        sa.select(event.c.seq, *columns).where(event.c.actor == number, event.c.who == number).limit(AT_ONCE)
    ).all()
    labels = {(name, value) for row in found for name, value in zip(_PERSONAL, row[1:]) if value is not None}
    return _delete(connection, [row.seq for row in found]), labels


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


def _delete(connection: sa.Connection, found: Sequence[int]) -> int:
    for place in range(0, len(found), 500):
        connection.execute(event.delete().where(event.c.seq.in_(found[place : place + 500])))
    return len(found)
