"""The metrics of a repository as coroutines."""

from __future__ import annotations

import abc
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from .errors import ConfigurationError
from .events import Event
from .metrics.answers import (
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
from .metrics.arguments import MemberLike, Registry, Step
from .metrics.filters import Filters
from .metrics.tables import Rows
from .repositories.base import TrackerRepository
from .repositories.metrics import DEFAULT_ROWS, Compare

T = TypeVar("T")

#: Events that an export takes from the store at once.
_CHUNK = 500


class AsyncMetrics(abc.ABC):
    """The questions of `MetricsReader`, with the same arguments and answers, awaited."""

    _repository: TrackerRepository
    _registry: Callable[[], Registry] | None

    @abc.abstractmethod
    async def _read(self, query: Callable[..., T], *args: object, **options: object) -> T:
        """What *query* returns, off the event loop."""

    async def get_summary(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        compare: Compare = None,
        filters: Filters | None = None,
    ) -> Summary:
        """A period in numbers. See `MetricsReader.get_summary`."""
        return await self._read(self._repository.get_summary, start, end, compare=compare, filters=filters)

    async def get_series(
        self,
        metric: str,
        interval: str,
        start: datetime,
        end: datetime,
        *,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[SeriesPoint]:
        """One of `words.METRICS` for each *interval* that the range touches, oldest first.

        See `MetricsReader.get_series`.
        """
        return await self._read(self._repository.get_series, metric, interval, start, end, tz=tz, filters=filters)

    async def get_breakdown(
        self,
        dimension: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        metrics: Sequence[str] | None = None,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[BreakdownRow]:
        """The metrics of each key of a dimension, the highest of the first metric first, then by key.

        See `MetricsReader.get_breakdown`.
        """
        return await self._read(
            self._repository.get_breakdown, dimension, start, end, metrics=metrics, filters=filters, limit=limit
        )

    async def get_active_users(
        self,
        end: datetime | None = None,
        *,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> ActiveUsers:
        """People with an activity before *end* (None: now): in 5 minutes, and on 1, 7 and 28 local days.

        See `MetricsReader.get_active_users`.
        """
        return await self._read(self._repository.get_active_users, end, tz=tz, filters=filters)

    async def get_visits(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[Visit]:
        """Visits that begin in the range, the latest first, then by id; each whole, also beyond *end*.

        See `MetricsReader.get_visits`.
        """
        return await self._read(self._repository.get_visits, start, end, filters=filters, limit=limit)

    async def get_visit(
        self,
        visit_id: str,
    ) -> Timeline | None:
        """One visit with all its events, None where there is none of this id. See `MetricsReader.get_visit`."""
        return await self._read(self._repository.get_visit, visit_id)

    async def get_journeys(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        start_page: str | None = None,
        depth: int = 4,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[JourneyRow]:
        """The sequences of pages that visits begin with, most frequent first, then by pages.

        See `MetricsReader.get_journeys`.
        """
        return await self._read(
            self._repository.get_journeys, start, end, start_page=start_page, depth=depth, filters=filters, limit=limit
        )

    async def get_retention(
        self,
        unit: str = "week",
        periods: int = 8,
        *,
        end: datetime | None = None,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[RetentionRow]:
        """Of the people first seen in each of the last *periods* days, weeks or months, who came again when.

        See `MetricsReader.get_retention`.
        """
        return await self._read(self._repository.get_retention, unit, periods, end=end, tz=tz, filters=filters)

    async def get_lifecycle(
        self,
        unit: str = "week",
        periods: int = 12,
        *,
        end: datetime | None = None,
        tz: str = "UTC",
        filters: Filters | None = None,
    ) -> Rows[LifecycleRow]:
        """New, returning, resurrected and dormant people of the last *periods*, oldest first.

        See `MetricsReader.get_lifecycle`.
        """
        return await self._read(self._repository.get_lifecycle, unit, periods, end=end, tz=tz, filters=filters)

    async def get_funnel(
        self,
        steps: Sequence[Step | str],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        within: timedelta | None = None,
        filters: Filters | None = None,
    ) -> Rows[FunnelRow]:
        """People and visitors who took the first step, the first two in this order, and so on.

        See `MetricsReader.get_funnel`.
        """
        return await self._read(self._repository.get_funnel, steps, start, end, within=within, filters=filters)

    async def get_callback_stats(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        sort: str = "waiting_ms",
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[CallbackStats]:
        """Each callback's runs, latency, errors and bytes, the longest total waiting time first, then by name.

        See `MetricsReader.get_callback_stats`.
        """
        return await self._read(
            self._repository.get_callback_stats, start, end, sort=sort, filters=filters, limit=limit
        )

    async def get_errors(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
        limit: int | None = DEFAULT_ROWS,
    ) -> Rows[ErrorRow]:
        """Failed runs by type and place, the most frequent first, then by type and place.

        See `MetricsReader.get_errors`.
        """
        return await self._read(self._repository.get_errors, start, end, filters=filters, limit=limit)

    async def get_unused(
        self,
        registry: Registry | None = None,
        days: int = 60,
        *,
        end: datetime | None = None,
        filters: Filters | None = None,
    ) -> Rows[UnusedRow]:
        """Pages, callbacks and controls of *registry* not used in the *days* (of 24 hours) before *end* (None: now).

        *registry* None: what the tracked app has. See `MetricsReader.get_unused`.
        """
        return await self._read(
            self._repository.get_unused, self._registry_or(registry), days, end=end, filters=filters
        )

    async def get_adoption(
        self,
        roster: Iterable[MemberLike],
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        filters: Filters | None = None,
    ) -> Adoption:
        """Of the people on *roster*, how many had an activity in the range, and who never had one before *end*.

        See `MetricsReader.get_adoption`.
        """
        return await self._read(self._repository.get_adoption, roster, start, end, filters=filters)

    async def erase_user(
        self,
        user_id: str,
    ) -> int:
        """Delete all events with this ``user_id``, for good; how many there were. See `MetricsReader.erase_user`."""
        return await self._read(self._repository.erase_user, user_id)

    async def purge(
        self,
        before: datetime,
    ) -> int:
        """Delete all events with a timestamp before *before*, for good; how many there were.

        See `MetricsReader.purge`.
        """
        return await self._read(self._repository.purge, before)

    def export(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        event: str | None = None,
        filters: Filters | None = None,
    ) -> AsyncIterator[Event]:
        """The events, oldest first. See `MetricsReader.export`; arguments are checked at the first event."""
        return self._events(self._repository.export, start, end, event=event, filters=filters)

    def export_user(self, user_id: str) -> AsyncIterator[Event]:
        """All events with this ``user_id``, oldest first. See `MetricsReader.export_user`."""
        return self._events(self._repository.export_user, user_id)

    async def _events(
        self, query: Callable[..., Iterator[Event]], *args: object, **options: object
    ) -> AsyncIterator[Event]:
        events = await self._read(query, *args, **options)
        while True:
            chunk = await self._read(_chunk, events)
            for event in chunk:
                yield event
            if len(chunk) < _CHUNK:
                return

    def _registry_or(self, registry: Registry | None) -> Registry:
        if registry is not None:
            return registry
        if self._registry is None:
            raise ConfigurationError(
                "registry must be given, as Registry(pages=..., callbacks=..., controls=...): these analytics belong "
                "to no app that could be asked what it has"
            )
        return self._registry()


def _chunk(events: Iterator[Event]) -> list[Event]:
    return list(itertools.islice(events, _CHUNK))
