"""The metrics of ranges: summaries and series, out of the roll-ups."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ...metrics.answers import Number, SeriesPoint, Summary
from ...metrics.percentiles import percentile, ratio
from ...metrics.periods import Period, local, periods, zone_of
from ...metrics.tables import Rows
from ...metrics.words import METRICS
from . import schema
from . import sections as s
from .batches import LONGEST
from .histogram import bucket_at, edges_of, middle_of, quantile
from .hours import Hours
from .rollups import Rollups
from .sections import Range
from .texts import to_microseconds

#: A visit is read for a fraction of what a run is.
VISITS_A_RUN = 10

#: Runs of which percentiles are computed exactly, from each of them.
EXACT = 5000

SHARES = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}


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
        if metric in SHARES:
            return self._latency(SHARES[metric])
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
    return [duration / 1000 for _, duration in runs_of(rollups, whole)]


def runs_of(rollups: Rollups, whole: Range) -> list[tuple[int, int]]:
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
    ranges = [clipped(period, low, high) for period in found]
    hours = rollups.hours(ranges)
    few = metric not in SHARES or is_few(hours, exact)
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


def clipped(period: Period, low: int, high: int) -> Range:
    start, end = max(low, to_microseconds(period.start)), min(high, to_microseconds(period.end))
    return (start, end) if start < end else (0, 0)
