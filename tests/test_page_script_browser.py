"""The page script in a real Chromium, beside scripts of the host app that do what they like."""

from __future__ import annotations

import threading

import flask
import pytest
from dash import Dash, Input, Output, dcc, html
from werkzeug.serving import make_server

from dash_user_tracker import MemoryTrackerRepository, Tracker

pytestmark = pytest.mark.browser

INDEX = """<!DOCTYPE html><html><head>{{%metas%}}<title>{{%title%}}</title>{{%css%}}<script>{head}</script></head>
<body>{{%app_entry%}}<footer>{{%config%}}{{%scripts%}}{{%renderer%}}</footer>{foot}</body></html>"""

#: As apps add a token to each request: the copy of a `Headers` object would be empty.
SPREADS = """var f = window.fetch; window.fetch = function (u, o) {
  return f(u, Object.assign({}, o, {headers: Object.assign({}, o && o.headers, {"X-Token": "t"})})); };"""
#: Wrappers that come after the page script, when the page has loaded.
LATER = """addEventListener("DOMContentLoaded", function () { var f = window.fetch; window.fetch = function (u, o) {
  return f(%s, o); }; });"""
NATIVE = """var native = window.fetch; addEventListener("DOMContentLoaded", function () { window.fetch = native; });"""
ARRAY = """var f = window.fetch; addEventListener("DOMContentLoaded", function () { var g = window.fetch;
  window.fetch = function (u, o) { return g(u, Object.assign({}, o, {headers: Object.entries(o.headers)})); }; });"""

COUNTS = """var calls = 0, f = window.fetch; window.fetch = function (u, o) {
  if (String(u).includes("update-component")) calls++; return f(u, o); };"""


def make_app(head="", foot="", routed=True):
    app = Dash(__name__, index_string=INDEX.format(head=head, foot=foot))
    app.layout = html.Div(
        [dcc.Location(id="url"), dcc.Link("two", href="/two", id="two"), html.Button("go", id="go"), html.P(id="path")]
    )
    source = Input("url", "pathname") if routed else Input("go", "n_clicks")

    @app.callback(Output("path", "children"), source, prevent_initial_call=not routed)
    def show(value):
        return f"at {value}"

    return app


@pytest.fixture
def journey(chromium):
    """``journey(app)``: the views told, the statuses of the callbacks, of a person who loads / and goes to /two."""

    def walk(app, *, button=False):
        repository = MemoryTrackerRepository()
        tracker = Tracker(app, repository=repository)
        server = make_server("127.0.0.1", 0, app.server, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        statuses = []
        try:
            app.server.test_client().get("/_dash-dependencies")
            with chromium() as page:
                page.on("response", lambda got: statuses.append(got.status) if "update-component" in got.url else None)
                page.goto(f"http://127.0.0.1:{server.port}/")
                if button:
                    page.wait_for_selector("#two")
                else:
                    page.wait_for_selector("#path:has-text('at /')")
                page.click("#two")
                if button:
                    page.wait_for_timeout(600)
                    page.click("#go")
                    page.wait_for_selector("#path:has-text('at 1')")
                else:
                    page.wait_for_selector("#path:has-text('at /two')")
                page.wait_for_timeout(1500)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        assert tracker.flush(10)
        views = [(e.data["path"], e.data["navigation"]) for e in repository.events if e.event == "page_view"]
        tracker.close()
        return views, set(statuses)

    return walk


@pytest.mark.parametrize(
    "head",
    ["", SPREADS, LATER % "new Request(u, o)", LATER % "new URL(u, location.href)", ARRAY],
    ids=["plain", "spreads", "request", "url", "array"],
)
def test_the_apps_own_fetch_works_and_each_view_counts_once(journey, head):
    assert journey(make_app(head)) == ([("/", "load"), ("/two", "internal")], {200})


def test_a_fetch_that_is_put_back_is_wrapped_again(journey):
    views, statuses = journey(make_app(NATIVE))
    assert statuses == {200}
    assert [path for path, _ in views][-1] == "/two"
    assert len(views) <= 3  # the first page may be told by the script and by its callback


def test_the_script_twice_in_a_page_counts_once(journey):
    app = make_app(foot='<script src="/_dut/page.js"></script>')
    assert journey(app) == ([("/", "load"), ("/two", "internal")], {200})


def test_views_that_a_protection_refuses_are_told_by_the_next_callback(journey):
    app = make_app(routed=False)

    @app.server.before_request
    def protect():
        return ("no token", 400) if flask.request.path == "/_dut/seen" else None

    assert journey(app, button=True) == ([("/", "load"), ("/two", "internal")], {200})


def test_a_callback_that_has_to_wait_for_a_connection_carries_no_view(chromium):
    app = make_app(COUNTS)
    app.layout.children += [html.Button("slow", id="slow"), *[html.P(id=f"slow-{n}") for n in range(6)]]
    free, reports = threading.Event(), []

    @app.server.before_request
    def note():
        if flask.request.path == "/_dut/seen":
            reports.append(flask.request.path)

    for number in range(6):

        @app.callback(Output(f"slow-{number}", "children"), Input("slow", "n_clicks"), prevent_initial_call=True)
        def slow(_):
            return str(free.wait(30))

    repository = MemoryTrackerRepository()
    tracker = Tracker(app, repository=repository)
    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        app.server.test_client().get("/_dash-dependencies")
        with chromium() as page:
            page.goto(f"http://127.0.0.1:{server.port}/")
            page.wait_for_selector("#path:has-text('at /')")
            page.click("#slow")  # six requests, and the browser has six connections
            page.wait_for_function("() => calls === 7")
            page.click("#two")
            page.wait_for_function("() => calls === 8")
            page.wait_for_timeout(400)  # the post of its own, which outlives the page, waits as well
            free.set()
            page.wait_for_selector("#path:has-text('at /two')")
            page.wait_for_timeout(500)
    finally:
        free.set()
        server.shutdown()
        thread.join()
        server.server_close()
    assert tracker.flush(10)
    views = [(e.data["path"], e.data["navigation"]) for e in repository.events if e.event == "page_view"]
    tracker.close()
    assert views == [("/", "load"), ("/two", "internal")]
    assert reports == ["/_dut/seen"]


def test_one_header_stays_small(chromium):
    app = make_app()
    sent = []

    @app.server.before_request
    def note():
        sent.append(flask.request.headers.get("X-Dash-Page", ""))

    Tracker(app, repository=MemoryTrackerRepository())
    server = make_server("127.0.0.1", 0, app.server, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        app.server.test_client().get("/_dash-dependencies")
        with chromium() as page:
            page.goto(f"http://127.0.0.1:{server.port}/?long={'x' * 3000}")
            page.wait_for_selector("#path:has-text('at /')")
            page.click("#two")
            page.wait_for_selector("#path:has-text('at /two')")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    told = [text for text in sent if '"v":[[' in text]
    assert len(told) == 2
    assert 600 < len(told[0]) < 800  # one address of 600, though it is the page's and the view's
    assert max(map(len, sent)) < 1000
