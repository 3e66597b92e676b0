"""Event data whose parts many events have in common: each part is made, and written as JSON, once for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Shared:
    """Keys and values, at least one, that the data of many events has. Never changed once it is made."""

    __slots__ = ("data", "parts", "text")

    def __init__(self, data: dict[str, Any], parts: tuple[Shared, ...] = ()) -> None:
        self.data = data
        self.parts = parts  # that it is made of, if it is
        #: Its JSON without the braces, once `codec` has written it.
        self.text: str | None = None

    @classmethod
    def of(cls, *parts: Shared) -> Shared:
        """All that *parts* hold, as one."""
        data: dict[str, Any] = {}
        for part in parts:
            data.update(part.data)
        return cls(data, parts)


class SharedData(dict[str, Any]):
    """An event's data out of *parts* and what is the event's *own*; no key is in two of them.

    A mapping like any other to whoever reads it. Neither it nor *own* may be changed.
    """

    __slots__ = ("own", "parts")

    parts: tuple[Shared, ...]
    own: Mapping[str, Any]

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or what a pickle becomes, is a plain dictionary: it may be changed."""
        return dict, (dict(self),)

    @classmethod
    def of(cls, parts: tuple[Shared, ...], own: Mapping[str, Any]) -> SharedData:
        self = cls(parts[0].data)  # copied at once, where an __init__ would be a call more for each event
        for part in parts[1:]:
            self.update(part.data)
        self.update(own)
        self.parts = parts
        self.own = own
        return self
