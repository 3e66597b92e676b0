"""The WSGI middleware: sees each request, changes none."""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter, time
from typing import Any

import attrs

from .body import LIMIT as BODY_LIMIT
from .body import Tee
from .callbacks import IgnoreCallback
from .classify import BOOT, CALLBACK, DOCUMENT, REPORT, ROUTE, Surface, classify, classify_anywhere
from .counting import Counting, Item
from .delivery import Delivery, Spooling
from .delivery.sending import takes_lines
from .delivery.tally import Tally
from .documents import is_foreign, is_proxied
from .events import Event
from .explain import Explanation
from .facts import DashFacts
from .identity import user_of
from .policy import Policy
from .repositories.base import TrackerRepository
from .repositories.console import ConsoleTrackerRepository
from .repositories.memory import MemoryTrackerRepository
from .request import (
    MARK_ENVIRON,
    MARK_LIMIT,
    TEXT_LIMIT,
    CustomEvent,
    Environ,
    ErrorPlace,
    Observation,
    OpenRequest,
    User,
)
from .routes import IgnoreRoute

log = logging.getLogger("dash_user_tracker")

_UNSAID = object()

WsgiApp = Callable[..., Iterable[bytes]]

#: Longest texts that are kept of a request, in characters.
_LIMITS = {
    "path": TEXT_LIMIT,
    "mount": TEXT_LIMIT,
    "query": TEXT_LIMIT,
    "user_agent": TEXT_LIMIT,
    "referrer": TEXT_LIMIT,
    "host": 256,
    "ip": 256,
    "scheme": 16,
    "fetch_dest": 64,
    "fetch_site": 64,
    "purpose": 64,
    "request_bytes": 20,
}


@attrs.frozen
class DashBinding:
    """One Dash app on a Flask server, for a middleware that serves it alone."""

    facts: DashFacts
    surface: Surface
    server: Any
    scripted: bool


