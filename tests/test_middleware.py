"""`TrackerMiddleware` around plain WSGI apps."""

from __future__ import annotations

import gc
import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker import MemoryTrackerRepository, TrackerMiddleware, TrackerRepository
from dash_user_tracker.body import LIMIT
from dash_user_tracker.errors import ConfigurationError
from dash_user_tracker.events import PAGE_KEYS

HTML = [("Content-Type", "text/html; charset=utf-8")]
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36"


def page(environ, start_response):
    start_response("200 OK", HTML)
    return [b"<p>hello</p>"]


def tracked(app=page, **options):
    repository = MemoryTrackerRepository()
    return TrackerMiddleware(app, repository=repository, **options), repository


def environ_of(path="/", method="GET", **more):
    environ = {}
    setup_testing_defaults(environ)
    environ["QUERY_STRING"] = ""
    environ.update(PATH_INFO=path, REQUEST_METHOD=method, REMOTE_ADDR="10.0.0.7", HTTP_USER_AGENT=BROWSER)
    environ.update(more)
    return environ


def callback(output="out.children", changed=("btn.n_clicks",), inputs=(), **more):
    document = {"output": output, "changedPropIds": list(changed), "inputs": list(inputs)}
    body = json.dumps(document).encode()
    environ = environ_of("/_dash-update-component", "POST", CONTENT_TYPE="application/json")
    return {**environ, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body), **more}


def pathname_call(path, **more):
    inputs = [{"id": "url", "property": "pathname", "value": path}]
    return callback("content.children", ["url.pathname"], inputs, **more)


def answer_json(environ, start_response):
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "application/json")])
    return [b"{}"]


def site(environ, start_response):
    return (answer_json if environ["REQUEST_METHOD"] == "POST" else page)(environ, start_response)


def ask(app, environ):
    """Status, headers and body as a server would send them."""
    sent = []

    def start_response(status, headers, exc_info=None):
        sent[:] = [status, list(headers)]
        return lambda data: None

    result = app(environ, start_response)
    try:
        body = b"".join(result)
    finally:
        if hasattr(result, "close"):
            result.close()
    return (*sent, body)


def events_of(middleware, repository):
    assert middleware.flush(10)
    return repository.events


# -- what is recorded ------------------------------------------------------------------


def test_method_and_path_are_environ_enough():
    middleware, repository = tracked()
    ask(middleware, {"REQUEST_METHOD": "GET", "PATH_INFO": "/sales"})
    (event,) = events_of(middleware, repository)
    assert event.event == "page_view"
    assert event.data["path"] == "/sales"
    assert set(PAGE_KEYS) <= set(event.data)


def test_a_page_view_has_the_documented_values():
    middleware, repository = tracked(app_name="My Dash App")
    ask(middleware, environ_of("/a b", QUERY_STRING="x=1", HTTP_HOST="127.0.0.1:8050", HTTP_REFERER="http://x/"))
    (event,) = events_of(middleware, repository)
    assert {key: event.data[key] for key in PAGE_KEYS} == {
        "app_name": "My Dash App",
        "ip": "10.0.0.7",
        "user_agent": BROWSER,
        "base_url": "http://127.0.0.1:8050/a%20b",
        "url": "http://127.0.0.1:8050/a%20b?x=1",
        "url_root": "http://127.0.0.1:8050/",
        "referrer": "http://x/",
        "path": "/a b",
        "full_path": "/a b?x=1",
        "method": "GET",
        "user_id": "anonymous",
        "email": "anonymous",
        "full_name": "anonymous",
    }
    assert event.data["navigation"] == "load"
    assert event.data["automated"] is False


def test_the_mount_is_part_of_the_path():
    middleware, repository = tracked()
    ask(middleware, environ_of("/page", SCRIPT_NAME="/tools"))
    assert events_of(middleware, repository)[0].data["path"] == "/tools/page"


