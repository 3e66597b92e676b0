"""What a list of events says, in numbers for a terminal."""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from .events import ANONYMOUS, CALLBACK, PAGE_VIEW, Event


@attrs.frozen
class Totals:
    """Counts over everything the report covers; rows that a limit cut off are in here.

    *people* are distinct signed-in ``user_id``; *visitors* are distinct ``visitor`` of
    everybody else, a name that changes daily, so over several *days* they are visitor-days.
    A *page* is a route (``/regions/<name>``), an *address* is one path of it.
    *automated_views* are the page views of robots, probes and test clients, whether
    they are in the other numbers or were left out.
    """

    views: int
    people: int
    visitors: int
    pages: int
    addresses: int
    callback_runs: int
    callback_errors: int
    custom_events: int
    automated_views: int
    days: int  # UTC, with at least one event


@attrs.frozen
class PageRow:
    page: str
    views: int
    people: int
    visitors: int
    loads: int
    internal: int
    last: datetime


@attrs.frozen
class UserRow:
    user_id: str
    email: str | None
    views: int
    pages: int
    callback_runs: int
    last: datetime


@attrs.frozen
class CallbackRow:
    """Durations are milliseconds at the server, None where no run stated one."""

    callback: str
    runs: int
    p50_ms: float | None
    p95_ms: float | None
    errors: int
    last_error: str | None


@attrs.frozen
class CustomRow:
    event: str
    count: int
    people: int
    visitors: int
    last: datetime


@attrs.frozen
class ViewRow:
    timestamp: datetime
    path: str
    user_id: str
    navigation: str | None
    automated: bool


@attrs.frozen
class Coverage:
    """What a report covers: ``start <= timestamp < end``, None for no bound.

    *complete* is false where there were more events than could be read; *start* is then
    the oldest of those that were.
    """

    start: datetime | None = None
    end: datetime | None = None
    automated: bool = False
    complete: bool = True


@attrs.frozen
class Report:
    """Rows are cut to the limit, busiest (or newest) first; *totals* are not."""

    apps: Sequence[str]
    totals: Totals
    pages: Sequence[PageRow]
    users: Sequence[UserRow]
    callbacks: Sequence[CallbackRow]
    custom: Sequence[CustomRow]
    latest: Sequence[ViewRow]


def build_report(
    events: Iterable[Event],
    *,
    app: str | None = None,  # only this app_name
    automated: bool = False,  # count robots, probes and test clients too
    limit: int = 10,  # rows per table
) -> Report:
    """The report over *events*, which may come in any order."""
    chosen = [event for event in events if app is None or event.data.get("app_name") == app]
    counted = [event for event in chosen if automated or not event.data.get("automated")]
    views = [event for event in counted if event.event == PAGE_VIEW]
    runs = [event for event in counted if event.event == CALLBACK]
    custom = [event for event in counted if event.event not in (PAGE_VIEW, CALLBACK)]
    people, visitors = count_people(counted)
    return Report(
        apps=sorted({str(event.data["app_name"]) for event in chosen if event.data.get("app_name") is not None}),
        totals=Totals(
            views=len(views),
            people=people,
            visitors=visitors,
            pages=len({page_of(event.data) for event in views}),
            addresses=len({event.data.get("path") for event in views}),
            callback_runs=len(runs),
            callback_errors=sum(is_error(event) for event in runs),
            custom_events=len(custom),
            automated_views=sum(event.event == PAGE_VIEW and bool(event.data.get("automated")) for event in chosen),
            days=len({event.timestamp.date() for event in counted}),
        ),
        pages=_pages(views)[:limit],
        users=_users(counted)[:limit],
        callbacks=_callbacks(runs)[:limit],
        custom=_custom(custom)[:limit],
        latest=[_view(event) for event in heapq.nlargest(limit, views, key=lambda event: event.timestamp)],
    )


