"""What PEP 3333 allows, and what it does not: the server sees the same of an app, with the tracker and without.

`seen_by_server` is a server that writes everything down: the calls of ``start_response``
with their arguments, what ``write`` got, each chunk, what was raised and where, how often
``close`` was called and how far the body was read.
"""

from __future__ import annotations

import gc
import io
import json
import sys
import tracemalloc
import types
from collections import UserDict
from wsgiref.util import FileWrapper, setup_testing_defaults

import pytest
from dash import Dash, html
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker import MemoryTrackerRepository, Tracker, TrackerMiddleware, TrackerRepository

HTML = [("Content-Type", "text/html; charset=utf-8")]
BODY = json.dumps(
    {
        "output": "out.children",
        "inputs": [{"id": "btn", "property": "n_clicks", "value": 1}],
        "changedPropIds": ["btn.n_clicks"],
    }
).encode()


# -- the server ----------------------------------------------------------------------------


def seen_by_server(app, environ):
    log = []
    TOLD.clear()

    def start_response(status, headers, *exc_info, **named):
        errors = [arg and type(arg[1]).__name__ for arg in (*exc_info, *named.values())]
        log.append(("start", status, repr(headers), len(exc_info), sorted(named), errors))
        if len(errors) > 1:
            raise TypeError("too many arguments")
        return lambda data: log.append(("write", data))

    body = None
    try:
        body = app(environ, start_response)
        log.append(("returned", type(body).__name__ if isinstance(body, (list, tuple, FileWrapper)) else "iterable"))
        if hasattr(type(body), "__len__"):
            log.append(("len", len(body)))
        for chunk in body:
            log.append(("chunk", chunk))
            if len(log) > 500:
                break
    except BaseException as error:  # noqa: BLE001 - that is what is looked at
        # Which function it was that lacks an argument is no matter.
        log.append(("raised", type(error), "" if "required positional" in str(error) else str(error)))
    try:
        if hasattr(body, "close"):
            body.close()
    except BaseException as error:  # noqa: BLE001
        log.append(("raised by close", type(error), str(error)))
    stream = environ.get("wsgi.input") if hasattr(environ, "get") else None
    stream = getattr(stream, "_stream", stream)  # what the tracker put around a small body
    position = stream.tell() if isinstance(stream, io.BytesIO) and not stream.closed else None
    return [*log, ("read", position), ("told", TOLD.copy())]


TOLD = []


def environ_of(path, method="GET", body=b"", **more):
    environ = {}
    setup_testing_defaults(environ)
    environ.update(
        {
            "PATH_INFO": path,
            "REQUEST_METHOD": method,
            "QUERY_STRING": "",
            "CONTENT_LENGTH": str(len(body)) if body else "",
            "wsgi.input": io.BytesIO(body),
            "wsgi.file_wrapper": FileWrapper,
        }
    )
    environ.update(more)
    return environ


REQUESTS = {
    "page": lambda **more: environ_of("/sales", **more),
    "callback": lambda **more: environ_of("/_dash-update-component", "POST", BODY, **more),
    "layout": lambda **more: environ_of("/_dash-layout", **more),
    "asset": lambda **more: environ_of("/assets/x.css", **more),
}


def middleware_around(app):
    return TrackerMiddleware(app, repository=MemoryTrackerRepository())


def tracker_around(app):
    """A `Tracker` whose Flask server was given another WSGI app before."""
    dash_app = Dash("hostile")
    dash_app.layout = html.Div()
    dash_app.server.wsgi_app = app
    Tracker(dash_app, repository=MemoryTrackerRepository(), page_script=False)
    return dash_app.server.wsgi_app


WRAPPERS = [pytest.param(middleware_around, id="middleware"), pytest.param(tracker_around, id="tracker")]


# -- apps ----------------------------------------------------------------------------------


class Body:
    """An iterable that tells when it is closed."""

    def __init__(self, *chunks, fails_on_close=False):
        self.chunks = chunks
        self.fails_on_close = fails_on_close

    def __iter__(self):
        return iter(self.chunks)

    def close(self):
        TOLD.append("body")
        if self.fails_on_close:
            raise OSError("cannot be closed")


