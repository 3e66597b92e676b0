"""Hooks for ``gunicorn.conf.py``; all of them are optional.

For an app that makes its own `Tracker`::

    # gunicorn.conf.py
    from dash_user_tracker.gunicorn import post_worker_init, worker_abort, worker_exit

For an app without a line about tracking, `hooks` makes the trackers::

    from dash_user_tracker import gunicorn as tracking

    post_fork, post_worker_init, worker_abort, worker_exit = tracking.hooks(tracker_endpoint="https://...")

Beside functions of your own, `chain` calls both::

    def worker_exit(server, worker): ...

    worker_exit = tracking.chain(worker_exit, tracking.worker_exit)

No hook raises, and none stops or delays a worker by more than is said at it. gunicorn
reads its configuration before a gevent worker patches the standard library, so nothing
that would be too early is imported before a worker has loaded the app.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import logging
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from .wsgi_parts import Part, is_flask, parts

if TYPE_CHECKING:
    from .middleware import TrackerMiddleware

__all__ = ["post_fork", "post_worker_init", "worker_abort", "worker_exit"]

log = logging.getLogger("dash_user_tracker")

#: Seconds that the end of a worker may take.
EXIT_TIMEOUT = 3.0
#: Seconds that it may take after a timeout: gunicorn kills the worker about one second after it aborted it.
ABORT_TIMEOUT = 0.3

_SLICE = 0.1  # seconds between two looks at a delivery that is waited for

#: What `hooks` takes: the arguments of `Tracker`, which is not imported so early.
OPTIONS = frozenset(
    {
        "api_key",
        "app_name",
        "batch",
        "durable",
        "environment",
        "ignore_callback",
        "ignore_route",
        "page_script",
        "queue_size",
        "release",
        "repository",
        "spool",
        "tracker_endpoint",
        "user_provider",
        "visitor_key",
    }
)

_OF_TRACKER = frozenset({"api_key", "batch", "page_script", "tracker_endpoint"})

Hook = Callable[..., None]


@attrs.frozen
class Hooks:
    """The four hooks, by name or in this order."""

    post_fork: Hook
    post_worker_init: Hook
    worker_abort: Hook
    worker_exit: Hook

    def __iter__(self) -> Iterator[Hook]:
        return iter((self.post_fork, self.post_worker_init, self.worker_abort, self.worker_exit))


def hooks(**options: Any) -> Hooks:
    """Hooks that track each worker's app with no line in the app.

    *options* are those of `Tracker`. *repository* may also be a function that makes one;
    it is called in the worker, and so the place to import what it needs.

    Each Dash app that is found behind the worker's WSGI application gets a `Tracker`; where
    there is none, a `TrackerMiddleware` goes around the application. An application that
    has a tracker of its own is left alone. TypeError for an unknown option; what else is
    wrong with them is logged by each worker, which then serves without a tracker.
    """
    for name in options.keys() - OPTIONS:
        raise TypeError(f"hooks() got an unexpected keyword argument {name!r}; it takes those of Tracker")

    def post_worker_init(worker: Any) -> None:
        """Attach trackers to what *worker* is going to serve."""
        with _harmless("post_worker_init"):
            _instrument(worker, options)

    return Hooks(post_fork, post_worker_init, worker_abort, worker_exit)


def chain(first: Hook, *others: Hook) -> Hook:
    """One hook that calls all of these in this order, the later ones even if an earlier one raises."""

    def chained(*arguments: Any) -> None:
        with contextlib.ExitStack() as stack:
            for hook in (*reversed(others), first):
                stack.callback(hook, *arguments)

    # gunicorn counts a hook's parameters.
    chained.__signature__ = inspect.signature(first)  # type: ignore[attr-defined]
    return chained


def post_fork(server: Any, worker: Any) -> None:
    """Nothing is left to do: a fork starts without what it inherited. For configurations that list every hook."""


def post_worker_init(worker: Any) -> None:
    """Warn where the app that *worker* serves has no tracker: then nothing is recorded."""
    with _harmless("post_worker_init"):
        if not _trackers(worker):
            log.warning(
                "no tracker was found in the app of this worker: make a Tracker(app) in the app, or let "
                "dash_user_tracker.gunicorn.hooks(...) make one"
            )


def worker_abort(worker: Any) -> None:
    """Begin to deliver what *worker* has queued, and wait for nothing.

    gunicorn calls this in a signal handler inside of the request that took too long: whatever
    lock that request holds, it holds while this runs, so another thread has to do it.
    """
    with _harmless("worker_abort"):
        worker.aborted = True  # worker_exit is next, and has less time then
        threading.Thread(target=_deliver_now, args=(worker,), name="dash-user-tracker-abort", daemon=True).start()


def worker_exit(server: Any, worker: Any) -> None:
    """Deliver what *worker* has queued, in at most 3 s, after a timeout 0.3 s, and not if the receiver is failing.

    Here and not only at the interpreter's exit, which waits for the app's own threads, maybe for too long.
    """
    with _harmless("worker_exit"):
        if worker.pid != os.getpid():  # gunicorn's master calls it, too, for a worker that is gone already
            return
        deadline = time.monotonic() + (ABORT_TIMEOUT if worker.aborted else EXIT_TIMEOUT)
        for tracker in _trackers(worker):
            _drain(tracker, deadline)


@contextlib.contextmanager
def _harmless(hook: str) -> Iterator[None]:
    try:
        yield
    except Exception:
        log.exception("%s failed; the worker goes on without it", hook)


def _drain(tracker: TrackerMiddleware, deadline: float) -> None:
    """Left open where all is delivered: requests in threads may end after this, and are delivered at exit."""
    while True:
        left = max(0.0, deadline - time.monotonic())
        if tracker.flush(min(_SLICE, left)):
            return
        if left <= _SLICE or tracker.stats()["last_error"]:
            tracker.close(left)
            return


def _deliver_now(worker: Any) -> None:
    with _harmless("worker_abort"):
        for tracker in _trackers(worker):
            tracker.flush(ABORT_TIMEOUT)


def _trackers(worker: Any) -> list[TrackerMiddleware]:
    from .middleware import TrackerMiddleware

    found = {id(part.value): part.value for part in _parts(worker) if isinstance(part.value, TrackerMiddleware)}
    return list(found.values())


def _parts(worker: Any) -> list[Part]:
    """Of what *worker* serves; nothing where it did not get so far as to load the app."""
    wsgi = getattr(worker, "wsgi", None)
    return [] if wsgi is None else list(parts(Part(wsgi, functools.partial(setattr, worker, "wsgi"))))


def _instrument(worker: Any, options: dict[str, Any]) -> None:
    found = _parts(worker)
    if not found or _is_async(worker.wsgi):
        log.warning("this gunicorn worker serves no WSGI application, so nothing is tracked")
        return
    servers = [part.value for part in found if is_flask(part.value)]
    if _trackers(worker) or any(server.extensions.get("dash_user_tracker") for server in servers):
        log.info("the app has a tracker of its own, so the hooks make none")
        return
    apps = _dash_apps(servers)
    for app in apps:
        _track(app, found, options)
    if not apps:
        _wrap(worker, options)


def _is_async(app: Any) -> bool:
    return inspect.iscoroutinefunction(app) or inspect.iscoroutinefunction(type(app).__call__)


def _dash_apps(servers: list[Any]) -> list[Any]:
    """The Dash apps on Flask *servers*."""
    dash = sys.modules.get("dash")
    if dash is None:
        return []
    # Dash serves its layout by a method of the app, in every version.
    owners = [getattr(view, "__self__", None) for server in servers for view in server.view_functions.values()]
    return list({id(owner): owner for owner in owners if isinstance(owner, dash.Dash)}.values())


def _track(app: Any, found: list[Part], options: dict[str, Any]) -> None:
    """Give *app* a tracker, and let what holds its server's `wsgi_app` hold the tracked one."""
    from .tracker import Tracker

    before = app.server.wsgi_app
    Tracker(app, **{**options, "repository": _repository(options)})
    for part in found:
        if _same(part.value, before):
            if part.replace is not None:
                part.replace(app.server.wsgi_app)
            else:
                log.warning("what is around the app holds it unchangeably; make a Tracker(app) where the app is made")


def _wrap(worker: Any, options: dict[str, Any]) -> None:
    """Put a middleware around an application without Dash."""
    from .middleware import TrackerMiddleware

    kept = {name: value for name, value in options.items() if name not in _OF_TRACKER}
    endpoint = options.get("tracker_endpoint")
    if endpoint is None:
        kept["repository"] = _repository(options)
    else:
        from .repositories.http import HttpTrackerRepository

        kept["repository"] = HttpTrackerRepository(endpoint, options.get("api_key"), batch=options.get("batch"))
    holder, name = (worker.wsgi, "wsgi_app") if is_flask(worker.wsgi) else (worker, "wsgi")
    setattr(holder, name, TrackerMiddleware(getattr(holder, name), **kept))


def _repository(options: dict[str, Any]) -> Any:
    from .repositories.base import TrackerRepository

    repository = options.get("repository")
    return repository() if callable(repository) and not isinstance(repository, TrackerRepository) else repository


def _same(one: object, other: object) -> bool:
    """A bound method is another object each time it is looked up."""
    return one is other or (type(one) is type(other) is types.MethodType and one == other)