@pytest.mark.parametrize(
    ("status", "headers", "more"),
    [
        pytest.param("404 NOT FOUND", HTML, {}, id="error"),
        pytest.param("302 FOUND", HTML, {}, id="redirect"),
        pytest.param("200 OK", [("Content-Type", "application/json")], {}, id="not-html"),
        pytest.param("200 OK", [], {}, id="no-type"),
        pytest.param("200 OK", HTML, {"REQUEST_METHOD": "HEAD"}, id="head"),
        pytest.param("200 OK", HTML, {"REQUEST_METHOD": "OPTIONS"}, id="options"),
        pytest.param("200 OK", HTML, {"REQUEST_METHOD": "POST"}, id="form"),
        pytest.param("200 OK", HTML, {"HTTP_SEC_PURPOSE": "prefetch;prerender"}, id="prefetch"),
        pytest.param("200 OK", HTML, {"HTTP_SEC_FETCH_DEST": "iframe"}, id="iframe"),
        pytest.param("200 OK", HTML, {"HTTP_SEC_FETCH_DEST": "empty"}, id="fetch"),
        pytest.param("200 OK", HTML, {"PATH_INFO": "/assets/help.html"}, id="asset"),
        pytest.param("200 OK", HTML, {"PATH_INFO": "/base/_dash-layout"}, id="layout"),
        pytest.param("200 OK", HTML, {"PATH_INFO": "/robots.txt"}, id="robots"),
    ],
)
def test_what_is_no_page_view(status, headers, more):
    def app(environ, start_response):
        start_response(status, headers)
        return [b"x"]

    middleware, repository = tracked(app)
    ask(middleware, {**environ_of(), **more})
    assert events_of(middleware, repository) == []


@pytest.mark.parametrize("user_agent", ["", "curl/8.5", "Mozilla/5.0 (compatible; Googlebot/2.1)"])
def test_robots_are_recorded_and_flagged(user_agent):
    middleware, repository = tracked()
    ask(middleware, environ_of(HTTP_USER_AGENT=user_agent))
    (event,) = events_of(middleware, repository)
    assert (event.data["automated"], event.data["automated_reason"]) == (True, "user agent")


def test_internal_navigations_are_told_by_the_pathname_of_a_callback():
    middleware, repository = tracked(site)
    ask(middleware, environ_of("/"))
    for path in ("/", "/sales", "/sales", "/"):  # a load sends its own pathname, and several callbacks may listen
        ask(middleware, pathname_call(path))
    views = [
        (e.data["path"], e.data["navigation"]) for e in events_of(middleware, repository) if e.event == "page_view"
    ]
    assert views == [("/", "load"), ("/sales", "internal"), ("/", "internal")]


def test_two_clients_do_not_share_a_last_page():
    middleware, repository = tracked(site)
    ask(middleware, pathname_call("/sales", REMOTE_ADDR="10.0.0.1"))
    ask(middleware, pathname_call("/sales", REMOTE_ADDR="10.0.0.2"))
    assert [e.event for e in events_of(middleware, repository)].count("page_view") == 2


