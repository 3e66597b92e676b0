"""What a real Chromium shows is a view, and what it does not show is none."""

from __future__ import annotations

import threading

import flask
import pytest
from dash import Dash, Input, Output, dcc, html
from werkzeug.serving import make_server

from dash_user_tracker import MemoryTrackerRepository, Tracker

pytestmark = pytest.mark.browser

HIDDEN = "Object.defineProperty(document, '%s', {get: () => !window.shown})"
SHOW = "window.shown = true; document.dispatchEvent(new Event('%s'))"
BEHIND = ("hidden", "visibilitychange")
AHEAD = ("prerendering", "prerenderingchange")


def make_app():
    app = Dash(__name__)
    app.layout = html.Div([dcc.Location(id="url"), dcc.Link("two", href="/two", id="two"), html.P(id="path")])

    @app.callback(Output("path", "children"), Input("url", "pathname"))
    def show(value):
        return f"at {value}"

    @app.server.get("/beside")
    def beside():
        return "<h1>beside the app</h1>"

    @app.server.route("/login", methods=["GET", "POST"])
    def login():
        return app.index() if flask.request.method == "POST" else "<form method=post><button>log in</button></form>"

    @app.server.get("/forbidden")
    def forbidden():
        return app.index(), 403

    return app


class Site:
    """An app that is served, and the views of it."""

    def __init__(self):
        app = make_app()
        self.repository = MemoryTrackerRepository()
        self.tracker = Tracker(app, repository=self.repository)
        self.server = make_server("127.0.0.1", 0, app.server, threaded=True)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        app.server.test_client().get("/_dash-dependencies")

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.server.port}{path}"

    def views(self):
        assert self.tracker.flush(10)
        return [(e.data["path"], e.data["navigation"]) for e in self.repository.events if e.event == "page_view"]

    def wait_for_views(self, page, number):
        """The views when there are *number*, and any that come in the second after."""
        for _ in range(300):
            if len(self.views()) >= number:
                break
            page.wait_for_timeout(50)
        page.wait_for_timeout(1300)
        return self.views()


@pytest.fixture
def site():
    site = Site()
    yield site
    site.server.shutdown()
    site.thread.join()
    site.server.server_close()
    site.tracker.close()


def at(page, path):
    page.wait_for_selector(f"#path:has-text('at {path}')")


# Playwright's pages are never behind, and its Chromium prerenders nothing, so both are told to the script.
@pytest.mark.parametrize(("state", "shown"), [BEHIND, AHEAD])
def test_a_page_in_a_tab_behind_or_made_ahead_is_a_view_when_it_is_looked_at(site, chromium, state, shown):
    with chromium() as page:
        page.add_init_script(HIDDEN % state)
        page.goto(site.url("/"))
        at(page, "/")
        assert site.wait_for_views(page, 0) == []
        page.evaluate(SHOW % shown)
        assert site.wait_for_views(page, 1) == [("/", "load")]
        page.evaluate(SHOW % shown)
        page.click("#two")
        at(page, "/two")
        assert site.wait_for_views(page, 2) == [("/", "load"), ("/two", "internal")]


@pytest.mark.parametrize("state", ["hidden", "prerendering"])
def test_a_page_that_nobody_looks_at_is_none(site, chromium, state):
    with chromium() as page:
        page.add_init_script(HIDDEN % state)
        page.goto(site.url("/"))
        at(page, "/")
        page.goto(site.url("/beside"))
        assert site.wait_for_views(page, 0) == []


def test_where_a_page_in_a_tab_behind_goes_by_itself_is_no_view_but_where_it_is_found(site, chromium):
    with chromium() as page:
        page.add_init_script("window.shown = true; " + HIDDEN % "hidden")
        page.goto(site.url("/"))
        at(page, "/")
        page.evaluate("window.shown = false")
        for path in ("/one", "/two", "/three"):
            page.evaluate("path => history.pushState({}, '', path)", path)
        assert site.wait_for_views(page, 1) == [("/", "load")]
        page.evaluate(SHOW % "visibilitychange")
        page.evaluate(SHOW % "visibilitychange")
        assert site.wait_for_views(page, 2) == [("/", "load"), ("/three", "internal")]


def test_an_error_page_that_looks_like_the_app_is_none_but_what_it_leads_to_is(site, chromium):
    with chromium() as page:
        page.goto(site.url("/forbidden"))
        at(page, "/forbidden")
        assert site.wait_for_views(page, 0) == []
        page.click("#two")
        at(page, "/two")
        assert site.wait_for_views(page, 1) == [("/two", "internal")]


@pytest.mark.parametrize(
    ("around", "views"),
    [("127.0.0.1", []), ("localhost", [("/", "load"), ("/two", "internal")])],
    ids=["the-same-origin", "another-site"],
)
def test_a_page_in_a_frame_counts_where_the_page_around_it_is_somebody_elses(site, chromium, around, views):
    with chromium() as page:
        page.goto(site.url("/beside", around))
        page.evaluate("url => { document.body.innerHTML = `<iframe id=frame src='${url}'></iframe>` }", site.url("/"))
        frame = page.frame_locator("#frame")
        frame.locator("#path:has-text('at /')").wait_for()
        frame.locator("#two").click()
        frame.locator("#path:has-text('at /two')").wait_for()
        assert site.wait_for_views(page, len(views)) == views


def test_a_page_that_the_back_forward_cache_brings_back_is_a_view(site, chromium):
    with chromium(without=["--disable-back-forward-cache"]) as page:
        page.goto(site.url("/"))
        at(page, "/")
        page.evaluate("addEventListener('pageshow', event => { window.restored = event.persisted })")
        # Told when the page is left, which must not keep it out of the cache.
        page.evaluate("history.pushState({}, '', '/own')")
        page.goto(site.url("/beside"))
        assert site.wait_for_views(page, 2) == [("/", "load"), ("/own", "internal")]
        page.evaluate("setTimeout(() => history.back())")
        page.wait_for_function("() => window.restored")  # Playwright's go_back waits for a load, and none comes
        views = site.wait_for_views(page, 3)
    assert views == [("/", "load"), ("/own", "internal"), ("/own", "load")]
    loads = [event.data["page_load"] for event in site.repository.events if event.event == "page_view"]
    assert loads[0] == loads[1] != loads[2]


def test_the_app_as_the_answer_of_a_route_beside_it_is_a_view(site, chromium):
    with chromium() as page:
        page.goto(site.url("/login"))
        page.click("button")
        at(page, "/login")
        assert site.wait_for_views(page, 1) == [("/login", "load")]