def count_people(events: Iterable[Event]) -> tuple[int, int]:
    """Distinct signed-in users, and distinct visitors among everybody else."""
    people: set[str] = set()
    visitors: set[str] = set()
    for event in events:
        user_id = event.data.get("user_id") or ANONYMOUS
        if user_id != ANONYMOUS:
            people.add(user_id)
        elif event.data.get("visitor"):
            visitors.add(event.data["visitor"])
    return len(people), len(visitors)


def page_of(data: Mapping[str, Any]) -> str:
    """The route template where there is one, so that ``/orders/1`` to ``/orders/5000`` are one page."""
    return str(data.get("route") or data.get("path") or "-")


def is_error(event: Event) -> bool:
    return event.data.get("outcome") == "error"


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least *share* of the values do not exceed (nearest rank); None without values."""
    if not values:
        return None
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def _pages(views: Sequence[Event]) -> list[PageRow]:
    rows = []
    for page, group in _grouped(views, lambda event: page_of(event.data)):
        people, visitors = count_people(group)
        ways = Counter(event.data.get("navigation") for event in group)
        rows.append(
            PageRow(
                page=page,
                views=len(group),
                people=people,
                visitors=visitors,
                loads=ways["load"],
                internal=ways["internal"],
                last=_last(group).timestamp,
            )
        )
    return sorted(rows, key=lambda row: (-row.views, row.page))


def _users(events: Sequence[Event]) -> list[UserRow]:
    rows = []
    for user_id, group in _grouped(events, lambda event: str(event.data.get("user_id") or ANONYMOUS)):
        views = [event for event in group if event.event == PAGE_VIEW]
        last = _last(group)
        rows.append(
            UserRow(
                user_id=user_id,
                email=last.data.get("email") if user_id != ANONYMOUS else None,
                views=len(views),
                pages=len({page_of(event.data) for event in views}),
                callback_runs=sum(event.event == CALLBACK for event in group),
                last=last.timestamp,
            )
        )
    return sorted(rows, key=lambda row: (-row.views, row.user_id))


def _callbacks(runs: Sequence[Event]) -> list[CallbackRow]:
    rows = []
    for label, group in _grouped(
        runs, lambda event: str(event.data.get("callback") or event.data.get("output") or "-")
    ):
        durations = [
            float(event.data["duration_ms"])
            for event in group
            if isinstance(event.data.get("duration_ms"), (int, float))
        ]
        failed = [event for event in group if is_error(event)]
        rows.append(
            CallbackRow(
                callback=label,
                runs=len(group),
                p50_ms=percentile(durations, 0.50),
                p95_ms=percentile(durations, 0.95),
                errors=len(failed),
                last_error=_error_type(_last(failed)) if failed else None,
            )
        )
    return sorted(rows, key=lambda row: (-row.runs, row.callback))


def _custom(events: Sequence[Event]) -> list[CustomRow]:
    rows = []
    for name, group in _grouped(events, lambda event: event.event):
        people, visitors = count_people(group)
        rows.append(
            CustomRow(event=name, count=len(group), people=people, visitors=visitors, last=_last(group).timestamp)
        )
    return sorted(rows, key=lambda row: (-row.count, row.event))


def _view(event: Event) -> ViewRow:
    return ViewRow(
        timestamp=event.timestamp,
        path=str(event.data.get("path") or "-"),
        user_id=str(event.data.get("user_id") or ANONYMOUS),
        navigation=event.data.get("navigation"),
        automated=bool(event.data.get("automated")),
    )


def _grouped(events: Iterable[Event], key: Any) -> Iterable[tuple[str, list[Event]]]:
    groups: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        groups[key(event)].append(event)
    return groups.items()


def _last(events: Sequence[Event]) -> Event:
    return max(events, key=lambda event: event.timestamp)


def _error_type(event: Event) -> str | None:
    error = event.data.get("error")
    return str(error.get("type")) if isinstance(error, Mapping) else None
