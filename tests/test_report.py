"""The numbers of a report, checked by value."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.events import CALLBACK, PAGE_VIEW, Event
from dash_user_tracker.report import PageRow, Totals, build_report, percentile

NOON = datetime(2025, 1, 30, 12, tzinfo=timezone.utc)


def event(name: str = PAGE_VIEW, *, minute: int = 0, **data: Any) -> Event:
    return Event.new(name, {"app_name": "Sales", **data}, timestamp=NOON + timedelta(minutes=minute))


def view(path: str = "/", *, minute: int = 0, **data: Any) -> Event:
    return event(PAGE_VIEW, minute=minute, **{"path": path, "route": path, "navigation": "load", **data})


def run(label: str = "app:draw", *, minute: int = 0, **data: Any) -> Event:
    return event(CALLBACK, minute=minute, **{"callback": label, "outcome": "ok", "duration_ms": 10.0, **data})


def test_no_events_are_zero_everywhere() -> None:
    report = build_report([])
    assert report.totals == Totals(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    assert [report.apps, report.pages, report.users, report.callbacks, report.custom, report.latest] == [[]] * 6


def test_a_page_counts_its_views_people_and_ways_in() -> None:
    report = build_report(
        [
            view("/a", user_id="ada", minute=0),
            view("/a", user_id="ada", minute=2, navigation="internal"),
            view("/a", user_id="grace", minute=1),
            view("/a", visitor="v1", minute=1),
        ]
    )
    assert report.pages == [
        PageRow(page="/a", views=4, people=2, visitors=1, loads=3, internal=1, last=NOON + timedelta(minutes=2))
    ]


def test_addresses_of_one_route_are_one_page() -> None:
    report = build_report([view(f"/orders/{number}", route="/orders/<id>") for number in range(3)])
    assert [row.page for row in report.pages] == ["/orders/<id>"]
    assert (report.totals.pages, report.totals.addresses) == (1, 3)


def test_a_path_without_route_is_its_own_page() -> None:
    assert [row.page for row in build_report([view("/x", route=None)]).pages] == ["/x"]


def test_automated_clients_are_left_out_but_told() -> None:
    events = [view(user_id="ada"), view(automated=True), view(automated=True), run(automated=True)]
    totals = build_report(events).totals
    assert (totals.views, totals.callback_runs, totals.automated_views) == (1, 0, 2)


def test_automated_clients_count_when_asked_for() -> None:
    events = [view(user_id="ada"), view(automated=True), run(automated=True)]
    totals = build_report(events, automated=True).totals
    assert (totals.views, totals.callback_runs, totals.automated_views) == (2, 1, 1)


def test_anonymous_people_are_visitors_not_users() -> None:
    totals = build_report([view(visitor="v1"), view(visitor="v1"), view(visitor="v2"), view(visitor=None)]).totals
    assert (totals.people, totals.visitors) == (0, 2)


def test_days_are_those_in_utc_that_have_an_event() -> None:
    assert build_report([view(minute=0), view(minute=11 * 60), view(minute=12 * 60)]).totals.days == 2


def test_a_signed_in_user_is_not_a_visitor_too() -> None:
    totals = build_report([view(user_id="ada", visitor="v1")]).totals
    assert (totals.people, totals.visitors) == (1, 0)


def test_users_show_their_newest_email_whatever_the_order() -> None:
    newest_first = [view(user_id="ada", email="new@x", minute=5), view(user_id="ada", email="old@x", minute=1)]
    for events in (newest_first, newest_first[::-1]):
        (row,) = build_report(events).users
        assert (row.email, row.views, row.last) == ("new@x", 2, NOON + timedelta(minutes=5))


def test_callbacks_have_percentiles_errors_and_the_latest_error() -> None:
    events = [run(duration_ms=float(number)) for number in range(1, 101)]
    events.append(run(duration_ms=1000.0, outcome="error", error={"type": "KeyError", "where": "a:1"}, minute=1))
    events.append(run(duration_ms=1000.0, outcome="error", error={"type": "ValueError", "where": "a:2"}, minute=2))
    (row,) = build_report(events).callbacks
    assert (row.runs, row.p50_ms, row.p95_ms, row.errors, row.last_error) == (102, 51.0, 97.0, 2, "ValueError")
    assert build_report(events).totals.callback_errors == 2


def test_a_callback_without_a_duration_has_no_percentile() -> None:
    (row,) = build_report([run(duration_ms=None)]).callbacks
    assert (row.p50_ms, row.p95_ms) == (None, None)


def test_custom_events_are_counted_by_name() -> None:
    report = build_report([event("export", user_id="ada"), event("export", visitor="v"), event("print")])
    assert [(row.event, row.count, row.people, row.visitors) for row in report.custom] == [
        ("export", 2, 1, 1),
        ("print", 1, 0, 0),
    ]


def test_latest_views_are_newest_first() -> None:
    report = build_report([view(f"/{minute}", minute=minute) for minute in (2, 9, 4)], limit=2)
    assert [row.path for row in report.latest] == ["/9", "/4"]


def test_a_limit_cuts_rows_but_not_totals() -> None:
    report = build_report([view(f"/{number}", user_id=str(number)) for number in range(5)], limit=2)
    assert (len(report.pages), len(report.users), len(report.latest)) == (2, 2, 2)
    assert (report.totals.pages, report.totals.people, report.totals.views) == (5, 5, 5)


def test_one_app_of_several_can_be_chosen() -> None:
    events = [view(), view(app_name="Stock"), view(app_name="Stock", automated=True)]
    report = build_report(events, app="Stock")
    assert (report.apps, report.totals.views, report.totals.automated_views) == (["Stock"], 1, 1)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([], 0.5, None, id="no values"),
        pytest.param([7.0], 0.95, 7.0, id="one value"),
        pytest.param([4.0, 1.0, 3.0, 2.0], 0.5, 2.0, id="unsorted, even"),
        pytest.param([1.0, 2.0, 3.0], 0.5, 2.0, id="odd"),
        pytest.param([1.0, 2.0, 3.0], 1.0, 3.0, id="all"),
    ],
)
def test_percentile_is_the_nearest_rank(values: list[float], share: float, expected: float | None) -> None:
    assert percentile(values, share) == expected


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.floats(0.01, 1.0))
def test_a_percentile_is_a_value_that_enough_others_do_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)


STRANGE = st.one_of(st.none(), st.text(max_size=4), st.integers(), st.dictionaries(st.text(max_size=3), st.none()))


@given(
    st.lists(
        st.builds(
            lambda name, path, user, duration, error: event(
                name, path=path, user_id=user, duration_ms=duration, error=error, outcome="error", visitor="v"
            ),
            st.sampled_from([PAGE_VIEW, CALLBACK, "export"]),
            st.one_of(st.none(), st.text(max_size=4)),
            st.one_of(st.none(), st.text(max_size=4)),
            STRANGE,
            STRANGE,
        ),
        max_size=8,
    )
)
def test_every_counted_event_is_in_exactly_one_total(events: list[Event]) -> None:
    totals = build_report(events, limit=100).totals
    assert totals.views + totals.callback_runs + totals.custom_events == len(events)
