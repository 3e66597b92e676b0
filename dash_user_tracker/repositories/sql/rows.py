"""Rows of events: their columns, and what the combinations of values in a label of the kind CONTEXT say."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

import attrs

from ...addresses import encode_path
from . import schema

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
KNOWN = _BOOLS | _INTEGERS | _TEXTS | {"duration_ms", "error"}

#: How `base_url`, `url` and `full_path` follow from the rest: null, by the rule, or they are in `rest`.
NULL, RULE, REST, BARE = range(4)

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

LABELS = {
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
LONGEST = 1 << 62

Row = tuple[Any, ...]


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


def base_url(root: str, path: str) -> str:
    """The address of a page without its query, from the address of its app and its decoded path."""
    try:
        return "/".join(root.split("/", 3)[:3]) + encode_path(path)
    except UnicodeEncodeError:  # half a surrogate pair has no address
        return ""


def is_place(error: object) -> bool:
    return (
        error.__class__ is dict
        and list(error) == ["type", "where"]
        and all(value is None or value.__class__ is str for value in error.values())
    )


def fits(key: str, value: object) -> bool:
    """*value* is of the type that the column of *key* has."""
    if value is None:
        return True
    if key in _BOOLS:
        return isinstance(value, bool)
    if key in _INTEGERS:
        return value.__class__ is int and -LONGEST < value < LONGEST
    if key == "duration_ms":
        return value.__class__ in (float, int) and -1e15 < value < 1e15
    if key == "error":
        return is_place(value)
    return value.__class__ is str


def columns_of(names: Collection[str] = COLUMNS) -> list[Any]:
    """Columns of the table of events, by name."""
    return [schema.event.c[name] for name in names]