class SizedBody(Body):
    def __len__(self):
        return len(self.chunks)


class SizedWrongly(Body):
    def __len__(self):
        raise OSError("no length")


class IndexedBody:
    """Iterates by ``__getitem__`` alone."""

    def __getitem__(self, index):
        return [b"a", b"b"][index]


class Iterator:
    """Its own iterator, with nothing but ``__next__``."""

    def __init__(self):
        self.left = 2

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        self.left -= 1
        return b"x"


class AsyncBody:
    def __aiter__(self):
        return self

    async def __anext__(self):
        raise StopAsyncIteration


class ListOfMine(list):
    def close(self):
        TOLD.append("list")


class Refusing:
    def __iter__(self):
        raise TypeError("not twice")


def returns(make, status="200 OK", headers=HTML):
    def app(environ, start_response):
        start_response(status, headers)
        return make()

    return app


def generator(environ, start_response):
    start_response("200 OK", HTML)
    try:
        yield b"a"
        yield b""
        yield b"b"
    finally:
        TOLD.append("generator")


def starts_late(environ, start_response):
    yield b""
    start_response("200 OK", HTML)
    yield b"late"


def starts_in_close(environ, start_response):
    class Late(Body):
        def close(self):
            start_response("200 OK", HTML)

    return Late(b"x")


def never_starts(environ, start_response):
    return [b"x"]


def never_starts_generator(environ, start_response):
    yield b"x"


def starts_twice(environ, start_response):
    start_response("200 OK", HTML)
    start_response("201 Created", [])
    return [b"x"]


def starts_again_with_exc_info(environ, start_response):
    start_response("200 OK", HTML)
    try:
        raise ValueError("x")
    except ValueError:
        start_response("500 ERROR", [("Content-Type", "text/plain")], sys.exc_info())
    return [b"failed"]


def starts_with_a_keyword(environ, start_response):
    start_response("200 OK", HTML, exc_info=None)
    return [b"x"]


def starts_with_none(environ, start_response):
    start_response("200 OK", HTML, None)
    return [b"x"]


def starts_with_too_much(environ, start_response):
    start_response("200 OK", HTML, None, "more")
    return [b"x"]


def starts_with_nothing(environ, start_response):
    start_response()
    return [b"x"]


def starts_by_keywords(environ, start_response):
    start_response(status="200 OK", headers=HTML)
    return [b"x"]


def writes(environ, start_response):
    write = start_response("200 OK", HTML)
    write(b"old")
    write(b" style")
    return [b" and new"]


def writes_in_the_stream(environ, start_response):
    write = start_response("200 OK", HTML)
    yield b"a"
    write(b"b")
    yield b"c"


def raises_before(environ, start_response):
    raise LookupError("before")


def raises_after_start(environ, start_response):
    start_response("200 OK", HTML)
    raise LookupError("after")


def raises_in_the_middle(environ, start_response):
    start_response("200 OK", HTML)
    yield b"a"
    raise LookupError("middle")


def raises_stop_iteration(environ, start_response):
    raise StopIteration("odd")


def exits(environ, start_response):
    start_response("200 OK", HTML)
    raise SystemExit(3)


def reads_all(environ, start_response):
    data = environ["wsgi.input"].read()
    start_response("200 OK", HTML)
    return [data]


def reads_a_little(environ, start_response):
    data = environ["wsgi.input"].read(7)
    start_response("200 OK", HTML)
    return [data]


def reads_in_the_stream(environ, start_response):
    start_response("200 OK", HTML)
    stream = environ["wsgi.input"]
    while True:
        data = stream.read(16)
        if not data:
            return
        yield data


def reads_every_way(environ, start_response):
    stream = environ["wsgi.input"]
    with stream as same:
        data = [stream.read(3), stream.read(0), same.readline(4), stream.readline(), *stream.readlines(5), *stream]
    start_response("200 OK", HTML)
    return data


def reads_by_next(environ, start_response):
    data = next(environ["wsgi.input"], b"none")
    start_response("200 OK", HTML)
    return [data]


def reads_wrongly(environ, start_response):
    start_response("200 OK", HTML)
    return [environ["wsgi.input"].read("7")]


