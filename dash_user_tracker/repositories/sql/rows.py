"""Events as rows, and rows as events, exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter
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
#: Keys of ``data`` that say who did it.
_PERSON_KEYS = ("user_id", "email", "full_name", "group", "ip", "user_agent", "visitor")
#: Keys of ``data`` that callbacks have.
_RUN_KEYS = frozenset(
    [
        "callback",
        "output",
        "trigger",
        "action",
        "duration_ms",
        "outcome",
        "error",
        "request_bytes",
        "response_bytes",
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
#: Values that come together which an encoder remembers, of each sort.
_TOGETHER = 10_000

Row = tuple[Any, ...]
K = TypeVar("K")
V = TypeVar("V")


class _Unfit(Exception):
    """A value is not of the type of its column."""


def _getter(keys: Sequence[str]) -> Callable[[dict[str, Any]], Any]:
    """A function that takes the values of *keys* out of a dictionary, which has them."""
    return itemgetter(*keys) if keys else lambda _: ()


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


@attrs.frozen
class Marks:
    """What a driver takes for null, and for bytes."""

    null: Any = None
    binary: Callable[[bytes], Any] = bytes


#: Python's sqlite3 looks for an adapter of each None and each bytes that it binds, but not of floats and bytearrays:
#: more than a third of the CPU of an insertion. SQLite makes null of NaN (https://www.sqlite.org/floatingpoint.html).
SQLITE_MARKS = Marks(math.nan, bytearray)
OTHER_MARKS = Marks()


@attrs.frozen(eq=False)
class _Shape:
    """What the keys of `data` say, for all events that have the same ones in the same order."""

    known: str  # the known ones, as one text
    unknown: tuple[str, ...]
    context: Callable[[dict[str, Any]], Any]  # the values of those in `CONTEXT_KEYS`
    person: Callable[[dict[str, Any]], Any]  # and in `_PERSON_KEYS`
    people: dict[Any, tuple[Any, ...]]  # by the latter, what `Encoder._person` makes of them
    is_run: bool  # some of `_RUN_KEYS` are there


class Encoder:
    """Makes rows of events. Where labels are missing they are in *missing*, and `complete` makes those rows again.

    Values that come together again and again, those of a page or a person, are remembered together, with their numbers.
    """

    def __init__(self, labels: Labels, marks: Marks = OTHER_MARKS) -> None:
        self._labels = labels
        self._null, self._binary = marks.null, marks.binary
        self._shapes: dict[tuple[str, ...], _Shape] = {}
        self._bases: dict[tuple[str, str], str] = {}
        self._texts: dict[tuple[Any, ...], str] = {}
        self._loads: dict[str, Any] = {}
        self._contexts = labels.dependent()
        self._pages = labels.dependent()
        self._people: dict[tuple[str, ...], dict[Any, tuple[Any, ...]]] = {}  # by the keys that are there
        self._runs = labels.dependent()
        self._referrers = labels.dependent()
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
        get, null = data.get, self._null
        names = tuple(data)
        shape = self._shapes.get(names) or self._shape(names)
        rest: dict[str, Any] | None = {key: data[key] for key in shape.unknown} if shape.unknown else None
        path, base = get("path"), get("base_url")
        key: Any = (path, base, get("url_root"), get("route"))
        path_number, page, begin, base_mode, routed = self._pages.get(key) or self._page(*key)
        if base_mode == _REST:
            rest = {**(rest or {}), "base_url": base}
        if routed is None:  # the route is empty: it names no page
            rest = {**(rest or {}), "route": ""}
        full, query = get("full_path"), None
        if full is None:
            full_mode = _NULL
        elif begin is not None and full.startswith(begin):
            full_mode, query = _RULE, full[len(begin) :]
        elif full == path:
            full_mode = _BARE
        else:
            full_mode, rest = _REST, {**(rest or {}), "full_path": full}
        url = get("url")
        if url is None:
            url_mode = _NULL
        elif base is not None and url == (f"{base}?{query}" if query else base):
            url_mode = _RULE
        else:
            url_mode, rest = _REST, {**(rest or {}), "url": url}
        key = (
            event.event, shape.known, base_mode, url_mode, full_mode, routed, shape.context(data),
            # 1 == True == 1.0
            get("page_known").__class__, get("automated").__class__, get("status").__class__,
            get("background").__class__,
        )  # fmt: skip
        context, kind, automated, acts = self._contexts.get(key) or self._context(key, data)
        key = shape.person(data)
        actor, who, person, client, visitor = shape.people.get(key) or self._person(shape, key, data)
        referrer = get("referrer")
        if referrer is None:
            referrer = null
        elif "?" in referrer:  # those with a query are too many to be labels
            rest, referrer = {**(rest or {}), "referrer": referrer}, null
        else:
            referrer = self._referrers.get(referrer) or self._referrer(referrer)
        load = get("page_load")
        if load is None:
            load = null
        else:
            packed = self._loads.get(load) or self._load(load)
            if packed is None:
                rest = {**(rest or {}), "page_load": load}
                packed = self._binary(text_to_bytes(load)) if load.__class__ is str and load else null
            load = packed
        callback = control = error = action = duration = asked = answered = null
        if shape.is_run:
            duration = get("duration_ms")
            if duration is None:
                duration = null
            else:
                if duration.__class__ is not float or not -1e15 < duration < 1e15:
                    if duration.__class__ is not int or not -(10**15) < duration < 10**15:
                        raise _Unfit
                    rest = {**(rest or {}), "duration_ms": duration}
                microseconds = round(duration * 1000)
                if microseconds / 1000 != duration:
                    rest = {**(rest or {}), "duration_ms": duration}
                duration = microseconds
            error = get("error")
            if error is not None:
                if not _is_place(error):
                    raise _Unfit
                error = self._number(schema.ERROR, to_json(error))
            elif get("outcome") == "error":  # so that failures are found by the index of errors
                error = self._number(schema.ERROR, "null")
            else:
                error = null
            key = (get("callback"), get("output"), get("trigger"))
            callback, control = self._runs.get(key) or self._run(*key)
            if key[2] == "":  # names no control
                rest = {**(rest or {}), "trigger": ""}
            action, asked, answered = get("action"), get("request_bytes"), get("response_bytes")
            if action is None:
                action = null
            elif action.__class__ is not int or not -_LONGEST < action < _LONGEST:
                raise _Unfit
            if asked is None:
                asked = null
            elif asked.__class__ is not int or not -_LONGEST < asked < _LONGEST:
                raise _Unfit
            if answered is None:
                answered = null
            elif answered.__class__ is not int or not -_LONGEST < answered < _LONGEST:
                raise _Unfit
        if unfit:
            rest = {**(rest or {}), **unfit}
            automated = 1 if automated or unfit.get("automated") else 0
        event_id, whole = id_to_bytes(event.id)
        if not whole:
            rest = {"id": event.id, "rest": rest or {}}
        return (
            self._binary(event_id),
            to_microseconds(event.timestamp),
            kind,
            automated,
            1 if acts and path else 0,
            actor,
            context,
            page,
            path_number,
            who,
            person,
            client,
            visitor,
            referrer,
            callback,
            control,
            error,
            null if query is None else query if query.isascii() and query.isprintable() else to_column(query),
            load,
            action,
            duration,
            asked,
            answered,
            null if rest is None else to_json(rest),
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
            joined = self._remember(self._texts, texts, json.dumps(texts), REMEMBERED)
        return joined

    def _shape(self, names: tuple[str, ...]) -> _Shape:
        person = tuple(name for name in _PERSON_KEYS if name in names)
        if person not in self._people:
            self._people[person] = self._labels.dependent()
        shape = _Shape(
            known=" ".join(name for name in names if name in _KNOWN),
            unknown=tuple(name for name in names if name not in _KNOWN),
            context=_getter([name for name in CONTEXT_KEYS if name in names]),
            person=_getter(person),
            people=self._people[person],
            is_run=not _RUN_KEYS.isdisjoint(names),
        )
        return self._remember(self._shapes, names, shape)

    def _page(self, path: Any, base: Any, root: Any, route: Any) -> tuple[Any, ...]:
        """The columns `path` and `page`, what begins a full path, how the base follows, and whether there is a route.

        The last is None for an empty one.
        """
        lacking, null = self._lacking, self._null
        if base is None:
            mode = _NULL
        else:
            mode = _RULE if path is not None and root is not None and base == self._base(root, path) else _REST
        if not route and route is not None and route.__class__ is not str:
            raise _Unfit
        number = null if path is None else self._number(schema.PAGE, path)
        page = self._number(schema.PAGE, route) if route else null
        routed = True if route else None if route == "" else False
        found = number, null if page == number else page, None if path is None else f"{path}?", mode, routed
        return found if self._lacking != lacking else self._remember(self._pages, (path, base, root, route), found)

    def _base(self, root: str, path: str) -> str:
        base = self._bases.get((root, path))
        if base is None:
            if not (root.__class__ is path.__class__ is str):
                raise _Unfit
            base = self._remember(self._bases, (root, path), base_url(root, path))
        return base

    def _context(self, key: tuple[Any, ...], data: dict[str, Any]) -> tuple[Any, ...]:
        """The columns `context`, `kind` and `automated`, and whether such an event is an activity if it has a page."""
        name, known, base_mode, url_mode, full_mode, routed, *_ = key
        values = [data.get(column) for column in CONTEXT_KEYS]
        for column, value in zip(CONTEXT_KEYS, values):
            if not _fits(column, value):
                raise _Unfit
        text = json.dumps(
            [name, known.split(), (base_mode, url_mode, full_mode), bool(routed), *values], separators=(",", ":")
        )
        number = self._number(schema.CONTEXT, text)
        kind = schema.VIEW if name == PAGE_VIEW else schema.RUN if name == CALLBACK else schema.CUSTOM
        found = number, kind, int(bool(data.get("automated"))), kind != schema.RUN or data.get("cause") == "user"
        return found if number is None else self._remember(self._contexts, key, found)

    def _person(self, shape: _Shape, key: Any, data: dict[str, Any]) -> tuple[Any, ...]:
        """The columns `actor`, `who`, `person`, `client` and `visitor`."""
        lacking, null, number, get = self._lacking, self._null, self._number, data.get
        user_id, visitor = get("user_id"), get("visitor")
        who = number(schema.WHO, user_id) if user_id is not None else None
        seen = number(schema.VISITOR, visitor) if visitor is not None else None
        person = number(schema.PERSON, self._joined(get("email"), get("full_name"), get("group")))
        client = number(schema.CLIENT, self._joined(get("ip"), get("user_agent")))
        is_person = user_id and user_id != ANONYMOUS
        actor = who if is_person else -seen if seen and visitor else None
        columns = actor, None if is_person else who, person, client, seen
        found = tuple(null if value is None else value for value in columns)
        return found if self._lacking != lacking else self._remember(shape.people, key, found)

    def _run(self, callback: Any, output: Any, trigger: Any) -> tuple[Any, Any]:
        """The columns `callback` and `control`."""
        lacking, null = self._lacking, self._null
        found = (
            null
            if callback is None and output is None
            else self._number(schema.CALLBACK, self._joined(callback, output)),
            null if trigger is None or trigger == "" else self._number(schema.CONTROL, trigger),
        )
        return found if self._lacking != lacking else self._remember(self._runs, (callback, output, trigger), found)

    def _referrer(self, referrer: str) -> int | None:
        number = self._number(schema.REFERRER, referrer)
        return number if number is None else self._remember(self._referrers, referrer, number)

    def _load(self, load: Any) -> Any:
        """The column `page_load`; None for a text that is not hexadecimal digits."""
        packed = hex_to_bytes(load)
        return None if packed is None else self._remember(self._loads, load, self._binary(packed))

    @staticmethod
    def _remember(known: dict[K, V], key: K, value: V, most: int = _TOGETHER) -> V:
        if len(known) > most:
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
