"""Events of version 1: taken over as far as they are right, without the values of inputs."""

from __future__ import annotations

from typing import Any

import pytest

from dash_user_tracker import Event
from dash_user_tracker.errors import DecodeError
from dash_user_tracker.events import PAGE_KEYS
from dash_user_tracker.interchange import event_from_document

BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


def view(**data: Any) -> dict[str, Any]:
    """As version 1 sends a page that is loaded."""
    page = {
        "app_name": "Sales",
        "ip": "10.0.0.7",
        "user_agent": BROWSER,
        "base_url": "http://apps/orders",
        "url": "http://apps/orders?region=west",
        "url_root": "http://apps/",
        "referrer": "http://apps/",
        "path": "/orders",
        "full_path": "/orders?region=west",
        "endpoint": "/<path:path>",
        "method": "GET",
        "user_id": "ada",
        "email": "ada@example.com",
        "full_name": "Ada",
    }
    return {"event": "page_view", "timestamp": "2025-01-30T20:29:28.543062+00:00", "data": {**page, **data}}


def navigation() -> dict[str, Any]:
    """As version 1 sends a navigation inside the app: only the path is that of the page."""
    address = "http://apps/_dash-update-component"
    return view(
        base_url=address,
        url=address,
        full_path="/_dash-update-component?",
        endpoint="_dash-update-component",
        method="POST",
        referrer="http://apps/",
    )


def interaction(**known: Any) -> dict[str, Any]:
    """As version 1 sends a run of a callback, values of inputs and all."""
    address = "http://apps/_dash-update-component"
    return {
        "event": "page_interaction",
        "timestamp": "2025-01-30T20:29:30+00:00",
        "data": {
            **view()["data"],
            "base_url": address,
            "url": f"{address}?cacheKey=secret",
            "path": "/_dash-update-component",
            "full_path": "/_dash-update-component?cacheKey=secret",
            "method": "POST",
            "referrer": "http://apps/orders/J%C3%BCrgen?region=west",
            "interaction": {
                "changed_props": ["password.value"],
                "inputs": [{"id": "password", "property": "value", "value": "hunter2"}],
                "outputs": {"id": "echo", "property": "children"},
                "state": [{"id": "s", "property": "data", "value": "hunter3"}],
                **known,
            },
        },
    }


def taken(document: dict[str, Any]) -> Event:
    return event_from_document(document)


def test_a_page_view_keeps_what_it_said() -> None:
    event = taken(view())
    old = view()["data"]
    assert (event.event, event.timestamp.isoformat()) == ("page_view", view()["timestamp"])
    assert {key: event.data[key] for key in PAGE_KEYS} == {key: old[key] for key in PAGE_KEYS}
    assert (event.data["navigation"], event.data["automated"], event.data["visitor"]) == ("load", False, None)


def test_a_navigation_has_the_address_of_its_page() -> None:
    data = taken(navigation()).data
    assert (data["path"], data["base_url"], data["url"]) == ("/orders", "http://apps/orders", "http://apps/orders")
    assert (data["full_path"], data["method"], data["navigation"]) == ("/orders?", "GET", "internal")
    assert data["referrer"] is None


def test_an_interaction_becomes_a_run_on_the_page_it_was_sent_from() -> None:
    event = taken(interaction())
    data = event.data
    assert event.event == "callback"
    assert (data["path"], data["full_path"]) == ("/orders/Jürgen", "/orders/Jürgen?region=west")
    assert data["base_url"] == "http://apps/orders/J%C3%BCrgen"
    assert (data["output"], data["trigger"], data["cause"]) == ("echo.children", "password.value", "unknown")
    assert (data["duration_ms"], data["outcome"], data["error"]) == (None, None, None)


def test_values_of_inputs_and_handles_are_not_taken_over() -> None:
    text = repr(taken(interaction()))
    assert not [secret for secret in ("hunter2", "hunter3", "cacheKey", "secret") if secret in text]


@pytest.mark.parametrize(
    ("known", "output"),
    [
        pytest.param({"output": "a.children"}, "a.children", id="named"),
        pytest.param(
            {"outputs": [{"id": "a", "property": "x"}, {"id": {"type": "b"}, "property": "y"}]},
            '..a.x...{"type":"b"}.y..',
            id="several",
        ),
        pytest.param({"outputs": None}, None, id="none"),
        pytest.param({"outputs": "?", "changed_props": None}, None, id="nonsense"),
    ],
)
def test_an_output_is_named_as_dash_names_it(known: dict[str, Any], output: str | None) -> None:
    assert taken(interaction(**{"output": None, **known})).data["output"] == output


def test_the_first_call_of_a_callback_is_initial() -> None:
    data = taken(interaction(changed_props=[])).data
    assert (data["trigger"], data["cause"]) == (None, "initial")


def test_a_robot_is_told() -> None:
    assert taken(view(user_agent="curl/8", user_id="anonymous")).data["automated"]


def test_the_same_event_has_the_same_id_and_others_have_others() -> None:
    assert taken(view()).id == taken(view()).id
    assert len({taken(each).id for each in (view(), view(user_id="grace"), navigation(), interaction())}) == 4


def test_an_event_of_today_without_an_id_gets_one() -> None:
    document = {"event": "export", "timestamp": "2025-01-30T20:29:30Z", "data": {"properties": {"rows": 1}}}
    event = taken(document)
    assert (event.event, event.data) == ("export", {"properties": {"rows": 1}})
    assert event.id == taken(document).id


@pytest.mark.parametrize(
    "document",
    [
        pytest.param({"event": "page_view", "timestamp": "2025-01-30T20:29:30Z"}, id="no data"),
        pytest.param({"event": "page_view", "timestamp": "then", "data": {}}, id="no time"),
        pytest.param({"event": "page_view", "timestamp": "2025-01-30T20:29:30Z", "data": []}, id="a list"),
        pytest.param({"event": 1, "timestamp": "2025-01-30T20:29:30Z", "data": {"endpoint": "x"}}, id="no name"),
        pytest.param([], id="no object"),
        pytest.param(None, id="null"),
    ],
)
def test_what_is_no_event_is_refused(document: Any) -> None:
    with pytest.raises(DecodeError):
        event_from_document(document)


@pytest.mark.parametrize("value", [None, 1, [], {}, "x", "http://[", "\ud800"])
@pytest.mark.parametrize("key", ["url", "referrer", "path", "user_agent", "user_id", "interaction"])
@pytest.mark.parametrize("made", [view, navigation, interaction])
def test_strange_values_do_not_break_it(made: Any, key: str, value: Any) -> None:
    document = made()
    document["data"][key] = value
    taken(document)
