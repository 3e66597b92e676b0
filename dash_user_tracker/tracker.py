"""`Tracker`: one line for a Dash app. The only place where Dash, Flask and the rest meet."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dash
import flask

from .analytics import TrackerAnalytics
from .callbacks import IgnoreCallback
from .classify import REPORT_PATH, SCRIPT_PATH
from .codec import to_json
from .dash_facts import DashAppFacts
from .errors import ConfigurationError
from .events import CALLBACK, PAGE_VIEW, Event, new_id
from .explain import Explanation
from .flask_hook import current_user
from .middleware import DashBinding, TrackerMiddleware, check_repository, spooling_of
from .page_script import PageScript
from .policy import Policy
from .repositories.base import TrackerRepository
from .repositories.console import ConsoleTrackerRepository
from .repositories.http import HttpTrackerRepository
from .request import CustomEvent
from .routes import IgnoreRoute

log = logging.getLogger("dash_user_tracker")

#: Names of events that are not free for `Tracker.track`.
RESERVED_EVENTS = frozenset({PAGE_VIEW, CALLBACK})

#: Characters of JSON that the properties of one custom event may have.
PROPERTIES_LIMIT = 64 << 10

_EXTENSION = "dash_user_tracker"
_YEAR = 365 * 24 * 3600

#: Arguments with a meaning to come; refused, so that nobody relies on a silent one.
_LATER = frozenset({"privacy", "before_send"})


class Tracker:
    """Records who uses which page and callback of a Dash app.

    ::

        tracker = Tracker(app)                                       # prints events to the console
        tracker = Tracker(app, tracker_endpoint="https://...")       # sends them as JSON over HTTP
        tracker = Tracker(app, repository=SqlTrackerRepository("sqlite:///usage.db"))

    Nothing is started, opened or sent before the first request. One tracker serves one app;
    several trackers can share a Flask server. Without *app* it is a Dash plugin:
    ``Dash(plugins=[Tracker()])``. All methods are thread-safe.

    * *app_name*: text in every event; the app's title by default.
    * *tracker_endpoint*, *api_key*, *batch*: see `HttpTrackerRepository`.
    * *repository*: any `TrackerRepository`, instead of an endpoint.
    * *ignore_route*: ``path -> bool``, or werkzeug rules such as ``["/admin/<path:rest>"]``;
      asked on the worker with the page's decoded path below the app's prefix.
    * *ignore_callback*: ``name -> bool``, or function names, labels or output ids; asked once.
    * *user_provider*: ``() -> {"id", "email", "full_name"}``, called at the end of a tracked
      request with Flask's context; None means anonymous. The default reads the session.
    * *page_script*: without it pages are counted by the server alone, see the README.
    * *queue_size*: requests waiting for the repository; the newest is dropped when it is full.
    * *spool*: a local folder for events on their way, at most 64 MB: what a process leaves there, even by
      ``kill -9``, another one or the next start delivers. Its last 50 ms are in memory only, or
      nothing with ``durable="request"``, which writes to the disk before each answer ends.
    * *visitor_key*: secret of the anonymous visitor id; the server's SECRET_KEY by default.
    * *release*, *environment*: texts put into every event.

    Raises `ConfigurationError` or TypeError for arguments that cannot work.
    """

    def __init__(
        self,
        app: dash.Dash | None = None,
        *,
        tracker_endpoint: str | None = None,
        api_key: str | None = None,
        app_name: str | None = None,
        repository: TrackerRepository | None = None,
        ignore_route: IgnoreRoute = None,
        ignore_callback: IgnoreCallback = None,
        user_provider: Callable[[], Any] | None = None,
        page_script: bool = True,
        queue_size: int = 10_000,
        spool: str | os.PathLike[str] | None = None,
        durable: str | None = None,
        batch: bool | None = None,
        visitor_key: bytes | str | None = None,
        release: str | None = None,
        environment: str | None = None,
        **unknown: Any,
    ) -> None:
        _refuse(unknown)
        if not isinstance(page_script, bool):
            raise TypeError(f"page_script must be True or False, got {page_script!r}")
        self._repository = _repository(repository, tracker_endpoint, api_key, batch)
        self._policy = Policy(
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
        spooling_of(self._policy)  # a wrong folder is told here, and not when the app comes
        self._script = PageScript.read() if page_script else None
        self._app: dash.Dash | None = None
        self._facts: DashAppFacts | None = None
        self._middleware: TrackerMiddleware | None = None
        if app is not None:
            self.plug(app)

    # -- attaching -----------------------------------------------------------------------

    def plug(self, app: dash.Dash) -> None:
        """Attach to *app*; Dash calls this for ``Dash(plugins=[tracker])``.

        An app made with ``server=False`` is attached to when its ``init_app`` runs.
        """
        _check_app(app)
        if self._app is not None:
            raise ConfigurationError("this tracker already has an app; make one Tracker for each Dash app")
        self._app = app
        if app.server is not None and app.routes:
            self._attach(app)
            return
        # Dash 4 has a throw-away server until then, Dash 2 and 3 have none; a plugin is called before init_app.
        init_app = app.init_app

        def init_and_attach(*args: Any, **kwargs: Any) -> Any:
            result = init_app(*args, **kwargs)
            if self._middleware is None:
                self._attach(app)
            return result

        app.init_app = init_and_attach  # type: ignore[method-assign]

    def _attach(self, app: dash.Dash) -> None:
        server = app.server
        trackers: list[Tracker] = server.extensions.setdefault(_EXTENSION, [])
        if any(other._app is app for other in trackers):
            raise ConfigurationError(f"the Dash app {app.title!r} already has a tracker; remove one of the two")
        if self._script is not None:
            self._script = self._serve_script(app, self._script)
        facts = self._facts = DashAppFacts(app)
        self._middleware = TrackerMiddleware.for_dash(
            server.wsgi_app,
            self._repository,
            self._policy,
            DashBinding(facts, facts.surface(), server, scripted=self._script is not None),
        )
        trackers.append(self)
        server.wsgi_app = self._middleware
        log.info(
            "tracking %r below %s: %s, page script %s",
            self._policy.app_name or facts.name(),
            facts.prefix(),
            type(self._repository).__name__,
            "on" if self._script else "off",
        )

    def _serve_script(self, app: dash.Dash, script: PageScript) -> PageScript | None:
        """Add the script's two routes and its tag; None where the server takes no more routes."""
        prefix = app.config.routes_pathname_prefix

        def page_script() -> flask.Response:
            answer = flask.Response(script.text, mimetype="text/javascript")
            # The address changes with the text. Private: a shared cache may sit in front of the app's log-in.
            # A worker of another version may be asked during an update: its text must not be kept.
            asked = flask.request.args.get("v") == script.version
            answer.headers["Cache-Control"] = f"private, max-age={_YEAR}, immutable" if asked else "no-store"
            return answer

        def seen() -> flask.Response:
            # The middleware reads the header; the body is left alone. No other method, and above all no OPTIONS: where
            # a browser's preflight is refused, no page of another origin can post here, whatever CORS the app allows.
            status = 204 if flask.request.method == "POST" else 405
            headers = {"Cache-Control": "no-store"} if status == 204 else {"Allow": "POST"}
            return flask.Response(status=status, headers=headers)

        try:
            server = app.server
            server.add_url_rule(prefix + SCRIPT_PATH, endpoint=prefix + SCRIPT_PATH, view_func=page_script)
            server.add_url_rule(
                prefix + REPORT_PATH,
                endpoint=prefix + REPORT_PATH,
                view_func=seen,
                methods=["GET", "POST", "OPTIONS"],
                provide_automatic_options=False,
            )
        except AssertionError:
            log.warning(
                "the server has already answered a request, so the page script cannot be added and pages are counted "
                "by the server alone; make the Tracker where the app is made"
            )
            return None
        interpolate_index = app.interpolate_index

        def with_tag(*args: Any, **kwargs: Any) -> str:
            # Behind Dash's scripts and before the one that starts the renderer: browsers ask for it when they have
            # asked for all of Dash's own, and have it before the largest of those (benchmarks/first_callback.py).
            # The prefix is read late because Jupyter sets it when the app runs.
            kwargs["scripts"] = kwargs.get("scripts", "") + script.tag(app.config.requests_pathname_prefix)
            return str(interpolate_index(*args, **kwargs))  # type: ignore[no-untyped-call]

        app.interpolate_index = with_tag  # type: ignore[method-assign]
        return script

    # -- using -----------------------------------------------------------------------------

    @property
    def app(self) -> dash.Dash | None:
        """The app that is tracked; None before there is one."""
        return self._app

    @property
    def facts(self) -> DashAppFacts | None:
        """What the app tells about itself; None before there is one."""
        return self._facts

    @property
    def scripted(self) -> bool:
        """The app's pages have the page script."""
        return self._script is not None

    @property
    def repository(self) -> TrackerRepository:
        """Where the events go."""
        return self._repository

    @contextmanager
    def rehearsal(self) -> Iterator[Callable[[], list[Event]]]:
        """While the block runs, events go nowhere but to the caller: it gets a function that returns them.

        For looking at an app that is not serving; requests of other threads would be rehearsed, too.
        """
        if self._middleware is None:
            raise ConfigurationError("the tracker has no app to rehearse yet")
        with self._middleware.rehearsal() as recorded:
            yield recorded

    @property
    def analytics(self) -> TrackerAnalytics:
        """Reads what was recorded; each call first waits, at most 1 s, for what this process still holds."""
        return TrackerAnalytics(repository=self._repository, flush=self.flush)

    def track(self, name: str, /, **properties: Any) -> None:
        """Record an event of the app's own, such as ``tracker.track("export", rows=120)``.

        Inside a request of the app it belongs to the page and user of that request, outside
        of one those are null and anonymous. *properties* must be JSON; other values become
        their ``str``. ConfigurationError for a name that is no text or is reserved.
        """
        if not isinstance(name, str) or not 0 < len(name) <= 200:
            raise ConfigurationError(f"an event's name must be a text of 1 to 200 characters, got {name!r}")
        if name in RESERVED_EVENTS:
            raise ConfigurationError(f"the event name {name!r} is the tracker's own; choose another one")
        middleware = self._middleware
        if middleware is None:
            log.warning("track(%r) before the tracker has an app: not recorded", name)
            return
        text = to_json(properties)
        if len(text) > PROPERTIES_LIMIT:
            raise ConfigurationError(
                f"properties of event {name!r} must be at most {PROPERTIES_LIMIT} characters of JSON, got {len(text)}"
            )
        event = CustomEvent(new_id(), name, time.time(), text)
        if not flask.has_request_context():
            middleware.put(event)
            return
        environ = flask.request.environ
        seen = middleware.open_request(environ)
        if seen is not None:
            seen.custom = [*(seen.custom or ()), event]
        else:
            middleware.observe_custom(event, environ, current_user(middleware.asks, middleware.problem))

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until everything recorded before is stored; False where *timeout* seconds did not suffice."""
        return self._middleware is None or self._middleware.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Store what is queued (in *timeout* s, 3 by default), end the worker, close the repository. Idempotent."""
        if self._middleware is not None:
            self._middleware.close(timeout)
        else:
            self._repository.close()

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def explain(self) -> Explanation:
        """The last requests of this process, and why each was counted or not, see `TrackerMiddleware.explain`."""
        return self._middleware.explain() if self._middleware is not None else Explanation()

    def stats(self) -> dict[str, Any]:
        """Numbers of this process, see `TrackerMiddleware.stats`; empty before there is an app."""
        return self._middleware.stats() if self._middleware is not None else {}


