"""What the gunicorn hooks do with an application; real gunicorn workers are in test_gunicorn.py."""

from __future__ import annotations

import functools
import inspect
import logging
import os
import threading
import time
from types import SimpleNamespace

import dash
import flask
import pytest
from gunicorn.config import Config
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client

from dash_user_tracker import MemoryTrackerRepository, Tracker, TrackerMiddleware, TrackerRepository
from dash_user_tracker import gunicorn as tracking


def make_app(server=True, **options):
    app = dash.Dash(__name__, server=server, title="hooked", **options)
    app.layout = dash.html.Div("x")
    return app


class Proxy:
    """As agents for performance put them around an application."""

    def __init__(self, wrapped):
        self.__wrapped__ = wrapped

    def __call__(self, *arguments):
        return self.__wrapped__(*arguments)


class Slotted:
    __slots__ = ("__inner", "unset")

    def __init__(self, inner):
        self.__inner = inner

    def __call__(self, *arguments):
        return self.__inner(*arguments)


class Handler:
    def __init__(self, inner):
        self.inner = inner

    def handle(self, environ, start_response):
        return self.inner(environ, start_response)


def closure(inner):
    def application(environ, start_response):
        return inner(environ, start_response)

    return application


GLOBAL = {}


def by_global(environ, start_response):
    return GLOBAL["app"](environ, start_response)


def globally(inner):
    GLOBAL["app"] = inner
    return by_global


def decorated(inner):
    @functools.wraps(inner)
    def application(*arguments):
        return inner(*arguments)

    return application


def partially(inner):
    return functools.partial(lambda app, *arguments: app(*arguments), inner)


def with_current_app(inner):
    """Names a proxy that raises outside of a request."""

    def application(environ, start_response):
        assert not flask.current_app
        assert current_app is flask.current_app
        return inner(environ, start_response)

    return application


current_app = flask.current_app

WRAPPERS = [
    lambda inner: inner,
    ProxyFix,
    Proxy,
    Slotted,
    lambda inner: Handler(inner).handle,
    closure,
    globally,
    decorated,
    with_current_app,
    lambda inner: ProxyFix(closure(Proxy(inner))),
]
WRAPPER_NAMES = ["bare", "attribute", "proxy", "slot", "method", "closure", "global", "wraps", "local", "deep"]


def worker_of(wsgi):
    return SimpleNamespace(wsgi=wsgi, pid=os.getpid(), aborted=False)


def paths(repository):
    return [event.data["path"] for event in repository.events if event.event == "page_view"]


def hooked(worker, **options):
    repository = MemoryTrackerRepository()
    tracking.hooks(repository=lambda: repository, page_script=False, **options).post_worker_init(worker)
    return repository


def close(worker):
    for tracker in tracking._trackers(worker):
        tracker.close()


@pytest.mark.parametrize("of", ["server", "wsgi_app"])
@pytest.mark.parametrize("wrap", WRAPPERS, ids=WRAPPER_NAMES)
def test_a_dash_app_is_tracked_behind_whatever_is_around_it(wrap, of, caplog):
    app = make_app()
    worker = worker_of(wrap(app.server if of == "server" else app.server.wsgi_app))
    repository = hooked(worker)
    assert Client(worker.wsgi).get("/sales").status_code == 200
    tracking.worker_exit(None, worker)
    assert paths(repository) == ["/sales"]
    assert repository.events[0].data["app_name"] == "hooked"
    assert len(app.server.extensions["dash_user_tracker"]) == 1
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
    close(worker)


def test_a_dash_app_is_tracked_behind_a_partial():
    worker = worker_of(partially(make_app().server))
    repository = hooked(worker)
    Client(worker.wsgi).get("/sales")
    close(worker)
    assert paths(repository) == ["/sales"]


def test_an_app_that_cannot_be_reached_is_told(caplog):
    app = make_app()
    worker = worker_of(partially(app.server.wsgi_app))
    hooked(worker)
    assert "holds it unchangeably" in caplog.text


def test_a_middleware_inside_the_server_stays():
    app = make_app()
    app.server.wsgi_app = ProxyFix(app.server.wsgi_app)
    worker = worker_of(app.server)
    repository = hooked(worker)
    Client(worker.wsgi).get("/", headers={"X-Forwarded-For": "10.1.2.3"})
    close(worker)
    assert [event.data["ip"] for event in repository.events] == ["10.1.2.3"]


