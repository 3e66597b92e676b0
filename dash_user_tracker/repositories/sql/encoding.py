"""Events as rows, exactly."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeVar

import attrs

from ...codec import to_json
from ...events import ANONYMOUS, CALLBACK, PAGE_VIEW, Event
from . import schema
from .labels import REMEMBERED, Labels
from .rows import BARE, CONTEXT_KEYS, KNOWN, LONGEST, NULL, REST, RULE, Row, base_url, fits, is_place
from .texts import hex_to_bytes, id_to_bytes, text_to_bytes, to_column, to_microseconds

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
#: Values that come together which an encoder remembers, of each sort.
_TOGETHER = 10_000

K = TypeVar("K")
V = TypeVar("V")


class _Unfit(Exception):
    """A value is not of the type of its column."""


def _getter(keys: Sequence[str]) -> Callable[[dict[str, Any]], Any]:
    """A function that takes the values of *keys* out of a dictionary, which has them."""
    return itemgetter(*keys) if keys else lambda _: ()


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
            unfit = {key: value for key, value in data.items() if key in KNOWN and not fits(key, value)}
            return self._fast(event, {**data, **dict.fromkeys(unfit)}, unfit)

    def _fast(self, event: Event, data: dict[str, Any], unfit: dict[str, Any] | None) -> Row:
        get, null = data.get, self._null
        names = tuple(data)
        shape = self._shapes.get(names) or self._shape(names)
        rest: dict[str, Any] | None = {key: data[key] for key in shape.unknown} if shape.unknown else None
        path, base = get("path"), get("base_url")
        key: Any = (path, base, get("url_root"), get("route"))
        path_number, page, begin, base_mode, routed = self._pages.get(key) or self._page(*key)
        if base_mode == REST:
            rest = {**(rest or {}), "base_url": base}
        if routed is None:  # the route is empty: it names no page
            rest = {**(rest or {}), "route": ""}
        full, query = get("full_path"), None
        if full is None:
            full_mode = NULL
        elif begin is not None and full.startswith(begin):
            full_mode, query = RULE, full[len(begin) :]
        elif full == path:
            full_mode = BARE
        else:
            full_mode, rest = REST, {**(rest or {}), "full_path": full}
        url = get("url")
        if url is None:
            url_mode = NULL
        elif base is not None and url == (f"{base}?{query}" if query else base):
            url_mode = RULE
        else:
            url_mode, rest = REST, {**(rest or {}), "url": url}
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
                if not is_place(error):
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
            elif action.__class__ is not int or not -LONGEST < action < LONGEST:
                raise _Unfit
            if asked is None:
                asked = null
            elif asked.__class__ is not int or not -LONGEST < asked < LONGEST:
                raise _Unfit
            if answered is None:
                answered = null
            elif answered.__class__ is not int or not -LONGEST < answered < LONGEST:
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
            known=" ".join(name for name in names if name in KNOWN),
            unknown=tuple(name for name in names if name not in KNOWN),
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
            mode = NULL
        else:
            mode = RULE if path is not None and root is not None and base == self._base(root, path) else REST
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
            if not fits(column, value):
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
