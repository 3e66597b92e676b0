"""Which requests matter, decided from method and path before the app runs.

The addresses are those Dash registers (``dash.py``: ``_setup_routes``; the same in 2.17 to 4.4).
"""

from __future__ import annotations

import attrs

from .request import Environ

DOCUMENT = "document"  # a page, perhaps: the answer decides
BOOT = "boot"  # the renderer's first request, once for each page that is shown
CALLBACK = "callback"
REPORT = "report"  # the page script's own post
ROUTE = "route"  # another route of the same server, in which the app made an event of its own

#: Below an app's prefix: the page script's two addresses.
SCRIPT_PATH = "_dut/page.js"
REPORT_PATH = "_dut/seen"

#: Asked for by browsers and robots on their own account; Dash's catch-all answers them with the index.
_UNASKED = ("favicon.ico", "robots.txt", "sitemap.xml", "apple-touch-icon")


@attrs.frozen
class Surface:
    """The addresses of one Dash app below the WSGI root: *prefix* is its ``routes_pathname_prefix``."""

    prefix: str = "/"
    start: int = 1  # its length
    noise: tuple[str, ...] = ()
    initials: frozenset[str] = frozenset()  # of the noise below the prefix: most pages start with another letter
    layout: str = "/_dash-layout"
    callback: str = "/_dash-update-component"
    report: str = "/" + REPORT_PATH

    @classmethod
    def of(cls, prefix: str = "/", *, assets: str = "assets") -> Surface:
        """The surface of an app under *prefix*, with its assets in the folder address *assets*."""
        names = (
            f"{assets.strip('/')}/",
            "_dash-",
            "_favicon.ico",
            "_reload-hash",
            "_alive_",
            SCRIPT_PATH,
            ".well-known/",
            *_UNASKED,
        )
        return cls(
            prefix=prefix,
            start=len(prefix),
            noise=(*(prefix + name for name in names), "/static/"),
            initials=frozenset(name[0] for name in (*names, "static/")),
            layout=prefix + "_dash-layout",
            callback=prefix + "_dash-update-component",
            report=prefix + REPORT_PATH,
        )


def classify(environ: Environ, surface: Surface) -> str | None:
    """The kind of a request to the app at *surface*, None for noise and for other people's routes."""
    path = environ.get("PATH_INFO") or "/"
    method = environ.get("REQUEST_METHOD")
    if method == "GET":
        start = surface.start
        if path[start : start + 1] in surface.initials and path.startswith(surface.noise):
            return BOOT if path == surface.layout else None
        return DOCUMENT if path[:start] == surface.prefix else None
    if method == "POST":
        if path == surface.callback:
            return CALLBACK
        return REPORT if path == surface.report else None
    return None


def classify_anywhere(environ: Environ) -> str | None:
    """The kind of a request to a WSGI app of which nothing is known: Dash's names count under any prefix."""
    path = environ.get("PATH_INFO") or "/"
    method = environ.get("REQUEST_METHOD")
    if method == "POST":
        return CALLBACK if path.endswith("/_dash-update-component") else None
    if method != "GET" or "/_dash-" in path or "/_dut/" in path or "/.well-known/" in path:
        return None
    name = path.rpartition("/")[2]
    if "." in name and ("/assets/" in path or "/static/" in path):
        return None
    return None if name == "_reload-hash" or name.startswith(("_favicon.ico", *_UNASKED)) else DOCUMENT