def test_a_dash_object_can_be_served():
    app = make_app()
    if not callable(app):
        pytest.skip("needs Dash 3.1")
    worker = worker_of(app)
    repository = hooked(worker)
    Client(worker.wsgi).get("/x")
    close(worker)
    assert paths(repository) == ["/x"]


def test_each_mounted_dash_app_is_tracked():
    one, two = make_app(), make_app()
    worker = worker_of(DispatcherMiddleware(one.server, {"/two": two.server.wsgi_app}))
    repository = hooked(worker)
    client = Client(worker.wsgi)
    client.get("/a")
    client.get("/two/b")
    tracking.worker_exit(None, worker)
    close(worker)
    assert sorted(paths(repository)) == ["/a", "/two/b"]


def test_two_dash_apps_on_one_server_are_both_tracked():
    server = flask.Flask(__name__)
    make_app(server, url_base_pathname="/one/")
    make_app(server, url_base_pathname="/two/")
    worker = worker_of(server)
    repository = hooked(worker)
    Client(worker.wsgi).get("/one/a")
    Client(worker.wsgi).get("/two/b")
    close(worker)
    assert sorted(paths(repository)) == ["/one/a", "/two/b"]
    assert server.extensions["dash_user_tracker"][0].repository is repository


@pytest.mark.parametrize("again", [1, 2])
def test_no_request_is_counted_twice(again):
    app = make_app()
    own = MemoryTrackerRepository()
    tracker = Tracker(app, repository=own, page_script=False)
    worker = worker_of(ProxyFix(app.server))
    others = [hooked(worker) for _ in range(again)]
    Client(worker.wsgi).get("/a")
    tracker.close()
    assert paths(own) == ["/a"]
    assert not any(other.events for other in others)


def test_two_hooks_track_once():
    worker = worker_of(make_app().server)
    first, second = hooked(worker), hooked(worker)
    Client(worker.wsgi).get("/a")
    close(worker)
    assert (paths(first), paths(second)) == (["/a"], [])


def test_an_app_with_a_middleware_of_its_own_is_left_alone():
    app = make_app()
    own = MemoryTrackerRepository()
    app.server.wsgi_app = TrackerMiddleware(app.server.wsgi_app, repository=own)
    worker = worker_of(app.server)
    other = hooked(worker)
    Client(worker.wsgi).get("/a")
    close(worker)
    assert paths(own) == ["/a"]
    assert not other.events


def test_a_flask_app_without_dash_gets_a_middleware_that_knows_its_users():
    server = flask.Flask(__name__)
    server.secret_key = "x"

    @server.get("/login")
    def login():
        flask.session["user"] = {"id": "u1", "email": "u@x", "full_name": "U"}
        return "<p>in</p>"

    worker = worker_of(server)
    repository = hooked(worker)
    Client(worker.wsgi).get("/login")
    close(worker)
    assert worker.wsgi is server
    assert [(event.data["path"], event.data["user_id"]) for event in repository.events] == [("/login", "u1")]


def test_any_other_wsgi_app_gets_a_middleware():
    def application(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b"<p>hello</p>"]

    worker = worker_of(application)
    repository = hooked(worker, app_name="plain")
    assert Client(worker.wsgi).get("/p").data == b"<p>hello</p>"
    close(worker)
    assert [event.data["app_name"] for event in repository.events] == ["plain"]


async def asynchronous(scope, receive, send):
    raise AssertionError("not called")


@pytest.mark.parametrize("worker", [worker_of(asynchronous), SimpleNamespace(pid=1)], ids=["asgi", "no wsgi"])
def test_what_is_no_wsgi_app_is_left_alone(worker, caplog):
    before = getattr(worker, "wsgi", None)
    hooked(worker)
    assert getattr(worker, "wsgi", None) is before
    assert "serves no WSGI application" in caplog.text


def test_a_hook_that_fails_is_logged_and_stops_nothing(caplog):
    worker = worker_of(make_app().server)
    tracking.hooks(repository=lambda: 1 / 0).post_worker_init(worker)
    assert Client(worker.wsgi).get("/").status_code == 200
    assert "ZeroDivisionError" in caplog.text
    assert "the worker goes on without it" in caplog.text


def test_an_endpoint_needs_no_import_in_the_configuration():
    for wsgi in (make_app().server, closure(lambda *_: [])):
        worker = worker_of(wsgi)
        tracking.hooks(tracker_endpoint="http://127.0.0.1:1/e", api_key="k", batch=True).post_worker_init(worker)
        (tracker,) = tracking._trackers(worker)
        assert type(tracker.repository).__name__ == "HttpTrackerRepository"
        tracker.close()


