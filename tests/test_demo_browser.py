"""The demo in a real browser, read back through the documented API."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import Program

from dash_user_tracker import SqlTrackerRepository, TrackerAnalytics
from dash_user_tracker.events import PAGE_KEYS, Event

pytestmark = pytest.mark.browser

Chromium = Callable[[], AbstractContextManager[Any]]


def settled(page: Any, heading: str) -> None:
    """Waits until *heading* is on the screen and nothing is on the wire."""
    page.wait_for_selector(f"h1:has-text('{heading}')")
    page.wait_for_load_state("networkidle")


def wander(page: Any, url: str) -> list[str]:
    """Opens, follows two links, reloads, goes Back; returns the paths that a person saw."""
    page.goto(url)
    settled(page, "Sales by month")
    page.click("header >> text=Regions")
    settled(page, "Regions")
    page.click("main >> text=West")
    settled(page, "Sold in West")
    page.reload()
    settled(page, "Sold in West")
    page.go_back()
    settled(page, "Regions")
    return ["/", "/regions", "/regions/west", "/regions/west", "/regions"]


def page_views(db: str) -> list[dict[str, Any]]:
    """Oldest first, through the documented asyncio API."""
    repository = SqlTrackerRepository(db)
    try:
        found = asyncio.run(TrackerAnalytics(repository=repository).get_page_views())
    finally:
        repository.close()
    assert found["count"] == len(found["data"])
    return sorted(found["data"], key=lambda row: row["timestamp"])


def events(db: str, name: str) -> list[Event]:
    repository = SqlTrackerRepository(db)
    try:
        return sorted(repository.get_events(event=name), key=lambda event: event.timestamp)
    finally:
        repository.close()


@pytest.fixture
def db(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'demo.db'}"


@pytest.fixture
def demo(start: Callable[..., Program], db: str) -> Program:
    return start("-m", "dash_user_tracker", "demo", "--port", "0", "--db", db)


def test_every_view_of_a_visit_is_recorded_once_with_all_documented_keys(
    demo: Program, chromium: Chromium, db: str
) -> None:
    url = demo.wait_for(r"Open\s+(\S+)")[1]
    with chromium() as page:
        seen = wander(page, url)
    assert demo.stop() == 0, demo.output()

    views = page_views(db)
    assert [view["path"] for view in views] == seen
    for view in views:
        assert set(PAGE_KEYS) <= set(view)
        assert view["app_name"] == "Sales explorer"
        assert view["ip"] == "127.0.0.1"
        assert "Chrome/" in view["user_agent"]
        assert view["url"] == url.rstrip("/") + view["path"]
        assert view["url_root"] == url
        assert view["full_path"] == view["path"] + "?"
        assert view["method"] == "GET"
        assert (view["user_id"], view["email"], view["full_name"]) == ("anonymous",) * 3
        assert view["automated"] is False
    assert [view["route"] for view in views][1:3] == ["/regions", "/regions/<name>"]
    assert [view["navigation"] for view in views][:4] == ["load", "internal", "internal", "load"]
    first, second, third, reloaded, _ = (view["page_load"] for view in views)
    assert first
    assert first == second == third != reloaded
    assert len({view["visitor"] for view in views}) == 1


def test_who_clicked_what_is_recorded(demo: Program, chromium: Chromium, db: str) -> None:
    url = demo.wait_for(r"Open\s+(\S+)")[1]
    with chromium() as page:
        page.goto(url + "orders")
        settled(page, "Orders")
        page.click("#who")
        page.click("text=Ada Lovelace")
        page.wait_for_selector("text=you are Ada Lovelace")
        page.click("#export")
        page.wait_for_selector("text=8 orders exported")
        page.click("header >> text=Forecast")
        settled(page, "Forecast")
        page.click("#compute")
        page.wait_for_selector("#forecast:has-text('pieces')")
        page.click("header >> text=Stock")
        settled(page, "Stock")
        with page.expect_response(lambda response: response.status == 500):
            page.click("#look-up")
    assert demo.stop() == 0, demo.output()

    assert [(view["path"], view["user_id"]) for view in page_views(db)] == [
        ("/orders", "anonymous"),
        ("/forecast", "ada"),
        ("/stock", "ada"),
    ]
    (export,) = events(db, "export")
    assert export.data["properties"] == {"rows": 8}
    assert (export.data["path"], export.data["email"]) == ("/orders", "ada@example.com")

    runs = {run.data["output"]: run.data for run in events(db, "callback")}
    forecast, stock = runs["forecast.children"], runs["stock.children"]
    assert (forecast["outcome"], forecast["status"], forecast["trigger"]) == ("ok", 200, "compute.n_clicks")
    assert 1500 <= forecast["duration_ms"] < 15_000
    assert (stock["outcome"], stock["status"], stock["error"]["type"]) == (
        "error",
        500,
        "dash_user_tracker.demo.WarehouseDown",
    )
    assert {forecast["cause"], stock["cause"]} == {"user"}


def test_the_summary_counts_along(demo: Program, chromium: Chromium) -> None:
    url = demo.wait_for(r"Open\s+(\S+)")[1]
    with chromium() as page:
        page.goto(url)
        settled(page, "Sales by month")
        demo.wait_for(r"^1 page view \| ", seconds=20)
        page.click("header >> text=Regions")
        settled(page, "Regions")
        demo.wait_for(r"^2 page views \| ", seconds=20)
    assert demo.stop() == 0
    assert "Stopped. Recorded in this run: 2 page views" in demo.output()


def test_two_gunicorn_workers_count_like_one(start: Callable[..., Program], chromium: Chromium, db: str) -> None:
    server = start("-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", f"dash_user_tracker.demo:wsgi({db!r})")
    url = server.wait_for(r"Listening at: (\S+)")[1] + "/"
    with chromium() as page:
        seen = wander(page, url)
    assert server.stop(signal.SIGTERM) == 0, server.output()

    views = page_views(db)
    assert [view["path"] for view in views] == seen
    assert [view["navigation"] for view in views][:4] == ["load", "internal", "internal", "load"]
