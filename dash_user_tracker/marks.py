"""What the page script says about the page a request came from.

The header is written by ``page_script.js`` and read here, on the worker. A client can
write anything into it: what cannot be read is None, and a mark says nothing about who
the user is.
"""

from __future__ import annotations

import functools
import json
import re
import uuid
from typing import TYPE_CHECKING

import attrs

from .addresses import sound_text
from .request import MARK_LIMIT, TEXT_LIMIT

if TYPE_CHECKING:
    from typing import TypeGuard  # needs Python 3.10

LOAD = "load"
INTERNAL = "internal"

#: More views than this in one header are not believed: the script tells each as soon as it can.
MAX_VIEWS = 5
#: Seconds. The script reports a view within this, or its clock was set.
MAX_AGE = 10.0

_PAGE_LOAD = re.compile(r"[0-9a-f]{8,32}")
_VIEWS = uuid.UUID("5d8f2f2e-6a3b-4c58-9a51-3c9e0f4f7a10")  # namespace of view ids (RFC 4122, 4.3)


@attrs.frozen
class View:
    """One page view told by the page script."""

    number: int  # counts from 1, which is the load itself
    address: str  # path and query as in the address bar, percent-encoded
    age: float  # seconds before the request, clamped to 0..MAX_AGE
    referrer: str | None = None

    @property
    def navigation(self) -> str:
        """How the page came to be shown."""
        return LOAD if self.number == 1 else INTERNAL


@attrs.frozen
class Mark:
    """What the page script said about the page that sent a request."""

    page_load: str
    address: str
    action: int  # counts the user's actions on the page
    views: tuple[View, ...] = ()
    fresh: bool = False  # the user acted a moment ago and no callback was answered since
    run_age: float | None = None  # seconds since the background run began that this request polls for
    cancelled: bool = False  # that run

    def view_id(self, view: View) -> str:
        """The same id whenever and wherever the same view is told again."""
        return str(uuid.uuid5(_VIEWS, f"{self.page_load}/{view.number}/{view.address}"))


@functools.lru_cache(128)
def mark_of(text: str | None) -> Mark | None:
    """The page script's header read, None where there is none or it is not its writing.

    An object: ``i`` page load, ``p`` address (0: that of the first view told), ``a`` actions until now, ``f`` fresh,
    ``t`` when what it says was true and ``n`` now (milliseconds by the browser's clock, of which the difference
    counts), ``c`` cancelled, ``v`` views, the newest first: number, address, time, referrer, times told in vain.
    """
    if not text or len(text) > MARK_LIMIT:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    page_load, address, action = document.get("i"), document.get("p"), document.get("a", 0)
    told, now = document.get("v", []), document.get("n")
    if not isinstance(page_load, str) or not _PAGE_LOAD.fullmatch(page_load):
        return None
    if not _is_count(action) or not isinstance(told, list) or len(told) > MAX_VIEWS:
        return None
    views = [view for item in told if (view := _view(item, now)) is not None]
    address = views[0].address if address == 0 and views else _address(address)
    if address is None:
        return None
    return Mark(
        page_load,
        address,
        action,
        tuple(reversed(views)),
        document.get("f") is True,
        _seconds(document.get("t"), now),
        document.get("c") is True,
    )


def _view(item: object, now: object) -> View | None:
    if not isinstance(item, list) or len(item) < 4:
        return None
    number, address, referrer = item[0], _address(item[1]), item[3]
    if not _is_count(number) or number == 0 or address is None:
        return None
    age = _seconds(item[2], now)
    return View(
        number=number,
        address=address,
        age=MAX_AGE if age is None else min(age, MAX_AGE),
        referrer=sound_text(referrer[:TEXT_LIMIT]) if isinstance(referrer, str) and referrer else None,
    )


def _seconds(then: object, now: object) -> float | None:
    """Between two times of a browser's clock, which may have been put back meanwhile; None where one is no time."""
    return max(0, now - then) / 1000 if _is_count(then) and _is_count(now) else None


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _address(value: object) -> str | None:
    return sound_text(value[:TEXT_LIMIT]) if isinstance(value, str) and value.startswith("/") else None
