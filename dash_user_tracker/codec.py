"""Events as JSON text and back.

``decode_event(encode_event(event)) == event`` for every event whose data is JSON.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from .errors import DecodeError
from .events import Event
from .shared import Shared, SharedData

#: ``json.dumps`` with arguments makes an encoder for each call.
_STRICT = json.JSONEncoder(separators=(",", ":"), default=str, allow_nan=False)


def to_json(document: object) -> str:
    """Compact JSON; a value JSON does not know becomes its ``str``.

    NaN and infinities, which RFC 8259 does not allow, become null.
    """
    try:
        return _STRICT.encode(document)
    except ValueError:
        return json.dumps(_finite(document), separators=(",", ":"), default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def encode_event(event: Event) -> str:
    """The event as one line of JSON."""
    data = event.data
    if type(data) is not SharedData or not hasattr(data, "parts"):  # without: made by somebody else
        return to_json(event.to_dict())
    texts = [part.text or _part(part) for part in data.parts]
    if data.own:
        texts += [f"{_key(name)}:{_value(value)}" for name, value in data.own.items()]
    head = f'"id":{to_json(event.id)},"event":{to_json(event.event)},"timestamp":"{event.timestamp.isoformat()}"'
    return f'{{{head},"data":{{{",".join(texts)}}}}}'


@functools.lru_cache(64)
def _key(name: str) -> str:
    return to_json(name)


def _value(value: object) -> str:
    """As `to_json`; what measures mostly are takes a tenth of its time."""
    if value is None:
        return "null"
    if value.__class__ is int:
        return repr(value)
    if value.__class__ is float and value - value == 0:  # finite
        return repr(value)
    return to_json(value)


def _part(part: Shared) -> str:
    part.text = to_json(part.data)[1:-1]
    return part.text


def decode_event(text: str | bytes) -> Event:
    """The event in a JSON *text*; `DecodeError` where it is none."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {error}") from error
    return event_from_dict(document)


def event_from_dict(document: object) -> Event:
    """The event in a decoded JSON *document*; `DecodeError` where it is none."""
    if not isinstance(document, Mapping):
        raise DecodeError(f"an event must be a JSON object, got {type(document).__name__}")
    for key in ("id", "event", "timestamp"):
        if not isinstance(document.get(key), str):
            raise DecodeError(f"an event needs the text {key!r}, got {document.get(key)!r}")
    data = document.get("data")
    if not isinstance(data, Mapping):
        raise DecodeError(f"an event needs the object 'data', got {type(data).__name__}")
    try:
        return Event(
            id=document["id"],
            event=document["event"],
            timestamp=parse_timestamp(document["timestamp"]),
            data=dict(data),
        )
    except (ValueError, OverflowError) as error:  # the year 1 east of Greenwich has no UTC
        raise DecodeError(f"timestamp {document['timestamp']!r}: {error}") from error


def parse_timestamp(text: str) -> datetime:
    """An aware datetime from RFC 3339 text; a trailing ``Z`` is UTC (Python 3.9 and 3.10 refuse it)."""
    return datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
