"""The metrics of an SQL store: from its roll-ups where they can say, else from its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

from ...metrics.answers import (
    ActiveUsers,
    Adoption,
    BreakdownRow,
    CallbackStats,
    FunnelRow,
    JourneyRow,
    LifecycleRow,
    RetentionRow,
    SeriesPoint,
    Summary,
)
from ...metrics.arguments import MemberLike, Step, members_of, steps_of
from ...metrics.callback_stats import SORTS
from ...metrics.checks import check_count, check_limit, check_range, check_within, compared, moment_or_now
from ...metrics.coverage import adoption_of
from ...metrics.filters import Filters
from ...metrics.journeys import DEEPEST
from ...metrics.periods import zone_of
from ...metrics.presence import MOST
from ...metrics.tables import Rows
from ...metrics.words import METRICS, UNITS, check_word, metrics_of
from ..base import TrackerRepository
from ..metrics import DEFAULT_ROWS, Compare
from . import answers
from .rollups import Rollups, is_answered


class SqlMetrics(TrackerRepository):
    """Answers from roll-ups; what they cannot tell apart is left to `MetricsReader`."""

    #: Runs of which percentiles are computed from each of them; of more they are estimated.
    exact_below = answers.EXACT

    @contextmanager
    def _rollups(self, filters: Filters) -> Iterator[Rollups]:
        raise NotImplementedError
        yield

    def get_summary(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        compare: Compare = None,
        filters: Filters | None = None,
    ) -> Summary:
        filters = filters or Filters()
        if not is_answered(filters):
            return super().get_summary(start, end, compare=compare, filters=filters)
        check_range(start, end)
        before = compared(start, end, compare)
        with self._rollups(filters) as rollups:
            previous = answers.summary(rollups, *before, None, self.exact_below) if before else None
            return answers.summary(rollups, start, end, previous, self.exact_below)

    def get_series(
        self,
        metric: str,
        interval: str,
        start: datetime,
        end: datetime,
        *,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[SeriesPoint]:
        filters = filters or Filters()
        if not is_answered(filters):
            return super().get_series(metric, interval, start, end, tz=tz, filters=filters)
        check_word("metric", metric, METRICS)
        check_range(start, end)
        zone_of(tz)
        with self._rollups(filters) as rollups:
            return answers.series(rollups, metric, interval, start, end, tz, self.exact_below)

    def get_breakdown(
        self,
        dimension: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        metrics: Sequence[str] | None = None,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[BreakdownRow]:
        filters = filters or Filters()
        check_range(start, end)
        check_limit(limit)
        wanted = metrics_of(dimension, metrics)
        if not is_answered(filters) or not answers.KNOWN.get(dimension, set()).issuperset(wanted):
            return super().get_breakdown(dimension, start, end, metrics=metrics, filters=filters, limit=limit)
        with self._rollups(filters) as rollups:
            return answers.breakdown(rollups, dimension, start, end, wanted, limit, self.exact_below)

    def get_active_users(
        self, end: datetime | None = None, *, tz: str = "UTC", filters: Filters | None = None
    ) -> ActiveUsers:
        filters = filters or Filters()
        if not is_answered(filters):
            return super().get_active_users(end, tz=tz, filters=filters)
        until = moment_or_now(end).astimezone(timezone.utc)
        zone_of(tz)
        with self._rollups(filters) as rollups:
            return answers.active_users(rollups, until, tz)

    def get_journeys(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        start_page: str | None = None,
        depth: int = 4,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[JourneyRow]:
        filters = filters or Filters()
        if start_page is not None or not is_answered(filters):
            return super().get_journeys(start, end, start_page=start_page, depth=depth, filters=filters, limit=limit)
        check_range(start, end)
        check_limit(limit)
        check_count("depth", depth, 1, DEEPEST)
        with self._rollups(filters) as rollups:
            return answers.journeys(rollups, start, end, depth, limit)

    def get_retention(
        self,
        unit: str = "week",
        periods: int = 8,
        *,
        end: datetime | None = None,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[RetentionRow]:
        filters = filters or Filters()
        if not is_answered(filters):
            return super().get_retention(unit, periods, end=end, tz=tz, filters=filters)
        until = _checked(unit, periods, end, tz)
        with self._rollups(filters) as rollups:
            return answers.retention(rollups, unit, periods, until, tz)

    def get_lifecycle(
        self,
        unit: str = "week",
        periods: int = 12,
        *,
        end: datetime | None = None,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[LifecycleRow]:
        filters = filters or Filters()
        if not is_answered(filters):
            return super().get_lifecycle(unit, periods, end=end, tz=tz, filters=filters)
        until = _checked(unit, periods, end, tz)
        with self._rollups(filters) as rollups:
            return answers.lifecycle(rollups, unit, periods, until, tz)

    def get_funnel(
        self,
        steps: Sequence[Step | str],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        within: timedelta | None = None,
        filters: Filters | None = None,
    ) -> Rows[FunnelRow]:
        filters = filters or Filters()
        wanted = steps_of(steps)
        if not is_answered(filters) or any(step.kind != "page" for step in wanted):
            return super().get_funnel(steps, start, end, within=within, filters=filters)
        check_range(start, end)
        check_within(within)
        with self._rollups(filters) as rollups:
            return answers.funnel(rollups, wanted, start, end, within)

    def get_callback_stats(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        sort: str = "waiting_ms",
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[CallbackStats]:
        filters = filters or Filters()
        if not is_answered(filters):
            return super().get_callback_stats(start, end, sort=sort, filters=filters, limit=limit)
        check_range(start, end)
        check_limit(limit)
        check_word("sort", sort, SORTS)
        with self._rollups(filters) as rollups:
            return answers.callback_stats(rollups, start, end, sort, limit, self.exact_below)

    def get_adoption(
        self,
        roster: Iterable[MemberLike],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
    ) -> Adoption:
        filters = filters or Filters()
        if not is_answered(filters):
            return super().get_adoption(roster, start, end, filters=filters)
        members = members_of(roster)
        check_range(start, end)
        with self._rollups(filters) as rollups:
            active = answers.people_between(rollups, start, end)
            return adoption_of(members, active, answers.people_between(rollups, None, end))


def _checked(unit: str, periods: int, end: datetime | None, tz: str) -> datetime:
    check_word("unit", unit, UNITS)
    check_count("periods", periods, 1, MOST)
    until = moment_or_now(end).astimezone(timezone.utc)
    zone_of(tz)
    return until
