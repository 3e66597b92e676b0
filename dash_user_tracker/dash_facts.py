"""What a Dash app tells about itself, asked lazily: much of it is complete only after the app's first request."""

from __future__ import annotations

import logging
from collections.abc import Hashable
from typing import Any

import dash
from dash import _callback

from .callbacks import Callback
from .classify import Surface
from .component_ids import Properties, outputs_of, text_of
from .navigation import canonical_output
from .routes import Route, match_route, route_matcher

log = logging.getLogger("dash_user_tracker")


class DashAppFacts:
    """`facts.DashFacts` of *app*. Used on the worker, but for `has_background`; cheap but for the first answers."""

    def __init__(self, app: dash.Dash) -> None:
        self._app = app
        self._callbacks: dict[str, Callback | None] = {}
        # Each kept with the size of what it was made from, which only grows.
        self._canonical: tuple[int, str | None] = (-1, None)
        self._produced: tuple[int, Properties] = (-1, Properties(()))
        self._routes: tuple[int, list[Route]] = (-1, [])
        self._background: tuple[int, bool] = (-1, False)

    def surface(self) -> Surface:
        """The app's addresses below the WSGI root."""
        config = self._app.config
        return Surface.of(config.routes_pathname_prefix, assets=config.assets_url_path)

    def name(self) -> str | None:
        title = self._app.title
        return title if isinstance(title, str) else None

    def prefix(self) -> str:
        return str(self._app.config["requests_pathname_prefix"])

    def routes_prefix(self) -> str:
        return str(self._app.config["routes_pathname_prefix"])

    def is_page(self, endpoint: str) -> bool:
        prefix = self.routes_prefix()
        return endpoint in (prefix, prefix + "<path:path>")

    def is_callback(self, endpoint: str) -> bool:
        return endpoint == self.routes_prefix() + "_dash-update-component"

    def visitor_key(self) -> bytes | str | None:
        key = getattr(self._app.server, "secret_key", None)
        return key if isinstance(key, (bytes, str)) else None

    def state(self) -> Hashable:
        # `config` does not change once the app is made (`dash.py`: set_read_only).
        # Of the key a hash alone: this is kept, and a secret must not be where a traceback with its variables shows it.
        key, pages = hash(self.visitor_key()), len(dash.page_registry)
        return self.name(), key, self._app.use_pages, pages, len(self._specs())

    def has_pages(self) -> bool:
        return bool(self._app.use_pages)

    def route(self, path: str) -> str | None:
        if not self._app.use_pages:
            return None
        size, matcher = self._routes
        registry = dash.page_registry
        if size != len(registry):
            matcher = route_matcher(list(registry.values()))
            self._routes = (len(registry), matcher)
        return match_route(matcher, path)

    def callback(self, output: str) -> Callback | None:
        if output not in self._callbacks:
            spec = self._app.callback_map.get(output)
            if spec is None:  # not kept: clients can name as many as they like
                return None
            self._callbacks[output] = Callback.of(output, spec)
        return self._callbacks[output]

    def has_background(self) -> bool:
        # Those of `dash.callback` become the app's at its first request.
        own, waiting = self._specs(), _callback.GLOBAL_CALLBACK_LIST
        size, found = self._background
        now = len(own) + len(waiting)
        if size != now:
            found = any(spec.get("background") or spec.get("long") for spec in (*own, *waiting))
            self._background = (now, found)
        return found

    def produced(self) -> Properties:
        specs = self._specs()
        size, produced = self._produced
        now = len(specs)  # before they are read: one that comes meanwhile makes another size
        if size != now:
            produced = Properties(item for spec in specs for item in outputs_of(str(spec.get("output"))))
            self._produced = (now, produced)
        return produced

    def canonical_output(self) -> str | None:
        specs = self._specs()
        size, output = self._canonical
        now = len(specs)
        if size != now:
            output = canonical_output(specs, self._layout_ids())
            self._canonical = (now, output)
        return output

    def _specs(self) -> list[dict[str, Any]]:
        # What `_dash-dependencies` answers; the same list in Dash 2.17 to 4.4.
        specs: list[dict[str, Any]] = getattr(self._app, "_callback_list", [])
        return specs

    def _layout_ids(self) -> frozenset[str] | None:
        """The ids of the start layout; None where a function makes it, which is not called outside a request."""
        layout = self._app.layout
        if layout is None or callable(layout):
            return None
        try:
            ids: set[str] = set()
            for root in layout if isinstance(layout, (list, tuple)) else [layout]:
                for component in (root, *root._traverse()):
                    identity = getattr(component, "id", None)
                    if identity is not None:
                        ids.add(text_of(identity))
            return frozenset(ids)
        except Exception:  # an odd layout is no reason to count nothing
            log.debug("the layout could not be read", exc_info=True)
            return None
