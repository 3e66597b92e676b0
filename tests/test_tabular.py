"""Events as rows of a table: nothing is lost, and no cell is dangerous."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker import Event
from dash_user_tracker.demo_data import Plan, demo_events
from dash_user_tracker.errors import DecodeError
from dash_user_tracker.tabular import COLUMNS, cell_text, cell_value, event_of, row_of

NOON = datetime(2025, 1, 30, 12, tzinfo=timezone.utc)

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.one_of(
    st.text(max_size=6), st.sampled_from(["=1+1", "'quoted", "+", "-5", "@x", "a\nb", "a\x00b", "\u202e"])
)
VALUES = st.recursive(
    st.one_of(SCALARS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)
KEYS = st.one_of(st.sampled_from([*COLUMNS, "error", "properties"]), st.text(max_size=4))
EVENTS = st.builds(
    lambda name, event_id, data: Event(id=event_id, event=name, timestamp=NOON, data=data),
    st.sampled_from(["page_view", "callback", "export", "=name"]),
    st.sampled_from(["6f0f7a9e-3a53-4d0c-9a55-27f5f7d1f0a9", "an id", "'id"]),
    st.dictionaries(KEYS, VALUES, max_size=8),
)


def through_text(row: dict[str, Any]) -> dict[str, Any]:
    return {column: cell_value(column, cell_text(row.get(column))) for column in COLUMNS}


@given(EVENTS)
def test_an_event_survives_a_row(event: Event) -> None:
    assert event_of(row_of(event)) == event


@given(EVENTS)
def test_an_event_survives_cells_of_text(event: Event) -> None:
    found = event_of(through_text(row_of(event)))
    assert found == event
    assert {key: type(value) for key, value in found.data.items()} == {
        key: type(value) for key, value in event.data.items()
    }


@given(EVENTS)
def test_no_cell_is_a_formula_or_holds_a_control_character(event: Event) -> None:
    for column, value in row_of(event).items():
        text = cell_text(value)
        if column not in ("id", "event"):
            assert text.isprintable(), column
        if isinstance(value, str):
            assert text[:1] not in ("=", "+", "-", "@"), column


def test_events_of_a_tracker_need_no_more_than_their_columns() -> None:
    for event in demo_events(Plan.of(events=300, end=NOON)):
        row = row_of(event)
        assert "absent" not in row
        assert ("more" in row) == ("properties" in event.data)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        pytest.param({}, "a value in the column 'id'", id="nothing"),
        pytest.param({"id": "1", "event": "x"}, "'timestamp'", id="no time"),
        pytest.param({"id": "1", "event": "x", "timestamp": NOON, "more": "{"}, "'more' must be", id="not JSON"),
        pytest.param({"id": "1", "event": "x", "timestamp": NOON, "more": "[]"}, "got list", id="no object"),
        pytest.param({"id": "1", "event": "x", "timestamp": datetime(2025, 1, 1)}, "timestamp", id="no offset"),
    ],
)
def test_a_row_that_is_no_event_is_refused(row: dict[str, Any], told: str) -> None:
    with pytest.raises(DecodeError, match=told):
        event_of(row)


@pytest.mark.parametrize(
    ("column", "text"), [("automated", "yes"), ("status", "4.5"), ("duration_ms", "fast"), ("timestamp", "today")]
)
def test_a_cell_of_another_kind_is_refused(column: str, text: str) -> None:
    with pytest.raises(DecodeError, match=f"the column '{column}' must be a .*got '{text}'"):
        cell_value(column, text)
