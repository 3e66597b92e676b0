"""Visits as rows, and one visit with its events."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from .answers import Timeline, TimelineRow, Visit
from .checks import check_limit, check_range
from .filters import Filters
from .history import History
from .records import RUN, Record, callback_of, latency_of, text_of
from .tables import Rows
from .visits import Stay


def visit_rows(
    history: History, start: datetime | None, end: datetime | None, filters: Filters, limit: int | None
) -> Rows[Visit]:
    """`MetricsReader.get_visits`."""
    check_range(start, end)
    check_limit(limit)
    stays = sorted(history.slice(start, end, filters).visits, key=lambda stay: stay.id)
    stays.sort(key=lambda stay: stay.started, reverse=True)  # stable
    return Rows(tuple(_row(history, stay) for stay in stays[:limit]), total=len(stays))


def timeline(history: History, visit_id: str) -> Timeline | None:
    """`MetricsReader.get_visit`."""
    stay = next((stay for stay in history.visits if stay.id == visit_id), None)
    if stay is None:
        return None
    return Timeline(_row(history, stay), tuple(map(timeline_row, stay.events)))


def _row(history: History, stay: Stay) -> Visit:
    first = stay.activities[0]
    return Visit(
        id=stay.id,
        app=stay.stream.app,
        user=stay.actor.user,
        visitor=stay.actor.visitor,
        group=first.group,
        started=stay.started,
        ended=stay.ended,
        duration_s=stay.seconds,
        entry=stay.entry,
        exit=stay.exit,
        views=len(stay.views),
        interactions=sum(record.position in history.interactions for record in stay.activities),
        custom_events=len(stay.custom),
        errors=stay.errors,
        bounce=stay.bounce,
        browser=first.browser,
        referrer=stay.referrer,
        release=first.release,
        environment=first.environment,
        automated=stay.stream.automated,
    )


def timeline_row(record: Record) -> TimelineRow:
    """One event of a visit."""
    data = record.data
    error = data.get("error")
    return TimelineRow(
        id=record.event.id,
        at=record.at,
        event=record.event.event,
        page=record.page,
        path=record.path,
        navigation=text_of(data.get("navigation")),
        callback=callback_of(data) if record.kind == RUN else None,
        trigger=text_of(data.get("trigger")),
        cause=text_of(data.get("cause")),
        outcome=text_of(data.get("outcome")),
        duration_ms=latency_of(data),
        error=text_of(error.get("type")) if isinstance(error, Mapping) else None,
    )
