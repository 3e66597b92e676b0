"""What only Flask knows about a request, read when it has been answered.

``teardown_request`` is the one place that sees the log-in and log-out of this very
request, the exception, and the body that Flask parsed anyway, and that adds no
``Vary: Cookie`` to the answer, because the session cookie is already written.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import flask
from werkzeug.local import LocalProxy

from .classify import CALLBACK, DOCUMENT
from .identity import user_of, user_of_session
from .navigation import callback_request
from .request import Environ, ErrorPlace, User

Ask = Callable[[Environ], Any]
Problem = Callable[[str, Exception], None]

#: Bytes of an answer to a poll that are kept for the worker to read.
_ANSWER_LIMIT = 64 << 10

_HANDLE = re.compile(rb'\s*\{\s*"cacheKey":\s*("[^"]*"),\s*"job":\s*("[^"]*"|\d+)')


def _context() -> Any:
    """The proxy of what Flask keeps of the request that it answers: one context as of 3.2, no proxy before 2.2."""
    if hasattr(flask.ctx.AppContext, "request"):
        return flask.globals.app_ctx
    if hasattr(flask.globals, "request_ctx"):
        return flask.globals.request_ctx
    return LocalProxy(lambda: flask.globals._request_ctx_stack.top)  # type: ignore[attr-defined]


_CONTEXT = _context()


def install(server: flask.Flask, key: str, ask: Ask | None, problem: Problem) -> None:
    """Fill the `OpenRequest` under *key* of each environ that *server* sees.

    *ask* answers an environ with the user's claims; None reads the session. Works before
    and after the server's first request. The hook does nothing where there is none, and
    nothing of it raises.
    """

    def hook(error: BaseException | None = None) -> None:
        # The objects behind the proxies: each look through one costs a microsecond.
        context: Any = _CONTEXT._get_current_object()
        request: flask.Request = context.request
        environ = request.environ
        seen = environ.get(key)
        if seen is None or seen.hooked or seen.done:  # done: a test client's kept context, torn down once more
            return
        try:
            seen.hooked = True
            rule = request.url_rule
            seen.endpoint = "" if rule is None else rule.endpoint
            seen.environ = environ
            if seen.kind == CALLBACK:
                # Only what Flask has parsed for the app: parsing here could read a body that the app left alone.
                cached = getattr(request, "_cached_json", None)
                if cached is not None and cached[0] is not ...:
                    seen.call = callback_request(cached[0])
            if error is not None and seen.kind != DOCUMENT:
                seen.error = ErrorPlace.of(error)
            if ask is None:
                session = context.session
                if session or hasattr(server, "login_manager"):  # neither in most apps
                    seen.user = _user_here(session, server)
            else:
                seen.user = _user_told(ask, environ, problem)
        except Exception as fault:  # noqa: BLE001 - an exception in a teardown function would reach the app
            problem("hook", fault)

    try:
        server.teardown_request(hook)
    except AssertionError:
        # Flask refuses set-up after the first request; its signals can still be connected.
        _connect(flask.request_tearing_down, lambda _, exc=None, **__: hook(exc), server, problem)


def read_answers(server: flask.Flask, key: str, problem: Problem) -> None:
    """From now on also keep of a callback's answer what tells of a background run; at any time, as `install`."""

    def answered(response: flask.Response) -> flask.Response:
        environ = flask.request._get_current_object().environ  # type: ignore[attr-defined]
        seen = environ.get(key)
        if seen is not None and seen.kind == CALLBACK and not seen.done:
            try:
                seen.answer = _background_answer(response, "cacheKey=" in environ.get("QUERY_STRING", ""))
            except Exception as fault:  # noqa: BLE001 - nothing of ours reaches the app
                problem("hook", fault)
        return response

    try:
        # Runs before those registered earlier, so before a compression of the answer.
        server.after_request(answered)
    except AssertionError:
        _connect(flask.request_finished, lambda _, response, **__: answered(response), server, problem)


def _connect(signal: Any, receiver: Callable[..., Any], server: flask.Flask, problem: Problem) -> None:
    try:
        signal.connect(receiver, server, weak=False)
    except RuntimeError as error:  # Flask 2.2 without blinker
        problem("hook", error)


def _background_answer(response: flask.Response, poll: bool) -> bytes | None:
    """What an answer (to a *poll*) says about a background run, as JSON; None, mostly, where it is no such answer."""
    chunks: Any = response.response
    if not isinstance(chunks, (list, tuple)):
        return None
    content: bytes = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if not poll and content.startswith(b'{"') and not content.startswith(b'{"cacheKey":'):
        return None  # as nearly all do
    if response.status_code != 200:
        return None
    # JSON as it is needs no look at the headers, which takes as long as all the rest.
    encoding = None if content[:1] == b"{" else response.headers.get("Content-Encoding")
    if encoding is not None:
        if not poll and len(content) > _ANSWER_LIMIT:
            return None
        content = _decoded(content, encoding)
    if poll:
        if len(content) <= _ANSWER_LIMIT:
            return content
        # Too long to be read again: the progress can be a whole figure, the result as well.
        return b'{"response":{}}' if b'"response":' in content else b"{}"
    # How a run begins: `cacheKey` and `job` come first, and progress of any length behind them.
    handle = _HANDLE.match(content)
    return None if handle is None else b'{"cacheKey":%b,"job":%b}' % handle.groups()


def _decoded(content: bytes, encoding: str) -> bytes:
    """The start of a compressed answer, nothing where the encoding is not zlib's."""
    if encoding not in ("gzip", "deflate"):
        return b""
    try:
        return zlib.decompressobj(47).decompress(content, 4 * _ANSWER_LIMIT)
    except zlib.error:
        return b""


def current_user(ask: Ask | None, problem: Problem) -> User | None:
    """The user of the request that Flask is answering."""
    if ask is not None:
        return _user_told(ask, flask.request.environ, problem)
    return _user_here(flask.session._get_current_object(), flask.current_app)  # type: ignore[attr-defined]


def _user_here(session: Mapping[str, Any], server: flask.Flask) -> User | None:
    """The user of the *session* of the request that *server* is answering, else Flask-Login's."""
    found = user_of_session(session)
    if found is not None or not hasattr(server, "login_manager"):
        return found
    # Flask-Login's user of this request alone: by a token, a header, a cookie that remembers. Only if the app has
    # asked for it: to load it here could take the database.
    return user_of(flask.g.get("_login_user"))


def _user_told(ask: Ask, environ: Environ, problem: Problem) -> User | None:
    """The user whom the owner's provider names."""
    try:
        return user_of(ask(environ))
    except Exception as error:  # noqa: BLE001 - the owner's code
        problem("user_provider", error)
        return None
