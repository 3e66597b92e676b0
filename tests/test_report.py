"""What a report asks, and how it says what it was told."""

from __future__ import annotations

import io
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dash_user_tracker import Event, MemoryTrackerRepository
from dash_user_tracker.demo_data import Plan, demo_events
from dash_user_tracker.events import CALLBACK, PAGE_VIEW
from dash_user_tracker.live import Totals, describe_totals, totals_of
from dash_user_tracker.metrics.filters import Filters
from dash_user_tracker.report import TABLES, TRENDS, Report, build_report, interval_of
from dash_user_tracker.terminal import change_text, duration, headline, print_report, printable, sparkline, value_text

NOON = datetime(2025, 1, 30, 12, tzinfo=timezone.utc)
END = datetime(2025, 1, 31, tzinfo=timezone.utc)


def event(name: str, *, minute: float = 0, **data: Any) -> Event:
    data = {"app_name": "Sales", "path": "/", "automated": False, **data}
    return Event.new(name, data, timestamp=NOON + timedelta(minutes=minute))


def view(path: str = "/", **data: Any) -> Event:
    return event(PAGE_VIEW, **{"path": path, "route": path, "navigation": "load", **data})


def run(label: str = "app:draw", **data: Any) -> Event:
    return event(CALLBACK, **{"callback": label, "cause": "user", "outcome": "ok", "duration_ms": 10.0, **data})


def made(*events: Event, days: int = 7, **options: Any) -> Report:
    repository = MemoryTrackerRepository()
    repository.save_events(events)
    return build_report(repository, **{"start": END - timedelta(days=days), "end": END, **options})


def shown(report: Report, encoding: str = "utf-8", width: int = 160) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    print_report(Console(file=stream, width=width, markup=False, highlight=False), report)
    stream.seek(0)
    return stream.read()


# -- what is asked -----------------------------------------------------------------------


def test_every_number_is_that_of_the_repository() -> None:
    events = list(demo_events(Plan.of(events=1500, days=20, users=15, end=END)))
    repository = MemoryTrackerRepository()
    repository.save_events(events)
    asked: dict[str, Any] = {"filters": Filters(app="Sales explorer")}
    start = END - timedelta(days=10)
    report = build_report(repository, start=start, end=END, tz="Europe/Berlin", limit=3, **asked)
    assert report.summary == repository.get_summary(start, END, compare="previous", **asked)
    assert report.pages == repository.get_breakdown("page", start, END, limit=3, **asked)
    assert report.users == repository.get_breakdown("user", start, END, limit=3, **asked)
    assert report.callbacks == repository.get_callback_stats(start, END, limit=3, **asked)
    assert report.errors == repository.get_errors(start, END, limit=3, **asked)
    assert report.visits == repository.get_visits(start, END, limit=3, **asked)
    assert report.active == repository.get_active_users(END, tz="Europe/Berlin", **asked)
    assert report.series["views"] == repository.get_series("views", "day", start, END, tz="Europe/Berlin", **asked)
    assert report.apps == ("Sales explorer",)


def test_automated_clients_are_left_out_but_told() -> None:
    report = made(view(user_id="ada"), view(automated=True), view(automated=True), run(automated=True))
    assert (report.summary.views, report.summary.runs, report.automated_views) == (1, 0, 2)
    assert "2 page views of automated clients left out (--automated any counts them)." in shown(report)


@pytest.mark.parametrize(
    ("automated", "views", "told"),
    [(None, 2, "1 page view of automated clients included."), (True, 1, "automated clients only.")],
)
def test_automated_clients_count_when_asked_for(automated: bool | None, views: int, told: str) -> None:
    report = made(view(user_id="ada"), view(automated=True), filters=Filters(automated=automated))
    assert report.summary.views == views
    assert told in shown(report)


def test_a_report_of_nothing_is_empty() -> None:
    assert made().is_empty
    assert not made(view()).is_empty


def test_every_table_has_flat_rows_with_local_times() -> None:
    error = {"type": "KeyError", "where": "a:b:1"}
    report = made(view(user_id="ada"), run(error=error, outcome="error"), event("export"), tz="Asia/Tokyo")
    for name in TABLES:
        rows = report.table(name)
        assert rows, name
        assert len({tuple(row) for row in rows}) == 1, name
        assert all(value is None or isinstance(value, (str, int, float)) for row in rows for value in row.values())
    assert report.table("pages")[0]["last"] == "2025-01-30T21:00:00+09:00"
    assert list(report.table("series")[0]) == ["start", "end", "partial", *TRENDS]


