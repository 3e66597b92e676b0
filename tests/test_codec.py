"""Events become JSON and come back the same; what is no event is refused."""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import math
import pickle
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dash_user_tracker import events
from dash_user_tracker.codec import (
    Frame,
    decode_event,
    encode_event,
    event_from_dict,
    id_of,
    parse_timestamp,
    to_json,
    written_measures,
    written_moment,
)
from dash_user_tracker.errors import DecodeError
from dash_user_tracker.events import PAGE_KEYS, PAGE_VIEW, Event, new_id, new_ids
from dash_user_tracker.shared import Shared, SharedData

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_EVENTS = st.builds(
    Event,
    id=st.uuids().map(str) | st.text(),
    event=st.sampled_from([PAGE_VIEW, "callback", "export"]) | st.text(),
    timestamp=st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=_ZONES),
    data=st.dictionaries(st.text(), _JSON, max_size=5),
)

DOCUMENT: dict[str, Any] = {
    "id": "0b0a6c2f-6a2c-4f0c-9f39-3d6d0f3c5f7e",
    "event": "page_view",
    "timestamp": "2025-01-30T20:29:28.543062+00:00",
    "data": {"path": "/"},
}


def test_ids_are_uuids_that_follow_the_clock_and_differ_within_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1_700_000_000_000, 1_700_000_000_000, 1_700_000_000_001, 1_900_000_000_000, -1]  # a clock before 1970
    ids = []
    for moment in moments:
        monkeypatch.setattr(events.time, "time_ns", lambda moment=moment: moment * 1_000_000)
        ids.append(new_id())
    parsed = [uuid.UUID(one) for one in ids]
    assert [str(one) for one in parsed] == ids
    assert {(one.version, one.variant) for one in parsed} == {(7, uuid.RFC_4122)}
    assert [one.int >> 80 for one in parsed] == [moment & ((1 << 48) - 1) for moment in moments]
    assert len(set(ids)) == len(ids)


def test_ids_of_a_batch_are_uuids_that_ascend_and_share_nothing_with_another_batch() -> None:
    batches = [list(itertools.islice(new_ids(), 1000)) for _ in range(2)]
    for batch in batches:
        parsed = [uuid.UUID(one) for one in batch]
        assert [str(one) for one in parsed] == batch == sorted(batch)
        assert {(one.version, one.variant) for one in parsed} == {(7, uuid.RFC_4122)}
    assert len({one for batch in batches for one in batch}) == 2000


@example(0.0)
@example(1_732_000_000.0)
@example(1_732_000_000.9999997)  # the next second
@example(-0.5)
@given(st.floats(-1e9, 4e9))
def test_a_moment_is_written_as_isoformat_does(seconds: float) -> None:
    assert written_moment(seconds) == datetime.fromtimestamp(seconds, timezone.utc).isoformat()


@given(st.none() | st.integers(0, 2**53), st.floats(0, 1e6), st.none() | st.integers(0, 10**18), st.integers(0, 10**18))
def test_measures_are_written_as_json_of_the_same_numbers(
    action: int | None, duration: float, request_bytes: int | None, response_bytes: int
) -> None:
    text = written_measures(action, duration, request_bytes, response_bytes)
    assert json.loads(f'{{"first":0{text}}}') == {
        "first": 0,
        "action": action,
        "duration_ms": round(duration * 1000, 3),
        "error": None,
        "request_bytes": request_bytes,
        "response_bytes": response_bytes,
    }


@given(st.text(), st.lists(st.dictionaries(st.text(min_size=1), _JSON, min_size=1, max_size=3), min_size=1, max_size=3))
def test_a_line_out_of_a_frame_is_the_event(name: str, parts: list[dict[str, Any]]) -> None:
    distinct = [{f"{number} {key}": value for key, value in part.items()} for number, part in enumerate(parts)]
    line = Frame.of(name, tuple(map(Shared, distinct))).line(DOCUMENT["id"], DOCUMENT["timestamp"], ',"own":1')
    data: dict[str, Any] = {"own": 1}
    for part in distinct:
        data.update(part)
    assert decode_event(line) == Event(DOCUMENT["id"], name, parse_timestamp(DOCUMENT["timestamp"]), data)
    assert id_of(line) == id_of(decode_event(line)) == DOCUMENT["id"]


@given(_EVENTS)
def test_an_event_decoded_is_the_event_encoded(event: Event) -> None:
    assert decode_event(encode_event(event)) == event
    assert decode_event(encode_event(event).encode()) == event


@given(
    _EVENTS,
    st.lists(st.dictionaries(st.text(), _JSON | st.floats(), min_size=1, max_size=3), min_size=1, max_size=3),
    st.dictionaries(st.text(), _JSON | st.floats(), max_size=3),
)
def test_data_with_shared_parts_is_data_like_any_other(
    event: Event, parts: list[dict[str, Any]], own: dict[str, Any]
) -> None:
    plain: dict[str, Any] = {}
    distinct = []
    for number, part in enumerate([*parts, own]):
        distinct.append({f"{number} {key}": value for key, value in part.items()})
        plain.update(distinct[-1])
    shared = SharedData.of(tuple(map(Shared, distinct[:-1])), distinct[-1])
    assert dict(shared) == plain or _has_nan(plain)
    joined = SharedData.of((Shared.of(*map(Shared, distinct[:-1])),), distinct[-1])
    assert dict(joined) == plain or _has_nan(plain)
    alike = attrs.evolve(event, data=plain)
    for _ in range(2):  # the second time from the texts that are kept
        assert encode_event(attrs.evolve(event, data=shared)) == encode_event(alike)
        assert encode_event(attrs.evolve(event, data=joined)) == encode_event(alike)
    assert encode_event(attrs.evolve(event, data=copy.deepcopy(shared))) == encode_event(alike)
    assert encode_event(attrs.evolve(event, data=pickle.loads(pickle.dumps(shared)))) == encode_event(alike)


