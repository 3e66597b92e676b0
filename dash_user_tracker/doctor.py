"""Drives a Dash app through Flask's test client and tells what would be counted, and what is set up wrong.

Nothing of it reaches the app's repository, and no callback of the app is run.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import dash
import flask

from .addresses import below
from .classify import REPORT_PATH, SCRIPT_PATH
from .dash_facts import DashAppFacts
from .errors import ConfigurationError
from .repositories.console import ConsoleTrackerRepository
from .request import MARK_HEADER
from .tracker import Tracker

OK = "ok"
NOTE = "note"
WARNING = "warning"
FAILURE = "failure"

_BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml",
    "Sec-Fetch-Site": "none",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


@attrs.frozen
class Finding:
    """One thing that was looked at: *level* is ok, note, warning or failure."""

    level: str
    what: str


def find_app(name: str) -> dash.Dash:
    """The Dash app that ``module:attribute`` names, or that belongs to the Flask server there.

    By default it is ``app``, or the only one that the module has; `ConfigurationError` where there is none.
    """
    module_name, _, attribute = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigurationError(f"{module_name!r} cannot be imported: {error}; run this where the app runs") from error
    apps = {name: value for name, value in vars(module).items() if isinstance(value, dash.Dash)}
    found = getattr(module, attribute or "app", None)
    if found is None and not attribute and len(apps) == 1:
        (found,) = apps.values()
    if isinstance(found, flask.Flask):
        trackers = found.extensions.get("dash_user_tracker", ())
        found = next((tracker.app for tracker in trackers), found)
    if not isinstance(found, dash.Dash):
        there = f"it has {', '.join(f'{module_name}:{name}' for name in apps)}" if apps else "name it as module:app"
        raise ConfigurationError(f"{module_name}:{attribute or 'app'} must be a dash.Dash app, got {found!r}; {there}")
    return found


def examine(app: dash.Dash, *, path: str | None = None, headers: Mapping[str, str] | None = None) -> list[Finding]:
    """What a person who opens the page at *path* would leave behind, in the order it was looked at.

    *headers* go with each request, for apps behind a log-in.
    """
    found: list[Finding] = []
    trackers: list[Tracker] = app.server.extensions.get("dash_user_tracker", []) if app.server is not None else []
    tracker = next((each for each in trackers if each.app is app), None)
    if app.server is None or not app.routes:
        return [Finding(FAILURE, "the app has no server yet: call app.init_app(server) where the module is imported")]
    if tracker is None:
        found.append(Finding(FAILURE, "the app has no tracker: add Tracker(app); what follows is what one would count"))
        tracker = Tracker(app)
    found += _set_up(app, tracker)
    page = path or str(app.config.requests_pathname_prefix)
    with tracker.rehearsal() as recorded:
        found += _drive(app, tracker, page, dict(headers or {}))
        events = recorded()
    people = [event for event in events if event.event == "page_view" and not event.data["automated"]]
    if people:
        view = people[0]
        who = view.data["user_id"]
        found.append(Finding(OK, f"a person who opens {view.data['path']} is one page view by {who!r}"))
        found.append(Finding(NOTE, "as an event: " + json.dumps(view.to_dict())))
    elif tracker.scripted:
        found.append(Finding(FAILURE, f"a person who opens {page} would not be counted"))
    return found


def _set_up(app: dash.Dash, tracker: Tracker) -> list[Finding]:
    prefix = app.config.requests_pathname_prefix
    found = [Finding(OK, f"app {app.title!r} below {prefix}, events go to {tracker.repository!r}")]
    if isinstance(tracker.repository, ConsoleTrackerRepository):
        found.append(Finding(NOTE, "events are printed and kept in memory only; give a repository in production"))
    if not getattr(app.server, "secret_key", None):
        found.append(
            Finding(
                WARNING,
                "the server has no SECRET_KEY, so people without a log-in cannot be told apart (visitor is null) and "
                "there is no session to read a user from; set app.server.secret_key, or Tracker(visitor_key=...)",
            )
        )
    others = len(app.server.extensions.get("dash_user_tracker", ())) - 1
    if others > 0:
        found.append(Finding(NOTE, f"{others} more Dash app(s) of this server are tracked, each on its own"))
    return found


def _drive(app: dash.Dash, tracker: Tracker, page: str, headers: dict[str, str]) -> list[Finding]:
    """One page load, as a browser makes it."""
    client = app.server.test_client()
    prefix = app.config.routes_pathname_prefix
    outer = app.config.requests_pathname_prefix
    # What a proxy or a DispatcherMiddleware in front takes away.
    mount = outer[: -len(prefix)] if outer.endswith(prefix) else ""
    address = page[len(mount) :] if page.startswith(mount) else page
    common = {"environ_overrides": {"SCRIPT_NAME": mount}}
    index = client.get(address, headers={**_BROWSER, **headers}, **common)
    found = [*_index(index, page), *_policy(index)]
    if not 200 <= index.status_code < 300:
        return found
    if tracker.facts is not None:
        found += _counted(app, tracker.facts, page)
    if tracker.scripted:
        found += _script(client, index.get_data(as_text=True), prefix, headers, common)
        found += _report(client, page, prefix, headers, common)
    else:
        found.append(
            Finding(WARNING, "the page script is off: clientside routing and Back to a cached page are not seen")
        )
    return found


def _counted(app: dash.Dash, facts: DashAppFacts, page: str) -> list[Finding]:
    callbacks = [facts.callback(output) for output in list(app.callback_map)]
    ignored = [str(callback.name) for callback in callbacks if callback is not None and callback.ignored]
    left_out = ", ".join(ignored) or "none"
    number = f"{len(callbacks)} server callback{'' if len(callbacks) == 1 else 's'}"
    found = [Finding(OK, f"{number}, {left_out} left out by @ignore_callback")]
    if facts.has_pages():
        known = facts.route(below(page, facts.prefix()) or "/") or "not one of them"
        found.append(Finding(OK, f"{len(dash.page_registry)} registered pages; {page} is {known}"))
    output = facts.canonical_output()
    rule = f"the callback of {output} stands for a view" if output else "the renderer's first request stands for a load"
    found.append(Finding(OK, f"a page without the page script is counted by the server: {rule}"))
    return found


def _script(client: Any, text: str, prefix: str, headers: dict[str, str], common: dict[str, Any]) -> list[Finding]:
    """The page script's tag and file."""
    tags = re.findall(r'<script src="([^"]*' + re.escape(SCRIPT_PATH) + r'[^"]*)"', text)
    if len(tags) != 1:
        return [
            Finding(
                FAILURE,
                f"the index has {len(tags)} tags of the page script, 1 expected: an interpolate_index that was set "
                "after Tracker(app), or one that leaves {scripts} out",
            )
        ]
    answer = client.get(prefix + SCRIPT_PATH, headers=headers, **common)
    if answer.status_code != 200 or answer.mimetype != "text/javascript":
        what = f"{answer.status_code} {answer.mimetype}"
        return [Finding(FAILURE, f"{tags[0]} is answered {what}: a log-in hides the page script")]
    return [Finding(OK, f"{tags[0]} is served")]


