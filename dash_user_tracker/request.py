"""What one request left behind: plain facts, gathered on the request thread, read on the worker."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

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


class User(NamedTuple):
    """Who sent a request; texts, ``anonymous`` where nothing is known."""

    id: str
    email: str
    full_name: str


class OpenRequest:
    """One tracked request while the app answers it: what cannot be read from its environ in the end."""

    __slots__ = (
        "answer", "call", "custom", "done", "endpoint", "environ", "error", "headers",
        "hooked", "kind", "received", "sent", "started", "status", "tee", "user",
    )  # fmt: skip

    def __init__(self, kind: str, received: float, started: float) -> None:
        self.kind = kind
        self.received = received  # seconds since the epoch, first byte in
        self.started = started  # perf_counter at the same moment
        self.done = False  # handed over

        # The answer.
        self.status = ""
        self.headers: list[tuple[str, str]] | None = None
        self.sent = 0  # bytes of its body
        self.tee: Any = None  # what copies the body while it is read

        # From the Flask hook.
        self.hooked = False
        self.endpoint: str | None = None
        self.user: User | None = None
        self.call: CallbackRequest | None = None
        self.answer: bytes | None = None  # of a background callback: its handle, or whether it has ended
        self.environ: Environ | None = None  # the one Flask saw

        self.error: ErrorPlace | None = None
        self.custom: list[CustomEvent] | None = None  # made by the app while it answered


class Observation(NamedTuple):
    """What one request left behind when it was answered.

    It holds texts and numbers alone: no body of the app's, no environ, no exception object (a traceback would keep the
    app's locals alive). Request threads hand over plain tuples of the same values in the same order: one costs less
    than this class, and a tuple of texts and numbers nothing in garbage collection. See `observation_of`.
    """

    # What it says: equal for requests that say the same.
    kind: str
    status: str = ""
    endpoint: str | None = None  # by Flask
    user: User | None = None
    call: CallbackRequest | None = None
    html: bool = False  # the answer
    path: str = "/"  # of a document; as in the environ, see `addresses.wsgi_text`
    mount: str = ""
    query: str = ""
    scheme: str = "http"
    host: str = ""
    ip: str | None = None
    user_agent: str = ""
    referrer: str = ""
    purpose: str = ""
    fetch_dest: str | None = None
    fetch_site: str | None = None
    proxied: bool = False  # of a document without Fetch Metadata: see `documents.is_proxied`
    foreign: bool = False  # a report that another origin's page sent, by its Origin or Referer

    # What is its own.
    mark: str = ""
    received: float = 0.0  # seconds since the epoch, first byte in
    duration: float = 0.0  # seconds, first byte in to last byte out
    sent: int = 0  # bytes of the answer's body
    request_bytes: str | None = None  # Content-Length as it was sent

    # What hardly any has.
    error: ErrorPlace | None = None
    custom: list[CustomEvent] | None = None
    answer: bytes | None = None
    body: bytes | None = None

    @property
    def status_code(self) -> int:
        """The HTTP status, 0 where the app sent none that can be read."""
        return _code(self.status) if isinstance(self.status, str) else 0


#: Values of an `Observation` that are what a request says.
SAID = Observation._fields.index("mark")
#: Where they stand: the moment, and the others by which runs of the same callback differ.
MARK = SAID
RECEIVED = Observation._fields.index("received")
#: The first of those that hardly any request has, and what the others have in their place.
RARE = Observation._fields.index("error")
NOTHING_RARE = (None,) * (len(Observation._fields) - RARE)

#: Those that are copied from the environ.
_TEXTS = (
    "path",
    "mount",
    "query",
    "scheme",
    "host",
    "ip",
    "user_agent",
    "referrer",
    "purpose",
    "fetch_dest",
    "fetch_site",
    "mark",
    "request_bytes",
)


def observation_of(values: tuple[Any, ...]) -> Observation:
    """The *values* under their names; defaults for what is no text, since an odd server's environ may hold anything."""
    seen = Observation._make(values)
    odd = {
        name: Observation._field_defaults[name]
        for name in _TEXTS
        if not isinstance(value := getattr(seen, name), str) and value is not None
    }
    return seen._replace(**odd) if odd else seen


@functools.lru_cache(64)
def _code(status: str) -> int:
    code = status[:3]
    return int(code) if code.isascii() and code.isdigit() else 0


class CallbackRequest(NamedTuple):
    """The part of a callback's body that identifies it; no value of an input but the pathname."""

    output: str
    changed: tuple[str, ...]  # "id.property" of what triggered it, empty on an initial call
    pathname: str | None = None  # value of the changed (else of any) input ``*.pathname`` or ``*.href``


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