def test_a_copy_of_shared_data_may_be_changed() -> None:
    event = attrs.evolve(Event.new(PAGE_VIEW, {}), data=SharedData.of((Shared({"ip": "10.0.0.1"}),), {"path": "/"}))
    for copied in (copy.copy(event.data), copy.deepcopy(event.data), copy.deepcopy(event).data):
        assert isinstance(copied, dict)
        copied["ip"] = None
        assert json.loads(encode_event(attrs.evolve(event, data=copied)))["data"] == {"ip": None, "path": "/"}
    made = type(event.data)({"ip": None})
    assert json.loads(encode_event(attrs.evolve(event, data=made)))["data"] == {"ip": None}


def _has_nan(value: Any) -> bool:
    return any(isinstance(item, float) and math.isnan(item) for item in value.values())


@given(_EVENTS)
def test_an_encoded_event_is_one_line_of_ascii(event: Event) -> None:
    text = encode_event(event)
    assert text.isascii()
    assert len(text.splitlines()) == 1


def test_the_wire_format_is_the_documented_one() -> None:
    moment = datetime(2025, 1, 30, 20, 29, 28, 543062, tzinfo=timezone.utc)
    event = Event.new(PAGE_VIEW, {"app_name": "My Dash App", "path": "/"}, timestamp=moment)
    document = json.loads(encode_event(event))
    assert list(document) == ["id", "event", "timestamp", "data"]
    assert document["timestamp"] == "2025-01-30T20:29:28.543062+00:00"
    assert tuple(document["data"]) == PAGE_KEYS
    assert document["data"]["app_name"] == "My Dash App"
    assert document["data"]["referrer"] is None
    assert [document["data"][key] for key in ("user_id", "email", "full_name")] == ["anonymous"] * 3


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_become_null(number: float) -> None:
    event = Event.new("x", {"properties": {"a": number, "b": [number, 1.5], "c": (number,)}})
    text = encode_event(event)
    assert json.loads(text, parse_constant=pytest.fail)["data"]["properties"] == {
        "a": None,
        "b": [None, 1.5],
        "c": [None],
    }


def test_a_value_that_json_does_not_know_becomes_its_text() -> None:
    assert json.loads(to_json({"when": datetime(2025, 1, 1), "nan": math.nan})) == {
        "when": "2025-01-01 00:00:00",
        "nan": None,
    }


@pytest.mark.parametrize("text", ["2025-01-30T20:29:28.543062Z", "2025-01-30T20:29:28.543062z"])
def test_a_z_is_utc(text: str) -> None:
    assert parse_timestamp(text) == datetime(2025, 1, 30, 20, 29, 28, 543062, tzinfo=timezone.utc)


def test_a_timestamp_of_another_zone_is_kept_in_utc() -> None:
    event = event_from_dict({**DOCUMENT, "timestamp": "2025-01-30T15:29:28-05:00"})
    assert event.to_dict()["timestamp"] == "2025-01-30T20:29:28+00:00"


def test_unknown_keys_of_data_are_kept() -> None:
    assert event_from_dict({**DOCUMENT, "data": {"future": 1}, "more": 2}).data == {"future": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "not JSON", id="nothing"),
        pytest.param("{", "not JSON", id="cut off"),
        pytest.param(b"\xff\xfe\xfd", "not JSON", id="not UTF-8"),
        pytest.param("[" * 100_000, "not JSON", id="too deep"),
        pytest.param("[]", "must be a JSON object, got list", id="a list"),
        pytest.param("null", "must be a JSON object, got NoneType", id="null"),
        pytest.param(json.dumps({**DOCUMENT, "id": 7}), "needs the text 'id', got 7", id="id is a number"),
        pytest.param(json.dumps({**DOCUMENT, "event": None}), "needs the text 'event'", id="no event"),
        pytest.param(json.dumps({**DOCUMENT, "data": []}), "needs the object 'data', got list", id="data is a list"),
        pytest.param(json.dumps({**DOCUMENT, "timestamp": "today"}), "timestamp 'today'", id="no timestamp"),
        pytest.param(json.dumps({**DOCUMENT, "timestamp": "2025-01-30T20:29:28"}), "aware", id="naive timestamp"),
        pytest.param(
            json.dumps({**DOCUMENT, "timestamp": "0001-01-01T00:00:00+14:00"}),
            "timestamp '0001",
            id="a timestamp before the year 1 in UTC",
        ),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(text: str | bytes, says: str) -> None:
    with pytest.raises(DecodeError, match=says):
        decode_event(text)


@given(st.text() | st.binary() | _JSON.map(json.dumps))
def test_whatever_comes_in_is_an_event_or_refused(text: str | bytes) -> None:
    with contextlib.suppress(DecodeError):
        decode_event(text)