def test_a_callback_is_recorded_with_its_run():
    middleware, repository = tracked(site)
    ask(middleware, callback(HTTP_REFERER="http://127.0.0.1/sales?q=1", HTTP_HOST="127.0.0.1"))
    (event,) = events_of(middleware, repository)
    assert event.event == "callback"
    assert event.data["path"] == "/sales"
    assert event.data["output"] == "out.children"
    assert event.data["trigger"] == "btn.n_clicks"
    assert (event.data["status"], event.data["outcome"], event.data["cause"]) == (200, "ok", "user")
    assert event.data["request_bytes"] > 50
    assert event.data["response_bytes"] == 2
    assert event.data["duration_ms"] >= 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{not json", b"[]", b'"x"', b"null", b'{"output": 5}', b"\xff\xfe", b'{"output":' + b"[" * 5000],
    ids=["empty", "broken", "list", "text", "null", "number", "not-utf8", "deep"],
)
def test_a_malformed_callback_body_is_no_event(body):
    middleware, repository = tracked(site)
    environ = callback(CONTENT_LENGTH=str(len(body)))
    environ["wsgi.input"] = io.BytesIO(body)
    assert ask(middleware, environ)[2] == b"{}"
    assert events_of(middleware, repository) == []
    assert middleware.stats()["problems"] == {}


def test_a_body_above_the_limit_is_not_copied():
    seen = []

    def app(environ, start_response):
        seen.append(environ["wsgi.input"])
        return answer_json(environ, start_response)

    middleware, _ = tracked(app)
    small, large = callback(), callback(CONTENT_LENGTH=str(LIMIT + 1))
    originals = [small["wsgi.input"], large["wsgi.input"]]
    ask(middleware, small)
    ask(middleware, large)
    assert seen[0] is not originals[0]
    assert seen[1] is originals[1]


@pytest.mark.parametrize("how", ["read", "readline", "readlines", "iterate", "read-in-parts"])
def test_the_app_reads_the_same_body_however_it_reads(how):
    def app(environ, start_response):
        stream, size = environ["wsgi.input"], int(environ["CONTENT_LENGTH"])
        if how == "read":
            data = stream.read(size)
        elif how == "readline":
            data = stream.readline(size)
        elif how == "readlines":
            data = b"".join(stream.readlines())
        elif how == "iterate":
            data = b"".join(stream)
        else:
            data = stream.read(10) + stream.read(size - 10)
        start_response("200 OK", [("Content-Type", "application/json")])
        return [data]

    middleware, repository = tracked(app)
    environ = callback()
    expected = environ["wsgi.input"].getvalue()
    assert ask(middleware, environ)[2] == expected
    assert events_of(middleware, repository)[0].data["output"] == "out.children"


def test_the_answer_is_recorded_even_if_nobody_reads_it():
    def app(environ, start_response):
        start_response("200 OK", [*HTML, ("Content-Length", "1")])
        return iter([b"x"])

    middleware, repository = tracked(app)
    unread = middleware(environ_of(), lambda *args: None)
    assert len(events_of(middleware, repository)) == 1
    assert list(unread) == [b"x"]


def test_a_dropped_stream_is_recorded_when_it_goes():
    def app(environ, start_response):
        start_response("200 OK", HTML)
        return iter([b"x"])

    middleware, repository = tracked(app)
    middleware(environ_of(), lambda *args: None)
    gc.collect()
    assert len(events_of(middleware, repository)) == 1


# -- users ------------------------------------------------------------------------------


def test_the_provider_may_take_the_environ():
    def provider(environ):
        return {"id": environ["HTTP_X_USER"], "email": "a@x", "full_name": "A"}

    middleware, repository = tracked(user_provider=provider)
    ask(middleware, environ_of(HTTP_X_USER="ana"))
    data = events_of(middleware, repository)[0].data
    assert (data["user_id"], data["email"], data["full_name"]) == ("ana", "a@x", "A")


def test_the_provider_may_take_nothing():
    middleware, repository = tracked(user_provider=lambda: {"id": 7})
    ask(middleware, environ_of())
    data = events_of(middleware, repository)[0].data
    assert (data["user_id"], data["email"], data["full_name"]) == ("7", "anonymous", "anonymous")


def test_a_failing_provider_means_anonymous_and_one_log_line(caplog):
    def provider():
        raise RuntimeError("no directory")

    middleware, repository = tracked(user_provider=provider)
    with caplog.at_level(logging.WARNING, "dash_user_tracker"):
        for _ in range(3):
            assert ask(middleware, environ_of())[0] == "200 OK"
    assert [e.data["user_id"] for e in events_of(middleware, repository)] == ["anonymous"] * 3
    assert middleware.stats()["problems"] == {"user_provider": 3}
    assert len(caplog.records) == 1


def test_the_provider_is_asked_for_tracked_requests_only():
    asked = []
    middleware, _ = tracked(user_provider=lambda environ: asked.append(environ["PATH_INFO"]))
    for path in ("/assets/a.css", "/_dash-layout", "/page"):
        ask(middleware, environ_of(path))
    assert asked == ["/page"]


# -- the answer stays what it is -----------------------------------------------------------


def generator(environ, start_response):
    start_response("200 OK", HTML)
    yield b"a"
    yield b""
    yield b"b"


def late_start(environ, start_response):
    def body() -> Iterator[bytes]:
        start_response("200 OK", HTML)
        yield b"late"

    return body()


def writes(environ, start_response):
    write = start_response("200 OK", HTML)
    write(b"old style")
    return []


def restarts(environ, start_response):
    start_response("200 OK", HTML)
    try:
        raise ValueError("x")
    except ValueError:
        start_response("500 ERROR", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"failed"]


class Sized:
    def __init__(self, *chunks):
        self.chunks = chunks

    def __iter__(self):
        return iter(self.chunks)

    def __len__(self):
        return len(self.chunks)


def sized(environ, start_response):
    start_response("200 OK", HTML)
    return Sized(b"one")


def sends_file(environ, start_response):
    start_response("200 OK", HTML)
    return environ["wsgi.file_wrapper"](io.BytesIO(b"<p>file</p>"))


@pytest.mark.parametrize(
    "app", [page, generator, late_start, restarts, sized, sends_file], ids=lambda app: app.__name__
)
def test_the_answer_is_the_same_with_and_without(app):
    environ = {"wsgi.file_wrapper": FileWrapper}
    middleware, _ = tracked(app)
    assert ask(middleware, environ_of(**environ)) == ask(app, environ_of(**environ))


def test_lists_are_returned_as_they_are():
    result = [b"x"]

    def app(environ, start_response):
        start_response("200 OK", HTML)
        return result

    middleware, _ = tracked(app)
    assert middleware(environ_of(), lambda *args: None) is result


def test_files_are_left_to_the_servers_sendfile():
    middleware, repository = tracked(sends_file)
    result = middleware(environ_of(**{"wsgi.file_wrapper": FileWrapper}), lambda *args: None)
    assert type(result) is FileWrapper
    assert len(events_of(middleware, repository)) == 1


def test_a_sized_answer_stays_sized():
    middleware, _ = tracked(sized)
    assert len(middleware(environ_of(), lambda *args: None)) == 1


def test_write_is_the_servers_own():
    written = []
    middleware, _ = tracked(writes)
    middleware(environ_of(), lambda *args: written.append)
    assert written == [b"old style"]


def test_close_is_forwarded_once():
    class Body:
        closed = 0

        def __iter__(self):
            return iter([b"x"])

        def close(self):
            self.closed += 1

    body = Body()

    def app(environ, start_response):
        start_response("200 OK", HTML)
        return body

    middleware, repository = tracked(app)
    ask(middleware, environ_of())
    assert body.closed == 1
    assert len(events_of(middleware, repository)) == 1


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_exceptions_pass_through_and_are_recorded(error):
    def app(environ, start_response):
        environ["wsgi.input"].read()
        raise error

    middleware, repository = tracked(app)
    with pytest.raises(type(error)):
        ask(middleware, callback())
    (event,) = events_of(middleware, repository)
    assert event.data["outcome"] == "error"
    assert event.data["error"]["type"] == type(error).__name__
    assert event.data["error"]["where"].split(":")[1] == "app"


def test_exceptions_in_the_stream_pass_through_and_are_recorded():
    def app(environ, start_response):
        environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "application/json")])
        yield b"{"
        raise ValueError("x")

    middleware, repository = tracked(app)
    with pytest.raises(ValueError, match="x"):
        ask(middleware, callback())
    assert events_of(middleware, repository)[0].data["error"]["type"] == "ValueError"


