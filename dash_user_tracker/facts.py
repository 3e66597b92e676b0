"""What counting has to know about a Dash app."""

from __future__ import annotations

from collections.abc import Container, Hashable
from typing import Protocol

from .callbacks import Callback


class DashFacts(Protocol):
    """What counting asks about a Dash app; read lazily, on the worker."""

    def name(self) -> str | None:
        """The app's title."""

    def prefix(self) -> str:
        """What browsers see before the app's own paths (``requests_pathname_prefix``)."""

    def routes_prefix(self) -> str:
        """What the server sees before the app's own paths (``routes_pathname_prefix``)."""

    def is_page(self, endpoint: str) -> bool:
        """The Flask endpoint serves the app's index."""

    def is_callback(self, endpoint: str) -> bool:
        """The Flask endpoint runs the app's callbacks."""

    def route(self, path: str) -> str | None:
        """The template of the page at the app-relative *path*."""

    def has_pages(self) -> bool:
        """The app's pages are registered, so that a page can be unknown."""

    def callback(self, output: str) -> Callback | None:
        """The callback under a key of the callback map."""

    def has_background(self) -> bool:
        """Some callback of the app runs in the background. Asked on the request thread, once for each shown page."""

    def canonical_output(self) -> str | None:
        """The callback that is sent once for each page view."""

    def produced(self) -> Container[str]:
        """Every ``id.property`` that a callback writes."""

    def visitor_key(self) -> bytes | str | None:
        """A secret that all workers share."""

    def state(self) -> Hashable:
        """Another one as soon as `name`, `has_pages`, `visitor_key`, `produced` or a `route` may be another."""