class TrackerMiddleware:
    """Wraps any WSGI app and records its page views and Dash callbacks.

    ::

        app.server.wsgi_app = TrackerMiddleware(app.server.wsgi_app, repository=repository)

    Answers pass through unchanged, whatever the request, and nothing of the tracker is
    raised into the app. Around a bound ``Flask.wsgi_app`` the user is read from the session
    when the request ends; elsewhere *user_provider* may take the environ. Thread-safe.

    *repository* defaults to the console. See `Tracker` for the other arguments.
    """

    def __init__(
        self,
        app: WsgiApp,
        *,
        repository: TrackerRepository | None = None,
        app_name: str | None = None,
        user_provider: Callable[..., Any] | None = None,
        ignore_route: IgnoreRoute = None,
        ignore_callback: IgnoreCallback = None,
        visitor_key: bytes | str | None = None,
        release: str | None = None,
        environment: str | None = None,
        queue_size: int = 10_000,
        spool: str | os.PathLike[str] | None = None,
        durable: str | None = None,
    ) -> None:
        policy = Policy(
            app_name=app_name,
            user_provider=user_provider,
            ignore_route=ignore_route,
            ignore_callback=ignore_callback,
            visitor_key=visitor_key,
            release=release,
            environment=environment,
            queue_size=queue_size,
            spool=spool,
            durable=durable,
        )
        self._set_up(app, check_repository(ConsoleTrackerRepository() if repository is None else repository), policy)

    @classmethod
    def for_dash(
        cls, app: WsgiApp, repository: TrackerRepository, policy: Policy, binding: DashBinding
    ) -> TrackerMiddleware:
        """A middleware that serves one Dash app alone; `Tracker` makes it."""
        self = cls.__new__(cls)
        self._set_up(app, repository, policy, binding)
        return self

    def _set_up(
        self, app: WsgiApp, repository: TrackerRepository, policy: Policy, binding: DashBinding | None = None
    ) -> None:
        if not callable(app):
            raise TypeError(f"app must be a WSGI callable such as app.server.wsgi_app, got {app!r}")
        self._app = app
        self._repository = repository
        self._problems: dict[str, Tally] = {}
        self._ask = policy.asking()
        # One for each middleware: two trackers on one server keep their requests apart.
        self._key = f"dash_user_tracker.{id(self):x}"
        self._surface = binding.surface if binding else None
        self._facts = binding.facts if binding else None
        self._counting = Counting(
            policy,
            binding.facts if binding else None,
            self._problem,
            scripted=binding.scripted if binding else False,
            lines=takes_lines(repository),
        )
        self._delivery: Delivery[Item] = Delivery(
            repository,
            self._counting,
            queue_size=policy.queue_size,
            spool=spooling_of(policy),
        )
        flask_app = _flask_behind(app)
        # Without Flask's own parsed body, a copy of what the app reads has to do.
        self._tees = flask_app is None
        server = binding.server if binding else flask_app
        #: Reads answers of background callbacks from then on; there until the app is known to have such callbacks.
        self._answers: list[Callable[[], None]] = []
        self._asked = False  # whether it has
        if server is not None:
            # Here and not at the top: a WSGI app need not have Flask.
            from .flask_hook import install, read_answers

            install(server, self._key, self._ask, self._problem)
            read = functools.partial(read_answers, server, self._key, self._problem)
            if binding is None:
                read()
            else:
                self._answers.append(read)

    # -- the request ---------------------------------------------------------------------

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        # Flat and inlined on purpose: this runs for each request of the app, and a call costs as much as a look-up.
        try:
            surface = self._surface
            kind = classify_anywhere(environ) if surface is None else classify(environ, surface)
            if kind is not None:
                if kind == BOOT or not self._asked:
                    self._read_answers()
                seen = environ[self._key] = OpenRequest(kind, time(), perf_counter())
                if self._tees and kind == CALLBACK:
                    seen.tee = _tee(environ)
        except Exception as error:  # noqa: BLE001 - an environ that is none is the app's business
            kind = None
            self._problem("observe", error)
        if kind is None:
            return self._app(environ, start_response)

        def observed(status: Any = _UNSAID, headers: Any = _UNSAID, /, *rest: Any, **named: Any) -> Any:
            if headers is _UNSAID:  # named, against PEP 3333; but servers put up with their own names
                seen.status, seen.headers = named.get("status", ""), named.get("headers")
                return start_response(*(() if status is _UNSAID else (status,)), **named)
            seen.status = status
            seen.headers = headers
            if rest or named:
                return start_response(status, headers, *rest, **named)
            return start_response(status, headers)  # to pass on nothing more costs as much as the call

        try:
            body = self._app(environ, observed)
        except BaseException as error:
            # SystemExit too: gunicorn ends a request that takes too long with it.
            seen.error = seen.error or ErrorPlace.of(error)
            seen.status = seen.status or "500"
            self._finish(seen, environ)
            raise
        if isinstance(body, (list, tuple)):
            self._finish(seen, environ, body)
            return body
        if self._is_complete(seen, body, environ):
            self._finish(seen, environ)
            return body
        return (_SizedAnswer if hasattr(type(body), "__len__") else _Answer)(body, self, seen, environ)

    def _read_answers(self) -> None:
        """Look at the answers of callbacks as of the request at hand, if the app has any in the background.

        That costs each request some, and so does the question. A browser learns of the app's callbacks when it boots,
        maybe from another process; the app may get more of them after its first request.
        """
        self._asked = True
        if self._answers and self._facts is not None and self._facts.has_background():
            with suppress(IndexError):  # another thread's request came first
                self._answers.pop()()

    def _is_complete(self, seen: OpenRequest, body: object, environ: Environ) -> bool:
        """The answer was made whole and only its sending is left, so it is returned as it is.

        That is what has a Content-Length, as all pages and callbacks of Dash have; so a test
        client that never reads its answer counts, too. A file is left to the server's sendfile.
        """
        try:
            for name, value in seen.headers or ():
                if name == "Content-Length" or name.lower() == "content-length":
                    seen.sent = int(value)
                    return True
            return type(body) is environ.get("wsgi.file_wrapper")
        except Exception as error:  # noqa: BLE001 - an app that breaks WSGI's rules is its server's business
            self._problem("observe", error)
            return True

    def _finish(
        self, seen: OpenRequest, environ: Environ, body: Sequence[bytes] | None = None, *, quiet: bool = False
    ) -> None:
        """Hand the observation over, once, whatever ended the answer first.

        The environ is read only now: a ProxyFix inside has put the client's address in. *quiet* in a finaliser,
        which may interrupt any thread at any place: no lock is taken and none of the owner's code is run.
        """
        if seen.done:
            return
        seen.done = True
        try:
            duration = perf_counter() - seen.started
            sent = seen.sent
            if body is not None:
                sent = len(body[0]) if len(body) == 1 else sum(map(len, body))
            if not seen.hooked and self._ask is not None and not quiet:
                self._ask_user(seen, environ)
            environ = seen.environ or environ
            get = environ.get
            kind = seen.kind
            query = get("QUERY_STRING") or ""
            host = get("HTTP_HOST") or _server_name(environ)
            user_agent = get("HTTP_USER_AGENT") or ""
            referrer = get("HTTP_REFERER") or ""
            mount = get("SCRIPT_NAME") or ""
            purpose = get("HTTP_SEC_PURPOSE") or get("HTTP_PURPOSE") or ""
            scheme = get("wsgi.url_scheme") or "http"
            # Sizes are in characters; what no client makes long is not counted.
            # In the order of `Observation`, and each kind with what it has: to set what it has not costs as much.
            if kind == DOCUMENT:
                path = get("PATH_INFO") or "/"
                fetch_dest = get("HTTP_SEC_FETCH_DEST")
                size = len(f"{path}{query}{host}{user_agent}{referrer}{mount}{purpose}{fetch_dest or ''}")
                html = False
                for name, value in seen.headers or ():
                    if name == "Content-Type" or name.lower() == "content-type":
                        html = value[:9] == "text/html"
                        break
                told: tuple[Any, ...] = (
                    kind, seen.status, seen.endpoint, seen.user, None, html,
                    path, mount, query, scheme, host, get("REMOTE_ADDR"), user_agent, referrer,
                    purpose, fetch_dest, None, not fetch_dest and is_proxied(environ), False,
                    "", seen.received, duration, sent, None,
                    seen.error, seen.custom, None, None,
                )  # fmt: skip
            else:
                mark = get(MARK_ENVIRON) or ""
                fetch_site = get("HTTP_SEC_FETCH_SITE")
                size = len(f"{mark}{query}{host}{user_agent}{referrer}{mount}{purpose}{fetch_site or ''}")
                call, body_read = seen.call, None
                if call is not None:
                    output, changed, _ = call
                    size += len(output)
                    for item in changed:
                        size += len(item)
                elif seen.tee is not None:
                    body_read = seen.tee.content()
                    if body_read is not None:
                        size += len(body_read)
                told = (
                    kind, seen.status, seen.endpoint, seen.user, call, False,
                    "/", mount, query, scheme, host, get("REMOTE_ADDR"), user_agent, referrer,
                    purpose, None, fetch_site, False, kind == REPORT and not fetch_site and is_foreign(environ),
                    mark, seen.received, duration, sent, get("CONTENT_LENGTH"),
                    seen.error, seen.custom, seen.answer, body_read,
                )  # fmt: skip
            seen.environ = None  # which holds the request: both would be kept until the garbage is collected
            if size >= TEXT_LIMIT or seen.custom or seen.answer:
                told, size = _cut(told)
            self._delivery.put(told, size, seen.started, quiet)
        except Exception as error:  # noqa: BLE001 - nothing of ours is raised into the app
            self._problem("observe", error)

    def _ask_user(self, seen: OpenRequest, environ: Environ) -> None:
        try:
            seen.user = user_of(self._ask(environ)) if self._ask else None
        except Exception as error:  # noqa: BLE001 - the owner's code
            self._problem("user_provider", error)

    def _problem(self, reason: str, error: Exception) -> None:
        """Something failed beside the app: counted each time, logged the first time."""
        tally = self._problems.get(reason)
        if tally is None:
            tally = self._problems.setdefault(reason, Tally())
            log.warning("%s failed: %r; further failures are counted in stats()", reason, error, exc_info=error)
        tally.add()

    # -- life ----------------------------------------------------------------------------

    @property
    def repository(self) -> TrackerRepository:
        """Where the events go."""
        return self._repository

    def open_request(self, environ: Environ) -> OpenRequest | None:
        """The request that *environ* belongs to, None where it is not tracked or is over."""
        seen: OpenRequest | None = environ.get(self._key)
        return seen if seen is not None and not seen.done else None

    def observe_custom(self, event: CustomEvent, environ: Environ, user: User | None) -> None:
        """Queue a custom event that was made in a request which is none of the app's pages or callbacks."""
        seen = OpenRequest(ROUTE, event.received, perf_counter())
        seen.status = "200"
        seen.hooked = True
        seen.user = user
        seen.custom = [event]
        self._finish(seen, environ)

    @property
    def asks(self) -> Callable[[Environ], Any] | None:
        """The owner's user provider as a function of the environ; None where the session is read."""
        return self._ask

    @property
    def problem(self) -> Callable[[str, Exception], None]:
        """Counts and logs what failed beside the app."""
        return self._problem

    def put(self, item: Item) -> None:
        """Queue something that is no request of this middleware's, such as a custom event."""
        self._delivery.put(item)

    @contextmanager
    def rehearsal(self) -> Iterator[Callable[[], list[Event]]]:
        """See `Tracker.rehearsal`."""
        kept = self._delivery
        memory = MemoryTrackerRepository()
        rehearsed: Delivery[Item] = Delivery(memory, self._counting)

        def recorded() -> list[Event]:
            rehearsed.flush()
            return memory.events

        self._delivery = rehearsed
        try:
            yield recorded
        finally:
            self._delivery = kept
            rehearsed.close()

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything recorded before is stored; False where *timeout* seconds did not suffice."""
        return self._delivery.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Store what is queued (in *timeout* s, 3 by default), end the worker, close the repository. Idempotent."""
        self._delivery.close(timeout)
        self._repository.close()

    def __enter__(self) -> TrackerMiddleware:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def explain(self) -> Explanation:
        """The last requests of this process, and for each what was counted, or ignored and why. Print it.

        First waits, at most 1 s, for what is still queued. Assets and Dash's own files pass
        through and are not listed.
        """
        self.flush(1.0)
        return self._counting.journal.read()

    def stats(self) -> dict[str, Any]:
        """Numbers of this process.

        ``accepted``, ``delivered``, ``pending`` and ``dropped`` (by reason) count events, and
        ``accepted == delivered + pending + sum(dropped.values())``. ``queued`` counts
        requests, ``spool_bytes`` is what this process has on disk to deliver, ``adopted`` counts the
        accepted events that came from the spool of processes that ended, ``last_success`` is in
        seconds since the epoch, ``problems`` counts failures beside the app, by what failed.
        """
        problems = {reason: tally.read() for reason, tally in self._problems.copy().items()}
        return {**self._delivery.stats(), "problems": problems}


