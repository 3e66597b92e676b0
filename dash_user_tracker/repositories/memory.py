"""Events kept in this process: for tests, and what the other repositories are measured by."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from ..errors import ConfigurationError
from ..events import PAGE_VIEW, Event
from ..metrics.checks import check_moment, check_person
from .base import DEFAULT_LIMIT, TrackerRepository, check_limit, check_range


class MemoryTrackerRepository(TrackerRepository):
    """Keeps the newest *max_events* events, in the order they arrived; the oldest make room.

    Thread-safe, and idempotent by event id among the events it still has. A forked child
    goes on with a copy of its own. Only text counts as a user or a path: null is neither.
    """

    def __init__(self, *, max_events: int = 10_000) -> None:
        if isinstance(max_events, bool) or not isinstance(max_events, int) or max_events < 1:
            raise ConfigurationError(f"max_events must be a whole number of at least 1, got {max_events!r}")
        self._max_events = max_events
        self._kept: OrderedDict[str, Event] = OrderedDict()
        # By pid: a lock that another thread held at the moment of a fork would stay locked in the child for ever.
        self._locks: dict[int, threading.Lock] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @property
    def events(self) -> list[Event]:
        """All events, in order of arrival; a copy."""
        with self._lock():
            return list(self._kept.values())

    def clear(self) -> None:
        """Forget all events."""
        with self._lock():
            self._kept.clear()

    def save_event(self, event: Event) -> None:
        self.save_events([event])

    def save_events(self, events: Sequence[Event]) -> None:
        self._keep(events)

    def get_page_views(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return _rows(self._views(start, end, automated), limit)

    def get_page_views_by_user(
        self,
        user_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return _rows(self._views(start, end, automated, user_id=user_id), limit)

    def get_page_views_by_path(
        self,
        path: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return _rows(self._views(start, end, automated, path=path), limit)

    def get_user_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return _distinct(self._views(start, end, automated), "user_id")

    def get_user_count_by_path(
        self, path: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return _distinct(self._views(start, end, automated, path=path), "user_id")

    def get_page_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return _distinct(self._views(start, end, automated), "path")

    def get_page_count_by_user(
        self, user_id: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return _distinct(self._views(start, end, automated, user_id=user_id), "path")

    def get_events(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        event: str | None = None,
    ) -> list[Event]:
        check_range(start, end)
        check_limit(limit)
        found = [
            kept
            for kept in reversed(self.events)
            if (event is None or kept.event == event)
            and (start is None or start <= kept.timestamp)
            and (end is None or kept.timestamp < end)
        ]
        # A stable sort: among equal timestamps the latest arrival stays in front, also with reverse=True.
        found.sort(key=lambda kept: kept.timestamp, reverse=True)
        return found[:limit]

    def erase_user(self, user_id: str) -> int:
        check_person(user_id)
        return self._delete(lambda event: event.data.get("user_id") == user_id)

    def purge(self, before: datetime) -> int:
        check_moment("before", before)
        return self._delete(lambda event: event.timestamp < before)

    def _delete(self, unwanted: Callable[[Event], bool]) -> int:
        with self._lock():
            gone = [event_id for event_id, event in self._kept.items() if unwanted(event)]
            for event_id in gone:
                del self._kept[event_id]
        return len(gone)

    def _views(
        self, start: datetime | None, end: datetime | None, automated: bool | None, **wanted: str
    ) -> list[Event]:
        """Page views whose data has the *wanted* values, newest first."""
        return [
            view
            for view in self.get_events(start, end, None, event=PAGE_VIEW)
            if (automated is None or bool(view.data.get("automated")) is automated)
            and all(view.data.get(key) == value for key, value in wanted.items())
        ]

    def _keep(self, events: Sequence[Event]) -> list[Event]:
        """Those of *events* that were not here yet."""
        with self._lock():
            fresh = []
            for event in events:
                if event.id in self._kept:
                    continue
                self._kept[event.id] = event
                fresh.append(event)
                if len(self._kept) > self._max_events:
                    self._kept.popitem(last=False)
            return fresh

    def _lock(self) -> threading.Lock:
        return self._locks.setdefault(os.getpid(), threading.Lock())


def _rows(views: list[Event], limit: int | None) -> dict[str, Any]:
    check_limit(limit)
    return {
        "count": len(views),
        "data": [{**view.data, "timestamp": view.timestamp.isoformat()} for view in views[:limit]],
    }


def _distinct(views: list[Event], key: str) -> int:
    return len({value for value in (view.data.get(key) for view in views) if isinstance(value, str)})
