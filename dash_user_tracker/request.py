"""What one request left behind: plain facts, gathered on the request thread, read on the worker."""

from __future__ import annotations

import functools
import operator
from typing import Any

import attrs

#: A WSGI environ (PEP 3333); only ``REQUEST_METHOD`` and ``PATH_INFO`` are relied upon.
Environ = dict[str, Any]

#: The header by which the page script says which page sent a request (see `navigation.Mark`).
MARK_HEADER = "X-Dash-Page"
MARK_ENVIRON = "HTTP_X_DASH_PAGE"

#: Longest path, query, user agent or referrer that is kept, in characters.
TEXT_LIMIT = 2048

_LIBRARIES = ("site-packages", "dist-packages")

#: Longest header of the page script that is read; the script keeps its own below it.
MARK_LIMIT = 8192


@attrs.frozen
class User:
    """Who sent a request; texts, ``anonymous`` where nothing is known."""

    id: str
    email: str
    full_name: str


class Observation:
    """One tracked request. Mutable until it is handed over, never after.

    The middleware fills it in; the Flask hook adds what only Flask knows. It holds
    texts and numbers alone: no body of the app's, no environ, no exception object (a
    traceback would keep the app's locals alive).

    A plain class with its defaults on the class and no ``__init__``: one is made for each
    request, and setting thirty attributes to their defaults costs more than all the rest.
    """

    kind: str
    received: float  # seconds since the epoch, first byte in
    started: float  # perf_counter at the same moment
    duration: float = 0.0  # seconds, first byte in to last byte out

    # the answer
    status: str = ""
    headers: list[tuple[str, str]] | None = None  # dropped before the hand-over
    html: bool = False
    sent: int = 0  # bytes of its body

    # the request
    path: str = "/"  # of a document; as in the environ, see `addresses.wsgi_text`
    mount: str = ""
    query: str = ""
    scheme: str = "http"
    host: str = ""
    ip: str | None = None
    user_agent: str = ""
    referrer: str = ""
    fetch_dest: str | None = None
    fetch_site: str | None = None
    proxied: bool = False  # of a document without Fetch Metadata: see `documents.is_proxied`
    foreign: bool = False  # a report that another origin's page sent, by its Origin or Referer
    purpose: str = ""
    mark: str = ""
    request_bytes: str | None = None  # Content-Length as it was sent
    body: bytes | None = None
    tee: Any = None  # what copies the body while it is read; dropped before the hand-over

    # from the Flask hook
    hooked: bool = False
    endpoint: str | None = None
    user: User | None = None
    call: CallbackRequest | None = None
    answer: bytes | None = None  # of a background callback: its handle, or whether it has ended
    environ: Environ | None = None  # the one Flask saw; dropped before the hand-over

    error: ErrorPlace | None = None
    custom: list[CustomEvent] | None = None  # made by the app while it answered
    done: bool = False

    def leave_texts(self) -> tuple[Any, ...]:
        """Take out what is no text: the environ of an odd server may hold anything. The texts that are left.

        But for the mark and the number of bytes, which hardly ever come again.
        """
        found = _texts(self)
        try:
            "".join([value for value in found if value is not None])
        except TypeError:
            for name, value in zip(_TEXTS, found):
                if value is not None and not isinstance(value, str):
                    del self.__dict__[name]  # which leaves the default
            found = _texts(self)
        return found[:-2]

    @property
    def status_code(self) -> int:
        """The HTTP status, 0 where the app sent none that can be read."""
        return _code(self.status) if isinstance(self.status, str) else 0


#: Attributes of an `Observation` that are copied from the environ.
_TEXTS = (
    "path",
    "mount",
    "query",
    "scheme",
    "host",
    "ip",
    "user_agent",
    "referrer",
    "fetch_dest",
    "fetch_site",
    "purpose",
    "mark",
    "request_bytes",
)
_texts = operator.attrgetter(*_TEXTS)


@functools.lru_cache(64)
def _code(status: str) -> int:
    code = status[:3]
    return int(code) if code.isascii() and code.isdigit() else 0


@attrs.frozen
class CallbackRequest:
    """The part of a callback's body that identifies it; no value of an input but the pathname."""

    output: str
    changed: tuple[str, ...]  # "id.property" of what triggered it, empty on an initial call
    pathname: str | None = None  # value of the changed (else of any) input ``*.pathname`` or ``*.href``

    def size(self) -> int:
        """In characters."""
        return len(self.output) + sum(map(len, self.changed)) + len(self.pathname or "")


@attrs.frozen
class ErrorPlace:
    """An exception's class and the line that raised it; never its message, which may quote data."""

    type: str
    where: str  # "module:function:line"

    @classmethod
    def of(cls, error: BaseException) -> ErrorPlace:
        """The class of *error* and the innermost line of the app's own code, else the innermost of all."""
        kind = type(error)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        innermost = own = None
        step = error.__traceback__
        while step is not None:
            innermost = step
            if not any(folder in step.tb_frame.f_code.co_filename for folder in _LIBRARIES):
                own = step
            step = step.tb_next
        found = own or innermost
        if found is None:
            return cls(name, "")
        frame = found.tb_frame
        return cls(name, f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_name}:{found.tb_lineno}")

    def to_dict(self) -> dict[str, str]:
        return {"type": self.type, "where": self.where}


@attrs.frozen
class CustomEvent:
    """A call of ``Tracker.track``; *properties* is JSON, written at once, for the app may change its objects."""

    id: str
    name: str
    received: float
    properties: str