def reads_with_a_keyword(environ, start_response):
    start_response("200 OK", HTML)
    return [environ["wsgi.input"].read(size=7)]


def asks_about_the_input(environ, start_response):
    stream = environ["wsgi.input"]
    start_response("200 OK", HTML)
    return [repr((stream.seekable(), stream.readable(), stream.tell(), stream.seek(0), stream.closed)).encode()]


def changes_its_environ(environ, start_response):
    environ.clear()
    environ["wsgi.input"] = io.BytesIO()
    start_response("200 OK", HTML)
    return [b"x"]


def changes_its_headers(environ, start_response):
    headers = list(HTML)
    start_response("200 OK", headers)
    headers.append(("X-Late", "1"))
    return [b"x"]


APPS = {
    "list": returns(lambda: [b"a", b"b"]),
    "empty-list": returns(list),
    "tuple": returns(lambda: (b"a",)),
    "list-subclass": returns(lambda: ListOfMine([b"a"])),
    "bytes": returns(lambda: b"abc"),
    "text": returns(lambda: "abc"),
    "list-of-text": returns(lambda: ["abc"]),
    "none": returns(lambda: None),
    "number": returns(lambda: 5),
    "dict": returns(lambda: {b"a": 1}),
    "set": returns(lambda: {b"a"}),
    "empty-chunks": returns(lambda: iter([b"", b"", b"a", b""])),
    "odd-chunks": returns(lambda: iter([None, "text", 5, bytearray(b"x"), memoryview(b"y")])),
    "iterator": returns(Iterator),
    "by-index": returns(IndexedBody),
    "no-iterator": returns(Refusing),
    "async": returns(AsyncBody),
    "file": returns(lambda: FileWrapper(io.BytesIO(b"x" * 20_000), 4096)),
    "body": returns(lambda: Body(b"a", b"b")),
    "body-fails-on-close": returns(lambda: Body(b"a", fails_on_close=True)),
    "sized": returns(lambda: SizedBody(b"a")),
    "sized-empty": returns(SizedBody),
    "sized-wrongly": returns(lambda: SizedWrongly(b"a")),
    "with-length": returns(lambda: Body(b"a"), headers=[*HTML, ("Content-Length", "1")]),
    "with-wrong-length": returns(lambda: Body(b"a"), headers=[*HTML, ("content-LENGTH", "many")]),
    "status-100": returns(lambda: [], "100 Continue", []),
    "status-103": returns(lambda: iter([]), "103 Early Hints", []),
    "status-204": returns(lambda: [], "204 NO CONTENT", []),
    "status-304": returns(lambda: iter([b""]), "304 NOT MODIFIED", []),
    "status-999": returns(lambda: [b"x"], "999 Odd"),
    "status-empty": returns(lambda: [b"x"], ""),
    "status-words": returns(lambda: [b"x"], "OK"),
    "status-number": returns(lambda: [b"x"], 200),
    "status-none": returns(lambda: iter([b"x"]), None),
    "status-bytes": returns(lambda: [b"x"], b"200 OK"),
    "headers-none": returns(lambda: iter([b"x"]), headers=None),
    "headers-tuple": returns(lambda: [b"x"], headers=tuple(HTML)),
    "headers-bytes": returns(lambda: iter([b"x"]), headers=[(b"Content-Type", b"text/html")]),
    "headers-short": returns(lambda: [b"x"], headers=[("Content-Type",)]),
    "headers-numbers": returns(lambda: iter([b"x"]), headers=[("Content-Type", 5), ("Content-Length", 1)]),
    **{
        app.__name__.replace("_", "-"): app
        for app in (
            generator,
            starts_late,
            starts_in_close,
            never_starts,
            never_starts_generator,
            starts_twice,
            starts_again_with_exc_info,
            starts_with_a_keyword,
            starts_with_none,
            starts_with_too_much,
            starts_with_nothing,
            starts_by_keywords,
            writes,
            writes_in_the_stream,
            raises_before,
            raises_after_start,
            raises_in_the_middle,
            raises_stop_iteration,
            exits,
            reads_all,
            reads_a_little,
            reads_in_the_stream,
            reads_every_way,
            reads_by_next,
            reads_wrongly,
            reads_with_a_keyword,
            asks_about_the_input,
            changes_its_environ,
            changes_its_headers,
        )
    },
}


