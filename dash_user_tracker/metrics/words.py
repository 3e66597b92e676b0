"""The names of metrics, dimensions and intervals, and which dimension has which metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Every metric of a summary; `get_series` draws any of them. See `answers.Summary` for what each counts.
METRICS = (
    "people",
    "visitors",
    "visits",
    "views",
    "interactions",
    "custom_events",
    "runs",
    "errors",
    "error_rate",
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "waiting_ms",
    "bounce_rate",
    "visit_mean_s",
    "visit_median_s",
)

#: Metrics that only a page has.
PAGE_METRICS = ("entries", "exits", "exit_rate", "bounces", "time_s")

_RUNS = ("runs", "people", "visitors", "errors", "error_rate", "p50_ms", "p95_ms", "p99_ms", "waiting_ms")
_VISITS = ("visits", "people", "visitors", "bounce_rate", "visit_mean_s", "visit_median_s")

#: The metrics that the rows of each dimension can have.
DIMENSIONS: dict[str, tuple[str, ...]] = {
    # a key of each event
    "app": METRICS,
    "page": METRICS + PAGE_METRICS,
    "path": METRICS,
    "user": METRICS,
    "group": METRICS,
    "browser": METRICS,
    "release": METRICS,
    "environment": METRICS,
    # a key of each visit
    "referrer": _VISITS,
    "entry_page": _VISITS,
    "exit_page": _VISITS,
    # a key of some events
    "callback": _RUNS,
    "control": ("interactions", "people", "visitors"),
    "event": ("custom_events", "people", "visitors"),
}

#: What the rows of a dimension have unless other metrics are asked for; the first one orders them.
DEFAULT_METRICS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(DIMENSIONS, ("visits", "people", "visitors", "views", "interactions")),
    "page": ("views", "people", "visitors", "time_s", "p95_ms", "error_rate"),
    "path": ("views", "people", "visitors"),
    "user": ("views", "visits", "interactions"),
    "referrer": ("visits", "people", "visitors", "bounce_rate"),
    "entry_page": ("visits", "people", "visitors", "bounce_rate"),
    "exit_page": ("visits", "people", "visitors"),
    "callback": ("runs", "people", "p95_ms", "error_rate", "waiting_ms"),
    "control": DIMENSIONS["control"],
    "event": DIMENSIONS["event"],
}

INTERVALS = ("hour", "day", "week", "month")
UNITS = ("day", "week", "month")

#: Milliseconds within which runs of one trigger are one interaction, where there is no page script.
INTERACTION_GAP_MS = 250
#: Minutes without activity after which a visit has ended.
VISIT_GAP_MINUTES = 30
#: Hours that a visit lasts at most.
VISIT_CAP_HOURS = 24
#: Minutes back from now in which somebody with an activity is there now.
NOW_MINUTES = 5


def check_word(name: str, value: str, allowed: Iterable[str]) -> None:
    """ValueError where *value* is not one of the words *allowed*."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def metrics_of(dimension: str, metrics: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics to compute for *dimension*; ValueError for one that it does not have."""
    check_word("dimension", dimension, DIMENSIONS)
    if metrics is None:
        return DEFAULT_METRICS[dimension]
    if isinstance(metrics, str) or not metrics:
        raise ValueError(f"metrics must be a sequence of at least one name, such as ['people'], got {metrics!r}")
    for metric in metrics:
        if metric not in DIMENSIONS[dimension]:
            raise ValueError(
                f"metrics of the dimension {dimension} are {', '.join(DIMENSIONS[dimension])}; got {metric!r}"
            )
    return tuple(dict.fromkeys(metrics))