def _refuse(unknown: dict[str, Any]) -> None:
    for name in unknown:
        if name == "ignore_routes":
            raise TypeError("Tracker() has no argument 'ignore_routes': it is called 'ignore_route'")
        if name in _LATER:
            raise ConfigurationError(f"Tracker() argument {name!r} is reserved and not available yet: leave it out")
        raise TypeError(f"Tracker() got an unexpected keyword argument {name!r}")


def _repository(
    repository: TrackerRepository | None, endpoint: str | None, api_key: str | None, batch: bool | None
) -> TrackerRepository:
    if endpoint is not None:
        if repository is not None:
            raise ConfigurationError("give either tracker_endpoint or repository, got both")
        return HttpTrackerRepository(endpoint, api_key, batch=batch)
    if api_key is not None or batch is not None:
        raise ConfigurationError("api_key and batch belong to tracker_endpoint, which was not given")
    return ConsoleTrackerRepository() if repository is None else check_repository(repository)


def _check_app(app: object) -> None:
    if not isinstance(app, dash.Dash):
        raise TypeError(
            f"Tracker needs a dash.Dash app, got {app!r}; around any other WSGI app use "
            "TrackerMiddleware(app.wsgi_app, repository=...)"
        )
    backend = getattr(getattr(app, "backend", None), "server_type", "flask")
    if backend != "flask":
        raise ConfigurationError(
            f"Tracker supports Dash on Flask, got the backend {backend!r}: leave out Dash(backend=...)"
        )