@pytest.mark.parametrize("wrapped", WRAPPERS)
@pytest.mark.parametrize("request_name", REQUESTS)
@pytest.mark.parametrize("app", APPS.values(), ids=APPS)
def test_the_server_sees_the_same_app(app, request_name, wrapped):
    bare = seen_by_server(app, REQUESTS[request_name]())
    with wrapped(app) as tracked:
        assert seen_by_server(tracked, REQUESTS[request_name]()) == bare
        assert tracked.flush(10)
        assert tracked.stats()["dropped"] == {}


# -- environs --------------------------------------------------------------------------------


class DictOfMine(dict):
    def __getitem__(self, key):
        return super().__getitem__(key)


class ReadOnly(UserDict):
    """No dict at all, and nothing can be put into it."""

    def __setitem__(self, key, value):
        if hasattr(self, "full"):
            raise TypeError("read-only")
        super().__setitem__(key, value)


def read_only(environ):
    environ = ReadOnly(environ)
    environ.full = True
    return environ


class Input:
    """A ``wsgi.input`` with what it is given and nothing else."""

    def __init__(self, **methods):
        self.__dict__.update(methods)


def failing(*_):
    raise OSError("the client is gone")


def dribbling():
    stream = io.BytesIO(BODY)
    return Input(read=lambda size=-1: stream.read(min(size, 3) if size > 0 else 3), readline=stream.readline)


