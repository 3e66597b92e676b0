"""Periods that lost events: their counts are void, and made again from the events that are left.

The periods are quarters of a day: whoever deletes marks them in the same transaction, whoever folds counts one in each
transaction. In between, questions read the events of these periods and not their counts.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from . import schema
from .cells import BY_DAY, CORE_SECTIONS, DAY, HOUR, INTERACTIONS, QUARTER, SECTIONS, Core, Detail
from .connections import Memory
from .labels import driver_insert
from .stays import (
    ACTIVE,
    ACTOR,
    AUTOMATED,
    CONTEXT,
    INTERACTION_GAP,
    KIND,
    LOAD,
    SEQ,
    TS,
    Row,
    Stay,
    chunks,
    first_actions,
    is_scripted,
    rows_where,
    unscripted_firsts,
)

_HOURS = QUARTER // HOUR
_QUARTERS = DAY // QUARTER


def mark_void(connection: sa.Connection, quarters: Iterable[int]) -> None:
    """The counts of *quarters* of a day, and of their days, are void."""
    for table, column, found in (
        (schema.void, schema.void.c.quarter, set(quarters)),
        (schema.day, schema.day.c.day, {quarter // _QUARTERS for quarter in quarters}),
    ):
        for own in chunks(sorted(found)):
            if table is schema.day:
                sections = [section + BY_DAY for section in SECTIONS]
                rollup = schema.rollup
                connection.execute(rollup.delete().where(rollup.c.section.in_(sections), rollup.c.period.in_(own)))
            known = set(connection.execute(sa.select(column).where(column.in_(own))).scalars())
            fresh = [{column.name: number} for number in own if number not in known]
            if fresh:
                connection.execute(table.insert(), fresh)


def void_quarters(connection: sa.Connection) -> set[int]:
    """The quarters of a day whose counts are void."""
    return set(connection.execute(sa.select(schema.void.c.quarter)).scalars())


def drop_before(connection: sa.Connection, quarter: int) -> None:
    """Forget what was counted before a *quarter* of a day: there are no such events any more."""
    period = schema.rollup.c.period
    day = quarter // _QUARTERS
    for section in SECTIONS:
        first = quarter * _HOURS if section in CORE_SECTIONS else quarter
        for own, least in ((section, first), (section + BY_DAY, day)):
            connection.execute(schema.rollup.delete().where(schema.rollup.c.section == own, period < least))
    connection.execute(schema.day.delete().where(schema.day.c.day < day))
    connection.execute(schema.void.delete().where(schema.void.c.quarter < quarter))


def recount(connection: sa.Connection, memory: Memory) -> bool:
    """Count a void quarter again; false where none is left."""
    quarter = connection.execute(sa.select(sa.func.min(schema.void.c.quarter))).scalar_one()
    if quarter is None:
        return False
    rollup = schema.rollup
    first = quarter * _HOURS
    for section in SECTIONS:
        low, high = (first, first + _HOURS - 1) if section in CORE_SECTIONS else (quarter, quarter)
        connection.execute(rollup.delete().where(rollup.c.section == section, rollup.c.period.between(low, high)))
    rows = _counted(connection, memory, quarter)
    if rows:
        connection.exec_driver_sql(driver_insert(connection.dialect, rollup), rows)
    connection.execute(schema.void.delete().where(schema.void.c.quarter == quarter))
    return True


def _counted(connection: sa.Connection, memory: Memory, quarter: int) -> list[tuple[int, int, int, bytes]]:
    """What there is to count in a quarter of a day, as rows of `schema.rollup`."""
    folded = memory.state.folded
    low, high = quarter * QUARTER, (quarter + 1) * QUARTER
    contexts = memory.contexts(connection)
    cores: dict[tuple[int, int], Core] = {}
    details: dict[int, Detail] = {}
    around = rows_where(connection, f"ts >= {int(low - INTERACTION_GAP)} AND ts < {int(high)} AND seq <= {int(folded)}")
    texts = {(row[CONTEXT], row[AUTOMATED]): contexts[row[CONTEXT]].segment(row[AUTOMATED]) for row in around}
    wanted = {(schema.SEGMENT, text) for text in texts.values()}
    numbers = memory.labels.look_up(connection, wanted)  # all were folded
    segments = {key: numbers[schema.SEGMENT, text] for key, text in texts.items()}
    for row in around:
        if row[TS] >= low:
            segment, values = segments[row[CONTEXT], row[AUTOMATED]], contexts[row[CONTEXT]].values
            core = cores.setdefault((row[TS] // HOUR, segment), Core())
            core.add(row, values["cause"], values["outcome"])
            details.setdefault(segment, Detail()).add(row, values["cause"], values["outcome"])
    for row in _firsts(connection, around, segments, folded):
        if row[TS] >= low:
            segment = segments[row[CONTEXT], row[AUTOMATED]]
            cores[row[TS] // HOUR, segment].totals[INTERACTIONS] += 1
            details[segment].add_interaction(row[ACTOR], 1)
    visit = schema.visit
    for found in connection.execute(sa.select(*visit.columns).where(visit.c.t0 >= low, visit.c.t0 < high)):
        stay = Stay.of(tuple(found))
        cores[stay.t0 // HOUR, stay.segment].add_visit(stay.t1 - stay.t0, stay.bounce, 1)
        details[stay.segment].add_visit(stay.actor, 1)
    rows = [
        (section, hour, segment, packed)
        for (hour, segment), core in cores.items()
        for section, packed in core.packed().items()
    ]
    rows += [
        (section, quarter, segment, packed)
        for segment, detail in details.items()
        for section, packed in detail.packed().items()
    ]
    return rows


def _firsts(
    connection: sa.Connection, rows: Iterable[Row], segments: dict[tuple[int, int], int], folded: int
) -> list[Row]:
    """The first run of each interaction, among *rows* in order."""
    actions = [row for row in rows if row[ACTIVE] and row[KIND] == schema.RUN]
    scripted = [row for row in actions if is_scripted(row)]
    known = first_actions(connection, {bytes(row[LOAD]) for row in scripted}, folded)
    firsts = {row[SEQ] for row in known.values()}
    streams: dict[tuple[int, int], list[Row]] = {}
    for row in actions:
        if not is_scripted(row):
            streams.setdefault((row[ACTOR] or 0, segments[row[CONTEXT], row[AUTOMATED]]), []).append(row)
    found = [row for row in scripted if row[SEQ] in firsts]
    for own in streams.values():
        found += unscripted_firsts(own)
    return found