class _Answer:
    """The app's answer; tells when it ends: exhausted, failed or closed, whichever comes first."""

    __slots__ = ("_body", "_environ", "_iterator", "_middleware", "_seen")

    def __init__(
        self, body: Iterable[bytes], middleware: TrackerMiddleware, seen: OpenRequest, environ: Environ
    ) -> None:
        self._body = body
        self._iterator: Iterator[bytes] | None = None
        self._middleware = middleware
        self._seen = seen
        self._environ = environ

    def _done(self) -> None:
        self._middleware._finish(self._seen, self._environ)

    def __iter__(self) -> Iterator[bytes]:
        self._iterator = iter(self._body)
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            self._iterator = iter(self._body)
        try:
            chunk = next(self._iterator)
        except BaseException as error:
            if not isinstance(error, StopIteration):
                self._seen.error = self._seen.error or ErrorPlace.of(error)
            self._done()
            raise
        if isinstance(chunk, bytes):  # what else an app may send is the server's business
            self._seen.sent += len(chunk)
        return chunk

    def __del__(self) -> None:
        # A test client may drop a stream without closing it.
        self._middleware._finish(self._seen, self._environ, quiet=True)

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._done()


class _SizedAnswer(_Answer):
    """wsgiref takes the Content-Length of an answer of one item from ``len()``."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]


def _tee(environ: Environ) -> Tee | None:
    """Put a copying input in the place of a small body's; None where nothing is copied."""
    get = environ.get
    length, stream = get("CONTENT_LENGTH"), get("wsgi.input")
    if stream is None or not isinstance(length, str) or not length.isdecimal():
        return None
    if len(length) > 4 and int(length[:19]) > BODY_LIMIT:
        return None
    tee = environ["wsgi.input"] = Tee(stream)
    return tee


