"""Reading a repository from asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from .async_metrics import AsyncMetrics
from .events import ANONYMOUS
from .metrics.arguments import Registry
from .repositories.base import DEFAULT_LIMIT, TrackerRepository

T = TypeVar("T")

#: Seconds that a query waits at most for the events of its own process.
FLUSH_TIMEOUT = 1.0


class TrackerAnalytics(AsyncMetrics):
    """The reading methods of a *repository* as coroutines, and what follows from them.

    The metrics are those of `MetricsReader`. *registry* says what the app has, for
    `get_unused`. *flush* takes a timeout in seconds and is called before each query, so that a process
    reads its own writes. Both run off the event loop. Nothing here belongs to a loop, a
    thread or a process: one object serves several ``asyncio.run``, threads and forked
    children, as far as the repository does.
    """

    def __init__(
        self,
        *,
        repository: TrackerRepository,
        flush: Callable[[float], bool] | None = None,
        registry: Callable[[], Registry] | None = None,
    ) -> None:
        if not isinstance(repository, TrackerRepository):
            raise TypeError(
                f"repository must be a TrackerRepository, got {type(repository).__name__}; "
                "pass a repository, for instance SqlTrackerRepository('sqlite:///usage.db'), or derive yours from "
                "dash_user_tracker.TrackerRepository"
            )
        self._repository = repository
        self._flush = flush
        self._registry = registry

    async def get_page_views(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        """`TrackerRepository.get_page_views`."""
        return await self._ask(self._repository.get_page_views, start, end, limit, automated=automated)

    async def get_page_views_by_user(
        self,
        user_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        """`TrackerRepository.get_page_views_by_user`."""
        return await self._ask(self._repository.get_page_views_by_user, user_id, start, end, limit, automated=automated)

    async def get_page_views_by_path(
        self,
        path: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        """`TrackerRepository.get_page_views_by_path`."""
        return await self._ask(self._repository.get_page_views_by_path, path, start, end, limit, automated=automated)

    async def get_user_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        """`TrackerRepository.get_user_count`."""
        return await self._ask(self._repository.get_user_count, start, end, automated=automated)

    async def get_user_count_by_path(
        self, path: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        """`TrackerRepository.get_user_count_by_path`."""
        return await self._ask(self._repository.get_user_count_by_path, path, start, end, automated=automated)

    async def get_page_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        """`TrackerRepository.get_page_count`."""
        return await self._ask(self._repository.get_page_count, start, end, automated=automated)

    async def get_page_count_by_user(
        self, user_id: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        """`TrackerRepository.get_page_count_by_user`."""
        return await self._ask(self._repository.get_page_count_by_user, user_id, start, end, automated=automated)

    async def get_user_activity(
        self, user_id: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> dict[str, Any]:
        """``{"total_views", "unique_pages": {"count", "pages"}, "page_views"}`` of one user.

        ``pages`` are sorted; ``page_views`` are all rows in the range, newest first.
        """
        total, rows = await self._ask(
            _all_rows, self._repository.get_page_views_by_user, user_id, start, end, automated=automated
        )
        pages = _unique(rows, "path")
        return {"total_views": total, "unique_pages": {"count": len(pages), "pages": pages}, "page_views": rows}

    async def get_page_activity(
        self, path: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> dict[str, Any]:
        """``{"total_views", "unique_users": {"count", "user_ids", "user_emails"}, "page_views"}`` of one path.

        ``user_ids`` and ``user_emails`` are sorted. ``anonymous`` is one of the ids, as in
        `get_user_count`, but no e-mail address; ``page_views`` are all rows in the range,
        newest first.
        """
        total, rows = await self._ask(
            _all_rows, self._repository.get_page_views_by_path, path, start, end, automated=automated
        )
        user_ids = _unique(rows, "user_id")
        return {
            "total_views": total,
            "unique_users": {
                "count": len(user_ids),
                "user_ids": user_ids,
                "user_emails": [email for email in _unique(rows, "email") if email != ANONYMOUS],
            },
            "page_views": rows,
        }

    async def _ask(self, query: Callable[..., T], *args: object, automated: bool | None) -> T:
        # Handed on only when asked for: a repository of the owner's may not know it.
        wanted = {} if automated is None else {"automated": automated}
        return await self._read(query, *args, **wanted)

    async def _read(self, query: Callable[..., T], *args: object, **options: object) -> T:
        return await _off_loop(functools.partial(self._flushed, query, *args, **options))

    def _flushed(self, query: Callable[..., T], *args: object, **wanted: object) -> T:
        if self._flush is not None:
            self._flush(FLUSH_TIMEOUT)
        return query(*args, **wanted)


async def _off_loop(call: Callable[[], T]) -> T:
    """What *call* returns or raises, run on a thread of its own.

    Not on an executor: its threads are joined when the loop or the interpreter ends, so a
    store that does not answer would hang the exit, and they are missing in a forked child.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Callable[[], T]] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        outcome: Callable[[], T]
        try:
            outcome = functools.partial(_returned, context.run(call))
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            outcome = functools.partial(_raised, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_settle, answer, outcome)

    threading.Thread(target=run, name="dash-user-tracker-analytics", daemon=True).start()
    return (await answer)()


def _settle(answer: asyncio.Future[Callable[[], T]], outcome: Callable[[], T]) -> None:
    if not answer.done():  # cancelled meanwhile
        answer.set_result(outcome)


def _returned(value: T) -> T:
    return value


def _raised(error: BaseException) -> Any:
    raise error


def _all_rows(
    query: Callable[..., Mapping[str, Any]],
    key: str,
    start: datetime | None,
    end: datetime | None,
    **wanted: bool,
) -> tuple[int, list[dict[str, Any]]]:
    """The total and every row. Asked with the total as limit: over HTTP, no limit is the server's own."""
    answer = query(key, start, end, **wanted)
    if answer["count"] > len(answer["data"]):
        answer = query(key, start, end, answer["count"], **wanted)
    return answer["count"], list(answer["data"])


def _unique(rows: Iterable[Mapping[str, Any]], key: str) -> list[str]:
    return sorted({value for value in (row.get(key) for row in rows) if isinstance(value, str)})
