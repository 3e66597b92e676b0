"""The questions that roll-ups answer, in the words of `metrics.answers`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from ...events import ANONYMOUS
from ...metrics.answers import (
    ActiveUsers,
    BreakdownRow,
    CallbackStats,
    FunnelRow,
    JourneyRow,
    LifecycleRow,
    Number,
    RetentionRow,
    SeriesPoint,
    Summary,
)
from ...metrics.arguments import Step
from ...metrics.breakdowns import descending, none_last
from ...metrics.percentiles import percentile, ratio
from ...metrics.periods import Period, last_periods, local, periods, zone_of
from ...metrics.tables import Rows
from ...metrics.words import METRICS, NOW_MINUTES
from . import schema
from . import sections as s
from .batches import LONGEST
from .histogram import BUCKETS, bucket_at, edges_of, middle_of, quantile
from .packing import Column, Ints
from .rollups import Detail, Hours, Range, Rollups, sums_by
from .sections import Section, count_distinct
from .texts import from_microseconds, to_microseconds

#: A visit is read for a fraction of what a run is.
VISITS_A_RUN = 10

Flags = npt.NDArray[np.bool_]

#: Runs of which percentiles are computed exactly, from each of them.
EXACT = 5000

_SHARES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}
PEOPLE_METRICS = {"people", "visitors"}
#: The metrics of a dimension that roll-ups have.
KNOWN = {
    "page": {"views", *PEOPLE_METRICS},
    "path": {"views", *PEOPLE_METRICS},
    "user": {"views", "visits", "interactions"},
    "callback": {"runs", "errors", "error_rate", "waiting_ms", *PEOPLE_METRICS, *_SHARES},
}


class Values:
    """The metrics of one of the ranges of *hours*."""

    def __init__(
        self, rollups: Rollups, hours: Hours, number: int, whole: Range, *, exact: bool, exact_median: bool
    ) -> None:
        self._rollups = rollups
        self._hours = hours
        self._number = number
        self._whole = whole
        self._exact = exact
        self._exact_median = exact_median

    def value(self, metric: str) -> Number | None:
        if metric in _SHARES:
            return self._latency(_SHARES[metric])
        if metric in _ACTORS:
            return int(self._hours.counts(_ACTORS[metric])[self._number])
        if metric == "error_rate":
            return ratio(self._total(s.ERRORS), self._total(s.ALL_RUNS))
        if metric == "waiting_ms":
            return self._total(s.WAITING) / 1000
        if metric == "bounce_rate":
            return ratio(self._total(s.BOUNCES), self._total(s.VISITS))
        if metric == "visit_mean_s":
            visits = self._total(s.VISITS)
            return self._total(s.STAYED) / visits / 1e6 if visits else None
        if metric == "visit_median_s":
            return self._median()
        return self._total(_COUNTS[metric])

    def _total(self, column: int) -> int:
        return int(self._hours.totals[self._number, column])

    def _latency(self, share: float) -> float | None:
        if not self._total(s.LATENCIES):
            return None
        if self._exact:
            return percentile(durations(self._rollups, self._whole), share)
        found = quantile(*self._hours.histogram(s.LATENCY, self._number), share)
        return None if found is None else found / 1000

    def _median(self) -> float | None:
        """Seconds: the histogram says in which bucket it is, the visits of this bucket which one."""
        count = self._total(s.VISITS)
        if not count:
            return None
        bucket, rank = bucket_at(*self._hours.histogram(s.STAYS, self._number), (count + 1) // 2)
        if not bucket:  # of no length, as most are that bounce
            return 0.0
        if not self._exact_median:
            return middle_of(bucket) / 1e6
        found = self._rollups.durations_of_visits(self._whole, *edges_of(bucket))
        return sorted(found)[rank - 1] / 1e6


_ACTORS = {"people": s.PEOPLE, "visitors": s.VISITORS}
_COUNTS = {
    "views": s.VIEWS,
    "custom_events": s.CUSTOMS,
    "runs": s.ALL_RUNS,
    "errors": s.ERRORS,
    "interactions": s.INTERACTIONS,
    "visits": s.VISITS,
}


def is_few(hours: Hours, exact: int) -> bool:
    """Percentiles can be had from each run."""
    return int(hours.totals[:, s.LATENCIES].sum()) <= exact


def are_few_visits(hours: Hours, exact: int) -> bool:
    """The median can be had from each visit."""
    return int(hours.totals[:, s.VISITS].sum()) <= exact * VISITS_A_RUN


def durations(rollups: Rollups, whole: Range) -> list[float]:
    """The latencies of runs, in milliseconds."""
    return [duration / 1000 for _, duration in _runs(rollups, whole)]


def _runs(rollups: Rollups, whole: Range) -> list[tuple[int, int]]:
    """Callback and microseconds of each run that says how long it took."""
    return [(row[11] or 0, row[14]) for row in rollups.rows(whole) if row[2] == schema.RUN and 0 <= row[14] < LONGEST]


def summary(
    rollups: Rollups, start: datetime | None, end: datetime | None, previous: Summary | None, exact: int
) -> Summary:
    """`MetricsReader.get_summary`."""
    whole = rollups.range_of(start, end)
    hours = rollups.hours([whole])
    few, few_visits = is_few(hours, exact), are_few_visits(hours, exact)
    values = Values(rollups, hours, 0, whole, exact=few, exact_median=few_visits)
    numbers: dict[str, Any] = {metric: values.value(metric) for metric in METRICS}
    return Summary(start=start, end=end, previous=previous, exact=few and few_visits, **numbers)


def series(
    rollups: Rollups, metric: str, interval: str, start: datetime, end: datetime, tz: str, exact: int
) -> Rows[SeriesPoint]:
    """`MetricsReader.get_series`."""
    zone = zone_of(tz)
    found = periods(interval, start, end, zone)
    low, high = rollups.range_of(start, end)
    ranges = [_clipped(period, low, high) for period in found]
    hours = rollups.hours(ranges)
    few = metric not in _SHARES or is_few(hours, exact)
    few_visits = metric != "visit_median_s" or are_few_visits(hours, exact)
    return Rows(
        tuple(
            SeriesPoint(
                start=local(period.start, zone),
                end=local(period.end, zone),
                value=Values(rollups, hours, number, own, exact=few, exact_median=few_visits).value(metric),
                partial=period.start < start or end < period.end,
            )
            for number, (period, own) in enumerate(zip(found, ranges))
        ),
        exact=few and few_visits,
    )


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
    detail = rollups.detail(rollups.range_of(start, end))
    few = True
    if dimension == "callback":
        stats, few = _callbacks(rollups, detail, rollups.range_of(start, end), exact, set(wanted))
        found = [
            BreakdownRow(row.callback, {metric: getattr(row, metric) for metric in wanted}, row.last) for row in stats
        ]
        few = few or _SHARES.keys().isdisjoint(wanted)
        found.sort(key=lambda row: (descending(row.values[wanted[0]]), none_last(row.key)))
        return Rows(tuple(found[:limit]), total=len(found), exact=few)
    return (
        _users(rollups, detail, wanted, limit)
        if dimension == "user"
        else _pages(rollups, detail, wanted, limit, dimension)
    )


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
    texts = _texts(rollups, schema.WHO, shown.tolist())
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
    rows, few = _callbacks(rollups, rollups.detail(whole), whole, exact, {*_COLUMNS, *PEOPLE_METRICS, *_SHARES})
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
    slow, few = _latencies(rollups, detail, names, whole, exact) if not wanted.isdisjoint(_SHARES) else ({}, True)
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
_UNKNOWN: dict[str, float | None] = dict.fromkeys(_SHARES)


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
        for callback, duration in _runs(rollups, whole) if len(keys) else ():
            latencies.setdefault(names.group(callback), []).append(duration / 1000)
        return {
            group: {metric: percentile(own, share) for metric, share in _SHARES.items()}
            for group, own in latencies.items()
        }, True
    groups = names.groups(keys // BUCKETS)
    sums = sums_by(groups * BUCKETS + keys % BUCKETS, counts, len(names.names) * BUCKETS).reshape(-1, BUCKETS)
    buckets = np.arange(BUCKETS)
    found = {}
    for group, own in enumerate(sums):
        at = {metric: quantile(buckets, own, share) for metric, share in _SHARES.items()}
        found[group] = {metric: None if value is None else value / 1000 for metric, value in at.items()}
    return found, False


class Names:
    """What some labels are called: several may have one name, and are one group."""

    def __init__(self, rollups: Rollups, kind: int, keys: Ints, name: Callable[[str], str | None]) -> None:
        numbers = np.unique(keys).tolist()
        texts = _texts(rollups, kind, numbers)
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
        self, detail: Detail, section: Section, there: Flags, columns: Mapping[str, Ints], limit: int | None
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


def journeys(
    rollups: Rollups, start: datetime | None, end: datetime | None, depth: int, limit: int | None
) -> Rows[JourneyRow]:
    """`MetricsReader.get_journeys` from the first view on."""
    low, high = rollups.range_of(start, end)
    visit = schema.visit.c
    head = sa.func.substr(visit.trail, 1, 4 * depth)
    whole = sa.func.length(visit.trail)
    query = (
        sa.select(head, sa.func.count(), sa.func.sum(sa.case((whole <= 4 * depth, 1), else_=0)))
        .where(visit.t0 >= low, visit.t0 < high, visit.segment.in_(rollups.segments), visit.views > 0)
        .group_by(head)
    )
    found = list(rollups.connection.execute(query).all()) if rollups.segments else []
    found.sort(key=lambda row: -row[1])
    shown = found
    if limit is not None and limit < len(found):  # those behind need no names
        least = found[limit - 1][1] if limit else 0
        shown = [*found[:limit]] + [row for row in found[limit:] if limit and row[1] == least]
    trails = [
        [int.from_bytes(bytes(row[0])[place : place + 4], "big") for place in range(0, len(row[0]), 4)] for row in shown
    ]
    texts = _texts(rollups, schema.PAGE, {number for trail in trails for number in trail})
    rows = [
        JourneyRow(tuple(texts.get(number) or "" for number in trail), int(row[1]), int(row[2]))
        for trail, row in zip(trails, shown)
    ]
    rows.sort(key=lambda row: (-row.visits, row.pages))
    return Rows(tuple(rows[:limit]), total=len(found))


def funnel(
    rollups: Rollups,
    steps: Sequence[Step],
    start: datetime | None,
    end: datetime | None,
    within: timedelta | None,
) -> Rows[FunnelRow]:
    """`MetricsReader.get_funnel` of pages."""
    low, high = rollups.range_of(start, end)
    keys = [(schema.PAGE, step.name) for step in steps]
    numbers = rollups.memory.labels.look_up(rollups.connection, keys)
    seen = rollups.seen((low, high), list(numbers.values()))
    views: list[Ints] = []  # of each step: rows of moment, seq, actor
    for key in keys:
        number = numbers.get(key, -1)
        own = (seen[:, 1 + s.SEEN_PATH] == number) | (seen[:, 1 + s.SEEN_PAGE] == number)
        views.append(seen[own][:, : 2 + s.SEEN_ACTOR])
    reached = _reached(views, None if within is None else within // timedelta(microseconds=1))
    steps_taken: list[FunnelRow] = []
    for place, (step, actors) in enumerate(zip(steps, reached)):
        people = int((actors > 0).sum())
        steps_taken.append(
            FunnelRow(
                step=str(step),
                people=people,
                visitors=len(actors) - people,
                share=ratio(len(actors), len(reached[0])),
                from_previous=ratio(len(actors), len(reached[place - 1])) if place else None,
            )
        )
    return Rows(tuple(steps_taken))


def _reached(views: Sequence[Ints], within: int | None) -> list[Ints]:
    """The actors that took each step; *views*: of each step the moments, seq and actors.

    A view takes a step if the one before was taken earlier, the first of all at most *within* before: of the latest
    attempt, see `metrics.funnels.furthest`.
    """
    found = []
    # Who took the step, when, and when the latest attempt that got there began.
    taken = np.zeros((0, 4), np.int64)
    for place, (ts, seq, actor) in enumerate(own.T for own in views):
        if not place:
            taken = np.column_stack((actor, ts, seq, ts))
        else:
            # In the order of actor, moment, seq: the last step before each view.
            both = np.concatenate((taken, np.column_stack((actor, ts, seq, np.full(len(ts), s.NEVER)))))
            # A view that may be both steps is no step to itself: as a later step it stands in front.
            is_view = np.arange(len(both)) >= len(taken)
            both = both[np.lexsort((~is_view, both[:, 2], both[:, 1], both[:, 0]))]
            is_view = both[:, 3] == s.NEVER
            before = np.maximum.accumulate(np.where(is_view, -1, np.arange(len(both))))
            known = is_view & (before >= 0)
            known[known] = both[before[known], 0] == both[known, 0]
            begun = both[before, 3]
            if within is not None:
                known &= both[:, 1] - begun <= within
            taken = np.column_stack((both[known, :3], begun[known]))
        found.append(np.unique(taken[:, 0]))
    return found


# -- people over time ------------------------------------------------------------------------


def active_users(rollups: Rollups, until: datetime, tz: str) -> ActiveUsers:
    """`MetricsReader.get_active_users`."""
    zone = zone_of(tz)
    days = last_periods("day", 28, until, zone)
    low, high = rollups.range_of(None, until)
    hours = rollups.hours([_clipped(day, low, high) for day in days])
    daily = hours.flags(s.PEOPLE)
    recent = to_microseconds(until - timedelta(minutes=NOW_MINUTES))
    now = rollups.hours([(max(low, recent), high)])
    month = _size(np.any(daily, axis=0))
    day_mean = int(daily.sum()) / len(days)
    return ActiveUsers(
        end=local(until, zone),
        now=int(now.counts(s.PEOPLE)[0]),
        now_visitors=int(now.counts(s.VISITORS)[0]),
        day=_size(daily[-1]),
        day_visitors=int(hours.counts(s.VISITORS)[-1]),
        week=_size(np.any(daily[-7:], axis=0)),
        month=month,
        day_mean=day_mean,
        stickiness=ratio(day_mean, month),
    )


def _people(rollups: Rollups, found: Sequence[Period], until: datetime) -> tuple[Flags, Flags]:
    """People before the first period, and a row of those of each."""
    low, high = rollups.range_of(None, until)
    begin = to_microseconds(found[0].start)
    ranges = [(low, max(low, min(begin, high))), *(_clipped(period, low, high) for period in found)]
    flags = rollups.hours(ranges).flags(s.PEOPLE)
    return flags[0], flags[1:]


def retention(rollups: Rollups, unit: str, count: int, until: datetime, tz: str) -> Rows[RetentionRow]:
    """`MetricsReader.get_retention`."""
    zone = zone_of(tz)
    found = last_periods(unit, count, until, zone)
    seen, active = _people(rollups, found, until)
    rows = []
    for number, period in enumerate(found):
        cohort = active[number] & ~seen
        seen = seen | active[number]
        there = np.count_nonzero(active[:, cohort], axis=1)
        cells = [
            int(there[later]) if later < len(found) and found[later].end <= until else None
            for later in range(number, number + len(found))
        ]
        rows.append(RetentionRow(local(period.start, zone), _size(cohort), tuple(cells)))
    return Rows(tuple(rows))


def lifecycle(rollups: Rollups, unit: str, count: int, until: datetime, tz: str) -> Rows[LifecycleRow]:
    """`MetricsReader.get_lifecycle`."""
    zone = zone_of(tz)
    found = last_periods(unit, count + 1, until, zone)
    seen, active = _people(rollups, found, until)
    rows = []
    seen = seen | active[0]
    for period, now, before in zip(found[1:], active[1:], active):
        new = now & ~seen
        seen = seen | now
        partial = period.end > until
        rows.append(
            LifecycleRow(
                start=local(period.start, zone),
                end=local(period.end, zone),
                new=_size(new),
                returning=_size(now & before),
                resurrected=_size(now & ~before & ~new),
                dormant=None if partial else _size(before & ~now),
                partial=partial,
            )
        )
    return Rows(tuple(rows))


def people_between(rollups: Rollups, start: datetime | None, end: datetime | None) -> set[str]:
    """The user ids of people with an activity."""
    (flags,) = rollups.hours([rollups.range_of(start, end)]).flags(s.PEOPLE)
    return set(_texts(rollups, schema.WHO, np.flatnonzero(flags).tolist()).values())


def _size(flags: npt.NDArray[np.bool_] | np.bool_) -> int:
    return int(np.count_nonzero(flags))


def _clipped(period: Period, low: int, high: int) -> Range:
    start, end = max(low, to_microseconds(period.start)), min(high, to_microseconds(period.end))
    return (start, end) if start < end else (0, 0)


def _texts(rollups: Rollups, kind: int, numbers: Any) -> dict[int, str]:
    wanted = [(kind, number) for number in numbers if number]
    values = rollups.memory.labels.read(rollups.connection, wanted)
    return {number: values[kind, number] for _, number in wanted}