def _report(client: Any, page: str, prefix: str, headers: dict[str, str], common: dict[str, Any]) -> list[Finding]:
    """The page script's own post, which tells a view that no callback tells."""
    mark = {"i": uuid.uuid4().hex[:16], "p": page, "a": 0, "n": 0, "v": [[1, page, 0, ""]]}
    fetch = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}
    sent = {**_BROWSER, **fetch, **headers, MARK_HEADER: json.dumps(mark)}
    answer = client.post(prefix + REPORT_PATH, headers=sent, **common)
    if answer.status_code == 204:
        return [Finding(OK, f"the page script's own post to {prefix + REPORT_PATH} is taken")]
    why = f"is answered {answer.status_code}: a log-in or a CSRF protection refuses it"
    return [
        Finding(FAILURE, f"the page script's post to {prefix + REPORT_PATH} {why}; pages without callbacks are lost")
    ]


def _index(index: Any, page: str) -> list[Finding]:
    if 300 <= index.status_code < 400:
        target = index.headers.get("Location")
        return [Finding(FAILURE, f"{page} redirects to {target}: give the log-in with --header 'Cookie: session=...'")]
    if index.status_code != 200:
        return [Finding(FAILURE, f"{page} is answered {index.status_code}; only pages that work are counted")]
    return [Finding(OK, f"{page} is answered 200 {index.mimetype}")]


def _policy(index: Any) -> list[Finding]:
    """A Content-Security-Policy that blocks the script or its requests (CSP Level 3, 6.1)."""
    found = []
    directives = {
        words[0]: words[1:]
        for words in (part.split() for part in index.headers.get("Content-Security-Policy", "").split(";"))
        if words
    }
    for name in ("script-src", "connect-src"):
        sources = directives.get(name, directives.get("default-src"))
        if sources is not None and not {"'self'", "*"} & set(sources):
            found.append(Finding(FAILURE, f"the Content-Security-Policy blocks the page script: add 'self' to {name}"))
    return found
