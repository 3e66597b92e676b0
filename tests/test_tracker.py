"""`Tracker` on real Dash apps, through Flask's test client."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
import warnings

import dash
import flask
import pytest
from dash import Dash, Input, Output, callback, dcc, html
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

from dash_user_tracker import MemoryTrackerRepository, Tracker, TrackerMiddleware, TrackerRepository, ignore_callback
from dash_user_tracker.errors import ConfigurationError
from dash_user_tracker.events import PAGE_KEYS
from dash_user_tracker.page_script import PageScript

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"
}


@pytest.fixture(autouse=True)
def clean_dash():
    """What Dash keeps for the whole process."""
    yield
    dash.page_registry.clear()
    dash._callback.GLOBAL_CALLBACK_LIST.clear()
    dash._callback.GLOBAL_CALLBACK_MAP.clear()


def make_app(**options):
    app = Dash(__name__, title="Sales", **options)
    app.layout = html.Div([dcc.Location(id="url"), html.Button(id="btn"), html.Div(id="out"), html.Div(id="content")])

    @app.callback(Output("out", "children"), Input("btn", "n_clicks"))
    def clicked(n):
        if n == 13:
            raise ZeroDivisionError("unlucky")
        return f"clicked {n}"

    @app.callback(Output("content", "children"), Input("url", "pathname"))
    def routed(path):
        return path

    return app


def tracked(app=None, **options):
    app = app or make_app()
    repository = MemoryTrackerRepository()
    return app, Tracker(app, repository=repository, **options), repository


def click(client, n=1, prefix="/", page="/", **headers):
    body = {
        "output": "out.children",
        "outputs": {"id": "out", "property": "children"},
        "inputs": [{"id": "btn", "property": "n_clicks", "value": n}],
        "changedPropIds": ["btn.n_clicks"],
    }
    return client.post(
        prefix + "_dash-update-component",
        json=body,
        headers={"Referer": f"http://localhost{page}", **BROWSER, **headers},
    )


def navigate(client, path, prefix="/", **headers):
    body = {
        "output": "content.children",
        "outputs": {"id": "content", "property": "children"},
        "inputs": [{"id": "url", "property": "pathname", "value": path}],
        "changedPropIds": ["url.pathname"],
    }
    return client.post(
        prefix + "_dash-update-component",
        json=body,
        headers={"Referer": f"http://localhost{path}", **BROWSER, **headers},
    )


def mark(path, *views, page_load="0123456789abcdef", action=0):
    told = [[number, address, 0, ""] for number, address in views]
    return {"X-Dash-Page": json.dumps({"i": page_load, "p": path, "a": action, "n": 0, "v": told})}


def recorded(tracker, repository, name=None):
    assert tracker.flush(10)
    return [event for event in repository.events if name in (None, event.event)]


def paths(events):
    return [event.data["path"] for event in events]


# -- the promise of the first page of the README ------------------------------------------


def test_a_page_asked_for_by_the_test_client_can_be_read_at_once():
    app, tracker, _ = tracked()
    app.server.test_client().get("/")
    result = asyncio.run(tracker.analytics.get_page_views())
    assert result["count"] == 1
    (row,) = result["data"]
    assert set(PAGE_KEYS) | {"timestamp"} <= set(row)
    assert (row["app_name"], row["path"], row["user_id"], row["automated"]) == ("Sales", "/", "anonymous", True)


def test_events_are_printed_and_readable_by_default(capsys):
    app = make_app()
    tracker = Tracker(app)
    app.server.test_client().get("/")
    assert asyncio.run(tracker.analytics.get_page_count()) == 1
    tracker.close()
    assert json.loads(capsys.readouterr().out)["event"] == "page_view"


# -- page views -----------------------------------------------------------------------------


def test_the_page_script_tells_loads_and_navigations():
    app, tracker, repository = tracked()
    client = app.server.test_client()
    client.get("/", headers={"Sec-Fetch-Dest": "document", **BROWSER})
    client.get("/_dash-layout", headers={**mark("/"), **BROWSER})
    navigate(client, "/", **mark("/", (1, "/")))
    navigate(client, "/sales", **mark("/sales?y=1", (2, "/sales?y=1")))
    client.post("/_dut/seen", headers={**mark("/end", (3, "/end")), **BROWSER})
    views = recorded(tracker, repository, "page_view")
    assert [(v.data["path"], v.data["navigation"], v.data["automated"]) for v in views] == [
        ("/", "load", False),
        ("/sales", "internal", False),
        ("/end", "internal", False),
    ]
    assert views[1].data["full_path"] == "/sales?y=1"
    assert {v.data["page_load"] for v in views} == {"0123456789abcdef"}


def test_a_view_told_twice_has_one_id():
    app, tracker, repository = tracked()
    client = app.server.test_client()
    for _ in range(2):
        client.post("/_dut/seen", headers=mark("/a", (1, "/a")))
    assert len(recorded(tracker, repository)) == 1  # a repository keeps an id once


@pytest.mark.parametrize("renamed", [{"SERVER_PROTOCOL": "HTTP/1.0"}, {"HTTP_X_FORWARDED_FOR": "10.0.0.7"}])
def test_a_page_behind_a_proxy_that_names_the_server_counts_once(renamed):
    app, tracker, repository = tracked()
    client = app.server.test_client()
    intranet = {"Origin": "http://intranet.corp", "Referer": "http://intranet.corp/", **BROWSER}
    client.get("/", headers=BROWSER, environ_overrides=renamed)
    client.post("/_dut/seen", headers={**mark("/", (1, "/")), **intranet}, environ_overrides=renamed)
    assert [(view.data["path"], view.data["automated"]) for view in recorded(tracker, repository)] == [("/", False)]


@pytest.mark.parametrize(
    ("headers", "counted"),
    [
        pytest.param({}, 1, id="nothing-known"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, 1, id="same-origin"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 0, id="same-site"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 0, id="cross-site"),
        pytest.param({"Origin": "http://localhost"}, 1, id="own-origin"),
        pytest.param({"Origin": "http://evil.example"}, 0, id="other-origin"),
        pytest.param({"Referer": "http://evil.example/page"}, 0, id="other-referer"),
    ],
)
def test_a_report_counts_from_the_apps_own_origin_alone(headers, counted):
    app, tracker, repository = tracked()
    answer = app.server.test_client().post("/_dut/seen", headers={**BROWSER, **mark("/a", (1, "/a")), **headers})
    assert answer.status_code == 204
    assert len(recorded(tracker, repository)) == counted


def test_the_report_address_takes_posts_only_and_no_preflight_even_where_the_app_allows_any_origin():
    app, tracker, repository = tracked()

    @app.server.after_request
    def allow(answer):
        answer.headers["Access-Control-Allow-Origin"] = "http://evil.example"
        answer.headers["Access-Control-Allow-Headers"] = "X-Dash-Page"
        return answer

    client = app.server.test_client()
    for method in ("OPTIONS", "GET", "HEAD", "PUT"):
        answer = client.open("/_dut/seen", method=method, headers={**mark("/a", (1, "/a")), **BROWSER})
        assert answer.status_code == 405
        assert "POST" in answer.headers["Allow"]
    assert recorded(tracker, repository) == []


def test_the_report_can_be_exempted_from_flask_wtf_by_the_documented_name():
    app, *_ = tracked()
    view = app.server.view_functions["/_dut/seen"]
    assert f"{view.__module__}.{view.__name__}" == "dash_user_tracker.tracker.seen"


def test_a_report_of_any_size_is_not_read():
    app, tracker, repository = tracked()
    read = []

    class Stream:
        def read(self, *_):
            read.append(True)
            return b""

    environ = {"wsgi.input": Stream(), "CONTENT_LENGTH": str(1 << 40)}
    headers = {**mark("/a", (1, "/a")), **BROWSER}
    assert app.server.test_client().post("/_dut/seen", headers=headers, environ_overrides=environ).status_code == 204
    assert paths(recorded(tracker, repository)) == ["/a"]
    assert read == []


def test_without_the_script_the_pathname_callback_stands_for_the_view():
    app, tracker, repository = tracked(page_script=False)
    client = app.server.test_client()
    assert b"_dut" not in client.get("/", headers={"Sec-Fetch-Dest": "document", **BROWSER}).data
    assert client.get("/_dut/page.js", headers=BROWSER).mimetype == "text/html"  # Dash's catch-all
    navigate(client, "/sales")
    click(client, page="/sales")
    assert "/sales" in paths(recorded(tracker, repository, "page_view"))
    assert len(recorded(tracker, repository, "page_view")) == 1


def test_an_app_without_routing_counts_the_renderers_boot():
    app = Dash(__name__)
    app.layout = html.Div()
    app, tracker, repository = tracked(app, page_script=False)
    client = app.server.test_client()
    client.get("/_dash-layout", headers={"Referer": "http://localhost/orders", **BROWSER})
    client.get("/_dash-layout", headers={"Referer": "http://elsewhere/orders", **BROWSER})
    client.get("/_dash-layout", headers=BROWSER)
    assert paths(recorded(tracker, repository)) == ["/orders"]


@pytest.mark.parametrize(
    "path",
    ["/assets/none.css", "/_dash-dependencies", "/_dash-component-suites/dash/x.js", "/_reload-hash", "/_favicon.ico",
     "/favicon.ico", "/robots.txt", "/_dash-update-component", "/_dut/page.js"],
)  # fmt: skip
def test_noise_is_not_recorded(path):
    app, tracker, repository = tracked()
    app.server.test_client().get(path)
    assert recorded(tracker, repository) == []


def test_routes_of_the_owner_are_not_pages_of_the_app():
    app = make_app()
    app.server.add_url_rule("/login", view_func=lambda: "<form></form>")
    app, tracker, repository = tracked(app)
    app.server.test_client().get("/login")
    assert recorded(tracker, repository) == []


@pytest.mark.parametrize(
    ("options", "root", "mount"),
    [
        ({}, "/", ""),
        ({"url_base_pathname": "/base/"}, "/base/", ""),
        ({"routes_pathname_prefix": "/in/", "requests_pathname_prefix": "/out/in/"}, "/in/", "/out"),
    ],
    ids=["root", "base", "proxy"],
)
def test_prefixes(options, root, mount):
    app, tracker, repository = tracked(make_app(**options))
    client = app.server.test_client()
    index = client.get(root + "plan", environ_overrides={"SCRIPT_NAME": mount}).data.decode()
    assert f'src="{app.config.requests_pathname_prefix}_dut/page.js?v=' in index
    assert client.get(root + "_dut/page.js").mimetype == "text/javascript"
    click(client, prefix=root, page=mount + root + "plan")
    client.post(root + "_dut/seen", headers=mark(mount + root, (2, mount + root + "year")))
    client.post(root + "_dut/seen", headers=mark("/elsewhere/", (3, "/elsewhere/year")))
    assert [(e.event, e.data["path"]) for e in recorded(tracker, repository)] == [
        ("page_view", mount + root + "plan"),
        ("callback", mount + root + "plan"),
        *([("page_view", mount + root + "year")]),
        *([("page_view", "/elsewhere/year")] if root == "/" and not mount else []),
    ]


def test_a_mounted_app_counts_under_its_mount():
    app, tracker, repository = tracked(make_app(requests_pathname_prefix="/tools/", routes_pathname_prefix="/"))
    site = DispatcherMiddleware(flask.Flask("site"), {"/tools": app.server})
    client = Client(site)
    client.get("/tools/map")
    client.get("/other")
    assert paths(recorded(tracker, repository)) == ["/tools/map"]


def test_a_proxy_that_takes_the_prefix_away_unsaid():
    app, tracker, repository = tracked(make_app(requests_pathname_prefix="/app/", routes_pathname_prefix="/"))
    app.server.test_client().get("/page?x=1")
    (event,) = recorded(tracker, repository)
    assert (event.data["path"], event.data["full_path"]) == ("/app/page", "/app/page?x=1")
    assert [row.page for row in tracker.explain()] == ["/app/page"]


def test_two_apps_on_one_server_are_told_apart():
    server = flask.Flask("both")
    shop, admin = (make_app(server=server, url_base_pathname=prefix) for prefix in ("/", "/admin/"))
    (_, first, shop_events), (_, second, admin_events) = (
        tracked(shop, app_name="Shop"),
        tracked(admin, app_name="Admin"),
    )
    client = server.test_client()
    client.get("/cart")
    client.get("/admin/users")
    click(client, prefix="/admin/", page="/admin/users")
    click(client, page="/cart")
    assert [(e.data["app_name"], e.data["path"]) for e in recorded(first, shop_events)] == [("Shop", "/cart")] * 2
    assert [(e.data["app_name"], e.data["path"]) for e in recorded(second, admin_events)] == [
        ("Admin", "/admin/users")
    ] * 2


def test_pages_are_known_by_their_template():
    app = Dash(__name__, use_pages=True, pages_folder="")
    dash.register_page("home", path="/", layout=html.Div())
    dash.register_page("order", path_template="/orders/<number>", layout=html.Div())
    app.layout = html.Div([dash.page_container])
    app, tracker, repository = tracked(app)
    client = app.server.test_client()
    for path in ("/", "/orders/7", "/nowhere"):
        client.get(path)
    assert [e.data["route"] for e in recorded(tracker, repository)] == ["/", "/orders/<number>", None]


def test_an_app_that_is_changed_while_it_runs_is_told_as_it_is():
    app = Dash(__name__, use_pages=True, pages_folder="", title="Sales")
    app.layout = html.Div([dash.page_container])
    app, tracker, repository = tracked(app)
    client = app.server.test_client()

    def told():
        client.get("/orders/7")
        data = recorded(tracker, repository)[-1].data
        return data["app_name"], data["route"], data["visitor"] is not None

    assert told() == ("Sales", None, False)
    dash.register_page("order", path_template="/orders/<number>", layout=html.Div())
    assert told() == ("Sales", "/orders/<number>", False)
    app.title = "Orders"
    assert told() == ("Orders", "/orders/<number>", False)
    app.server.secret_key = "k"
    assert told() == ("Orders", "/orders/<number>", True)


def test_nothing_that_is_kept_of_a_request_holds_the_secret_key():
    app, tracker, repository = tracked()
    app.server.secret_key = "a very secret key"
    app.server.test_client().get("/")
    (view,) = recorded(tracker, repository)
    assert view.data["visitor"]
    counting = tracker._middleware._counting
    assert len(counting._verdicts) == 1
    assert "secret" not in repr((counting._state, counting._verdicts._kept))


# -- attaching --------------------------------------------------------------------------------


def test_an_app_that_gets_its_server_later():
    app = make_app(server=False)
    app, tracker, repository = tracked(app)
    server = flask.Flask("late")
    app.init_app(server)
    server.test_client().get("/")
    assert paths(recorded(tracker, repository)) == ["/"]


def test_a_plugin():
    repository = MemoryTrackerRepository()
    tracker = Tracker(repository=repository)
    app = make_app(plugins=[tracker])
    assert b"_dut/page.js" in app.server.test_client().get("/").data
    assert paths(recorded(tracker, repository)) == ["/"]


def test_a_server_that_already_answered_is_counted_without_the_script(caplog):
    app = make_app()
    client = app.server.test_client()
    client.get("/")
    with caplog.at_level(logging.WARNING, "dash_user_tracker"):
        app, tracker, repository = tracked(app)
    assert "page script cannot be added" in caplog.text
    navigate(client, "/sales")
    assert paths(recorded(tracker, repository, "page_view")) == ["/sales"]
    assert recorded(tracker, repository, "callback")[0].data["callback"].endswith(":make_app.routed")


def test_a_bare_middleware_around_a_flask_app_reads_its_session():
    app = make_app()
    app.server.secret_key = "k"
    repository = MemoryTrackerRepository()
    middleware = TrackerMiddleware(app.server.wsgi_app, repository=repository)
    app.server.wsgi_app = middleware
    client = app.server.test_client()
    with client.session_transaction() as session:
        session["user"] = {"id": 7}
    client.get("/a", headers=BROWSER)
    click(client, page="/a")
    assert [(e.event, e.data["path"], e.data["user_id"]) for e in recorded(middleware, repository)] == [
        ("page_view", "/a", "7"),
        ("callback", "/a", "7"),
    ]


def test_the_client_address_is_the_one_a_proxy_fix_inside_finds():
    app = make_app()
    app.server.wsgi_app = ProxyFix(app.server.wsgi_app)
    app, tracker, repository = tracked(app)
    app.server.test_client().get("/", headers={"X-Forwarded-For": "203.0.113.9"})
    assert recorded(tracker, repository)[0].data["ip"] == "203.0.113.9"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        pytest.param({"ignore_routes": []}, TypeError, "ignore_route'", id="older-name"),
        pytest.param({"nonsense": 1}, TypeError, "unexpected keyword argument 'nonsense'", id="unknown"),
        pytest.param({"privacy": "strict"}, ConfigurationError, "reserved and not available yet", id="reserved"),
        pytest.param({"durable": "request"}, ConfigurationError, "needs a folder", id="durable-alone"),
        pytest.param({"spool": "", "durable": "request"}, ConfigurationError, "path of a folder", id="no-folder"),
        pytest.param({"spool": "x", "durable": "always"}, ConfigurationError, "'request' or None", id="durable"),
        pytest.param({"spool": __file__}, ConfigurationError, "must be a folder, got the file", id="spool-file"),
        pytest.param({"api_key": "k"}, ConfigurationError, "tracker_endpoint", id="key-alone"),
        pytest.param(
            {"tracker_endpoint": "http://x", "repository": MemoryTrackerRepository()},
            ConfigurationError,
            "either tracker_endpoint or repository",
            id="both",
        ),
        pytest.param({"tracker_endpoint": "localhost:8000"}, ConfigurationError, "http", id="no-url"),
        pytest.param({"repository": "sqlite://"}, TypeError, "TrackerRepository", id="repository"),
        pytest.param({"queue_size": -1}, ConfigurationError, "got -1", id="queue"),
        pytest.param({"ignore_callback": "f"}, ConfigurationError, r"write \['f'\]", id="one-callback"),
        pytest.param({"visitor_key": 5}, TypeError, "visitor_key", id="key"),
        pytest.param({"page_script": "no"}, TypeError, "page_script must be True or False", id="script"),
    ],
)
def test_wrong_arguments_raise_at_construction(options, error, words):
    with pytest.raises(error, match=words):
        Tracker(make_app(), **options)
    with pytest.raises(error, match=words):
        Tracker(**options)  # before there is an app, too


@pytest.mark.parametrize("app", [flask.Flask("x"), object(), "app"], ids=["flask", "object", "text"])
def test_only_a_dash_app_can_be_tracked(app):
    with pytest.raises(TypeError, match="TrackerMiddleware"):
        Tracker(app)


def test_all_but_the_app_is_keyword_only():
    with pytest.raises(TypeError):
        Tracker(make_app(), "https://example.org")


def test_an_app_has_one_tracker():
    app, tracker, _ = tracked()
    with pytest.raises(ConfigurationError, match="already has a tracker"):
        Tracker(app)
    with pytest.raises(ConfigurationError, match="one Tracker for each"):
        tracker.plug(make_app())


def test_other_backends_are_refused():
    if int(dash.__version__.split(".")[0]) < 4:
        pytest.skip("needs Dash 4: other backends than Flask")
    app = make_app()
    app.backend = type("Backend", (), {"server_type": "fastapi"})()
    with pytest.raises(ConfigurationError, match=r"Dash on Flask, got the backend 'fastapi'"):
        Tracker(app)


# -- people --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("session", "user"),
    [
        ({}, ("anonymous", "anonymous", "anonymous")),
        ({"user": {"id": 7, "email": "a@x", "full_name": "Ana"}}, ("7", "a@x", "Ana")),
        ({"user": {"id": "7"}}, ("7", "anonymous", "anonymous")),
        ({"user_id": "u1", "user_email": "a@x", "user_full_name": "Ana"}, ("u1", "a@x", "Ana")),
        ({"user": {"email": "a@x", "groups": ["g"]}}, ("a@x", "a@x", "anonymous")),
        ({"user": "junk", "user_id": None}, ("junk", "anonymous", "anonymous")),
    ],
    ids=["nobody", "readme", "id-only", "flat", "dash-auth", "text"],
)
def test_the_user_comes_from_the_session(session, user):
    app = make_app()
    app.server.secret_key = "k"
    app, tracker, repository = tracked(app)
    client = app.server.test_client()
    with client.session_transaction() as stored:
        stored.update(session)
    client.get("/", headers=BROWSER)
    data = recorded(tracker, repository)[0].data
    assert (data["user_id"], data["email"], data["full_name"]) == user


def test_a_person_is_not_automated_whatever_the_client():
    app, tracker, repository = tracked(user_provider=lambda: {"id": "ana"})
    app.server.test_client().get("/")
    assert recorded(tracker, repository)[0].data["automated"] is False


def test_the_login_of_this_very_request_counts():
    app = make_app()
    app.server.secret_key = "k"

    @app.server.before_request
    def login():
        flask.session["user"] = {"id": "new"}

    app, tracker, repository = tracked(app)
    app.server.test_client().get("/")
    assert recorded(tracker, repository)[0].data["user_id"] == "new"


@pytest.mark.parametrize(
    ("used", "session", "user"),
    [
        pytest.param(True, {}, "token-7", id="by-a-token"),
        pytest.param(True, {"_user_id": "7"}, "7", id="the-session-first"),
        pytest.param(False, {}, "anonymous", id="no-flask-login"),
    ],
)
def test_a_user_that_flask_login_loaded_for_one_request_counts(used, session, user):
    class TokenUser:
        def get_id(self):
            return "token-7"

    app = make_app()
    app.server.secret_key = "k"
    if used:
        app.server.login_manager = object()  # as Flask-Login leaves it

    @app.server.before_request
    def load():
        flask.g._login_user = TokenUser()

    app, tracker, repository = tracked(app)
    client = app.server.test_client()
    with client.session_transaction() as stored:
        stored.update(session)
    client.get("/", headers=BROWSER)
    assert recorded(tracker, repository)[0].data["user_id"] == user


def test_no_vary_header_is_added():
    app = make_app()
    app.server.secret_key = "k"
    app, *_ = tracked(app)
    client = app.server.test_client()
    with client.session_transaction() as session:
        session["user"] = {"id": 1}
    assert "Vary" not in client.get("/").headers


def test_the_provider_may_read_flask():
    app = make_app()
    app.server.secret_key = "k"
    app, tracker, repository = tracked(app, user_provider=lambda: {"id": flask.request.headers["X-User"]})
    app.server.test_client().get("/", headers={"X-User": "bo"})
    assert recorded(tracker, repository)[0].data["user_id"] == "bo"


def test_a_kept_test_client_context_counts_once():
    app, tracker, repository = tracked(user_provider=lambda: {"id": "ana"})
    with app.server.test_client() as client:
        client.get("/a")
        client.get("/b")
        assert paths(recorded(tracker, repository)) == ["/a", "/b"]
    assert len(recorded(tracker, repository)) == 2


# -- callbacks -------------------------------------------------------------------------------------


def test_a_callback_run():
    app, tracker, repository = tracked()
    click(app.server.test_client(), page="/sales")
    (event,) = recorded(tracker, repository)
    data = event.data
    assert event.event == "callback"
    assert data["callback"] == f"{__name__}:make_app.clicked"
    assert (data["output"], data["trigger"], data["cause"]) == ("out.children", "btn.n_clicks", "user")
    assert (data["path"], data["status"], data["outcome"], data["error"]) == ("/sales", 200, "ok", None)
    assert data["duration_ms"] > 0
    assert data["request_bytes"] > 100
    assert data["response_bytes"] > 10


def test_a_failing_callback_is_recorded_by_type_and_place_without_its_message():
    app, tracker, repository = tracked()
    assert click(app.server.test_client(), n=13).status_code == 500
    (event,) = recorded(tracker, repository)
    assert event.data["outcome"] == "error"
    assert event.data["error"]["type"] == "ZeroDivisionError"
    assert event.data["error"]["where"].startswith(f"{__name__}:clicked:")
    assert "unlucky" not in json.dumps(event.to_dict())


def test_input_values_never_leave_the_process():
    app, tracker, repository = tracked()
    click(app.server.test_client(), n="hunter2")
    assert "hunter2" not in json.dumps([event.to_dict() for event in recorded(tracker, repository)])


def test_query_strings_of_callbacks_are_never_stored():
    app, tracker, repository = tracked()
    body = {
        "output": "out.children",
        "inputs": [],
        "changedPropIds": [],
        "outputs": {"id": "out", "property": "children"},
    }
    app.server.test_client().post("/_dash-update-component?endId=secret~mac", json=body)
    assert "secret" not in json.dumps([event.to_dict() for event in recorded(tracker, repository)])


@pytest.mark.parametrize(
    "wish",
    [["clicked"], ["out.children"], [f"{__name__}:make_app.clicked"], lambda name: name == "clicked",
     lambda name: name.output == "out.children", lambda name: name.label.endswith("clicked")],
    ids=["name", "output", "label", "by-name", "by-output", "by-label"],
)  # fmt: skip
def test_ignored_callbacks(wish):
    app, tracker, repository = tracked(ignore_callback=wish)
    client = app.server.test_client()
    click(client)
    navigate(client, "/sales")
    assert [e.data["output"] for e in recorded(tracker, repository, "callback")] == ["content.children"]


@pytest.mark.parametrize("outside", [True, False], ids=["above", "below"])
def test_the_decorator_works_on_either_side_of_callback(outside):
    app = Dash(__name__)
    app.layout = html.Div([html.Button(id="btn"), html.Div(id="out")])
    decorate = callback(Output("out", "children"), Input("btn", "n_clicks"))

    def quiet(n):
        return n

    assert (ignore_callback(decorate(quiet)) if outside else decorate(ignore_callback(quiet))) is not None
    app, tracker, repository = tracked(app)
    assert click(app.server.test_client()).status_code == 200
    assert recorded(tracker, repository) == []


@pytest.mark.parametrize(
    "wish",
    [["/admin/<path:rest>"], lambda path: path.startswith("/admin/")],
    ids=["rules", "callable"],
)
def test_ignored_routes_cover_views_callbacks_and_custom_events(wish):
    app = make_app(url_base_pathname="/base/")

    @app.callback(Output("content", "title"), Input("btn", "title"))
    def exports(_):
        tracker.track("export")

    app, tracker, repository = tracked(app, ignore_route=wish)
    client = app.server.test_client()
    client.get("/base/admin/x")
    client.get("/base/public")
    for page in ("/base/admin/x", "/base/public"):
        click(client, prefix="/base/", page=page)
        body = {"output": "content.title", "inputs": [], "changedPropIds": ["btn.title"],
                "outputs": {"id": "content", "property": "title"}}  # fmt: skip
        body["inputs"] = [{"id": "btn", "property": "title", "value": "x"}]
        client.post("/base/_dash-update-component", json=body, headers={"Referer": f"http://localhost{page}"})
    events = recorded(tracker, repository)
    assert set(paths(events)) == {"/base/public"}
    assert sorted(e.event for e in events) == ["callback", "callback", "export", "page_view"]


def test_a_wish_that_raises_means_not_ignored_and_is_counted():
    app, tracker, repository = tracked(ignore_route=lambda path: 1 / 0, ignore_callback=lambda name: 1 / 0)
    client = app.server.test_client()
    client.get("/")
    click(client)
    assert len(recorded(tracker, repository)) == 2
    assert tracker.stats()["problems"] == {"ignore_route": 2, "ignore_callback": 1}


# -- custom events -------------------------------------------------------------------------------------


def test_a_custom_event_in_a_callback_belongs_to_its_page_and_user():
    app = make_app()

    @app.callback(Output("content", "title"), Input("btn", "n_clicks"))
    def exports(n):
        tracker.track("export", rows=120, name="x")
        return "done"

    app, tracker, repository = tracked(app, user_provider=lambda: {"id": "ana"})
    body = {"output": "content.title", "inputs": [{"id": "btn", "property": "n_clicks", "value": 1}],
            "changedPropIds": ["btn.n_clicks"], "outputs": {"id": "content", "property": "title"}}  # fmt: skip
    headers = {"Referer": "http://localhost/sales"}
    assert app.server.test_client().post("/_dash-update-component", json=body, headers=headers).status_code == 200
    (event,) = recorded(tracker, repository, "export")
    assert event.data["properties"] == {"rows": 120, "name": "x"}
    assert (event.data["path"], event.data["user_id"]) == ("/sales", "ana")


def test_a_custom_event_in_another_route_belongs_to_its_user_and_to_the_page_it_came_from():
    app = make_app()
    app.server.secret_key = "k"
    app.server.add_url_rule("/api/export", methods=["POST"], view_func=lambda: tracker.track("export") or "ok")
    app, tracker, repository = tracked(app)
    client = app.server.test_client()
    with client.session_transaction() as session:
        session["user"] = {"id": "ana"}
    client.post("/api/export", headers={"Referer": "http://localhost/sales"})
    (event,) = recorded(tracker, repository)
    assert (event.event, event.data["user_id"], event.data["path"]) == ("export", "ana", "/sales")


def test_what_clients_send_is_bounded_in_memory():
    app, tracker, _ = tracked()
    client = app.server.test_client()
    client.get("/", headers={"Sec-Purpose": "x" * 7000, "X-Forwarded-For": "y" * 7000, "User-Agent": "z" * 7000})
    body = {"output": "out.children", "outputs": {"id": "out", "property": "children"},
            "inputs": [{"id": "btn", "property": "n_clicks", "value": 1}],
            "changedPropIds": ["b" * 5000] * 50}  # fmt: skip
    tracker._middleware._delivery._reader._read = lambda seen: kept.append(seen) or []
    kept = []
    client.get("/", headers={"Sec-Purpose": "x" * 7000, "User-Agent": "z" * 7000})
    client.post("/_dash-update-component", json=body)
    assert tracker.flush(10)
    for seen in kept:
        assert 0 < len(repr(seen)) < 20_000


def test_a_custom_event_outside_a_request_has_no_page():
    _, tracker, repository = tracked()
    tracker.track("nightly", when=object)
    (event,) = recorded(tracker, repository)
    assert event.data["user_id"] == "anonymous"
    assert all(event.data[key] is None for key in PAGE_KEYS if key not in ("app_name", "user_id", "email", "full_name"))
    assert isinstance(event.data["properties"]["when"], str)


@pytest.mark.parametrize("name", ["page_view", "callback", "", None, "x" * 201])
def test_names_that_are_taken_or_no_names_are_refused(name):
    _, tracker, _ = tracked()
    with pytest.raises(ConfigurationError, match="event"):
        tracker.track(name)


# -- the answer stays what it is ---------------------------------------------------------------------------

REQUESTS = {
    "page": ("GET", "/sales", {}),
    "head": ("HEAD", "/", {}),
    "options": ("OPTIONS", "/", {}),
    "layout": ("GET", "/_dash-layout", {}),
    "dependencies": ("GET", "/_dash-dependencies", {}),
    "get-callback": ("GET", "/_dash-update-component", {}),
    "post-page": ("POST", "/", {"data": b"x"}),
    "broken": ("POST", "/_dash-update-component", {"data": b"{bad", "content_type": "application/json"}),
    "list": ("POST", "/_dash-update-component", {"json": ["x"]}),
    "text": ("POST", "/_dash-update-component", {"data": b"x", "content_type": "text/plain"}),
    "unknown": ("POST", "/_dash-update-component", {"json": {"output": "no.no", "inputs": [], "changedPropIds": []}}),
    "not-utf8": ("GET", "/caf%E9", {}),
    "asset": ("GET", "/assets/no.css", {}),
    "favicon": ("GET", "/_favicon.ico", {}),
    **{
        f"pathname-{value!r}": (
            "POST",
            "/_dash-update-component",
            {
                "json": {
                    "output": "content.children",
                    "outputs": {"id": "content", "property": "children"},
                    "inputs": [{"id": "url", "property": "pathname", "value": value}],
                    "changedPropIds": ["url.pathname"],
                }
            },
        )
        for value in (None, 5, ["/a"], {"a": 1}, True, "", "no-slash", "/ok")
    },
}


def answer(app, request):
    method, path, options = REQUESTS[request]
    response = app.server.test_client().open(path, method=method, **options)
    return response.status, sorted(response.headers), response.data


@pytest.mark.parametrize("request_name", REQUESTS)
def test_answers_are_byte_identical(request_name):
    bare = make_app()
    app, tracker, _ = tracked(make_app(), page_script=False, user_provider=lambda: 1 / 0)
    assert comparable(answer(app, request_name)) == comparable(answer(bare, request_name))
    assert tracker.flush(10)


def test_with_the_script_an_answer_differs_by_its_one_tag():
    bare = make_app()
    app, tracker, _ = tracked(make_app())
    assert tracker._script is not None
    tag = tracker._script.tag("/").encode()
    for request_name in REQUESTS:
        status, headers, body = comparable(answer(app, request_name))
        plain_status, plain_headers, plain = comparable(answer(bare, request_name))
        assert (status, body.replace(tag, b"", 1)) == (plain_status, plain)
        added = len(body) - len(plain)
        assert added in (0, len(tag))
        lengths = [{**dict(each), "Content-Length": None} for each in (headers, plain_headers)]
        assert lengths[0] == lengths[1]


def comparable(triple):
    """Dash 4.4 signs an id for each index it serves; everything else must be the same."""
    status, headers, body = triple
    return status, headers, re.sub(rb'"end_id":"[^"]*"', b"", body)


def test_a_raising_repository_never_reaches_a_request():
    class Failing(TrackerRepository):
        def save_event(self, event):
            raise OSError("gone")

    app = make_app()
    tracker = Tracker(app, repository=Failing())
    assert app.server.test_client().get("/").status_code == 200
    tracker.close()
    assert tracker.stats()["dropped"] == {"shutdown": 1}


def test_the_script_is_cacheable_for_good_and_its_address_changes_with_it():
    app, *_ = tracked()
    client = app.server.test_client()
    index = client.get("/").data.decode()
    response = client.get(re.search(r'src="([^"]*_dut/page.js[^"]*)"', index)[1])
    assert "immutable" in response.headers["Cache-Control"]
    assert client.get("/_dut/page.js?v=of-another-version").headers["Cache-Control"] == "no-store"
    assert "private" in response.headers["Cache-Control"]
    assert response.data.decode() == PageScript.read().text


def test_the_tag_survives_a_custom_index():
    class Custom(Dash):
        def interpolate_index(self, **kwargs):
            return "<html>{app_entry}{config}{scripts}{renderer}</html>".format(**kwargs)

    app = Custom(__name__)
    app.layout = html.Div()
    app, *_ = tracked(app)
    index = app.server.test_client().get("/").data
    assert index.count(b"_dut/page.js") == 1
    # It must not delay Dash's scripts, and be there when the renderer starts.
    assert index.rindex(b"dash_renderer") < index.index(b"_dut/page.js") < index.index(b"new DashRenderer")


def test_no_warning_of_the_trackers_own():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracked()


def test_closing_takes_no_longer_than_it_may():
    released, asked = threading.Event(), threading.Event()

    class Held(TrackerRepository):
        def save_event(self, event):
            asked.set()
            released.wait(30)

    app = make_app()
    tracker = Tracker(app, repository=Held(), page_script=False)
    app.server.test_client().get("/")
    assert asked.wait(10)
    started = time.monotonic()
    tracker.close(0.2)
    assert time.monotonic() - started < 2
    released.set()
