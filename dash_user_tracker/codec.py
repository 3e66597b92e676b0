"""Events as lines of JSON and back.

``decode_event(encode_event(event)) == event`` for every event whose data is JSON.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Union

import attrs

from .errors import DecodeError
from .events import Event
from .shared import Shared, SharedData

#: An event, or the line of JSON that it becomes.
EventOrLine = Union[Event, str]

#: ``json.dumps`` with arguments makes an encoder for each call.
_STRICT = json.JSONEncoder(separators=(",", ":"), default=str, allow_nan=False)

#: A text as JSON.
_quoted = json.encoder.encode_basestring_ascii

_MILLION = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


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
    for name, value in data.own.items():
        # As `to_json` would write it; what measures mostly are takes a tenth of its time.
        if value is None:
            texts.append(f"{_key(name)}null")
        elif value.__class__ is int or (value.__class__ is float and value - value == 0):  # finite
            texts.append(f"{_key(name)}{value!r}")
        else:
            texts.append(f"{_key(name)}{to_json(value)}")
    head = f'"id":{_quoted(event.id)},"event":{_quoted(event.event)},"timestamp":"{_written(event.timestamp)}"'
    return f'{{{head},"data":{{{",".join(texts)}}}}}'


@attrs.frozen
class Frame:
    """A line of JSON without what is an event's own; many events have the rest in common."""

    middle: str  # from the id to the moment
    data: str  # up to the event's own measures

    @classmethod
    def of(cls, name: str, parts: tuple[Shared, ...]) -> Frame:
        """Of the events of *name* whose data is made of *parts*."""
        data = ",".join([part.text or _part(part) for part in parts])
        return cls(f'","event":{_quoted(name)},"timestamp":"', data)

    def line(self, event_id: str, moment: str, own: str = "") -> str:
        """The event with *event_id* at *moment*, a `written_moment`; *own* as `written_measures` writes it."""
        return f'{{"id":"{event_id}{self.middle}{moment}","data":{{{self.data}{own}}}}}'


def written_moment(seconds: float) -> str:
    """As ``isoformat`` writes the UTC moment *seconds* after the epoch, but faster: many events are of one second."""
    whole = int(seconds)
    micros = round((seconds - whole) * _MILLION)
    if not 0 < micros < _MILLION:  # the second itself, which is written shorter, or the next, or one before the epoch
        return datetime.fromtimestamp(seconds, timezone.utc).isoformat()
    return f"{_second(whole)}.{str(_MILLION + micros)[1:]}+00:00"  # a third of the time of `:06d`


def written_measures(action: int | None, duration: float, request_bytes: int | None, response_bytes: int) -> str:
    """What a run that ended well has for itself, behind what it has in common with others; *duration* in seconds."""
    return (
        f',"action":{"null" if action is None else action},"duration_ms":{duration * 1000:.3f},"error":null,'
        f'"request_bytes":{"null" if request_bytes is None else request_bytes},"response_bytes":{response_bytes}'
    )


def id_of(event: EventOrLine) -> str:
    """Its id; of a line, as `Frame` writes it."""
    return event.id if isinstance(event, Event) else event[_ID : event.index('"', _ID)]


_ID = len('{"id":"')  # where it begins


def line_of(event: EventOrLine) -> str:
    """Its line of JSON; TypeError, ValueError or RecursionError where an event has none."""
    return event if isinstance(event, str) else encode_event(event)


def event_of(event: EventOrLine) -> Event:
    """The event; `DecodeError` where a line is none."""
    return decode_event(event) if isinstance(event, str) else event


def _written(moment: datetime) -> str:
    """As ``isoformat`` writes a moment of UTC, but faster: many events are of the same second."""
    since = moment - _EPOCH
    seconds, micros = since.days * 86_400 + since.seconds, since.microseconds
    return f"{_second(seconds)}.{micros:06d}+00:00" if micros else f"{_second(seconds)}+00:00"


@functools.lru_cache(16)
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:-6]


@functools.lru_cache(64)
def _key(name: str) -> str:
    return f"{_quoted(name)}:"


def _part(part: Shared) -> str:
    if part.parts:
        part.text = ",".join([one.text or _part(one) for one in part.parts])
    else:
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
