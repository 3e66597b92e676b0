"""Events as rows, and rows as events, exactly."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from ...addresses import encode_path
from ...codec import to_json
from ...events import ANONYMOUS, CALLBACK, PAGE_VIEW, Event
from . import schema
from .labels import REMEMBERED, Key, Labels
from .texts import (
    from_column,
    from_microseconds,
    hex_to_bytes,
    id_from_bytes,
    id_to_bytes,
    text_to_bytes,
    to_column,
    to_microseconds,
)

#: Keys of ``data`` that take few values: together they are one label.
CONTEXT_KEYS = (
    "app_name",
    "url_root",
    "method",
    "page_known",
    "automated",
    "automated_reason",
    "release",
    "environment",
    "navigation",
    "cause",
    "status",
    "outcome",
    "background",
)
_BOOLS = frozenset({"page_known", "automated", "background"})
_INTEGERS = frozenset({"status", "action", "request_bytes", "response_bytes"})
_TEXTS = frozenset(
    [
        "app_name",
        "url_root",
        "method",
        "automated_reason",
        "release",
        "environment",
        "navigation",
        "cause",
        "outcome",
        "ip",
        "user_agent",
        "base_url",
        "url",
        "referrer",
        "path",
        "full_path",
        "user_id",
        "email",
        "full_name",
        "group",
        "visitor",
        "route",
        "page_load",
        "callback",
        "output",
        "trigger",
    ]
)
_KNOWN = _BOOLS | _INTEGERS | _TEXTS | {"duration_ms", "error"}

#: How `base_url`, `url` and `full_path` follow from the rest: null, by the rule, or they are in `rest`.
_NULL, _RULE, _REST, _BARE = range(4)

COLUMNS = [
    "id",
    "ts",
    "kind",
    "automated",
    "active",
    "actor",
    "context",
    "page",
    "path",
    "who",
    "person",
    "client",
    "visitor",
    "referrer",
    "callback",
    "control",
    "error",
    "query",
    "page_load",
    "action",
    "duration",
    "request_bytes",
    "response_bytes",
    "rest",
]

_LABELS = {
    "context": schema.CONTEXT,
    "page": schema.PAGE,
    "path": schema.PAGE,
    "who": schema.WHO,
    "person": schema.PERSON,
    "client": schema.CLIENT,
    "visitor": schema.VISITOR,
    "referrer": schema.REFERRER,
    "callback": schema.CALLBACK,
    "control": schema.CONTROL,
    "error": schema.ERROR,
}
_LONGEST = 1 << 62

Row = tuple[Any, ...]
K = TypeVar("K")
V = TypeVar("V")


class _Unfit(Exception):
    """A value is not of the type of its column."""


@attrs.frozen
class Context:
    """A label of the kind CONTEXT, taken apart."""

    name: str
    keys: tuple[str, ...]  # the known ones of `data`, in order
    values: Mapping[str, Any]
    modes: tuple[int, int, int]  # of base_url, url, full_path
    routed: bool  # `page` is a route

    @classmethod
    def of(cls, text: str) -> Context:
        name, keys, modes, routed, *values = json.loads(text)
        return cls(name, tuple(keys), dict(zip(CONTEXT_KEYS, values)), tuple(modes), routed)

    def segment(self, automated: int) -> str:
        """The value of the label of the kind SEGMENT that an event with this context belongs to."""
        return json.dumps([self.values["app_name"] or None, bool(automated)])


class Encoder:
    """Makes rows of events. Where labels are missing they are in *missing*, and `complete` makes those rows again."""

    def __init__(self, labels: Labels) -> None:
        self._labels = labels
        self._contexts: dict[tuple[Any, ...], str] = {}
        self._shapes: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {}
        self._bases: dict[tuple[str, str], str] = {}
        self._texts: dict[tuple[Any, ...], str] = {}
        self.missing: set[tuple[int, str]] = set()
        self._lacking = 0  # how often a label was missing
        self._void: list[int] = []  # places of rows that lack some

    def rows(self, events: Sequence[Event]) -> tuple[list[Row], Exception | None]:
        """The events as rows, up to the first that is not JSON, and why it is not."""
        self.missing.clear()
        self._void.clear()
        rows: list[Row] = []
        try:
            for place, event in enumerate(events):
                lacking = self._lacking
                rows.append(self._row(event))
                if self._lacking != lacking:
                    self._void.append(place)
        except (TypeError, ValueError, RecursionError) as error:
            return rows, error
        return rows, None

    def complete(self, rows: list[Row], events: Sequence[Event]) -> None:
        """Make the rows again that lack labels; some may be *missing* still."""
        void, self._void = self._void, []
        self.missing.clear()
        for place in void:
            lacking = self._lacking
            rows[place] = self._row(events[place])
            if self._lacking != lacking:
                self._void.append(place)

    def _row(self, event: Event) -> Row:
        data = event.data if type(event.data) is dict else dict(event.data)
        try:
            return self._fast(event, data, None)
        except (_Unfit, TypeError, AttributeError, OverflowError):  # of another type, or not hashable
            unfit = {key: value for key, value in data.items() if key in _KNOWN and not _fits(key, value)}
            return self._fast(event, {**data, **dict.fromkeys(unfit)}, unfit)

    def _fast(self, event: Event, data: dict[str, Any], unfit: dict[str, Any] | None) -> Row:
        get = data.get
        names = tuple(data)
        shape = self._shapes.get(names)
        if shape is None:
            shape = self._shape(names)
        rest: dict[str, Any] | None = {key: data[key] for key in shape[1]} if shape[1] else None
        path, root, full, query = get("path"), get("url_root"), get("full_path"), None
        if full is None:
            full_mode = _NULL
        elif path is not None and full.startswith(path) and full[len(path) : len(path) + 1] == "?":
            full_mode, query = _RULE, full[len(path) + 1 :]
        elif full == path:
            full_mode = _BARE
        else:
            full_mode, rest = _REST, {**(rest or {}), "full_path": full}
        base = get("base_url")
        if base is None:
            base_mode = _NULL
        elif (
            path is not None and root is not None and base == (self._bases.get((root, path)) or self._base(root, path))
        ):
            base_mode = _RULE
        else:
            base_mode, rest = _REST, {**(rest or {}), "base_url": base}
        url = get("url")
        if url is None:
            url_mode = _NULL
        elif base is not None and url == (f"{base}?{query}" if query else base):
            url_mode = _RULE
        else:
            url_mode, rest = _REST, {**(rest or {}), "url": url}
        route, automated, known = get("route"), get("automated"), get("page_known")
        status, background = get("status"), get("background")
        name = event.event
        key = (
            name, shape[0], base_mode, url_mode, full_mode, not route,
            get("app_name"), root, get("method"), known, automated, get("automated_reason"), get("release"),
            get("environment"), get("navigation"), get("cause"), status, get("outcome"), background,
            # 1 == True == 1.0
            known.__class__, automated.__class__, status.__class__, background.__class__,
        )  # fmt: skip
        context = self._contexts.get(key)
        if context is None:
            context = self._context(key)
        number = self._number
        user_id, visitor = get("user_id"), get("visitor")
        who = number(schema.WHO, user_id) if user_id is not None else None
        seen = number(schema.VISITOR, visitor) if visitor is not None else None
        path_number = number(schema.PAGE, path) if path is not None else None
        referrer = get("referrer")
        if referrer is not None and "?" in referrer:  # those with a query are too many to be labels
            rest, referrer = {**(rest or {}), "referrer": referrer}, None
        duration = get("duration_ms")
        if duration is not None:
            if duration.__class__ is not float or not -1e15 < duration < 1e15:
                if duration.__class__ is not int or not -(10**15) < duration < 10**15:
                    raise _Unfit
                rest = {**(rest or {}), "duration_ms": duration}
            microseconds = round(duration * 1000)
            if microseconds / 1000 != duration:
                rest = {**(rest or {}), "duration_ms": duration}
            duration = microseconds
        load = get("page_load")
        if load is not None:
            packed = hex_to_bytes(load)
            if packed is None:
                rest = {**(rest or {}), "page_load": load}
                packed = text_to_bytes(load) if load.__class__ is str and load else None
            load = packed
        error = get("error")
        if error is not None:
            if not _is_place(error):
                raise _Unfit
            error = number(schema.ERROR, to_json(error))
        elif get("outcome") == "error":  # so that failures are found by the index of errors
            error = number(schema.ERROR, "null")
        callback, output = get("callback"), get("output")
        action, asked, answered = get("action"), get("request_bytes"), get("response_bytes")
        for value in (action, asked, answered):
            if value is not None and (value.__class__ is not int or not -_LONGEST < value < _LONGEST):
                raise _Unfit
        if not route and route is not None:  # names no page
            if route.__class__ is not str:
                raise _Unfit
            rest, route = {**(rest or {}), "route": ""}, None
        control = get("trigger")
        if control == "":  # names no control
            rest, control = {**(rest or {}), "trigger": ""}, None
        if unfit:
            rest = {**(rest or {}), **unfit}
        event_id, whole = id_to_bytes(event.id)
        if not whole:
            rest = {"id": event.id, "rest": rest or {}}
        page = number(schema.PAGE, route) if route else None
        actor = who if user_id and user_id != ANONYMOUS else -seen if seen and visitor else None
        return (
            event_id,
            to_microseconds(event.timestamp),
            schema.VIEW if name == PAGE_VIEW else schema.RUN if name == CALLBACK else schema.CUSTOM,
            1 if automated or (unfit and unfit.get("automated")) else 0,
            1 if path and (name != CALLBACK or get("cause") == "user") else 0,
            actor,
            number(schema.CONTEXT, context),
            page if page != path_number else None,
            path_number,
            None if actor is not None and actor > 0 else who,
            number(schema.PERSON, self._joined(get("email"), get("full_name"), get("group"))),
            number(schema.CLIENT, self._joined(get("ip"), get("user_agent"))),
            seen,
            None if referrer is None else number(schema.REFERRER, referrer),
            None if callback is None and output is None else number(schema.CALLBACK, self._joined(callback, output)),
            None if control is None else number(schema.CONTROL, control),
            error,
            query if query is None or (query.isascii() and query.isprintable()) else to_column(query),
            load,
            action,
            duration,
            asked,
            answered,
            None if rest is None else to_json(rest),
        )

    def _number(self, kind: int, value: str) -> int | None:
        number = self._labels.numbers.get((kind, value))
        if number is None:
            if value.__class__ is not str:
                raise _Unfit
            self.missing.add((kind, value))
            self._lacking += 1
        return number

    def _joined(self, *texts: Any) -> str:
        joined = self._texts.get(texts)
        if joined is None:
            if not all(text is None or text.__class__ is str for text in texts):
                raise _Unfit
            joined = self._remember(self._texts, texts, json.dumps(texts))
        return joined

    def _shape(self, names: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """The known keys as one text, and the unknown ones."""
        known = " ".join(name for name in names if name in _KNOWN)
        unknown = tuple(name for name in names if name not in _KNOWN)
        self._remember(self._shapes, names, (known, unknown))
        return known, unknown

    def _base(self, root: str, path: str) -> str:
        if not (root.__class__ is path.__class__ is str):
            raise _Unfit
        return self._remember(self._bases, (root, path), base_url(root, path))

    def _context(self, key: tuple[Any, ...]) -> str:
        name, known, base_mode, url_mode, full_mode, unrouted, *values = key[: 6 + len(CONTEXT_KEYS)]
        for column, value in zip(CONTEXT_KEYS, values):
            if not _fits(column, value):
                raise _Unfit
        text = json.dumps(
            [name, known.split(), (base_mode, url_mode, full_mode), not unrouted, *values], separators=(",", ":")
        )
        return self._remember(self._contexts, key, text)

    @staticmethod
    def _remember(known: dict[K, V], key: K, value: V) -> V:
        if len(known) > REMEMBERED:
            known.clear()
        known[key] = value
        return value


class Decoder:
    """Makes events of rows."""

    def __init__(self) -> None:
        self._contexts: dict[int, Context] = {}

    def labels_of(self, rows: Sequence[Any]) -> set[Key]:
        """The numbers of the labels in *rows*, for `Labels.read`."""
        found = {(kind, getattr(row, name)) for name, kind in _LABELS.items() for row in rows}
        found |= {(schema.WHO, row.actor) for row in rows if row.actor is not None and row.actor > 0}
        return {(kind, number) for kind, number in found if number is not None}

    def context(self, number: int, values: Mapping[Key, str]) -> Context:
        """The context behind a label."""
        context = self._contexts.get(number)
        if context is None:
            if len(self._contexts) > REMEMBERED:
                self._contexts.clear()
            context = self._contexts[number] = Context.of(values[schema.CONTEXT, number])
        return context

    def event(self, row: Any, values: Mapping[Key, str]) -> Event:
        """The event of a *row* with `COLUMNS`, whose labels are in *values*."""
        context = self.context(row.context, values)
        rest = json.loads(row.rest) if row.rest else {}
        key = bytes(row.id)
        if key[:1] == b"\xfe" and len(key) == 33:
            event_id, rest = rest["id"], rest["rest"]
        else:
            event_id = id_from_bytes(key)
        base_mode, url_mode, full_mode = context.modes

        def text(name: str) -> str | None:
            number = getattr(row, name)
            return None if number is None else values[_LABELS[name], number]

        def texts(name: str) -> list[str | None]:
            joined = text(name)
            return [None, None, None] if joined is None else json.loads(joined)

        found = dict(context.values)
        path, root = text("path"), context.values["url_root"]
        query = None if row.query is None else from_column(row.query)
        base = (
            base_url(root, path or "") if base_mode == _RULE else rest.get("base_url") if base_mode == _REST else None
        )
        found["base_url"] = base
        found["url"] = None if url_mode != _RULE else f"{base}?{query}" if query else base
        found["full_path"] = f"{path}?{query}" if full_mode == _RULE else path if full_mode == _BARE else None
        found["path"] = path
        found["route"] = (path if row.page is None else text("page")) if context.routed else None
        found["user_id"] = values[schema.WHO, row.actor] if row.actor and row.actor > 0 else text("who")
        found["email"], found["full_name"], found["group"] = texts("person")
        found["ip"], found["user_agent"] = texts("client")[:2]
        found["visitor"], found["referrer"], found["trigger"] = text("visitor"), text("referrer"), text("control")
        found["callback"], found["output"] = texts("callback")[:2]
        found["error"] = None if row.error is None else json.loads(values[schema.ERROR, row.error])
        found["page_load"] = None if row.page_load is None else bytes(row.page_load).hex()
        found["duration_ms"] = None if row.duration is None else row.duration / 1000
        found["action"] = row.action
        found["request_bytes"], found["response_bytes"] = row.request_bytes, row.response_bytes
        data = {name: rest.pop(name) if name in rest else found[name] for name in context.keys}
        data.update(rest)
        return Event(id=event_id, event=context.name, timestamp=from_microseconds(row.ts), data=data)


def base_url(root: str, path: str) -> str:
    """The address of a page without its query, from the address of its app and its decoded path."""
    try:
        return "/".join(root.split("/", 3)[:3]) + encode_path(path)
    except UnicodeEncodeError:  # half a surrogate pair has no address
        return ""


def _is_place(error: object) -> bool:
    return (
        error.__class__ is dict
        and list(error) == ["type", "where"]
        and all(value is None or value.__class__ is str for value in error.values())
    )


def _fits(key: str, value: object) -> bool:
    """*value* is of the type that the column of *key* has."""
    if value is None:
        return True
    if key in _BOOLS:
        return isinstance(value, bool)
    if key in _INTEGERS:
        return value.__class__ is int and -_LONGEST < value < _LONGEST
    if key == "duration_ms":
        return value.__class__ in (float, int) and -1e15 < value < 1e15
    if key == "error":
        return _is_place(value)
    return value.__class__ is str


def columns_of(names: Collection[str] = COLUMNS) -> list[Any]:
    """Columns of the table of events, by name."""
    return [schema.event.c[name] for name in names]