def site_reading(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", [("Content-Type", "application/json")])
        return [b"{}"]
    start_response("200 OK", HTML)
    return [b"<p>hello</p>"]


@pytest.mark.parametrize("app", [page, generator, site_reading], ids=lambda app: app.__name__)
@pytest.mark.parametrize(
    "environ", [environ_of, callback, lambda: environ_of("/assets/x.css")], ids=["page", "call", "asset"]
)
def test_wsgiref_finds_no_fault(app, environ):
    middleware, _ = tracked(validator(app))
    assert ask(validator(middleware), environ())[0] == "200 OK"


header_text = st.text(st.characters(max_codepoint=255), max_size=40)
paths = st.text(st.characters(max_codepoint=255), max_size=40).map(lambda text: "/" + text)


@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT", ""]),
    path=paths | st.sampled_from(["", "/_dash-update-component", "/_dash-layout", "/\xff\xfe", "/caf\xc3\xa9"]),
    headers=st.dictionaries(
        st.sampled_from(
            [
                "QUERY_STRING",
                "HTTP_HOST",
                "HTTP_REFERER",
                "HTTP_USER_AGENT",
                "HTTP_X_DASH_PAGE",
                "HTTP_SEC_FETCH_DEST",
                "CONTENT_LENGTH",
                "SCRIPT_NAME",
                "REMOTE_ADDR",
                "HTTP_SEC_PURPOSE",
                "wsgi.url_scheme",
            ]
        ),
        header_text,
    ),
    body=st.binary(max_size=200),
)
def test_no_environ_changes_the_answer_or_stops_the_worker(method, path, headers, body):
    def app(environ, start_response):
        data = environ["wsgi.input"].read()
        start_response("200 OK", HTML)
        return [data, environ["PATH_INFO"].encode("latin-1", "replace")]

    def environ():
        return {"REQUEST_METHOD": method, "PATH_INFO": path, "wsgi.input": io.BytesIO(body), **headers}

    middleware, repository = tracked(app)
    try:
        assert ask(middleware, environ()) == ask(app, environ())
        assert middleware.flush(10)
        stats = middleware.stats()
        assert (stats["problems"], stats["dropped"]) == ({}, {})
        for event in repository.events:
            json.dumps(event.to_dict(), allow_nan=False)
    finally:
        middleware.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"PATH_INFO": None, "REQUEST_METHOD": "GET"},
        {"PATH_INFO": 5, "REQUEST_METHOD": "GET"},
        {"PATH_INFO": "/", "REQUEST_METHOD": "GET", "HTTP_USER_AGENT": 5, "QUERY_STRING": None},
        {"PATH_INFO": "/caf\u00e9\u4e2d", "REQUEST_METHOD": "GET"},
    ],
    ids=["empty", "no-path", "number", "odd-headers", "real-text"],
)
def test_an_environ_that_breaks_the_rules_reaches_the_app_all_the_same(environ):
    middleware, _ = tracked()
    assert ask(middleware, environ) == ask(page, environ)


