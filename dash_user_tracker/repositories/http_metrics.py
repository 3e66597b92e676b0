"""The metrics of a store behind HTTP: each question is one request, see `metrics.queries`."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from ..codec import decode_event
from ..errors import DecodeError, TrackerError
from ..events import Event
from ..metrics.answers import (
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
from ..metrics.arguments import MemberLike, Registry, Step
from ..metrics.filters import Filters
from ..metrics.queries import QUESTIONS, Query, query_of
from ..metrics.tables import Rows
from ..metrics.wire import from_wire
from .metrics import DEFAULT_ROWS, Compare, MetricsReader, check_question

T = TypeVar("T")


class RemoteMetrics(MetricsReader, abc.ABC):
    """`MetricsReader` by requests; arguments are checked before anything is sent."""

    @abc.abstractmethod
    def _fetch(self, query: Query) -> Any:
        """The JSON that the request is answered with."""

    @abc.abstractmethod
    def _lines(self, query: Query) -> Iterator[bytes]:
        """The lines that the request is answered with."""

    def _asked(self, method: Callable[..., T], **arguments: Any) -> T:
        query = _query(method.__name__, arguments)
        try:
            answer: T = from_wire(QUESTIONS[method.__name__].answer, self._fetch(query))
        except DecodeError as error:
            raise TrackerError(f"{self!r}: {query.address} answered something else: {error}") from error
        return answer

    def _deleted(self, method: str, **arguments: Any) -> int:
        query = _query(method, arguments)
        answer = self._fetch(query)
        count = answer.get("deleted") if isinstance(answer, dict) else None
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise TrackerError(f'{self!r}: {query.address} must answer {{"deleted": number}}')
        return count

    def _streamed(self, method: str, **arguments: Any) -> Iterator[Event]:
        return self._events(_query(method, arguments))

    def _events(self, query: Query) -> Iterator[Event]:
        for line in self._lines(query):
            try:
                yield decode_event(line)
            except DecodeError as error:
                raise TrackerError(f"{self!r}: {query.address} must answer one event a line: {error}") from error

    def get_summary(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        compare: Compare = None,
        filters: Filters | None = None,
    ) -> Summary:
        return self._asked(MetricsReader.get_summary, start=start, end=end, compare=compare, filters=filters)

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
        return self._asked(
            MetricsReader.get_series, metric=metric, interval=interval, start=start, end=end, tz=tz, filters=filters
        )

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
        return self._asked(
            MetricsReader.get_breakdown,
            dimension=dimension,
            start=start,
            end=end,
            metrics=metrics,
            filters=filters,
            limit=limit,
        )

    def get_active_users(
        self,
        end: datetime | None = None,
        *,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> ActiveUsers:
        return self._asked(MetricsReader.get_active_users, end=end, tz=tz, filters=filters)

    def get_visits(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[Visit]:
        return self._asked(MetricsReader.get_visits, start=start, end=end, filters=filters, limit=limit)

    def get_visit(
        self,
        visit_id: str,
    ) -> Timeline | None:
        return self._asked(MetricsReader.get_visit, visit_id=visit_id)

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
        return self._asked(
            MetricsReader.get_journeys,
            start=start,
            end=end,
            start_page=start_page,
            depth=depth,
            filters=filters,
            limit=limit,
        )

    def get_retention(
        self,
        unit: str = "week",
        periods: int = 8,
        *,
        end: datetime | None = None,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[RetentionRow]:
        return self._asked(MetricsReader.get_retention, unit=unit, periods=periods, end=end, tz=tz, filters=filters)

    def get_lifecycle(
        self,
        unit: str = "week",
        periods: int = 12,
        *,
        end: datetime | None = None,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[LifecycleRow]:
        return self._asked(MetricsReader.get_lifecycle, unit=unit, periods=periods, end=end, tz=tz, filters=filters)

    def get_funnel(
        self,
        steps: Sequence[Step | str],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        within: timedelta | None = None,
        filters: Filters | None = None,
    ) -> Rows[FunnelRow]:
        return self._asked(MetricsReader.get_funnel, steps=steps, start=start, end=end, within=within, filters=filters)

    def get_callback_stats(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        sort: str = "waiting_ms",
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[CallbackStats]:
        return self._asked(
            MetricsReader.get_callback_stats, start=start, end=end, sort=sort, filters=filters, limit=limit
        )

    def get_errors(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[ErrorRow]:
        return self._asked(MetricsReader.get_errors, start=start, end=end, filters=filters, limit=limit)

    def get_unused(
        self,
        registry: Registry,
        days: int = 60,
        *,
        end: datetime | None = None,
        filters: Filters | None = None,
    ) -> Rows[UnusedRow]:
        return self._asked(MetricsReader.get_unused, registry=registry, days=days, end=end, filters=filters)

    def get_adoption(
        self,
        roster: Iterable[MemberLike],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
    ) -> Adoption:
        return self._asked(MetricsReader.get_adoption, roster=roster, start=start, end=end, filters=filters)

    def export(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        event: str | None = None,
        filters: Filters | None = None,
    ) -> Iterator[Event]:
        return self._streamed("export", start=start, end=end, event=event, filters=filters)

    def export_user(
        self,
        user_id: str,
    ) -> Iterator[Event]:
        return self._streamed("export_user", user_id=user_id)

    def erase_user(
        self,
        user_id: str,
    ) -> int:
        return self._deleted("erase_user", user_id=user_id)

    def purge(
        self,
        before: datetime,
    ) -> int:
        return self._deleted("purge", before=before)


def _query(method: str, arguments: dict[str, Any]) -> Query:
    if "roster" in arguments:
        arguments["roster"] = _kept(arguments["roster"])
    check_question(method, arguments)
    return query_of(method, arguments)


def _kept(roster: Iterable[MemberLike]) -> Iterable[MemberLike]:
    """A roster that can be read twice."""
    return roster if isinstance(roster, Sequence) else list(roster)
