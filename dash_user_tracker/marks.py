"""What the page script says about the page a request came from.

The header is written by ``page_script.js`` and read here, on the worker. A client can
write anything into it: what cannot be read is None, and a mark says nothing about who
the user is.
"""

from __future__ import annotations

import json
import re
import uuid

import attrs

from .addresses import sound_text
from .request import MARK_LIMIT, TEXT_LIMIT

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

    number: int  # counts from 1 within the page load
    navigation: str
    address: str  # path and query as in the address bar, percent-encoded
    age: float  # seconds before the request, clamped to 0..MAX_AGE
    referrer: str | None = None


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


def mark_of(text: str | None) -> Mark | None:
    """The page script's header read, None where there is none or it is not its writing."""
    if not text or len(text) > MARK_LIMIT:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    page_load, address, action = document.get("i"), _address(document.get("p")), document.get("a", 0)
    if not isinstance(page_load, str) or not _PAGE_LOAD.fullmatch(page_load) or address is None:
        return None
    told = document.get("v", [])
    if not _is_count(action) or not isinstance(told, list) or len(told) > MAX_VIEWS:
        return None
    views = tuple(view for view in map(_view, told) if view is not None)
    return Mark(
        page_load, address, action, views, document.get("f") == 1, _seconds(document.get("r")), document.get("c") == 1
    )


def _view(item: object) -> View | None:
    if not isinstance(item, list) or len(item) != 5:
        return None
    number, navigation, address, age, referrer = item[0], item[1], _address(item[2]), item[3], item[4]
    if not _is_count(number) or navigation not in ("l", "i") or address is None:
        return None
    # A comparison that NaN and infinity fail, too.
    milliseconds = age if isinstance(age, (int, float)) and 0 <= age <= MAX_AGE * 1000 else MAX_AGE * 1000
    if isinstance(age, (int, float)) and age < 0:
        milliseconds = 0
    return View(
        number=number,
        navigation=LOAD if navigation == "l" else INTERNAL,
        address=address,
        age=milliseconds / 1000,
        referrer=sound_text(referrer[:TEXT_LIMIT]) if isinstance(referrer, str) and referrer else None,
    )


def _seconds(milliseconds: object) -> float | None:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        return None
    return milliseconds / 1000 if 0 <= milliseconds < 1e9 else None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _address(value: object) -> str | None:
    return sound_text(value[:TEXT_LIMIT]) if isinstance(value, str) and value.startswith("/") else None