def test_a_mistyped_option_fails_where_it_is_written():
    with pytest.raises(TypeError, match="'ignore_routes'"):
        tracking.hooks(ignore_routes=[])


def test_the_options_are_those_of_tracker():
    parameters = inspect.signature(Tracker).parameters.items()
    assert {name for name, one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY} == tracking.OPTIONS


def test_an_app_without_a_tracker_is_told(caplog):
    tracking.post_worker_init(worker_of(make_app().server))
    assert "no tracker was found" in caplog.text


def test_an_app_with_a_tracker_is_not_told(caplog):
    app = make_app()
    with Tracker(app, repository=MemoryTrackerRepository()):
        tracking.post_worker_init(worker_of(closure(app.server)))
    assert "no tracker was found" not in caplog.text


@pytest.mark.parametrize("name", tracking.__all__)
def test_gunicorn_takes_each_hook_alone_and_chained(name):
    own = {1: lambda worker: None, 2: lambda server, worker: None}
    ours = getattr(tracking, name)
    made = getattr(tracking.hooks(), name)
    for hook in (ours, made, tracking.chain(own[len(inspect.signature(ours).parameters)], ours, made)):
        Config().set(name, hook)


def test_chained_hooks_run_in_order_and_all_of_them():
    calls = []

    def first(worker):
        calls.append("first")
        raise ValueError("mine")

    chained = tracking.chain(first, lambda worker: calls.append("second"), lambda worker: calls.append("third"))
    with pytest.raises(ValueError, match="mine"):
        chained(None)
    assert calls == ["first", "second", "third"]


class Held(TrackerRepository):
    """Takes nothing before it is released."""

    def __init__(self):
        self.asked = threading.Event()
        self.released = threading.Event()
        self.taken = 0

    def save_event(self, event):
        self.asked.set()
        self.released.wait(30)
        self.taken += 1


@pytest.fixture
def held():
    """A worker whose events are not taken, and its repository."""
    repository = Held()
    app = make_app()
    tracker = Tracker(app, repository=repository, page_script=False)
    worker = worker_of(app.server)
    Client(worker.wsgi).get("/")
    yield worker, repository
    repository.released.set()
    tracker.close()


def test_abort_waits_for_nothing_and_begins_to_deliver_at_once(held):
    worker, repository = held
    started = time.monotonic()
    tracking.worker_abort(worker)
    assert time.monotonic() - started < 0.3
    assert repository.asked.wait(10)


@pytest.mark.parametrize(("aborted", "least", "most"), [(True, 0.2, 2), (False, 2.5, 6)], ids=["abort", "exit"])
def test_exit_waits_a_bounded_time(held, aborted, least, most):
    worker, _ = held
    worker.aborted = aborted
    started = time.monotonic()
    tracking.worker_exit(None, worker)
    assert least < time.monotonic() - started < most


def test_exit_does_not_wait_for_a_failing_receiver(caplog):
    class Failing(TrackerRepository):
        def save_event(self, event):
            raise OSError("down")

    app = make_app()
    tracker = Tracker(app, repository=Failing(), page_script=False)
    worker = worker_of(app.server)
    Client(worker.wsgi).get("/")
    started = time.monotonic()
    tracking.worker_exit(None, worker)
    assert time.monotonic() - started < 1.5
    assert tracker.stats()["dropped"] == {"shutdown": 1}
    assert "1 events were not delivered" in caplog.text


def test_exit_leaves_a_tracker_open_for_requests_that_end_later():
    app = make_app()
    repository = MemoryTrackerRepository()
    tracker = Tracker(app, repository=repository, page_script=False)
    worker = worker_of(app.server)
    Client(worker.wsgi).get("/before")
    tracking.worker_exit(None, worker)
    assert paths(repository) == ["/before"]
    Client(worker.wsgi).get("/after")
    tracker.close()
    assert paths(repository) == ["/before", "/after"]


def test_exit_does_nothing_in_the_master(held):
    worker, repository = held
    worker.pid += 1
    started = time.monotonic()
    tracking.worker_exit(None, worker)
    assert time.monotonic() - started < 0.3
    assert not repository.asked.is_set()


def test_exit_of_a_worker_that_never_loaded_its_app_is_quiet(caplog):
    tracking.worker_exit(None, SimpleNamespace(pid=os.getpid(), aborted=False))
    assert not caplog.records
