"""Periods that lost events: their counts are void, and made again from the events that are left.

The periods are quarters of a day: whoever deletes marks them in the same transaction, whoever folds counts one in each
transaction. In between, questions read the events of these periods and not their counts.
"""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from . import cells, schema
from . import sections as s
from .batches import Batch, Derived
from .connections import Memory
from .sections import BY_DAY, HOUR, QUARTER, QUARTERLY, QUARTERS
from .stays import (
    AUTOMATED,
    CONTEXT,
    INTERACTION_GAP,
    TS,
    Stay,
    chunks,
    first_runs,
    rows_where,
)

_HOURS = QUARTER // HOUR


def mark_void(connection: sa.Connection, quarters: Iterable[int]) -> None:
    """The counts of *quarters* of a day, and of their days, are void."""
    wanted = sorted(set(quarters))
    quarter = schema.void.c.quarter
    for own in chunks(wanted):
        known = set(connection.execute(sa.select(quarter).where(quarter.in_(own))).scalars())
        fresh = [{"quarter": number} for number in own if number not in known]
        if fresh:
            connection.execute(schema.void.insert(), fresh)
    cells.mark_changed(connection, {number // QUARTERS for number in wanted})


def void_quarters(connection: sa.Connection) -> set[int]:
    """The quarters of a day whose counts are void."""
    return set(connection.execute(sa.select(schema.void.c.quarter)).scalars())


def drop_before(connection: sa.Connection, quarter: int) -> None:
    """Forget what was counted before a *quarter* of a day: there are no such events any more."""
    period = schema.rollup.c.period
    day, part = divmod(quarter, QUARTERS)
    for section in s.SECTIONS:
        for number, least in ((section.number, day if section.hourly else quarter), (BY_DAY + section.number, day)):
            connection.execute(schema.rollup.delete().where(schema.rollup.c.section == number, period < least))
    if part:
        cells.forget_hours(connection, day, 0, part * _HOURS - 1)
    connection.execute(schema.day.delete().where(schema.day.c.day < day))
    connection.execute(schema.void.delete().where(schema.void.c.quarter < quarter))


def recount(connection: sa.Connection, memory: Memory) -> bool:
    """Count a void quarter again; false where none is left."""
    quarter = connection.execute(sa.select(sa.func.min(schema.void.c.quarter))).scalar_one()
    if quarter is None:
        return False
    day, part = divmod(quarter, QUARTERS)
    cells.forget_hours(connection, day, part * _HOURS, (part + 1) * _HOURS - 1)
    cells.drop(connection, QUARTERLY, [quarter])
    batch, derived = _counted(connection, memory, quarter)
    cells.add(connection, lambda section: [batch.added(section), *derived.added(section)])
    connection.execute(schema.void.delete().where(schema.void.c.quarter == quarter))
    return True


def _counted(connection: sa.Connection, memory: Memory, quarter: int) -> tuple[Batch, Derived]:
    """What there is to count in a quarter of a day."""
    folded = memory.state.folded
    low, high = quarter * QUARTER, (quarter + 1) * QUARTER
    contexts = memory.contexts(connection)
    around = rows_where(connection, f"ts >= {int(low - INTERACTION_GAP)} AND ts < {int(high)} AND seq <= {int(folded)}")
    texts = {(row[CONTEXT], row[AUTOMATED]): contexts[row[CONTEXT]].segment(row[AUTOMATED]) for row in around}
    numbers = memory.labels.look_up(connection, {(schema.SEGMENT, text) for text in texts.values()})  # all were folded
    segments = {key: numbers[schema.SEGMENT, text] for key, text in texts.items()}
    derived = Derived()
    for row in first_runs(connection, around, lambda row: segments[row[CONTEXT], row[AUTOMATED]], folded):
        if row[TS] >= low:
            derived.add_interaction(row, segments[row[CONTEXT], row[AUTOMATED]])
    visit = schema.visit
    for found in connection.execute(sa.select(*visit.columns).where(visit.c.t0 >= low, visit.c.t0 < high)):
        derived.add_visit(Stay.of(tuple(found)))
    return Batch([row for row in around if row[TS] >= low], contexts, segments), derived
