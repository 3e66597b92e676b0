"""Component ids and ``id.property``, plain and pattern-matching, as Dash writes them.

The renderer writes a dictionary id as JSON with sorted keys; a callback's own
specification has ``["ALL"]``, ``["MATCH"]`` or ``["ALLSMALLER"]`` in the place of a value
(``dash.dependencies``: ``stringify_id``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

#: What ``allow_duplicate`` puts behind an output: a hash of the inputs, md5 or sha256 by Dash's version.
_HASH = re.compile(r"@[0-9a-f]{32,64}")


def without_hash(output: str) -> str:
    """The key of a callback without what tells duplicates of an output apart."""
    return _HASH.sub("", output)


def outputs_of(output: str) -> list[str]:
    """The ``id.property`` that a callback's key names."""
    parts = output[2:-2].split("...") if output.startswith("..") and output.endswith("..") else [output]
    return [without_hash(part) for part in parts if "." in part]


def dictionary_of(identity: str) -> dict[str, Any] | None:
    """The dictionary that *identity* is the text of, None for a plain id."""
    if not identity.startswith("{"):
        return None
    try:
        found = json.loads(identity)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def text_of(identity: object) -> str:
    """*identity* as the renderer writes it: the text itself, or sorted JSON without spaces; "" for no id."""
    if isinstance(identity, str):
        return identity
    try:
        return json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def is_wildcard(value: object) -> bool:
    return isinstance(value, list)


def fits(pattern: dict[str, Any], identity: dict[str, Any]) -> bool:
    """*identity* is one of those that *pattern* stands for."""
    return pattern.keys() == identity.keys() and all(
        is_wildcard(value) or identity[key] == value for key, value in pattern.items()
    )


class Properties:
    """A set of ``id.property`` in which a pattern stands for all that fit it."""

    def __init__(self, properties: Iterable[str]) -> None:
        self._plain: set[str] = set()
        self._patterns: dict[str, list[dict[str, Any]]] = {}
        for item in properties:
            identity, _, name = item.rpartition(".")
            pattern = dictionary_of(identity)
            if pattern is None or not any(map(is_wildcard, pattern.values())):
                self._plain.add(item)
            else:
                self._patterns.setdefault(name, []).append(pattern)

    def __contains__(self, item: object) -> bool:
        return item in self._plain or (isinstance(item, str) and self.pattern_of(item) is not None)

    def pattern_of(self, item: str) -> str | None:
        """The pattern that *item* fits, as ``{"index":ALL,"type":"row"}.n_clicks``; None where none does."""
        identity, _, name = item.rpartition(".")
        candidates = self._patterns.get(name)
        values = dictionary_of(identity) if candidates else None
        if values is None:
            return None
        found = next((pattern for pattern in candidates or () if fits(pattern, values)), None)
        return None if found is None else f"{_pattern_text(tuple(sorted(found.items(), key=_key)))}.{name}"


def _key(item: tuple[str, Any]) -> str:
    return item[0]


def _pattern_text(items: tuple[tuple[str, Any], ...]) -> str:
    parts = (
        f"{json.dumps(key)}:{value[0] if is_wildcard(value) and value else json.dumps(value)}" for key, value in items
    )
    return "{" + ",".join(parts) + "}"
