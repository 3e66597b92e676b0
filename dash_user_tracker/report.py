"""The questions of a report, asked of a repository, and their answers together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs

from .metrics.answers import (
    ActiveUsers,
    BreakdownRow,
    CallbackStats,
    ErrorRow,
    SeriesPoint,
    Summary,
    Visit,
)
from .metrics.filters import Filters
from .metrics.periods import local, zone_of
from .metrics.tables import Rows

if TYPE_CHECKING:
    from .repositories.metrics import MetricsReader

#: What the course over time is shown of.
TRENDS = ("people", "visitors", "visits", "views", "interactions", "runs", "errors", "p95_ms")
#: Longest range, in days, that is drawn by the hour, the day, the week.
_INTERVALS = ((2, "hour"), (45, "day"), (45 * 7, "week"))

#: The tables of a report, as `Report` names them.
TABLES = ("summary", "series", "pages", "users", "groups", "callbacks", "errors", "events", "visits", "active")


@attrs.frozen(kw_only=True)
class Report:
    """Rows are cut to the limit; every answer is of ``start <= timestamp < end``, but for *active*, which ends at it.

    *automated_views* are the page views of robots, probes and test clients, whether they
    are in the other numbers or not.
    """

    start: datetime
    end: datetime
    tz: str
    interval: str
    filters: Filters
    apps: tuple[str, ...]
    automated_views: int
    summary: Summary
    active: ActiveUsers
    series: Mapping[str, Rows[SeriesPoint]]
    pages: Rows[BreakdownRow]
    users: Rows[BreakdownRow]
    groups: Rows[BreakdownRow]
    callbacks: Rows[CallbackStats]
    errors: Rows[ErrorRow]
    events: Rows[BreakdownRow]
    visits: Rows[Visit]

    @property
    def is_empty(self) -> bool:
        """Nothing that the report could show happened."""
        summary = self.summary
        return not (summary.views or summary.runs or summary.custom_events)

    def table(self, name: str) -> list[dict[str, Any]]:
        """The rows of one of `TABLES`, flat."""
        if name != "series":
            rows: list[dict[str, Any]] = getattr(self, name).to_dicts()
            return [self._local(row) for row in rows]
        points = zip(*self.series.values())
        return [
            self._local(
                {"start": each[0].start, "end": each[0].end, "partial": each[0].partial}
                | {metric: point.value for metric, point in zip(self.series, each)}
            )
            for each in points
        ]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return self._local(
            {
                "start": self.start,
                "end": self.end,
                "tz": self.tz,
                "interval": self.interval,
                "filters": attrs.asdict(self.filters),
                "apps": list(self.apps),
                "automated_views": self.automated_views,
                "exact": all(getattr(self, name).exact for name in TABLES if name != "series"),
                **{name: self.table(name) for name in TABLES},
                "totals": {name: getattr(self, name).total for name in TABLES[2:-1]},
            }
        )

    def _local(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Moments on the clock of the time zone asked for."""
        zone = zone_of(self.tz)
        return {
            key: local(value, zone).isoformat() if isinstance(value, datetime) else value for key, value in row.items()
        }


def build_report(
    repository: MetricsReader,
    *,
    start: datetime,
    end: datetime,
    tz: str = "UTC",
    filters: Filters | None = None,  # None: everybody but automated clients
    limit: int | None = 10,  # rows per table, None: all
) -> Report:
    """The report on a range, compared with the one of the same length before it."""
    chosen = filters or Filters()
    interval = interval_of(start, end)
    asked: dict[str, Any] = {"filters": chosen}
    robots = repository.get_summary(start, end, filters=attrs.evolve(chosen, automated=True))
    apps = repository.get_breakdown("app", start, end, metrics=["views"], limit=None, **asked)
    return Report(
        start=start,
        end=end,
        tz=tz,
        interval=interval,
        filters=chosen,
        apps=tuple(sorted(row.key for row in apps if row.key is not None)),
        automated_views=robots.views,
        summary=repository.get_summary(start, end, compare="previous", **asked),
        active=repository.get_active_users(end, tz=tz, **asked),
        series={metric: repository.get_series(metric, interval, start, end, tz=tz, **asked) for metric in TRENDS},
        pages=repository.get_breakdown("page", start, end, limit=limit, **asked),
        users=repository.get_breakdown("user", start, end, limit=limit, **asked),
        groups=repository.get_breakdown("group", start, end, limit=limit, **asked),
        callbacks=repository.get_callback_stats(start, end, limit=limit, **asked),
        errors=repository.get_errors(start, end, limit=limit, **asked),
        events=repository.get_breakdown("event", start, end, limit=limit, **asked),
        visits=repository.get_visits(start, end, limit=limit, **asked),
    )


def interval_of(start: datetime, end: datetime) -> str:
    """The interval that draws a range in some 45 points at most, and years by the month."""
    return next((interval for days, interval in _INTERVALS if end - start <= timedelta(days=days)), "month")
