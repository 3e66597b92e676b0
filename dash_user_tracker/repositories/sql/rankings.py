"""Breakdowns by page, path, user and callback, out of the roll-ups."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ...events import ANONYMOUS
from ...metrics.answers import BreakdownRow, CallbackStats
from ...metrics.breakdowns import descending, none_last
from ...metrics.percentiles import percentile
from ...metrics.tables import Rows
from . import schema
from . import sections as s
from .answers import SHARES, runs_of
from .detail import Detail
from .histogram import BUCKETS, quantile
from .packing import Column, Ints
from .rollups import Rollups
from .sections import Range, Section, count_distinct
from .texts import from_microseconds

PEOPLE_METRICS = {"people", "visitors"}
#: The metrics of a dimension that roll-ups have.
KNOWN = {
    "page": {"views", *PEOPLE_METRICS},
    "path": {"views", *PEOPLE_METRICS},
    "user": {"views", "visits", "interactions"},
    "callback": {"runs", "errors", "error_rate", "waiting_ms", *PEOPLE_METRICS, *SHARES},
}


def breakdown(
    rollups: Rollups,
    dimension: str,
    start: datetime | None,
    end: datetime | None,
    wanted: Sequence[str],
    limit: int | None,
    exact: int,
) -> Rows[BreakdownRow]:
    """`MetricsReader.get_breakdown` for the dimensions and metrics in `KNOWN`."""
    whole = rollups.range_of(start, end)
    detail = rollups.detail(whole)
    if dimension == "callback":
        stats, few = _callbacks(rollups, detail, whole, exact, set(wanted))
        found = [
            BreakdownRow(row.callback, {metric: getattr(row, metric) for metric in wanted}, row.last) for row in stats
        ]
        few = few or SHARES.keys().isdisjoint(wanted)
        found.sort(key=lambda row: (descending(row.values[wanted[0]]), none_last(row.key)))
        return Rows(tuple(found[:limit]), total=len(found), exact=few)
    if dimension == "user":
        return _users(rollups, detail, wanted, limit)
    return _pages(rollups, detail, wanted, limit, dimension)


def _pages(
    rollups: Rollups, detail: Detail, wanted: Sequence[str], limit: int | None, dimension: str
) -> Rows[BreakdownRow]:
    table, people, visitors = _PLACES[dimension]
    keys, (views, events) = detail.table(table, (s.PAGE_VIEWS, s.PAGE_EVENTS))
    names = Names(rollups, schema.PAGE, keys, lambda text: text)
    columns = {"views": names.sums(keys, views)}
    for metric, section in (("people", people), ("visitors", visitors)):
        if metric in wanted:
            columns[metric] = names.distinct(*detail.sets(section))
    return names.rows(
        detail, table, names.sums(keys, events) > 0, {metric: columns[metric] for metric in wanted}, limit
    )


_PLACES = {
    "page": (s.PAGES, s.PAGE_PEOPLE, s.PAGE_VISITORS),
    "path": (s.PATHS, s.PATH_PEOPLE, s.PATH_VISITORS),
}


def _users(rollups: Rollups, detail: Detail, wanted: Sequence[str], limit: int | None) -> Rows[BreakdownRow]:
    keys, (views, visits, interactions, events) = detail.table(
        s.USERS, (s.USER_VIEWS, s.USER_VISITS, s.USER_INTERACTIONS, s.USER_EVENTS)
    )
    count = int(keys.max(initial=0)) + 1
    columns = {"views": views, "visits": visits, "interactions": interactions}
    sums = {metric: sums_by(keys, columns[metric], count) for metric in wanted}
    there = np.flatnonzero(sums_by(keys, events, count))
    leading = sums[wanted[0]][there]
    shown = there[_first(leading, limit)]
    texts = rollups.texts(schema.WHO, shown.tolist())
    lasts = detail.lasts(s.USERS, shown.tolist())
    rows = [
        BreakdownRow(
            texts[number] if number else ANONYMOUS,
            {metric: int(sums[metric][number]) for metric in wanted},
            from_microseconds(lasts[number]),
        )
        for number in shown.tolist()
    ]
    rows.sort(key=lambda row: (descending(row.values[wanted[0]]), none_last(row.key)))
    return Rows(
        tuple(
            BreakdownRow(row.key, row.values, row.last, name_of(rollups, row.key) if row.key else None)
            for row in rows[:limit]
        ),
        total=len(there),
    )


def name_of(rollups: Rollups, user_id: str) -> str | None:
    """What to call a user: the latest name, else the latest e-mail address."""
    if user_id == ANONYMOUS:
        return None
    key = (schema.WHO, user_id)
    number = rollups.memory.labels.look_up(rollups.connection, [key]).get(key)
    event = schema.event.c
    own = [event.actor == number, event.person.is_not(None), event.seq <= rollups.folded]
    latest = sa.select(event.person).where(*own).order_by(event.ts.desc(), event.seq.desc()).limit(1)
    person = rollups.connection.execute(latest).scalar()
    if person is None:
        return None
    name = json.loads(rollups.memory.labels.read(rollups.connection, [(schema.PERSON, person)])[schema.PERSON, person])[
        1
    ]
    if name and name != ANONYMOUS:
        return str(name)
    # An earlier one may have a name.
    query = (
        sa.select(event.person, sa.func.max(event.ts))
        .where(*own)
        .group_by(event.person)
        .order_by(sa.func.max(event.ts).desc(), sa.func.max(event.seq).desc())
    )
    persons = [row[0] for row in rollups.connection.execute(query)]
    values = rollups.memory.labels.read(rollups.connection, [(schema.PERSON, person) for person in persons])
    found = [json.loads(values[schema.PERSON, person]) for person in persons]
    for place in (1, 0):
        for person in found:
            if person[place] and person[place] != ANONYMOUS:
                return str(person[place])
    return None


def callback_stats(
    rollups: Rollups, start: datetime | None, end: datetime | None, sort: str, limit: int | None, exact: int
) -> Rows[CallbackStats]:
    """`MetricsReader.get_callback_stats`."""
    whole = rollups.range_of(start, end)
    rows, few = _callbacks(rollups, rollups.detail(whole), whole, exact, {*_COLUMNS, *PEOPLE_METRICS, *SHARES})
    rows.sort(key=lambda row: (descending(getattr(row, sort)), none_last(row.callback)))
    return Rows(tuple(rows[:limit]), total=len(rows), exact=few)


_COLUMNS = {
    "runs_user": s.BY_USER,
    "runs_initial": s.BY_INITIAL,
    "runs_cascade": s.BY_CASCADE,
    "runs_navigation": s.BY_NAVIGATION,
    "runs_other": s.BY_OTHER,
    "errors": s.CALLBACK_ERRORS,
    "no_updates": s.NO_UPDATES,
    "waiting": s.CALLBACK_WAITING,
    "request_bytes": s.REQUEST_BYTES,
    "response_bytes": s.RESPONSE_BYTES,
}


def _callbacks(
    rollups: Rollups, detail: Detail, whole: Range, exact: int, wanted: Set[str]
) -> tuple[list[CallbackStats], bool]:
    """Every callback; numbers that are not *wanted* may be 0."""
    heavy = not wanted.isdisjoint({"waiting_ms", "waiting", "request_bytes", "response_bytes"})
    columns = {name: place for name, place in _COLUMNS.items() if heavy or place < s.CALLBACKS.light}
    keys, numbers = detail.table(s.CALLBACKS, list(columns.values()))
    names = Names(rollups, schema.CALLBACK, keys, _callback_name)
    sums = {name: names.sums(keys, column) for name, column in zip(columns, numbers)}
    runs = np.sum([sums[name] for name in _CAUSES], axis=0)
    people, visitors = (
        names.distinct(*detail.sets(section)) if metric in wanted else np.zeros(len(names.names), np.int64)
        for metric, section in (("people", s.CALLBACK_PEOPLE), ("visitors", s.CALLBACK_VISITORS))
    )
    slow, few = _latencies(rollups, detail, names, whole, exact) if not wanted.isdisjoint(SHARES) else ({}, True)
    lasts = names.lasts(detail, s.CALLBACKS, range(len(names.names)))

    def number(name: str, group: int) -> int:
        return int(sums[name][group]) if name in sums else 0

    rows = [
        CallbackStats(
            callback=names.names[group],
            runs=int(runs[group]),
            people=int(people[group]),
            visitors=int(visitors[group]),
            waiting_ms=number("waiting", group) / 1000,
            error_rate=number("errors", group) / int(runs[group]),
            no_update_share=number("no_updates", group) / int(runs[group]),
            last=from_microseconds(lasts[group]),
            errors=number("errors", group),
            request_bytes=number("request_bytes", group),
            response_bytes=number("response_bytes", group),
            **{name: number(name, group) for name in _CAUSES},
            p50_ms=slow.get(group, _UNKNOWN)["p50_ms"],
            p95_ms=slow.get(group, _UNKNOWN)["p95_ms"],
            p99_ms=slow.get(group, _UNKNOWN)["p99_ms"],
        )
        for group in np.flatnonzero(runs).tolist()
    ]
    return rows, few


_CAUSES = ("runs_user", "runs_initial", "runs_cascade", "runs_navigation", "runs_other")
_UNKNOWN: dict[str, float | None] = dict.fromkeys(SHARES)


def _callback_name(text: str) -> str | None:
    label, output = json.loads(text)
    return label or output or None


def _latencies(
    rollups: Rollups, detail: Detail, names: Names, whole: Range, exact: int
) -> tuple[dict[int, dict[str, float | None]], bool]:
    """The percentiles of each name, in milliseconds, and whether they are exact."""
    keys, (counts,) = detail.table(s.RUNS, (0,))
    few = int(counts.sum()) <= exact
    if few:
        latencies: dict[int, list[float]] = {}
        for callback, duration in runs_of(rollups, whole) if len(keys) else ():
            latencies.setdefault(names.group(callback), []).append(duration / 1000)
        return {
            group: {metric: percentile(own, share) for metric, share in SHARES.items()}
            for group, own in latencies.items()
        }, True
    groups = names.groups(keys // BUCKETS)
    sums = sums_by(groups * BUCKETS + keys % BUCKETS, counts, len(names.names) * BUCKETS).reshape(-1, BUCKETS)
    buckets = np.arange(BUCKETS)
    found = {}
    for group, own in enumerate(sums):
        at = {metric: quantile(buckets, own, share) for metric, share in SHARES.items()}
        found[group] = {metric: None if value is None else value / 1000 for metric, value in at.items()}
    return found, False


class Names:
    """What some labels are called: several may have one name, and are one group."""

    def __init__(self, rollups: Rollups, kind: int, keys: Ints, name: Callable[[str], str | None]) -> None:
        numbers = np.unique(keys).tolist()
        texts = rollups.texts(kind, numbers)
        groups: dict[str | None, int] = {}
        self._groups = np.zeros(max(numbers, default=0) + 1, np.int64)
        self._numbers: list[list[int]] = []
        for number in numbers:
            called = (name(texts[number]) or None) if number else None
            group = groups.setdefault(called, len(groups))
            self._groups[number] = group
            if group == len(self._numbers):
                self._numbers.append([])
            self._numbers[group].append(number)
        self.names = list(groups)

    def group(self, key: int) -> int:
        return int(self._groups[key])

    def groups(self, keys: Column) -> Ints:
        """The group of each label."""
        return self._groups[keys]

    def sums(self, keys: Ints, values: Ints) -> Ints:
        """The sum of each group."""
        return sums_by(self.groups(keys), values, len(self.names))

    def distinct(self, keys: Column, members: Column) -> Ints:
        """How many members each group has."""
        return count_distinct(self.groups(keys), members, len(self.names))

    def lasts(self, detail: Detail, section: Section, groups: Iterable[int]) -> dict[int, int]:
        """The latest moment of some groups."""
        wanted = {group: self._numbers[group] for group in groups}
        found = detail.lasts(section, [number for own in wanted.values() for number in own])
        return {group: max(found[number] for number in own if number in found) for group, own in wanted.items()}

    def rows(
        self,
        detail: Detail,
        section: Section,
        there: npt.NDArray[np.bool_],
        columns: Mapping[str, Ints],
        limit: int | None,
    ) -> Rows[BreakdownRow]:
        """Those that are *there*, those with the most of the first column first."""
        present = np.flatnonzero(there)
        shown = present[_first(next(iter(columns.values()))[present], limit)].tolist()
        lasts = self.lasts(detail, section, shown)
        rows = [
            BreakdownRow(
                self.names[group],
                {metric: int(column[group]) for metric, column in columns.items()},
                from_microseconds(lasts[group]),
            )
            for group in shown
        ]
        leading = next(iter(columns))
        rows.sort(key=lambda row: (descending(row.values[leading]), none_last(row.key)))
        return Rows(tuple(rows[:limit]), total=len(present))


def _first(values: Ints, limit: int | None) -> Ints:
    """Where the *limit* highest values are, and all that are as high as the last of them."""
    if limit is None or len(values) <= limit:
        return np.arange(len(values))
    if not limit:
        return np.arange(0)
    return np.flatnonzero(values >= np.partition(values, -limit)[-limit])


def sums_by(keys: Ints, values: Ints, count: int) -> Ints:
    """The sums of the values of each key from 0 to *count* - 1."""
    # As doubles, which are exact up to 2**53: in two halves where that could be too little.
    if not len(values) or int(np.abs(values).max()) < (1 << 53) // len(values):
        return np.bincount(keys, values, count).astype(np.int64)
    low, high = values & 0xFFFFFFFF, values >> 32
    return (np.bincount(keys, high, count).astype(np.int64) << 32) + np.bincount(keys, low, count).astype(np.int64)
