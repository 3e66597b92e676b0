"""The metrics of each key of a dimension."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from ..events import ANONYMOUS
from .answers import BreakdownRow, Number
from .checks import check_limit, check_range
from .filters import Filters
from .history import History, Slice
from .measures import measured
from .percentiles import ratio
from .records import CUSTOM, RUN, VIEW, Record, callback_of, text_of
from .tables import Rows
from .visits import Stay
from .words import PAGE_METRICS, metrics_of

T = TypeVar("T")
Keyed = Mapping["str | None", Slice]

_OF_EVENTS: dict[str, Callable[[Record], str | None]] = {
    "app": lambda record: record.stream.app,
    "page": lambda record: record.page,
    "path": lambda record: record.path,
    "user": lambda record: record.actor.user or ANONYMOUS,
    "group": lambda record: record.group,
    "browser": lambda record: record.browser,
    "release": lambda record: record.release,
    "environment": lambda record: record.environment,
}
_OF_VISITS: dict[str, Callable[[Stay], str | None]] = {
    "referrer": lambda stay: stay.referrer,
    "entry_page": lambda stay: stay.entry,
    "exit_page": lambda stay: stay.exit,
}


def breakdown(
    history: History,
    dimension: str,
    start: datetime | None,
    end: datetime | None,
    metrics: Sequence[str] | None,
    filters: Filters,
    limit: int | None,
) -> Rows[BreakdownRow]:
    """`MetricsReader.get_breakdown`."""
    check_range(start, end)
    check_limit(limit)
    wanted = metrics_of(dimension, metrics)
    whole = history.slice(start, end, filters)
    parts = _parts(history, dimension, whole, start)
    names = labels(history.records) if dimension == "user" else {}
    entries, exits = grouped(whole.visits, _OF_VISITS["entry_page"]), grouped(whole.visits, _OF_VISITS["exit_page"])
    rows = []
    for key, part in parts.items():
        values = measured(part, [metric for metric in wanted if metric not in PAGE_METRICS])
        if dimension == "page":
            own = (entries.get(key, []), exits.get(key, [])) if key is not None else ([], [])
            values.update(_page(history, part, *own))
        rows.append(
            BreakdownRow(
                key, {metric: values[metric] for metric in wanted}, _last(part), names.get(key) if key else None
            )
        )
    rows.sort(key=lambda row: (descending(row.values[wanted[0]]), none_last(row.key)))
    return Rows(tuple(rows[:limit]), total=len(rows))


def _parts(history: History, dimension: str, whole: Slice, start: datetime | None) -> Keyed:
    if dimension in _OF_EVENTS:
        groups = grouped(whole.events, _OF_EVENTS[dimension])
        return {key: history.slice_of(events, start) for key, events in groups.items()}
    if dimension in _OF_VISITS:
        stays = grouped(whole.visits, _OF_VISITS[dimension])
        return {key: Slice(visits=own, actors=[stay.actor for stay in own]) for key, own in stays.items()}
    if dimension == "control":
        firsts = grouped(whole.interactions, lambda record: text_of(record.data.get("trigger")))
        return {
            key: Slice(events=own, interactions=own, actors=[record.actor for record in own])
            for key, own in firsts.items()
        }
    kind, key_of = (RUN, lambda record: callback_of(record.data)) if dimension == "callback" else (CUSTOM, _name)
    found = grouped((record for record in whole.events if record.kind == kind), key_of)
    return {key: Slice(events=own, actors=[record.actor for record in own]) for key, own in found.items()}


def _name(record: Record) -> str | None:
    return text_of(record.event.event)


def _page(history: History, part: Slice, entries: Sequence[Stay], exits: Sequence[Stay]) -> dict[str, Number | None]:
    """What only a page has; *entries* and *exits* are the visits that it begins and ends."""
    views = sum(record.kind == VIEW for record in part.events)
    to_next = history.seconds_to_next
    gaps = [to_next[record.position] for record in part.events if record.position in to_next]
    return {
        "entries": len(entries),
        "exits": len(exits),
        "exit_rate": ratio(len(exits), views),
        "bounces": sum(stay.bounce for stay in entries),
        "time_s": math.fsum(gaps) if gaps else None,
    }


def _last(part: Slice) -> datetime:
    """Events and visits are in order."""
    return part.events[-1].at if part.events else part.visits[-1].started


def labels(records: Iterable[Record]) -> dict[str, str]:
    """What to call each user: the latest name, else the latest e-mail address."""
    names: dict[str, str] = {}
    addresses: dict[str, str] = {}
    for record in records:
        user = record.actor.user
        if user is None:
            continue
        for known, key in ((names, "full_name"), (addresses, "email")):
            text = text_of(record.data.get(key))
            if text is not None and text != ANONYMOUS:
                known[user] = text
    return {**addresses, **names}


def grouped(items: Iterable[T], key_of: Callable[[T], str | None]) -> dict[str | None, list[T]]:
    """The items of each key, in their order."""
    found: defaultdict[str | None, list[T]] = defaultdict(list)
    for item in items:
        found[key_of(item)].append(item)
    return found


def descending(value: Number | None) -> tuple[bool, Number]:
    """Sorts the highest first, None last."""
    return (value is None, 0 if value is None else -value)


def none_last(key: str | None) -> tuple[bool, str]:
    """Sorts by name, None last."""
    return (key is None, key or "")
