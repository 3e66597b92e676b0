"""The part of a history that a question needs, where roll-ups cannot answer it.

`metrics` computes the answer from this part as it would from all events: what is left out cannot change it. Rows come
in pages, of one moment of the store; what a range holds, and filters select, is in memory then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from itertools import islice
from typing import Any

import attrs
import sqlalchemy as sa

from ...events import ANONYMOUS, Event
from ...metrics.answers import Timeline, Visit
from ...metrics.coverage import uses
from ...metrics.error_groups import place_of
from ...metrics.history import History
from ...metrics.records import Record, is_error, is_selected, records_of
from ...metrics.tables import Rows
from ...metrics.visit_rows import timeline
from . import schema
from .rollups import Rollups
from .rows import COLUMNS, columns_of
from .schema import event, visit
from .sections import Range
from .stays import (
    AUTOMATED,
    CONTEXT,
    INTERACTION_GAP,
    READ,
    SEQ,
    TS,
    VISIT_CAP,
    VISIT_GAP,
    Stay,
    chunks,
    first_runs,
)
from .texts import from_column, id_to_bytes, to_microseconds

#: Rows that are read at once, and where the first of them mostly is enough.
PAGE = 2000
FEW_AT_ONCE = 5

#: Visits of a list that are read one by one; of more, all in the range are.
FEW = 200

#: What the metrics read of an event.
_READ = frozenset(
    {
        *("app_name", "automated", "base_url", "callback", "cause", "duration_ms", "email", "environment", "error"),
        *("full_name", "group", "navigation", "outcome", "output", "page_load", "path", "properties", "referrer"),
        *("release", "request_bytes", "response_bytes", "route", "status", "trigger", "action", "user_id"),
        *("user_agent", "visitor"),
    }
)

#: Events of runs that failed, found by their index.
FAILED = event.c.error.is_not(None)
IS_RUN = event.c.kind == sa.literal_column(str(schema.RUN))
IS_ACTIVE = event.c.active == sa.literal_column("1")

Conditions = Sequence[sa.ColumnElement[bool]]
Stream = tuple[int, str]  # actor or 0, text of the segment


@attrs.frozen(eq=False, slots=False)
class Part(History):
    """Some events, with whole visits; which runs are the first of an interaction was found among all events."""

    firsts: frozenset[int] = frozenset()  # positions

    @cached_property
    def interactions(self) -> set[int]:
        return set(self.firsts)


def conditions_of(rollups: Rollups) -> list[sa.ColumnElement[bool]]:
    """Conditions for the events of all whose visits the filters may select."""
    filters = rollups.filters
    found = list(rollups.conditions())
    if filters.user == ANONYMOUS:
        found.append(sa.or_(event.c.actor.is_(None), event.c.actor < 0))
    elif filters.user is not None:
        key = (schema.WHO, filters.user)
        number = rollups.memory.labels.look_up(rollups.connection, [key]).get(key)
        found.append(sa.false() if number is None else event.c.actor == number)
    return found


def selected(
    rollups: Rollups,
    start: datetime | None,
    end: datetime | None,
    *conditions: sa.ColumnElement[bool],
    kept: Callable[[Record], bool] = lambda record: True,
) -> History:
    """The events in a range that the filters select, for questions about neither visits nor interactions."""
    own = [*conditions_of(rollups), *conditions]
    if start is not None:
        own.append(event.c.ts >= to_microseconds(start))
    if end is not None:
        own.append(event.c.ts < to_microseconds(end))
    found = []
    for page in _pages(rollups, own):
        for record in records_of([one for _, one in page]):
            if is_selected(record, rollups.filters) and kept(record):
                found.append(record.event)
    return History.of(found)


def failed(rollups: Rollups, start: datetime | None, end: datetime | None) -> History:
    """The failed runs in a range, and the first before it of each type and place that failed in it."""
    found = selected(rollups, start, end, IS_RUN, FAILED, kept=lambda record: is_error(record.data))
    if start is None:
        return found
    moments = [event.c.ts >= to_microseconds(start)]
    if end is not None:
        moments.append(event.c.ts < to_microseconds(end))
    numbers = set(rollups.connection.execute(sa.select(event.c.error).where(FAILED, *moments).distinct()).scalars())
    plain, vague = _places(rollups)
    own = [*conditions_of(rollups), IS_RUN, event.c.ts < to_microseconds(start)]
    before = []
    for number in sorted(numbers & plain):
        pages = _pages(rollups, [*own, event.c.error == number], at_once=FEW_AT_ONCE)
        records = (record for page in pages for record in records_of([one for _, one in page]))
        before += [record.event for record in islice(filter(partial(_fails, rollups), records), 1)]
    if numbers & vague:
        known = set()

        def kept(record: Record) -> bool:
            place = place_of(record.data)
            fresh = is_error(record.data) and place not in known
            known.add(place)
            return fresh

        for some in chunks(sorted(vague)):
            history = selected(rollups, None, start, IS_RUN, event.c.error.in_(some), kept=kept)
            before += [record.event for record in history.records]
    before.sort(key=lambda one: one.timestamp)
    return History.of([*before, *(record.event for record in found.records)])


def _fails(rollups: Rollups, record: Record) -> bool:
    return is_error(record.data) and is_selected(record, rollups.filters)


def _places(rollups: Rollups) -> tuple[set[int], set[int]]:
    """The labels that say where runs failed, and those of which `error_groups.place_of` finds it otherwise."""
    query = sa.select(schema.label.c.id, schema.label.c.value).where(schema.label.c.kind == schema.ERROR)
    plain: set[int] = set()
    vague: set[int] = set()
    for number, value in rollups.connection.execute(query):
        error = json.loads(from_column(value))
        said = error is not None and error["type"] and error["where"] and not error["type"].startswith("HTTP ")
        (plain if said else vague).add(number)
    return plain, vague


def last_uses(rollups: Rollups, end: datetime) -> History:
    """The last use of everything before *end*."""
    last: dict[tuple[str, str], tuple[int, Event]] = {}
    number = 0

    def kept(record: Record) -> bool:
        nonlocal number
        number += 1
        last.update(dict.fromkeys(uses(record), (number, record.event)))
        return False

    selected(rollups, None, end, kept=kept)
    found = dict(last.values())
    return History.of([found[place] for place in sorted(found)])


def first_and_recent(rollups: Rollups, since: datetime, end: datetime) -> History:
    """The first activity of each person, and all from *since* until *end*."""
    known = set()

    def kept(record: Record) -> bool:
        user = record.actor.user
        fresh = user not in known
        known.add(user)
        return fresh or record.at >= since

    return selected(rollups, None, end, IS_ACTIVE, event.c.actor > 0, kept=kept)


def last_activities(rollups: Rollups, end: datetime | None) -> History:
    """The last activity of each person."""
    last: dict[str | None, Event] = {}

    def kept(record: Record) -> bool:
        last[record.actor.user] = record.event
        return False

    selected(rollups, None, end, IS_ACTIVE, event.c.actor > 0, kept=kept)
    return History.of(last.values())


def with_visits(rollups: Rollups, start: datetime | None, end: datetime | None) -> History:
    """The events in a range, and the whole visits that any of them belongs to."""
    low, high = rollups.range_of(start, end)
    if low >= high or not rollups.segments:
        return Part(())
    begun: dict[Stream, tuple[int, int]] = {}  # where visits began that reach into the range
    late: set[Stream] = set()  # whose visits may go on after it
    until = high
    around = sa.select(*visit.columns).where(
        visit.c.t0 >= low - VISIT_CAP,
        visit.c.t0 < high,
        sa.or_(sa.and_(visit.c.t0 < low, visit.c.t1 >= low), visit.c.t1 >= high - VISIT_GAP),
        visit.c.segment.in_(rollups.segments),
    )
    for row in rollups.connection.execute(around):
        stay = Stay.of(tuple(row))
        stream = (stay.actor, rollups.segments[stay.segment])
        if stay.t0 < low <= stay.t1:
            begun[stream] = (stay.t0, stay.first)
        if stay.t1 >= high - VISIT_GAP:
            late.add(stream)
            until = max(until, stay.t1 + VISIT_GAP + 1)
    since = min([low, *(place[0] for place in begun.values())])

    def kept(row: Any, stream: Stream) -> bool:
        if row.ts < low:
            return stream in begun and (row.ts, row.seq) >= begun[stream]
        return row.ts < high or stream in late

    return _part(rollups, (since, until), conditions_of(rollups), kept)


def visit_by_id(rollups: Rollups, visit_id: str) -> Timeline | None:
    """`MetricsReader.get_visit`."""
    query = sa.select(event.c.ts, event.c.seq).where(event.c.id == id_to_bytes(visit_id)[0])
    place = rollups.connection.execute(query).first()
    if place is None:
        return None
    own = sa.select(*visit.columns).where(visit.c.t0 == place.ts, visit.c.first == place.seq)
    row = rollups.connection.execute(own).first()
    return None if row is None else timeline(_visit(rollups, Stay.of(tuple(row))), visit_id)


def latest_visits(rollups: Rollups, whole: Range, limit: int) -> Rows[Visit]:
    """`MetricsReader.get_visits`, where filters select whole visits, of a few."""
    own = [visit.c.t0 >= whole[0], visit.c.t0 < whole[1], visit.c.segment.in_(rollups.segments)]
    total = rollups.connection.execute(sa.select(sa.func.count()).select_from(visit).where(*own)).scalar_one()
    newest = sa.select(visit.c.t0).where(*own).order_by(visit.c.t0.desc()).limit(limit)
    moments = list(rollups.connection.execute(newest).scalars()) if limit else []
    found = []
    if moments:  # with those that began when the last of them did: ids say which of these are shown
        query = sa.select(*visit.columns).where(*own, visit.c.t0 >= moments[-1])
        for row in rollups.connection.execute(query).all():
            stay = Stay.of(tuple(row))
            history = _visit(rollups, stay)
            found.append(timeline(history, history.records[0].event.id))
    rows = [one.visit for one in found if one is not None]
    rows.sort(key=lambda row: row.id)
    rows.sort(key=lambda row: row.started, reverse=True)  # stable
    return Rows(tuple(rows[:limit]), total=total)


# -- inside ----------------------------------------------------------------------------------


def _visit(rollups: Rollups, stay: Stay) -> Part:
    """The events of one visit."""
    text = rollups.segments[stay.segment]
    actor = event.c.actor == stay.actor if stay.actor else event.c.actor.is_(None)

    def kept(row: Any, stream: Stream) -> bool:
        return stream[1] == text and (row.ts, row.seq) >= (stay.t0, stay.first) and row.path is not None

    return _part(rollups, (stay.t0, stay.t1 + VISIT_GAP + 1), [actor], kept)


def _part(rollups: Rollups, whole: Range, conditions: Conditions, kept: Callable[[Any, Stream], bool]) -> Part:
    firsts = _firsts(rollups, whole, conditions)
    contexts = rollups.memory.contexts(rollups.connection)
    events: list[Event] = []
    positions = []
    for page in _pages(rollups, [*conditions, event.c.ts >= whole[0], event.c.ts < whole[1]]):
        for row, one in page:
            if kept(row, (row.actor or 0, contexts[row.context].segment(row.automated))):
                if row.seq in firsts:
                    positions.append(len(events))
                events.append(one)
    return Part(records_of(events), frozenset(positions))


def _firsts(rollups: Rollups, whole: Range, conditions: Conditions) -> set[int]:
    """The first run of each interaction in a range, by seq."""
    query = (
        sa.select(*READ)
        .where(
            IS_RUN,
            IS_ACTIVE,
            event.c.ts >= whole[0] - INTERACTION_GAP,
            event.c.ts < whole[1],
            event.c.seq <= rollups.folded,
            *conditions,
        )
        .order_by(event.c.ts, event.c.seq)
    )
    contexts = rollups.memory.contexts(rollups.connection)
    rows = rollups.connection.execute(query).all()
    firsts = first_runs(
        rollups.connection, rows, lambda row: contexts[row[CONTEXT]].segment(row[AUTOMATED]), rollups.folded
    )
    return {row[SEQ] for row in firsts if row[TS] >= whole[0]}


def _pages(rollups: Rollups, conditions: Conditions, at_once: int = PAGE) -> Iterator[list[tuple[Any, Event]]]:
    """Rows and their events, oldest first."""
    after: tuple[int, int] | None = None
    while True:
        own = [*conditions, event.c.seq <= rollups.folded]
        if after is not None:
            own += [event.c.ts >= after[0], sa.or_(event.c.ts > after[0], event.c.seq > after[1])]
        query = sa.select(event.c.seq, *columns_of(COLUMNS)).where(*own).order_by(event.c.ts, event.c.seq)
        rows = rollups.connection.execute(query.limit(at_once)).all()
        decoder = rollups.memory.decoder
        values = rollups.memory.labels.read(rollups.connection, decoder.labels_of(rows))
        yield [(row, _slim(decoder.event(row, values))) for row in rows]
        if len(rows) < at_once:
            return
        after = (rows[-1].ts, rows[-1].seq)


def _slim(one: Event) -> Event:
    data: Mapping[str, Any] = {key: value for key, value in one.data.items() if key in _READ}
    return Event(id=one.id, event=one.event, timestamp=one.timestamp, data=data)