def _cut(told: tuple[Any, ...]) -> tuple[tuple[Any, ...], int]:
    """Bounds what a client can make the queue hold; also the size of what is left, in characters."""
    seen = Observation._make(told)
    long = {
        name: value[:limit]
        for name, limit in _LIMITS.items()
        if (value := getattr(seen, name)) is not None and len(value) > limit
    }
    seen = seen._replace(**long, mark="" if len(seen.mark) > MARK_LIMIT else seen.mark)
    texts = (getattr(seen, name) or "" for name in (*_LIMITS, "mark", "body", "answer"))
    call = (seen.call.output, *seen.call.changed) if seen.call is not None else ()
    size = sum(map(len, texts)) + sum(map(len, call)) + sum(len(event.properties) for event in seen.custom or ())
    return tuple(seen), size


def _server_name(environ: Environ) -> str:
    name, port = environ.get("SERVER_NAME") or "", environ.get("SERVER_PORT") or ""
    return f"{name}:{port}" if name and port not in ("", "80", "443") else name


def spooling_of(policy: Policy) -> Spooling | None:
    """The spool that the owner wants; `ConfigurationError` where it cannot work on this system."""
    return Spooling(policy.spool, durable=policy.durable is not None) if policy.spool is not None else None


def check_repository(repository: object) -> TrackerRepository:
    """*repository* itself; TypeError where it does not keep the contract."""
    if not isinstance(repository, TrackerRepository):
        raise TypeError(
            f"repository must be a TrackerRepository, got {repository!r}; "
            "subclass dash_user_tracker.TrackerRepository and write save_event(event)"
        )
    return repository


def _flask_behind(app: object) -> Any:
    """The Flask application whose bound ``wsgi_app`` *app* is, else None."""
    owner = getattr(app, "__self__", None)
    is_flask = owner is not None and hasattr(owner, "teardown_request") and hasattr(owner, "url_map")
    return owner if is_flask else None
