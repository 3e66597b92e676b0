"""Events as rows of a table and back, for spreadsheets and column stores.

``event_of(row_of(event)) == event`` for every event whose data is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Callable

from .codec import parse_timestamp, to_json
from .errors import DecodeError
from .events import CALLBACK, PAGE_KEYS, PAGE_VIEW, Event

TEXT, FLAG, WHOLE, NUMBER = "text", "flag", "whole", "number"

_RUN = {
    "callback": TEXT,
    "output": TEXT,
    "trigger": TEXT,
    "cause": TEXT,
    "action": WHOLE,
    "status": WHOLE,
    "outcome": TEXT,
    "duration_ms": NUMBER,
    "request_bytes": WHOLE,
    "response_bytes": WHOLE,
    "background": FLAG,
}
_EVERY = {
    **dict.fromkeys(PAGE_KEYS, TEXT),
    "visitor": TEXT,
    "route": TEXT,
    "page_known": FLAG,
    "page_load": TEXT,
    "automated": FLAG,
    "automated_reason": TEXT,
}
#: Keys of ``data`` that have a column of their own, and what is in it.
_KEYS = {**_EVERY, "release": TEXT, "environment": TEXT, "group": TEXT, "navigation": TEXT, **_RUN}

#: The columns of a table of events, and the kind of value in each. An empty cell is None. *more* is a JSON object
#: of the further keys of ``data``, *absent* names those of the usual keys that ``data`` does not have.
COLUMNS = {
    "id": TEXT,
    "event": TEXT,
    "timestamp": "moment",
    **_KEYS,
    "error_type": TEXT,
    "error_where": TEXT,
    "more": TEXT,
    "absent": TEXT,
}

_TYPES = {TEXT: str, FLAG: bool, WHOLE: int, NUMBER: float}
_MISSING = object()


def row_of(event: Event) -> dict[str, Any]:
    """The cells of the event that are not empty; a value that does not fit its column is in *more*."""
    data = event.data
    cells = {key: data[key] for key, kind in _KEYS.items() if key in data and _fits(data[key], kind)}
    error = data.get("error")
    if (
        isinstance(error, Mapping)
        and list(error) == ["type", "where"]
        and all(_fits(error[key], TEXT) for key in error)
    ):
        cells.update(error_type=error["type"], error_where=error["where"])
    usual = _data_of(event.event, cells)
    more = {key: value for key, value in data.items() if not _same(usual.get(key, _MISSING), value)}
    absent = [key for key in usual if key not in data]
    if more:
        cells["more"] = to_json(more)
    if absent:
        cells["absent"] = " ".join(absent)
    return {"id": _encodable(event.id), "event": _encodable(event.event), "timestamp": event.timestamp, **cells}


def event_of(row: Mapping[str, Any]) -> Event:
    """The event in a *row*, whose values are of the columns' types; `DecodeError` where there is none."""
    for key in ("id", "event", "timestamp"):
        if not row.get(key):
            raise DecodeError(f"an event needs a value in the column {key!r}")
    data = _data_of(row["event"], row)
    for key in str(row.get("absent") or "").split():
        data.pop(key, None)
    try:
        more = json.loads(row["more"]) if row.get("more") else {}
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"the column 'more' must be a JSON object: {error}") from error
    if not isinstance(more, dict):
        raise DecodeError(f"the column 'more' must be a JSON object, got {type(more).__name__}")
    try:
        return Event(id=row["id"], event=row["event"], timestamp=row["timestamp"], data={**data, **more})
    except (ValueError, OverflowError) as error:
        raise DecodeError(f"the column 'timestamp': {error}") from error


def cell_text(value: object) -> str:
    """*value* as a cell of a CSV file.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, which
    `cell_value` takes away: paths and user agents are anybody's to choose.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return f"'{value}" if value[:1] in _FORMULA else value
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def cell_value(column: str, text: str) -> Any:
    """What `cell_text` made a cell of; `DecodeError` where it is not of the column's kind."""
    if text == "":
        return None
    kind = COLUMNS[column]
    if kind == TEXT:
        return text[1:] if text[0] == "'" else text
    try:
        return _PARSERS[kind](text)
    except (ValueError, KeyError) as error:
        raise DecodeError(f"the column {column!r} must be a {kind}, got {text!r}") from error


_FORMULA = ("=", "+", "-", "@", "'")
_PARSERS: dict[str, Callable[[str], Any]] = {
    FLAG: {"true": True, "false": False}.__getitem__,
    WHOLE: int,
    NUMBER: float,
    "moment": parse_timestamp,
}


def _fits(value: object, kind: str) -> bool:
    if type(value) is not _TYPES[kind]:
        return False
    if kind == TEXT:
        # Not empty, and nothing that a reader of CSV files, a spreadsheet or a terminal stumbles over.
        return value != "" and value.isprintable()  # type: ignore[attr-defined]  # a text
    return kind != WHOLE or -(1 << 62) < value < 1 << 62  # type: ignore[operator]  # a number


def _same(left: object, right: object) -> bool:
    return left is not _MISSING and type(left) is type(right) and left == right


def _data_of(event: str, cells: Mapping[str, Any]) -> dict[str, Any]:
    """What the cells say, and None for the other keys that events of this kind have."""
    data: dict[str, Any] = {key: cells.get(key) for key in _EVERY}
    data.update({key: cells[key] for key in ("release", "environment", "group") if cells.get(key) is not None})
    if event == PAGE_VIEW:
        data["navigation"] = cells.get("navigation")
    elif event == CALLBACK:
        data.update({key: cells.get(key) for key in _RUN})
        kind = cells.get("error_type")
        data["error"] = None if kind is None else {"type": kind, "where": cells.get("error_where")}
    return data


def _encodable(text: str) -> str:
    """Without half surrogate pairs, which no file can hold."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
