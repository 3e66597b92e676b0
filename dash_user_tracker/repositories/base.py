"""The contract every repository keeps."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ..events import Event
from ..metrics.checks import check_limit as check_limit
from ..metrics.checks import check_range as check_range
from .metrics import DEFAULT_LIMIT as DEFAULT_LIMIT
from .metrics import MetricsReader


class TrackerRepository(MetricsReader, abc.ABC):
    """Takes events and, where it can, gives them back.

    Only `save_event` must be written; a subclass need not call ``super().__init__``.
    Methods are synchronous. The saving ones are called on one worker thread of the
    process, the reading ones on any thread, so a repository that does both must be
    thread-safe. The metrics are those of `MetricsReader`.

    In the reading methods below *start* and *end* are aware datetimes, half open
    (``start <= timestamp < end``), None for no bound. They count every recorded page
    view; ``automated=False`` leaves out robots, probes and test clients,
    ``automated=True`` keeps only those.
    """

    #: Seconds that a fork of the process waits at most for a save that is going on. For a store that a child could
    #: not use if it was forked in the middle of one; see `repositories.sql`.
    wait_before_fork: float = 0.0

    @property
    def destination(self) -> str:
        """Names the store. Events that a spool keeps for one destination are not given to another."""
        return f"{type(self).__module__}.{type(self).__qualname__}"

    def __new__(cls, *args: object, **kwargs: object) -> TrackerRepository:
        # Here and not in __init__: a subclass need not call ours.
        for name in ("save_event", "save_events"):
            if inspect.iscoroutinefunction(getattr(cls, name)):
                raise TypeError(
                    f"{cls.__name__}.{name} must be a plain method, got a coroutine function: repositories are "
                    "synchronous (they run on a worker thread); drop 'async' and use a blocking client"
                )
        return super().__new__(cls)

    @abc.abstractmethod
    def save_event(self, event: Event) -> None:
        """Store one event; return only when it is taken.

        Raise `RejectedError` to have it dropped and counted; anything else that is
        raised means "try again later".
        """

    def save_events(self, events: Sequence[Event]) -> None:
        """Store several events; the default calls `save_event` for each."""
        for event in events:
            self.save_event(event)

    def close(self) -> None:
        """Give connections and files back. May be called more than once."""

    # -- reading -----------------------------------------------------------------

    def get_page_views(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        """``{"count": all page views, "data": [event data + timestamp]}``, newest first, at most *limit* rows."""
        raise self._cannot_read()

    def get_page_views_by_user(
        self,
        user_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        """`get_page_views` of one user."""
        raise self._cannot_read()

    def get_page_views_by_path(
        self,
        path: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        """`get_page_views` of one path."""
        raise self._cannot_read()

    def get_user_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        """Distinct ``user_id`` over all page views; ``anonymous`` is one."""
        raise self._cannot_read()

    def get_user_count_by_path(
        self, path: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        """Distinct ``user_id`` over the page views of *path*."""
        raise self._cannot_read()

    def get_page_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        """Distinct paths over all page views."""
        raise self._cannot_read()

    def get_page_count_by_user(
        self, user_id: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        """Distinct paths over the page views of *user_id*."""
        raise self._cannot_read()