@pytest.mark.parametrize("headers", [None, [("a",)], "x", [(b"Content-Type", b"text/html")]], ids=repr)
def test_an_answer_that_breaks_the_rules_reaches_the_server_all_the_same(headers):
    def app(environ, start_response):
        start_response("200 OK", headers)
        return ["not bytes"]

    got = []
    middleware, _ = tracked(app)
    assert middleware(environ_of(), lambda *args: got.append(args)) == ["not bytes"]
    assert got == [("200 OK", headers)]


# -- a repository that fails -----------------------------------------------------------------


class Failing(TrackerRepository):
    def save_event(self, event):
        raise OSError("disk on fire")


def test_a_failing_repository_is_logged_once_and_never_seen_by_a_request(caplog):
    middleware = TrackerMiddleware(page, repository=Failing())
    with caplog.at_level(logging.WARNING, "dash_user_tracker"):
        for _ in range(5):
            assert ask(middleware, environ_of())[0] == "200 OK"
        assert middleware.flush(0.5) is False
        middleware.close()
    stats = middleware.stats()
    assert stats["dropped"] == {"shutdown": 5}
    assert stats["last_error"] == "OSError: disk on fire"
    assert [record.exc_info is not None for record in caplog.records] == [True, False]


def test_a_hanging_repository_holds_no_request_up():
    go = threading.Event()

    class Hanging(TrackerRepository):
        def save_event(self, event):
            go.wait(20)

    middleware = TrackerMiddleware(page, repository=Hanging(), queue_size=10)
    for _ in range(50):
        ask(middleware, environ_of())
    stats = middleware.stats()
    assert stats["accepted"] == 50
    assert stats["dropped"]["queue_full"] >= 30
    go.set()
    assert middleware.flush(10)
    assert middleware.stats()["pending"] == 0


# -- construction ------------------------------------------------------------------------------


class Coroutine(TrackerRepository):
    async def save_event(self, event):
        """Never awaited."""


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        pytest.param({"repository": object()}, TypeError, "TrackerRepository", id="repository"),
        pytest.param({"repository": MemoryTrackerRepository}, TypeError, "TrackerRepository", id="a-class"),
        pytest.param({"app_name": 5}, TypeError, "app_name must be a text or None, got 5", id="name"),
        pytest.param({"queue_size": 0}, ConfigurationError, "at least 1, got 0", id="queue"),
        pytest.param({"user_provider": "x"}, TypeError, "user_provider must be a function", id="provider"),
        pytest.param({"user_provider": lambda a, b: 1}, ConfigurationError, "needs 2 positional", id="provider-of-two"),
        pytest.param({"ignore_route": "/x"}, ConfigurationError, r"write \['/x'\]", id="one-rule"),
        pytest.param({"ignore_route": ["x"]}, ConfigurationError, "werkzeug rules", id="bad-rule"),
    ],
)
def test_wrong_arguments_raise_at_construction(options, error, words):
    with pytest.raises(error, match=words):
        TrackerMiddleware(page, **options)


def test_a_coroutine_repository_is_refused():
    with pytest.raises(TypeError, match="plain method"):
        TrackerMiddleware(page, repository=Coroutine())


def test_what_is_wrapped_must_be_callable():
    with pytest.raises(TypeError, match=r"app\.server\.wsgi_app"):
        TrackerMiddleware("app")


def test_events_go_to_the_console_by_default(capsys):
    with TrackerMiddleware(page) as middleware:
        ask(middleware, environ_of("/sales"))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["data"]["path"] == "/sales"
