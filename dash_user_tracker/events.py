"""An event: what happened, when, and on which page."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

import attrs

PAGE_VIEW = "page_view"
CALLBACK = "callback"

#: Keys that ``data`` of every event has, in the order of the wire format.
PAGE_KEYS = (
    "app_name",
    "ip",
    "user_agent",
    "base_url",
    "url",
    "url_root",
    "referrer",
    "path",
    "full_path",
    "method",
    "user_id",
    "email",
    "full_name",
)

ANONYMOUS = "anonymous"


def new_id() -> str:
    """A UUID of this moment (version 7) as text: milliseconds, then 73 random bits.

    Ids that follow one another lie close together in the index of a database (RFC 9562, 5.7 and 6.2).
    """
    return next(new_ids())


def new_ids() -> Iterator[str]:
    """Ids as `new_id` makes them, without an end: of one moment, the random bits of the first counted up by the others.

    For one thread. After a fork one side of it has to throw the iterator away, or both would make the same ids.
    """
    moment = f"{time.time_ns() // 1_000_000 & _48_BITS:012x}"
    digits = os.urandom(10).hex()
    head = f"{moment[:8]}-{moment[8:]}-7{digits[:3]}-{_VARIANT[digits[3]]}{digits[4:7]}"
    first = int(digits[7:17], 16) >> 1  # a bit less than there is room for, so that it does not overflow
    # Numbers are formatted for 256 ids at once, of which the first ones are left out at random.
    start = int(digits[17:19], 16)
    for number in itertools.count(first):
        front = f"{head}-{number:010x}"
        for last in _BYTES[start:]:
            yield front + last
        start = 0


_BYTES = tuple([f"{byte:02x}" for byte in range(256)])

_48_BITS = (1 << 48) - 1

#: The first digit of a UUID's fourth group, of which two bits are fixed (RFC 9562, 4.1).
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"timestamp must be an aware datetime, got {value!r}")
    return value if value.tzinfo is timezone.utc else value.astimezone(timezone.utc)


@attrs.frozen
class Event:
    """One observation in the documented wire format.

    *id* is unique and stays the same over retries; *event* is ``page_view``,
    ``callback`` or the name given to ``Tracker.track``; *timestamp* is aware and kept
    in UTC; *data* is a JSON object with at least `PAGE_KEYS`. The mapping must not be
    changed once it is in an event.
    """

    id: str
    event: str
    timestamp: datetime = attrs.field(converter=_utc)
    data: Mapping[str, Any]

    @classmethod
    def new(cls, event: str, data: Mapping[str, Any], *, timestamp: datetime | None = None) -> Event:
        """An event that happened now, or at *timestamp*, under a fresh id.

        Document keys missing from *data* are filled: null, and `ANONYMOUS` for the three of the user.
        """
        page: dict[str, Any] = dict.fromkeys(PAGE_KEYS)
        page.update(user_id=ANONYMOUS, email=ANONYMOUS, full_name=ANONYMOUS)
        page.update(data)
        return cls(
            id=new_id(),
            event=event,
            timestamp=timestamp or datetime.now(timezone.utc),
            data=page,
        )

    def to_dict(self) -> dict[str, Any]:
        """The wire format: a new JSON-ready dictionary, sharing the values of *data*."""
        return {
            "id": self.id,
            "event": self.event,
            "timestamp": self.timestamp.isoformat(),
            "data": dict(self.data),
        }