@pytest.mark.parametrize(
    ("hours", "interval"),
    [(1, "hour"), (48, "hour"), (49, "day"), (45 * 24, "day"), (46 * 24, "week"), (9000, "month")],
)
def test_the_interval_keeps_the_course_short(hours: int, interval: str) -> None:
    assert interval_of(END - timedelta(hours=hours), END) == interval


# -- how it is said ----------------------------------------------------------------------


def test_the_headline_compares_with_the_time_before() -> None:
    before = view(user_id="ada", minute=-7 * 24 * 60)
    now = [view(user_id=name) for name in ("ada", "grace", "joan")]
    assert headline(made(*now)) == "3 users used Sales."
    assert headline(made(before, *now)) == "3 users used Sales, 2 more than in the 7 days before."
    assert headline(made(before, now[0])) == "1 user used Sales, as many as in the 7 days before."


def test_people_without_a_log_in_are_visitors_of_a_day() -> None:
    events = [view(user_id="ada"), view(visitor="v1"), view(visitor="v2")]
    assert headline(made(*events)).startswith("1 user + 2 visitor-days used")
    day = build_report(_stored(*events), start=NOON - timedelta(hours=1), end=NOON + timedelta(hours=1))
    assert headline(day).startswith("1 user + 2 visitors used")


def _stored(*events: Event) -> MemoryTrackerRepository:
    repository = MemoryTrackerRepository()
    repository.save_events(events)
    return repository


def test_a_cut_table_says_how_many_rows_there_are() -> None:
    assert "2 of 5" in shown(made(*(view(f"/{number}") for number in range(5)), limit=2))


def test_what_visitors_chose_cannot_repaint_the_terminal() -> None:
    text = shown(made(view("/\x1b[2J[red]\u202etxt", app_name="[bold]a\x07", user_id="\x9b2J")))
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert "/\\x1b[2J[red]\\u202etxt" in text


def test_a_terminal_without_unicode_gets_plain_bars() -> None:
    shown(made(view(user_id="ada"), run()), encoding="ascii")


@pytest.mark.parametrize(
    ("values", "plain", "line"),
    [
        pytest.param([], False, "", id="nothing"),
        pytest.param([0, 1, 2, 4, 8], False, "▁▂▃▅█", id="from 0 to the largest"),
        pytest.param([0, 0], False, "▁▁", id="all 0"),
        pytest.param([None, 1.0, None], False, " █ ", id="a gap is no 0"),
        pytest.param([0, 8], True, "_@", id="plain"),
    ],
)
def test_a_sparkline_has_a_bar_for_each_value(values: list[float | None], plain: bool, line: str) -> None:
    assert sparkline(values, plain=plain) == line


@given(st.lists(st.one_of(st.none(), st.floats(0, 1e300)), max_size=20))
def test_a_sparkline_is_as_long_as_its_values(values: list[float | None]) -> None:
    assert len(sparkline(values)) == len(values)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (0.0121, "12 ms"), (3.14, "3.1 s"), (130, "2.2 min"), (9000, "2.5 h"), (400_000, "4.6 d")],
)
def test_a_duration_is_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [("views", 12345, "12,345"), ("error_rate", 0.0123, "1.2%"), ("p95_ms", 1500.0, "1.5 s"), ("p95_ms", None, "-")],
)
def test_a_value_is_in_its_unit(metric: str, value: float | None, text: str) -> None:
    assert value_text(metric, value) == text


@pytest.mark.parametrize(
    ("metric", "value", "previous", "text"),
    [
        ("views", 15, 10, "+50%"),
        ("views", 5, 10, "-50%"),
        ("views", 5, 0, "new"),
        ("views", 0, 0, "-"),
        ("p95_ms", None, 10.0, "-"),
        ("error_rate", 0.05, 0.02, "+3.0 pt"),
    ],
)
def test_a_change_is_in_percent_and_that_of_a_share_in_points(
    metric: str, value: float | None, previous: float | None, text: str
) -> None:
    assert change_text(metric, value, previous) == text


def test_printable_text_stays_as_it_is() -> None:
    assert printable("/Größe/日本") == "/Größe/日本"


# -- while it is recorded ------------------------------------------------------------------


def test_totals_count_people_once_and_automated_clients_too() -> None:
    events = [
        view(user_id="ada", visitor="v0"),
        view(visitor="v1"),
        view(visitor="v1", automated=True),
        run(user_id="ada", outcome="error"),
        event("export", user_id="ada"),
    ]
    totals = totals_of(events)
    assert totals == Totals(3, 1, 1, 1, 1, 1)
    assert describe_totals(totals) == ("3 page views | 1 user | 1 visitor | 1 callback run (1 failed) | 1 custom event")
