"""One number out of a slice of the history, for each metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from .answers import Number, SeriesPoint, Summary
from .checks import check_range, compared
from .filters import Filters
from .history import History, Slice, by_period
from .percentiles import mean, percentile, ratio
from .periods import local, periods, zone_of
from .records import CUSTOM, RUN, UNATTENDED, VIEW, Actor, Record, is_error, latency_of
from .tables import Rows
from .words import METRICS, check_word


def people_of(actors: Iterable[Actor]) -> set[str]:
    return {actor.user for actor in actors if actor.user}


def visitors_of(actors: Iterable[Actor]) -> set[str]:
    return {actor.visitor for actor in actors if actor.visitor}


def latencies_of(runs: Iterable[Record]) -> list[float]:
    return [found for found in (latency_of(record.data) for record in runs) if found is not None]


def waiting_of(runs: Iterable[Record]) -> float:
    """Milliseconds that people waited for the runs."""
    return math.fsum(latencies_of(record for record in runs if record.data.get("cause") not in UNATTENDED))


def _of_kind(part: Slice, kind: str) -> list[Record]:
    return [record for record in part.events if record.kind == kind]


def _errors(part: Slice) -> int:
    return sum(is_error(record.data) for record in _of_kind(part, RUN))


def _latency(part: Slice, share: float) -> float | None:
    return percentile(latencies_of(_of_kind(part, RUN)), share)


def _seconds(part: Slice) -> list[float]:
    return [0.0 if stay.bounce else stay.seconds for stay in part.visits]


MEASURES: dict[str, Callable[[Slice], Number | None]] = {
    "people": lambda part: len(people_of(part.actors)),
    "visitors": lambda part: len(visitors_of(part.actors)),
    "visits": lambda part: len(part.visits),
    "views": lambda part: len(_of_kind(part, VIEW)),
    "interactions": lambda part: len(part.interactions),
    "custom_events": lambda part: len(_of_kind(part, CUSTOM)),
    "runs": lambda part: len(_of_kind(part, RUN)),
    "errors": _errors,
    "error_rate": lambda part: ratio(_errors(part), len(_of_kind(part, RUN))),
    "p50_ms": lambda part: _latency(part, 0.50),
    "p95_ms": lambda part: _latency(part, 0.95),
    "p99_ms": lambda part: _latency(part, 0.99),
    "waiting_ms": lambda part: waiting_of(_of_kind(part, RUN)),
    "bounce_rate": lambda part: ratio(sum(stay.bounce for stay in part.visits), len(part.visits)),
    "visit_mean_s": lambda part: mean(_seconds(part)),
    "visit_median_s": lambda part: percentile(_seconds(part), 0.50),
}


def measured(part: Slice, metrics: Sequence[str]) -> dict[str, Number | None]:
    """The *metrics* of a slice."""
    return {metric: MEASURES[metric](part) for metric in metrics}


def summary(
    history: History,
    start: datetime | None,
    end: datetime | None,
    compare: str | tuple[datetime, datetime] | None,
    filters: Filters,
) -> Summary:
    """`MetricsReader.get_summary`."""
    check_range(start, end)
    before = compared(start, end, compare)
    return _summary(history, start, end, filters, _summary(history, *before, filters) if before else None)


def _summary(
    history: History, start: datetime | None, end: datetime | None, filters: Filters, previous: Summary | None = None
) -> Summary:
    values = measured(history.slice(start, end, filters), METRICS)
    return Summary(start=start, end=end, previous=previous, **values)  # type: ignore[arg-type]  # checked by a test


def series(
    history: History, metric: str, interval: str, start: datetime, end: datetime, tz: str, filters: Filters
) -> Rows[SeriesPoint]:
    """`MetricsReader.get_series`."""
    check_word("metric", metric, METRICS)
    zone = zone_of(tz)
    found = periods(interval, start, end, zone)
    parts = by_period(history.slice(start, end, filters), found)
    return Rows(
        tuple(
            SeriesPoint(
                start=local(period.start, zone),
                end=local(period.end, zone),
                value=MEASURES[metric](part),
                partial=period.start < start or end < period.end,
            )
            for period, part in zip(found, parts)
        )
    )
