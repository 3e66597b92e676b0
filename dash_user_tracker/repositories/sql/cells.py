"""The rows of `schema.rollup`: read, added to, written, and added up by days."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import sqlalchemy as sa

from . import schema
from . import sections as s
from .address import MYSQL
from .batches import Added
from .driver import driver_insert
from .sections import BY_DAY, HOUR, HOURLY, QUARTERLY, QUARTERS, Cells, Section, pack_cells, united, unpack_cells
from .stays import chunks

#: Period and segment.
Place = tuple[int, int]
#: What there is of each section.
Kept = dict[Section, dict[Place, Cells]]

#: Days that are added up in one transaction.
DAYS_AT_ONCE = 2


def gathered(section: Section, added: Sequence[Added]) -> dict[Place, Cells]:
    """What was added, by period and segment."""
    ts, segment, keys, numbers = (
        np.concatenate([getattr(one, name) for one in added]) for name in ("ts", "segment", "keys", "numbers")
    )
    if not len(ts):
        return {}
    if section.hourly:
        keys = ts // HOUR % 24 * section.span + keys
    if section.is_sets:
        keys, numbers = s.pairs_of(keys, numbers), np.zeros((len(keys), 0), np.int64)
    periods = ts // section.length
    order = np.lexsort((segment, periods))
    periods, segment, keys, numbers = periods[order], segment[order], keys[order], numbers[order]
    changes = (periods[1:] != periods[:-1]) | (segment[1:] != segment[:-1])
    starts = np.flatnonzero(np.concatenate(([True], changes))).tolist()
    return {
        (int(periods[start]), int(segment[start])): Cells(keys[start:end], numbers[start:end])
        for start, end in zip(starts, [*starts[1:], len(keys)])
    }


def add(connection: sa.Connection, added: Callable[[Section], Sequence[Added]]) -> None:
    """Add to what is kept: *added* says what, of each section."""
    for group in (HOURLY, QUARTERLY):
        more = {section: gathered(section, added(section)) for section in group}
        places = sorted({place for own in more.values() for place in own})
        if not places:
            continue
        kept = read(connection, group, [period for period, _ in places])
        rows = []
        for section in group:
            rows += _rows(section, more, kept)
        write(connection, rows)
        if group is QUARTERLY:
            mark_changed(connection, {period // QUARTERS for period, _ in places})


def _rows(section: Section, more: Kept, kept: Kept) -> list[tuple[int, int, int, bytes]]:
    """The rows that change, or begin to be, with what there is *more*."""
    rows = []
    same = s.SAME.get(section)
    for place in sorted(more[section]):
        parts = [own[section][place] for own in (kept, more) if place in own[section]]
        if same is not None and place not in kept[section]:
            others = [own[same][place] for own in (kept, more) if place in own[same]]
            if [s.same_cells(*both) for both in zip(parts, others[-1:])] == [True]:
                continue
            parts += others[:-1]
        rows.append((section.number, *place, pack_cells(section, united(section, parts))))
    return rows


def read(connection: sa.Connection, group: Sequence[Section], periods: Iterable[int], base: int = 0) -> Kept:
    """What is kept of some sections and periods."""
    kept: Kept = {section: {} for section in group}
    by_number = {base + section.number: section for section in group}
    table = schema.rollup
    for own in chunks(sorted(set(periods))):
        query = sa.select(table).where(table.c.section.in_(list(by_number)), table.c.period.in_(own))
        for row in connection.execute(query):
            section = by_number[row.section]
            kept[section][row.period, row.segment] = unpack_cells(section, row.packed)
    return kept


def write(connection: sa.Connection, rows: Sequence[tuple[int, int, int, bytes]]) -> None:
    """Keep the rows, in place of what was there."""
    if not rows:
        return
    ending = (
        "ON DUPLICATE KEY UPDATE packed = VALUES(packed)"
        if connection.dialect.name == MYSQL
        else "ON CONFLICT (section, period, segment) DO UPDATE SET packed = excluded.packed"
    )
    connection.exec_driver_sql(driver_insert(connection.dialect, schema.rollup, ending), list(rows))


def drop(connection: sa.Connection, group: Sequence[Section], periods: Iterable[int], base: int = 0) -> None:
    """Keep nothing of some sections and periods."""
    table = schema.rollup
    for own in chunks(sorted(set(periods))):
        connection.execute(
            table.delete().where(table.c.section.in_([base + one.number for one in group]), table.c.period.in_(own))
        )


def forget_hours(connection: sa.Connection, day: int, first: int, last: int) -> None:
    """Keep nothing of the hours *first* to *last* of a day."""
    kept = read(connection, HOURLY, [day])
    drop(connection, HOURLY, [day])
    rows = []
    for section, own in kept.items():
        for place, cells in own.items():
            hours = (s.split_pairs(cells.keys)[0] if section.is_sets else cells.keys) // section.span
            left = (hours < first) | (hours > last)
            if left.any():
                rows.append((section.number, *place, pack_cells(section, Cells(cells.keys[left], cells.numbers[left]))))
    write(connection, rows)


def mark_changed(connection: sa.Connection, days: Iterable[int]) -> None:
    """The quarters of *days* are to be added up, again."""
    days = sorted(set(days))
    drop(connection, QUARTERLY, days, BY_DAY)
    for own in chunks(days):
        known = set(connection.execute(sa.select(schema.day.c.day).where(schema.day.c.day.in_(own))).scalars())
        fresh = [{"day": day} for day in own if day not in known]
        if fresh:
            connection.execute(schema.day.insert(), fresh)


def add_up_days(connection: sa.Connection) -> bool:
    """Add up the quarters of some days that are over; false where none is left."""
    latest = connection.execute(sa.select(sa.func.max(schema.day.c.day))).scalar_one()
    if latest is None:
        return False
    query = sa.select(schema.day.c.day).where(schema.day.c.day < latest).order_by(schema.day.c.day).limit(DAYS_AT_ONCE)
    days = connection.execute(query).scalars().all()
    for day in days:
        quarters = range(day * QUARTERS, (day + 1) * QUARTERS)
        kept = read(connection, QUARTERLY, quarters)
        rows = []
        for section in QUARTERLY:
            for segment, parts in _by_segment(section, kept).items():
                rows.append((BY_DAY + section.number, day, segment, pack_cells(section, united(section, parts))))
        write(connection, rows)
        connection.execute(schema.day.delete().where(schema.day.c.day == day))
    return bool(days)


def _by_segment(section: Section, kept: Mapping[Section, Mapping[Place, Cells]]) -> dict[int, list[Cells]]:
    found: dict[int, list[Cells]] = {}
    own = kept[section]
    same = s.SAME.get(section)
    other = {segment for _, segment in own}
    for place, cells in own.items() if same is None else {**kept[same], **own}.items():
        if same is None or place[1] in other:
            found.setdefault(place[1], []).append(cells)
    return found
