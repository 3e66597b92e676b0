"""What each callback costs, and whom."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime

from .answers import CallbackStats
from .breakdowns import descending, grouped, none_last
from .checks import check_limit, check_range
from .filters import Filters
from .history import History
from .measures import latencies_of, people_of, visitors_of, waiting_of
from .percentiles import percentile
from .records import LARGEST_BYTES, RUN, Record, callback_of, is_error
from .tables import Rows
from .words import check_word

#: What the rows can be sorted by.
SORTS = (
    "waiting_ms",
    "runs",
    "runs_user",
    "people",
    "visitors",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "errors",
    "error_rate",
    "no_update_share",
    "request_bytes",
    "response_bytes",
)

_CAUSES = ("user", "initial", "cascade", "navigation")


def callback_stats(
    history: History, start: datetime | None, end: datetime | None, sort: str, filters: Filters, limit: int | None
) -> Rows[CallbackStats]:
    """`MetricsReader.get_callback_stats`."""
    check_range(start, end)
    check_limit(limit)
    check_word("sort", sort, SORTS)
    runs = [record for record in history.selected(start, end, filters) if record.kind == RUN]
    rows = [_stats(name, own) for name, own in grouped(runs, lambda record: callback_of(record.data)).items()]
    rows.sort(key=lambda row: (descending(getattr(row, sort)), none_last(row.callback)))
    return Rows(tuple(rows[:limit]), total=len(rows))


def _stats(name: str | None, runs: Sequence[Record]) -> CallbackStats:
    latencies = latencies_of(runs)
    actors = [record.actor for record in runs]
    causes = Counter(cause if cause in _CAUSES else "other" for cause in (_cause(record) for record in runs))
    errors = sum(is_error(record.data) for record in runs)
    return CallbackStats(
        callback=name,
        runs=len(runs),
        runs_user=causes["user"],
        runs_initial=causes["initial"],
        runs_cascade=causes["cascade"],
        runs_navigation=causes["navigation"],
        runs_other=causes["other"],
        people=len(people_of(actors)),
        visitors=len(visitors_of(actors)),
        p50_ms=percentile(latencies, 0.50),
        p95_ms=percentile(latencies, 0.95),
        p99_ms=percentile(latencies, 0.99),
        waiting_ms=waiting_of(runs),
        errors=errors,
        error_rate=errors / len(runs),
        no_update_share=sum(record.data.get("outcome") == "no_update" for record in runs) / len(runs),
        request_bytes=_total(record.data.get("request_bytes") for record in runs),
        response_bytes=_total(record.data.get("response_bytes") for record in runs),
        last=runs[-1].at,
    )


def _cause(record: Record) -> str:
    cause = record.data.get("cause")
    return cause if isinstance(cause, str) else "unknown"


def _total(sizes: Iterable[object]) -> int:
    return sum(
        size for size in sizes if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < LARGEST_BYTES
    )
