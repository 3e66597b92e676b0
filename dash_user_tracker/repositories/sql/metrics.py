"""The metrics of an SQL store: from its roll-ups where they can say, else from its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import attrs

from ...metrics import coverage, measures, presence
from ...metrics.answers import (
    ActiveUsers,
    Adoption,
    BreakdownRow,
    CallbackStats,
    ErrorRow,
    FunnelRow,
    JourneyRow,
    LifecycleRow,
    RetentionRow,
    SeriesPoint,
    Summary,
    Timeline,
    UnusedRow,
    Visit,
)
from ...metrics.arguments import MemberLike, Registry, Step, members_of, steps_of
from ...metrics.breakdowns import breakdown
from ...metrics.callback_stats import SORTS
from ...metrics.callback_stats import callback_stats as reference_callback_stats
from ...metrics.checks import check_count, check_limit, check_range, check_within, compared, moment_or_now
from ...metrics.coverage import adoption_of
from ...metrics.error_groups import error_groups
from ...metrics.filters import EVERYTHING, Filters
from ...metrics.funnels import funnel as reference_funnel
from ...metrics.history import History
from ...metrics.journeys import DEEPEST
from ...metrics.journeys import journeys as reference_journeys
from ...metrics.periods import last_periods, zone_of
from ...metrics.presence import MOST
from ...metrics.tables import Rows
from ...metrics.visit_rows import visit_rows
from ...metrics.words import METRICS, UNITS, check_word, metrics_of
from ..base import TrackerRepository
from ..metrics import DEFAULT_ROWS, Compare
from . import answers, parts, people, rankings, schema, trails
from .rollups import Rollups, is_answered


class SqlMetrics(TrackerRepository):
    """Answers from roll-ups; what they cannot tell apart is computed from the part of the events that it needs."""

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
            check_range(start, end)
            other = compared(start, end, compare)
            found = self._summary(*other, filters) if other else None
            return attrs.evolve(self._summary(start, end, filters), previous=found)
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
            check_range(start, end)
            with self._rollups(filters) as rollups:
                history = parts.with_visits(rollups, start, end)
            return measures.series(history, metric, interval, start, end, tz, filters)
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
        if not is_answered(filters) or not rankings.KNOWN.get(dimension, set()).issuperset(wanted):
            return self._breakdown(dimension, start, end, wanted, filters, limit)
        with self._rollups(filters) as rollups:
            return rankings.breakdown(rollups, dimension, start, end, wanted, limit, self.exact_below)

    def get_active_users(
        self, end: datetime | None = None, *, tz: str = "UTC", filters: Filters | None = None
    ) -> ActiveUsers:
        filters = filters or Filters()
        if not is_answered(filters):
            last = moment_or_now(end)
            with self._rollups(filters) as rollups:
                history = parts.selected(rollups, last - timedelta(days=31), last, parts.IS_ACTIVE)
            return presence.active_users(history, last, tz, filters)
        until = moment_or_now(end).astimezone(timezone.utc)
        zone_of(tz)
        with self._rollups(filters) as rollups:
            return people.active_users(rollups, until, tz)

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
            check_range(start, end)
            with self._rollups(filters) as rollups:
                history = parts.with_visits(rollups, start, end)
            return reference_journeys(history, start, end, start_page, depth, filters, limit)
        check_range(start, end)
        check_limit(limit)
        check_count("depth", depth, 1, DEEPEST)
        with self._rollups(filters) as rollups:
            return trails.journeys(rollups, start, end, depth, limit)

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
            until = _checked(unit, periods, end, tz)
            history = self._people(unit, periods, until, tz, filters)
            return presence.retention(history, unit, periods, until, tz, filters)
        until = _checked(unit, periods, end, tz)
        with self._rollups(filters) as rollups:
            return people.retention(rollups, unit, periods, until, tz)

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
            until = _checked(unit, periods, end, tz)
            history = self._people(unit, periods, until, tz, filters)
            return presence.lifecycle(history, unit, periods, until, tz, filters)
        until = _checked(unit, periods, end, tz)
        with self._rollups(filters) as rollups:
            return people.lifecycle(rollups, unit, periods, until, tz)

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
            check_range(start, end)
            check_within(within)
            with self._rollups(filters) as rollups:
                history = parts.selected(rollups, start, end)
            return reference_funnel(history, steps, start, end, within, filters)
        check_range(start, end)
        check_within(within)
        with self._rollups(filters) as rollups:
            return trails.funnel(rollups, wanted, start, end, within)

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
            check_range(start, end)
            with self._rollups(filters) as rollups:
                history = parts.selected(rollups, start, end, parts.IS_RUN)
            return reference_callback_stats(history, start, end, sort, filters, limit)
        check_range(start, end)
        check_limit(limit)
        check_word("sort", sort, SORTS)
        with self._rollups(filters) as rollups:
            return rankings.callback_stats(rollups, start, end, sort, limit, self.exact_below)

    def get_visits(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[Visit]:
        filters = filters or Filters()
        check_range(start, end)
        check_limit(limit)
        with self._rollups(filters) as rollups:
            if limit is not None and limit <= parts.FEW and is_answered(filters):
                return parts.latest_visits(rollups, rollups.range_of(start, end), limit)
            history = parts.with_visits(rollups, start, end)
        return visit_rows(history, start, end, filters, limit)

    def get_visit(self, visit_id: str) -> Timeline | None:
        if not isinstance(visit_id, str):
            return None
        with self._rollups(EVERYTHING) as rollups:
            return parts.visit_by_id(rollups, visit_id)

    def get_errors(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[ErrorRow]:
        filters = filters or Filters()
        check_range(start, end)
        check_limit(limit)
        with self._rollups(filters) as rollups:
            history = parts.failed(rollups, start, end)
        return error_groups(history, start, end, filters, limit)

    def get_unused(
        self,
        registry: Registry,
        days: int = 60,
        *,
        end: datetime | None = None,
        filters: Filters | None = None,
    ) -> Rows[UnusedRow]:
        filters = filters or Filters()
        coverage.check_registry(registry)
        check_count("days", days, 1, coverage.LONGEST)
        until = moment_or_now(end)
        with self._rollups(filters) as rollups:
            history = parts.last_uses(rollups, until)
        return coverage.unused(history, registry, days, until, filters)

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
            known = members_of(roster)
            check_range(start, end)
            with self._rollups(filters) as rollups:
                history = parts.last_activities(rollups, end)
            return coverage.adoption(history, known, start, end, filters)
        members = members_of(roster)
        check_range(start, end)
        with self._rollups(filters) as rollups:
            active = people.people_between(rollups, start, end)
            return adoption_of(members, active, people.people_between(rollups, None, end))

    # -- inside ------------------------------------------------------------------

    def _summary(self, start: datetime | None, end: datetime | None, filters: Filters) -> Summary:
        with self._rollups(filters) as rollups:
            history = parts.with_visits(rollups, start, end)
        return measures.summary(history, start, end, None, filters)

    def _breakdown(
        self,
        dimension: str,
        start: datetime | None,
        end: datetime | None,
        wanted: Sequence[str],
        filters: Filters,
        limit: int | None,
    ) -> Rows[BreakdownRow]:
        with self._rollups(filters) as rollups:
            if dimension in ("callback", "event"):
                kind = schema.RUN if dimension == "callback" else schema.CUSTOM
                history = parts.selected(rollups, start, end, schema.event.c.kind == kind)
            else:
                history = parts.with_visits(rollups, start, end)
            found = breakdown(history, dimension, start, end, wanted, filters, limit)
            if dimension != "user":
                return found
            # A user is called what was said last, in the range or not.
            named = [attrs.evolve(row, label=rankings.name_of(rollups, row.key) if row.key else None) for row in found]
            return Rows(tuple(named), total=found.total)

    def _people(self, unit: str, periods: int, until: datetime, tz: str, filters: Filters) -> History:
        since = last_periods(unit, periods + 1, until, zone_of(tz))[0].start
        with self._rollups(filters) as rollups:
            return parts.first_and_recent(rollups, since, until)


def _checked(unit: str, periods: int, end: datetime | None, tz: str) -> datetime:
    check_word("unit", unit, UNITS)
    check_count("periods", periods, 1, MOST)
    until = moment_or_now(end).astimezone(timezone.utc)
    zone_of(tz)
    return until
