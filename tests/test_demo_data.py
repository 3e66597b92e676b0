"""The invented company: the same for the same seed, in the wire format, and lifelike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from dash import Dash, Input, Output, dcc, html

from dash_user_tracker import Event, MemoryTrackerRepository, Tracker
from dash_user_tracker.codec import decode_event, encode_event
from dash_user_tracker.demo_data import Plan, demo_events
from dash_user_tracker.documents import is_robot
from dash_user_tracker.metrics.filters import Filters
from dash_user_tracker.privacy import visitor_id

END = datetime(2025, 6, 18, 15, 30, tzinfo=timezone.utc)  # a Wednesday


def made(**plan: Any) -> list[Event]:
    return list(demo_events(Plan.of(**{"end": END, **plan})))


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return made(events=40_000, days=60)


def named(events: Sequence[Event], name: str) -> list[Event]:
    return [event for event in events if event.event == name]


def test_the_same_arguments_make_the_same_events() -> None:
    assert made(events=3000) == made(events=3000)


def test_another_seed_makes_others() -> None:
    assert not {event.id for event in made(events=500, seed=1)} & {event.id for event in made(events=500, seed=2)}


@pytest.mark.parametrize(
    "plan",
    [
        pytest.param({"events": 1}, id="one event"),
        pytest.param({"events": 777, "days": 1}, id="one day"),
        pytest.param({"events": 5000, "days": 400, "users": 3}, id="few people, long"),
        pytest.param({"events": 100, "days": 7, "users": 500}, id="more people than events"),
    ],
)
def test_exactly_as_many_events_as_asked_for_come_in_order_within_the_days(plan: dict[str, int]) -> None:
    found = made(**plan)
    moments = [event.timestamp for event in found]
    assert len(found) == plan["events"]
    assert len({event.id for event in found}) == len(found)
    assert moments == sorted(moments)
    assert END - timedelta(days=plan.get("days", 90)) <= moments[0]
    assert moments[-1] < END


def test_without_a_number_of_events_users_and_days_decide() -> None:
    assert Plan.of(users=50, days=10).events == 2000


@pytest.mark.parametrize("name", ["events", "days", "users"])
def test_a_plan_for_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        Plan.of(**{name: 0})


def real_events() -> list[Event]:
    """What a tracker records of a page, a callback, and events in and out of a request."""
    app = Dash(__name__, title="Real")
    app.server.secret_key = "secret"
    app.layout = html.Div([dcc.Input(id="a"), html.P(id="b")])
    repository = MemoryTrackerRepository()
    tracker = Tracker(app, repository=repository, release="1", environment="production")

    @app.callback(Output("b", "children"), Input("a", "value"))
    def echo(value: str) -> str:
        tracker.track("export", rows=1)
        return value

    client = app.server.test_client()
    client.get("/")
    body = {
        "output": "b.children",
        "outputs": {"id": "b", "property": "children"},
        "inputs": [{"id": "a", "property": "value", "value": "x"}],
        "changedPropIds": ["a.value"],
    }
    assert client.post("/_dash-update-component", json=body).status_code == 200
    tracker.track("data_loaded", rows=1)
    tracker.flush(5)
    tracker.close()
    return repository.events


def test_events_have_the_keys_of_a_real_trackers(events: list[Event]) -> None:
    real = {event.event: list(event.data) for event in real_events()}
    assert set(real) == {"page_view", "callback", "export", "data_loaded"}
    for name, keys in real.items():
        for event in named(events, name):
            assert sorted(set(event.data) - {"group"}) == sorted(keys), name  # who has a log-in here has a group


def test_values_have_the_types_of_a_real_trackers(events: list[Event]) -> None:
    types: dict[tuple[str, str], set[type]] = {}
    for event in events:
        for key, value in event.data.items():
            types.setdefault((event.event, key), set()).add(type(value))
    for event in real_events():
        for key, value in event.data.items():
            if value is not None and key != "automated_reason":  # a test client's callbacks are automated
                assert type(value) in types[event.event, key], (event.event, key)


def test_events_survive_the_wire(events: list[Event]) -> None:
    assert all(decode_event(encode_event(event)) == event for event in events[:2000])


def test_addresses_fit_together(events: list[Event]) -> None:
    for event in events:
        data = event.data
        if data["path"] is None:
            continue
        path, _, query = data["full_path"].partition("?")
        assert path == data["path"]
        assert data["base_url"] == "https://apps.example.com" + path
        assert data["url"] == data["base_url"] + (f"?{query}" if query else "")
        assert data["base_url"].startswith(data["url_root"])
        assert (
            data["visitor"]
            == visitor_id(
                "the demo keeps no secrets",
                when=event.timestamp,
                app_name=data["app_name"],
                ip=data["ip"],
                user_agent=data["user_agent"],
            )
            or event.event != "page_view"
        )  # what follows a view belongs to its page, also after midnight


def test_few_people_and_pages_make_most_of_it(events: list[Event]) -> None:
    views = [event for event in named(events, "page_view") if not event.data["automated"]]
    people = Counter(view.data["user_id"] for view in views if view.data["user_id"] != "anonymous").most_common()
    pages = Counter((view.data["app_name"], view.data["route"]) for view in views).most_common()
    busiest = sum(count for _, count in people[: len(people) // 5]) / sum(count for _, count in people)
    assert len(people) > 120
    assert 0.4 < busiest < 0.9
    assert len(pages) > 40
    assert sum(count for _, count in pages[:10]) > 0.5 * len(views)
    assert any("<" in view.data["route"] for view in views)


def test_people_work_on_weekdays_and_by_day(events: list[Event]) -> None:
    at = [event.timestamp for event in events]
    weekend = sum(moment.weekday() >= 5 for moment in at) / len(at)
    night = sum(moment.hour in (22, 23, 0, 1) for moment in at) / len(at)
    assert 0.005 < weekend < 0.12
    assert night < 0.12


def test_anonymous_people_robots_and_people_without_the_script_are_there(events: list[Event]) -> None:
    views = named(events, "page_view")
    robots = [view for view in views if view.data["automated"]]
    assert 0.002 < len(robots) / len(views) < 0.05
    assert all(is_robot(view.data["user_agent"]) and view.data["automated_reason"] == "user agent" for view in robots)
    people = [view for view in views if not view.data["automated"]]
    assert not any(is_robot(view.data["user_agent"]) for view in people)
    assert 0.04 < sum(view.data["user_id"] == "anonymous" for view in people) / len(people) < 0.2
    assert 0.005 < sum(view.data["page_load"] is None for view in people) / len(people) < 0.08


def test_callbacks_have_causes_latencies_and_endings(events: list[Event]) -> None:
    runs = named(events, "callback")
    assert {run.data["cause"] for run in runs} == {"user", "initial", "cascade"}
    assert {run.data["outcome"] for run in runs} >= {"ok", "no_update", "error"}
    durations = sorted(run.data["duration_ms"] for run in runs)
    assert 20 < durations[len(durations) // 2] < 300
    assert durations[-len(durations) // 100] > 5 * durations[len(durations) // 2]
    for run in runs:
        data = run.data
        assert (data["outcome"] == "error") == (data["status"] == 500) == (data["error"] is not None)
        assert (data["outcome"] == "no_update") == (data["status"] == 204)
        assert (data["trigger"] is None) == (data["cause"] == "initial")


def test_errors_come_and_go_with_releases(events: list[Event]) -> None:
    places: dict[tuple[str, str], set[str]] = {}
    for run in named(events, "callback"):
        if run.data["error"]:
            places.setdefault((run.data["app_name"], run.data["error"]["where"]), set()).add(run.data["release"])
    releases = {(event.data["app_name"], event.data["release"]) for event in events}
    assert len(releases) >= 4 * 5
    assert 0.002 < sum(bool(run.data.get("error")) for run in events) / len(events) < 0.05
    assert any(len(found) == 1 for found in places.values())


def test_people_come_go_and_come_back(events: list[Event]) -> None:
    repository = MemoryTrackerRepository(max_events=len(events))
    repository.save_events(events)
    weeks = repository.get_lifecycle("week", 6, end=END)
    assert all(week.new and week.returning and week.resurrected for week in weeks)
    assert all(week.dormant for week in weeks[:-1])
    summary = repository.get_summary(filters=Filters())
    assert 2 < summary.views / summary.visits < 6
    assert summary.bounce_rate is not None
    assert 0.02 < summary.bounce_rate < 0.5
    assert repository.get_breakdown("referrer").total >= 3
    assert {row.key for row in repository.get_breakdown("browser")} >= {"Chrome", "Edge", "Firefox", "Safari"}
    assert {row.key for row in repository.get_breakdown("environment")} == {"production", "staging"}
    assert repository.get_breakdown("group").total > 5