ENVIRONS = {
    "empty": dict.clear,
    "no-path": lambda environ: environ.pop("PATH_INFO"),
    "no-method": lambda environ: environ.pop("REQUEST_METHOD"),
    "no-input": lambda environ: environ.pop("wsgi.input"),
    "no-length": lambda environ: environ.pop("CONTENT_LENGTH"),
    "none-everywhere": lambda environ: environ.update(dict.fromkeys(environ)),
    "numbers-everywhere": lambda environ: environ.update(dict.fromkeys([*environ, "HTTP_REFERER", "HTTP_COOKIE"], 5)),
    "bytes-everywhere": lambda environ: environ.update(
        {key: value.encode() for key, value in environ.items() if isinstance(value, str)}
    ),
    "lists-everywhere": lambda environ: environ.update({key: [] for key in environ}),
    "odd-keys": lambda environ: environ.update({5: 5, None: None, b"PATH_INFO": b"/", ("a",): []}),
    "real-text": lambda environ: environ.update(HTTP_REFERER="http://\u4e2d/\ud800", HTTP_HOST="\u4e2d\ud800"),
    "path-without-slash": lambda environ: environ.update(PATH_INFO="sales", SCRIPT_NAME="tools"),
    "path-empty": lambda environ: environ.update(PATH_INFO="", SCRIPT_NAME=""),
    "mount": lambda environ: environ.update(SCRIPT_NAME="/tools/"),
    "mount-slash": lambda environ: environ.update(SCRIPT_NAME="/"),
    "mount-odd": lambda environ: environ.update(SCRIPT_NAME="//\xff/%zz/../"),
    "scheme-odd": lambda environ: environ.update({"wsgi.url_scheme": "gopher"}),
    "terminated": lambda environ: environ.update({"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}),
    "length-number": lambda environ: environ.update(CONTENT_LENGTH=len(BODY)),
    "length-other-digits": lambda environ: environ.update(CONTENT_LENGTH="\u0663"),
    "length-superscript": lambda environ: environ.update(CONTENT_LENGTH="\xb3"),
    "length-many-digits": lambda environ: environ.update(CONTENT_LENGTH="9" * 9000),
    "length-lies": lambda environ: environ.update(CONTENT_LENGTH="3"),
    "input-fails": lambda environ: environ.update({"wsgi.input": Input(read=failing, readline=failing)}),
    "input-none": lambda environ: environ.update({"wsgi.input": None}),
    "input-of-text": lambda environ: environ.update({"wsgi.input": io.StringIO(BODY.decode())}),
    "input-dribbles": lambda environ: environ.update({"wsgi.input": dribbling()}),
    "input-gives-none": lambda environ: environ.update({"wsgi.input": Input(read=lambda *_: None)}),
    "input-gives-too-much": lambda environ: environ.update({"wsgi.input": Input(read=lambda *_: b"x" * 200_000)}),
    "input-lines-only": lambda environ: environ.update({"wsgi.input": Input(readline=io.BytesIO(BODY).readline)}),
    "input-takes-no-size": lambda environ: environ.update({"wsgi.input": Input(read=lambda: BODY)}),
    "input-takes-a-keyword": lambda environ: environ.update({"wsgi.input": Input(read=lambda size=None: BODY[:size])}),
    "input-closed": lambda environ: environ["wsgi.input"].close(),
    "input-used": lambda environ: environ["wsgi.input"].read(20),
}
WRAPS = {"a-subclass": DictOfMine, "read-only": read_only, "a-proxy": types.MappingProxyType}


@pytest.mark.parametrize("wrapped", WRAPPERS)
@pytest.mark.parametrize("request_name", ["page", "callback"])
@pytest.mark.parametrize(
    "app", [reads_all, reads_in_the_stream, reads_with_a_keyword, never_starts], ids=lambda a: a.__name__
)
@pytest.mark.parametrize("name", [*ENVIRONS, *WRAPS])
def test_the_app_sees_the_same_environ(name, app, request_name, wrapped):
    def environ():
        made = REQUESTS[request_name]()
        if name in WRAPS:
            return WRAPS[name](made)
        ENVIRONS[name](made)
        return made

    def telling(environ, start_response):
        TOLD.append(sorted(repr(key) for key in environ if "dash_user_tracker" not in str(key)))
        return app(environ, start_response)

    bare = seen_by_server(telling, environ())
    with wrapped(telling) as tracked:
        assert seen_by_server(tracked, environ()) == bare
        assert tracked.flush(10)
        assert tracked.stats()["dropped"] == {}


# -- made by machine -----------------------------------------------------------------------

latin = st.text(st.characters(max_codepoint=255), max_size=30)
odd = st.one_of(latin, st.none(), st.integers(), st.binary(max_size=9), st.text(max_size=9), st.lists(st.none()))
KEYS = [
    "QUERY_STRING",
    "SCRIPT_NAME",
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "HTTP_HOST",
    "HTTP_REFERER",
    "HTTP_USER_AGENT",
    "HTTP_X_DASH_PAGE",
    "HTTP_COOKIE",
    "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_PURPOSE",
    "HTTP_SEC_PURPOSE",
    "REMOTE_ADDR",
    "SERVER_NAME",
    "SERVER_PORT",
    "wsgi.url_scheme",
]
environs = st.fixed_dictionaries(
    {
        "PATH_INFO": st.sampled_from(["/", "/_dash-update-component", "/a/_dash-layout", ""]) | latin.map("/".__add__),
        "REQUEST_METHOD": st.sampled_from(["GET", "POST", "HEAD", ""]),
    },
    optional=dict.fromkeys(KEYS, odd),
)
steps = st.one_of(
    st.tuples(st.just("read"), st.integers(-1, 40)),
    st.tuples(st.just("readline"), st.integers(-1, 40)),
    st.tuples(st.just("start"), st.sampled_from(["200 OK", "204 NO", "404 NOT FOUND", "", "x"])),
    st.tuples(st.just("write"), st.binary(max_size=5)),
    st.tuples(st.just("raise"), st.sampled_from([ValueError, OSError, SystemExit, GeneratorExit])),
)
chunks = st.one_of(st.binary(max_size=9), st.none(), st.text(max_size=3))
headers = st.lists(
    st.tuples(
        st.sampled_from(["Content-Type", "content-type", "Content-Length", "X-Y"]),
        st.sampled_from(["text/html", "3", "-1", "x", ""]),
    ),
    max_size=3,
)


@given(
    environ=environs,
    sent=st.binary(max_size=60) | st.just(BODY),
    head=st.lists(steps, max_size=4),
    kind=st.sampled_from([list, tuple, iter, "generator", "closing", "sized", "none"]),
    given=st.lists(chunks, max_size=3),
    tail=st.lists(steps, max_size=2),
    headers=headers,
)
def test_any_app_and_any_environ_are_the_same_with_and_without(environ, sent, head, kind, given, tail, headers):
    def do(steps, environ, start_response):
        write = None
        for step, value in steps:
            if step == "start":
                write = start_response(value, headers)
            elif step == "write" and write is not None:
                write(value)
            elif step == "raise":
                raise value("made")
            elif step in ("read", "readline"):
                TOLD.append(getattr(environ["wsgi.input"], step)(value))

    def streamed(environ, start_response):
        do(head, environ, start_response)
        yield from given
        do(tail, environ, start_response)

    def at_once(environ, start_response):
        do(head, environ, start_response)
        if kind == "none":
            return None
        if kind == "closing":
            return Body(*given, fails_on_close=any(step == "raise" for step, _ in tail))
        return SizedBody(*given) if kind == "sized" else kind(given)

    app = streamed if kind == "generator" else at_once
    middleware = middleware_around(app)
    try:
        expected = seen_by_server(app, {**environ, "wsgi.input": io.BytesIO(sent)})
        assert seen_by_server(middleware, {**environ, "wsgi.input": io.BytesIO(sent)}) == expected
        assert middleware.flush(10)
        stats = middleware.stats()
        assert stats["dropped"] == {}
        for event in middleware.repository.events:
            json.dumps(event.to_dict(), allow_nan=False)
    finally:
        middleware.close()


# -- memory --------------------------------------------------------------------------------


class Dead(TrackerRepository):
    def save_event(self, event):
        raise OSError("nobody there")


def answers(environ, start_response):
    while environ["wsgi.input"].read(1 << 16):
        pass
    start_response("200 OK", HTML)
    return [b"ok"]


def body_of(size):
    return BODY[:-1] + b', "state": "' + b"x" * (size - len(BODY) - 14) + b'"}'


HOSTILE = {
    "HTTP_X_DASH_PAGE": '{"i":"0123456789abcdef","p":"/' + "x" * 8000 + '"}',
    **dict.fromkeys(["HTTP_USER_AGENT", "HTTP_REFERER", "HTTP_HOST", "HTTP_COOKIE", "HTTP_PURPOSE"], "\u4e2d" * 60_000),
    **dict.fromkeys(["QUERY_STRING", "SCRIPT_NAME", "HTTP_SEC_FETCH_DEST", "HTTP_SEC_FETCH_SITE"], "q" * 60_000),
}


@pytest.mark.parametrize(
    ("size", "headers", "count"),
    [
        pytest.param(5 << 20, {}, 60, id="5-MB-bodies"),
        pytest.param(60_000, {}, 3000, id="60-KB-bodies"),
        pytest.param(300, HOSTILE, 3000, id="hostile-headers"),
        pytest.param(300, {}, 3000, id="small"),
    ],
)
def test_what_is_queued_is_bounded_whatever_comes(size, headers, count):
    sent = body_of(size)
    middleware = TrackerMiddleware(answers, repository=Dead(), queue_size=2000)
    environ = environ_of("/_dash-update-component", "POST", sent, **headers)
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            environ["wsgi.input"] = io.BytesIO(sent)
            copied = {key: value + "" if key in headers else value for key, value in environ.items()}
            list(middleware(copied, lambda *_: None))
            if number % 100 == 0:
                assert middleware.stats()["queued_bytes"] <= 17 << 20
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        middleware._delivery.close(0)
    # 16 MB of what is large, and 2,000 small ones of at most 2 KB of text each.
    assert held < 26 << 20
    stats = middleware.stats()
    assert stats["problems"] == {}
    assert stats["accepted"] == stats["pending"] + sum(stats["dropped"].values())


def test_an_upload_costs_no_copy():
    sent = body_of(5 << 20)
    middleware = TrackerMiddleware(answers, repository=MemoryTrackerRepository())
    with middleware:
        tracemalloc.start()
        try:
            stream = io.BytesIO(sent)
            environ = environ_of("/_dash-update-component", "POST", **{"wsgi.input": stream})
            environ["CONTENT_LENGTH"] = str(len(sent))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            list(middleware(environ, lambda *_: None))
            # What the app reads at a time, twice, and little more.
            assert tracemalloc.get_traced_memory()[1] - before < 250_000
        finally:
            tracemalloc.stop()
