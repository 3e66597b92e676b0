"""Failures that are the same failure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .answers import ErrorRow
from .breakdowns import none_last
from .checks import check_limit, check_range
from .filters import Filters
from .history import History
from .measures import people_of, visitors_of
from .records import RUN, Record, callback_of, is_error, text_of
from .tables import Rows

Place = tuple[str, "str | None"]


def error_groups(
    history: History, start: datetime | None, end: datetime | None, filters: Filters, limit: int | None
) -> Rows[ErrorRow]:
    """`MetricsReader.get_errors`."""
    check_range(start, end)
    check_limit(limit)
    first: dict[Place, datetime] = {}
    found: dict[Place, list[Record]] = {}
    for record in history.selected(None, end, filters):
        if record.kind == RUN and is_error(record.data):
            place = place_of(record.data)
            first.setdefault(place, record.at)
            if start is None or record.at >= start:
                found.setdefault(place, []).append(record)
    rows = [_row(place, first[place], own) for place, own in found.items()]
    rows.sort(key=lambda row: (-row.count, row.type, none_last(row.where)))
    return Rows(tuple(rows[:limit]), total=len(rows))


def place_of(data: Mapping[str, Any]) -> Place:
    """Type and place of a failed run."""
    error = data.get("error")
    error = error if isinstance(error, Mapping) else {}
    status = data.get("status")
    known = isinstance(status, int) and not isinstance(status, bool)
    kind = text_of(error.get("type")) or (f"HTTP {status}" if known else "HTTP error")
    return kind, text_of(error.get("where")) or callback_of(data)


def fingerprint(place: Place) -> str:
    """16 hex digits that stay the same for the same type and place."""
    text = "\n".join(part or "" for part in place)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def _row(place: Place, first: datetime, runs: list[Record]) -> ErrorRow:
    actors = [record.actor for record in runs]
    last = runs[-1]
    return ErrorRow(
        fingerprint=fingerprint(place),
        type=place[0],
        where=place[1],
        count=len(runs),
        people=len(people_of(actors)),
        visitors=len(visitors_of(actors)),
        first=first,
        last=last.at,
        callback=callback_of(last.data),
        page=last.page,
        release=last.release,
        user=last.actor.user,
    )
