"""Interactions: what a person did once, however many callbacks it ran."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from .records import RUN, Record, text_of
from .words import INTERACTION_GAP_MS

GAP = timedelta(milliseconds=INTERACTION_GAP_MS)


def first_runs(records: Iterable[Record]) -> list[Record]:
    """The first run of each interaction among *records*, which are in order."""
    actions: set[tuple[str, float]] = set()
    latest: dict[Any, datetime] = {}
    found = []
    for record in records:
        if record.kind != RUN or not record.active:
            continue
        action = action_of(record)
        if action is not None:
            if action not in actions:
                actions.add(action)
                found.append(record)
            continue
        key = (record.stream, record.path, text_of(record.data.get("trigger")))
        if key not in latest or record.at - latest[key] > GAP:
            found.append(record)
        latest[key] = record.at
    return found


def action_of(record: Record) -> tuple[str, float] | None:
    """Page load and number of the user action before the run, None where the page script told none."""
    page_load, action = text_of(record.data.get("page_load")), record.data.get("action")
    if page_load is None or isinstance(action, bool) or not isinstance(action, (int, float)):
        return None
    return page_load, action
