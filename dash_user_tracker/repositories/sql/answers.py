"""The questions that roll-ups answer, in the words of `metrics.answers`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

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
from .cells import (
    BOUNCES,
    BY_CASCADE,
    BY_INITIAL,
    BY_NAVIGATION,
    BY_OTHER,
    BY_USER,
    CALLBACK_ACTORS,
    CALLBACK_ERRORS,
    CALLBACK_LAST,
    CALLBACK_WAITING,
    CALLBACKS,
    CUSTOMS,
    ERRORS,
    INTERACTIONS,
    LATENCIES,
    NO_UPDATES,
    PAGE_ACTORS,
    PAGES,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    RUNS,
    STAYED,
    USER_INTERACTIONS,
    USER_LAST,
    USER_VIEWS,
    USER_VISITS,
    USERS,
    VIEWS,
    VISITS,
    WAITING,
    Core,
    bucket_of,
    callback_of,
    edges_of,
    quantile,
)
from .packing import count_bits, numbers_of
from .rollups import Range, Rollups
from .texts import from_microseconds, to_microseconds

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
    """The metrics of one period."""

    def __init__(self, rollups: Rollups, whole: Range, core: Core, *, exact: bool) -> None:
        self._rollups = rollups
        self._whole = whole
        self._core = core
        self._exact = exact
        self._bits = core.bits

    def value(self, metric: str) -> Number | None:
        totals = self._core.totals
        if metric in _SHARES:
            return self._latency(_SHARES[metric])
        if metric == "people":
            return count_bits(self._bits[0])
        if metric == "visitors":
            return count_bits(self._bits[1])
        if metric == "error_rate":
            return ratio(totals[ERRORS], totals[RUNS])
        if metric == "waiting_ms":
            return totals[WAITING] / 1000
        if metric == "bounce_rate":
            return ratio(totals[BOUNCES], totals[VISITS])
        if metric == "visit_mean_s":
            return totals[STAYED] / totals[VISITS] / 1e6 if totals[VISITS] else None
        if metric == "visit_median_s":
            return self._median()
        return totals[_COUNTS[metric]]

    def _latency(self, share: float) -> float | None:
        if not self._core.totals[LATENCIES]:
            return None
        if self._exact:
            return percentile(durations(self._rollups, self._whole), share)
        found = quantile(self._core.latency, share)
        return None if found is None else found / 1000

    def _median(self) -> float | None:
        """Seconds: the histogram says in which bucket it is, the visits of this bucket which one."""
        count = self._core.totals[VISITS]
        if not count:
            return None
        rank = (count + 1) // 2
        for bucket in sorted(self._core.stays):
            if rank <= self._core.stays[bucket]:
                break
            rank -= self._core.stays[bucket]
        if not bucket:  # of no length, as most are that bounce
            return 0.0
        low, high = edges_of(bucket)
        found = self._rollups.durations_of_visits(self._whole, low - 1, high + 1)
        return sorted(duration for duration in found if bucket_of(duration) == bucket)[rank - 1] / 1e6


_COUNTS = {
    "views": VIEWS,
    "custom_events": CUSTOMS,
    "runs": RUNS,
    "errors": ERRORS,
    "interactions": INTERACTIONS,
    "visits": VISITS,
}


def is_few(cores: Sequence[Core], exact: int) -> bool:
    """Percentiles can be had from each run."""
    return sum(core.totals[LATENCIES] for core in cores) <= exact


def durations(rollups: Rollups, whole: Range) -> list[float]:
    """The latencies of runs, in milliseconds."""
    return [duration / 1000 for _, duration in _runs(rollups, whole)]


def _runs(rollups: Rollups, whole: Range) -> list[tuple[int, int]]:
    """Callback and microseconds of each run that says how long it took."""
    return [
        (row[11] or 0, row[14])
        for row in rollups.rows(whole)
        if row[2] == schema.RUN and row[14] is not None and row[14] >= 0
    ]


def summary(
    rollups: Rollups, start: datetime | None, end: datetime | None, previous: Summary | None, exact: int
) -> Summary:
    """`MetricsReader.get_summary`."""
    whole = rollups.range_of(start, end)
    core = rollups.cores([whole])[0]
    few = is_few([core], exact)
    values = Values(rollups, whole, core, exact=few)
    numbers: dict[str, Any] = {metric: values.value(metric) for metric in METRICS}
    return Summary(start=start, end=end, previous=previous, exact=few, **numbers)


def series(
    rollups: Rollups, metric: str, interval: str, start: datetime, end: datetime, tz: str, exact: int
) -> Rows[SeriesPoint]:
    """`MetricsReader.get_series`."""
    zone = zone_of(tz)
    found = periods(interval, start, end, zone)
    low, high = rollups.range_of(start, end)
    ranges = [_clipped(period, low, high) for period in found]
    cores = rollups.cores(ranges)
    few = metric not in _SHARES or is_few(cores, exact)
    return Rows(
        tuple(
            SeriesPoint(
                start=local(period.start, zone),
                end=local(period.end, zone),
                value=Values(rollups, own, core, exact=few).value(metric),
                partial=period.start < start or end < period.end,
            )
            for period, own, core in zip(found, ranges, cores)
        ),
        exact=few,
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
    whole = rollups.range_of(start, end)
    few = True
    if dimension == "user":
        found = _users(rollups, whole, wanted)
    elif dimension == "callback":
        stats, few = _callbacks(rollups, whole, exact, people=not PEOPLE_METRICS.isdisjoint(wanted))
        found = [
            BreakdownRow(row.callback, {metric: getattr(row, metric) for metric in wanted}, row.last) for row in stats
        ]
        few = few or _SHARES.keys().isdisjoint(wanted)
    else:
        found = _pages(rollups, whole, wanted, dimension)
    found.sort(key=lambda row: (descending(row.values[wanted[0]]), none_last(row.key)))
    rows = found[:limit]
    if dimension == "user":
        rows = [
            BreakdownRow(row.key, row.values, row.last, name_of(rollups, row.key) if row.key else None) for row in rows
        ]
    return Rows(tuple(rows), total=len(found), exact=few)


def _pages(rollups: Rollups, whole: Range, wanted: Sequence[str], dimension: str) -> list[BreakdownRow]:
    peopled = not PEOPLE_METRICS.isdisjoint(wanted)
    detail = rollups.detail(whole, (PAGES, PAGE_ACTORS) if peopled else (PAGES,))
    if dimension == "page":
        table, people, visitors = detail.pages, detail.page_people, detail.page_visitors
    else:
        table, people, visitors = detail.paths, detail.path_people, detail.path_visitors
    texts = _texts(rollups, schema.PAGE, table)
    merged: dict[str | None, tuple[int, int, set[int], set[int]]] = {}
    for number, (views, events, last) in table.items():
        if not events:
            continue
        key = texts.get(number) or None
        before = merged.get(key, (0, last, set(), set()))
        merged[key] = (
            before[0] + views,
            max(before[1], last),
            before[2] | people.get(number, set()) if peopled else before[2],
            before[3] | visitors.get(number, set()) if peopled else before[3],
        )
    rows = []
    for key, (views, last, own_people, own_visitors) in merged.items():
        values = {"views": views, "people": len(own_people), "visitors": len(own_visitors)}
        rows.append(BreakdownRow(key, {metric: values[metric] for metric in wanted}, from_microseconds(last)))
    return rows


def _users(rollups: Rollups, whole: Range, wanted: Sequence[str]) -> list[BreakdownRow]:
    detail = rollups.detail(whole, (USERS,))
    texts = _texts(rollups, schema.WHO, detail.users)
    columns = {"views": USER_VIEWS, "visits": USER_VISITS, "interactions": USER_INTERACTIONS}
    return [
        BreakdownRow(
            texts[number] if number else ANONYMOUS,
            {metric: numbers[columns[metric]] for metric in wanted},
            from_microseconds(numbers[USER_LAST]),
        )
        for number, numbers in detail.users.items()
        if numbers[3]
    ]


def name_of(rollups: Rollups, user_id: str) -> str | None:
    """What to call a user: the latest name, else the latest e-mail address."""
    if user_id == ANONYMOUS:
        return None
    key = (schema.WHO, user_id)
    number = rollups.memory.labels.look_up(rollups.connection, [key]).get(key)
    event = schema.event.c
    query = (
        sa.select(event.person, sa.func.max(event.ts))
        .where(event.actor == number, event.person.is_not(None), event.seq <= rollups.folded)
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
    rows, few = _callbacks(rollups, rollups.range_of(start, end), exact, people=True)
    rows.sort(key=lambda row: (descending(getattr(row, sort)), none_last(row.callback)))
    return Rows(tuple(rows[:limit]), total=len(rows), exact=few)


def _callbacks(rollups: Rollups, whole: Range, exact: int, *, people: bool) -> tuple[list[CallbackStats], bool]:
    detail = rollups.detail(whole, (CALLBACKS, CALLBACK_ACTORS) if people else (CALLBACKS,))
    texts = _texts(rollups, schema.CALLBACK, detail.callbacks)
    names: dict[int, str | None] = {}
    for number in detail.callbacks:
        label, output = json.loads(texts[number]) if number else (None, None)
        names[number] = label or output or None
    few = sum(detail.runs.values()) <= exact
    latencies: dict[str | None, list[float]] = {}
    histograms: dict[str | None, dict[int, int]] = {}
    if few:
        for number, duration in _runs(rollups, whole) if detail.runs else ():
            latencies.setdefault(names[number], []).append(duration / 1000)
    else:
        for key, count in detail.runs.items():
            number, bucket = callback_of(key)
            own = histograms.setdefault(names[number], {})
            own[bucket] = own.get(bucket, 0) + count
    grouped: dict[str | None, list[int]] = {}
    for number in detail.callbacks:
        grouped.setdefault(names[number], []).append(number)
    rows = []
    for name, numbers in grouped.items():
        sums = [sum(column) for column in zip(*(detail.callbacks[number] for number in numbers))]
        runs = sum(sums[: BY_OTHER + 1])
        if not runs:
            continue

        def slow(share: float, name: str | None = name) -> float | None:
            if few:
                return percentile(latencies.get(name, []), share)
            found = quantile(histograms.get(name, {}), share)
            return None if found is None else found / 1000

        rows.append(
            CallbackStats(
                callback=name,
                runs=runs,
                runs_user=sums[BY_USER],
                runs_initial=sums[BY_INITIAL],
                runs_cascade=sums[BY_CASCADE],
                runs_navigation=sums[BY_NAVIGATION],
                runs_other=sums[BY_OTHER],
                people=len(set().union(*(detail.callback_people.get(number, ()) for number in numbers))),
                visitors=len(set().union(*(detail.callback_visitors.get(number, ()) for number in numbers))),
                p50_ms=slow(0.50),
                p95_ms=slow(0.95),
                p99_ms=slow(0.99),
                waiting_ms=sums[CALLBACK_WAITING] / 1000,
                errors=sums[CALLBACK_ERRORS],
                error_rate=sums[CALLBACK_ERRORS] / runs,
                no_update_share=sums[NO_UPDATES] / runs,
                request_bytes=sums[REQUEST_BYTES],
                response_bytes=sums[RESPONSE_BYTES],
                last=from_microseconds(max(detail.callbacks[number][CALLBACK_LAST] for number in numbers)),
            )
        )
    return rows, few


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
    event = schema.event.c
    routed = any(context.routed for context in rollups.memory.contexts(rollups.connection).values())
    moments: dict[tuple[int, int, int], set[int]] = {}
    for place, key in enumerate(keys):
        number = numbers.get(key)
        if number is None:
            continue
        for column in (event.path, event.page) if routed else (event.path,):
            query = sa.select(event.ts, event.seq, event.actor, event.context).where(
                event.kind == sa.literal_column(str(schema.VIEW)),
                column == number,
                event.ts >= low,
                event.ts < high,
                event.seq <= rollups.folded,
                event.actor.is_not(None),
                *rollups.conditions(),
            )
            if rollups.filters.app is None:
                query = query.with_only_columns(event.ts, event.seq, event.actor)
            for row in rollups.connection.execute(query):
                if rollups.filters.app is not None:
                    values = rollups.memory.contexts(rollups.connection)[row[3]].values
                    if values["app_name"] != rollups.filters.app:
                        continue
                moments.setdefault((row[0], row[1], row[2]), set()).add(place)
    reached = _furthest(moments, len(steps), None if within is None else within // timedelta(microseconds=1))
    rows: list[FunnelRow] = []
    totals: list[int] = []
    for place, step in enumerate(steps):
        there = [actor for actor, count in reached.items() if count > place]
        people = sum(actor > 0 for actor in there)
        totals.append(len(there))
        rows.append(
            FunnelRow(
                step=str(step),
                people=people,
                visitors=len(there) - people,
                share=ratio(len(there), totals[0]),
                from_previous=ratio(len(there), totals[place - 1]) if place else None,
            )
        )
    return Rows(tuple(rows))


def _furthest(moments: Mapping[tuple[int, int, int], set[int]], count: int, within: int | None) -> dict[int, int]:
    """How many steps each actor took; see `metrics.funnels.furthest`."""
    starts: dict[int, list[int | None]] = {}
    for at, _, actor in sorted(moments):
        own = starts.get(actor)
        if own is None:
            own = starts[actor] = [None] * count
        for place in sorted(moments[at, _, actor], reverse=True):
            begun = at if place == 0 else own[place - 1]
            if begun is not None and (within is None or at - begun <= within):
                own[place] = begun
    return {
        actor: next((place for place, begun in enumerate(own) if begun is None), count) for actor, own in starts.items()
    }


# -- people over time ------------------------------------------------------------------------


def active_users(rollups: Rollups, until: datetime, tz: str) -> ActiveUsers:
    """`MetricsReader.get_active_users`."""
    zone = zone_of(tz)
    days = last_periods("day", 28, until, zone)
    low, high = rollups.range_of(None, until)
    cores = rollups.cores([_clipped(day, low, high) for day in days])
    recent = to_microseconds(until - timedelta(minutes=NOW_MINUTES))
    now = rollups.cores([(max(low, recent), high)] if recent < high else [(0, 0)])[0]
    daily = [core.bits[0] for core in cores]
    month = _union(daily)
    day_mean = sum(map(count_bits, daily)) / len(days)
    return ActiveUsers(
        end=local(until, zone),
        now=count_bits(now.bits[0]),
        now_visitors=count_bits(now.bits[1]),
        day=count_bits(daily[-1]),
        day_visitors=count_bits(cores[-1].bits[1]),
        week=count_bits(_union(daily[-7:])),
        month=count_bits(month),
        day_mean=day_mean,
        stickiness=ratio(day_mean, count_bits(month)),
    )


def _people(rollups: Rollups, found: Sequence[Period], until: datetime) -> tuple[int, list[int]]:
    """People before the first period, and those of each."""
    low, high = rollups.range_of(None, until)
    begin = to_microseconds(found[0].start)
    ranges = [(low, max(low, min(begin, high))), *(_clipped(period, low, high) for period in found)]
    before, *cores = rollups.cores(ranges)
    return before.bits[0], [core.bits[0] for core in cores]


def retention(rollups: Rollups, unit: str, count: int, until: datetime, tz: str) -> Rows[RetentionRow]:
    """`MetricsReader.get_retention`."""
    zone = zone_of(tz)
    found = last_periods(unit, count, until, zone)
    seen, active = _people(rollups, found, until)
    rows = []
    for number, period in enumerate(found):
        cohort = active[number] & ~seen
        seen |= active[number]
        cells = [
            count_bits(cohort & active[later]) if later < len(found) and found[later].end <= until else None
            for later in range(number, number + len(found))
        ]
        rows.append(RetentionRow(local(period.start, zone), count_bits(cohort), tuple(cells)))
    return Rows(tuple(rows))


def lifecycle(rollups: Rollups, unit: str, count: int, until: datetime, tz: str) -> Rows[LifecycleRow]:
    """`MetricsReader.get_lifecycle`."""
    zone = zone_of(tz)
    found = last_periods(unit, count + 1, until, zone)
    seen, active = _people(rollups, found, until)
    rows = []
    seen |= active[0]
    for period, now, before in zip(found[1:], active[1:], active):
        new = now & ~seen
        seen |= now
        partial = period.end > until
        rows.append(
            LifecycleRow(
                start=local(period.start, zone),
                end=local(period.end, zone),
                new=count_bits(new),
                returning=count_bits(now & before),
                resurrected=count_bits(now & ~before & ~new),
                dormant=None if partial else count_bits(before & ~now),
                partial=partial,
            )
        )
    return Rows(tuple(rows))


def people_between(rollups: Rollups, start: datetime | None, end: datetime | None) -> set[str]:
    """The user ids of people with an activity."""
    core = rollups.cores([rollups.range_of(start, end)])[0]
    return set(_texts(rollups, schema.WHO, numbers_of(core.bits[0])).values())


def _union(sets: Sequence[int]) -> int:
    found = 0
    for one in sets:
        found |= one
    return found


def _clipped(period: Period, low: int, high: int) -> Range:
    start, end = max(low, to_microseconds(period.start)), min(high, to_microseconds(period.end))
    return (start, end) if start < end else (0, 0)


def _texts(rollups: Rollups, kind: int, numbers: Any) -> dict[int, str]:
    wanted = [(kind, number) for number in numbers if number]
    values = rollups.memory.labels.read(rollups.connection, wanted)
    return {number: values[kind, number] for _, number in wanted}
