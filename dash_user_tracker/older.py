"""Events as version 1 of this package, and servers written for it, have them.

They have no id, the page of a ``page_interaction`` is only in its referrer, and it holds
the values of inputs: those are not taken over.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from .callbacks import trigger_of
from .codec import to_json
from .documents import is_robot
from .events import ANONYMOUS, CALLBACK, PAGE_KEYS, PAGE_VIEW
from .request import CallbackRequest

INTERACTION = "page_interaction"

_IDS = uuid.UUID("3f1c3a55-6d6a-4a0e-9a2f-0d5e6d6b8b11")  # namespace of ids made of content (RFC 9562, 5.5)
_CALLBACKS = "_dash-update-component"


def is_older(document: Mapping[str, Any]) -> bool:
    """The document is an event without an id."""
    return document.get("id") is None and {"event", "timestamp", "data"} <= set(document)


def modernised(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same event in today's wire format; what is no event stays as it is.

    The id follows from the content, so that the same event has the same id each time; two
    that say the same of the same microsecond are one.
    """
    data = document["data"]
    event_id = str(uuid.uuid5(_IDS, to_json([document["event"], document["timestamp"], data])))
    found = {"id": event_id, "event": document["event"], "timestamp": document["timestamp"], "data": data}
    if not isinstance(data, Mapping) or not ("endpoint" in data or document["event"] == INTERACTION):
        return found
    page = _page(data, interaction=document["event"] == INTERACTION)
    if document["event"] == PAGE_VIEW:
        arrived = _split(_text(data.get("url"))).path
        page["navigation"] = "internal" if _CALLBACKS in arrived else "load"
    elif document["event"] == INTERACTION:
        found["event"] = CALLBACK
        page.update(_run(data.get("interaction")))
    return {**found, "data": page}


def _page(data: Mapping[str, Any], *, interaction: bool) -> dict[str, Any]:
    """The keys of every event; the addresses are those of the page, not of the request that Dash made."""
    page: dict[str, Any] = {key: data.get(key) for key in PAGE_KEYS}
    for key in ("user_id", "email", "full_name"):
        page[key] = ANONYMOUS if data.get(key) is None else str(data[key])
    url, referrer = _text(data.get("url")), _text(data.get("referrer"))
    if _CALLBACKS in _split(url).path:
        # An interaction's page is where it was sent from; a navigation's is the path, without the rest of the address.
        path = unquote(_split(referrer).path) if interaction else _text(data.get("path"))
        query = _split(referrer).query if interaction else ""
        base = "/".join(url.split("/", 3)[:3]) + (_split(referrer).path if interaction else path)
        page.update(
            path=path or None,
            base_url=base if path else None,
            url=(f"{base}?{query}" if query else base) if path else None,
            full_path=f"{path}?{query}" if path else None,
            referrer=None,
        )
    page["method"] = "GET"
    automated = page["user_id"] == ANONYMOUS and is_robot(_text(data.get("user_agent")))
    page.update(visitor=None, route=None, page_known=None, page_load=None)
    page.update(automated=automated, automated_reason="user agent" if automated else None)
    return page


def _run(interaction: object) -> dict[str, Any]:
    """What was recorded of a callback: not how long it took, nor how it ended, nor who or what caused it."""
    known = interaction if isinstance(interaction, Mapping) else {}
    changed = known.get("changed_props")
    triggers = tuple(each for each in changed if isinstance(each, str)) if isinstance(changed, list) else ()
    name = _text(known.get("output")) or _output_name(known.get("outputs"))
    return {
        "callback": None,
        "output": name,
        "trigger": trigger_of(CallbackRequest(output=name or "", changed=triggers)),
        "cause": "unknown" if triggers else "initial",
        "action": None,
        "status": None,
        "outcome": None,
        "duration_ms": None,
        "error": None,
        "request_bytes": None,
        "response_bytes": None,
        "background": None,
    }


def _output_name(outputs: object) -> str | None:
    """``id.property`` of one output, ``..a.b...c.d..`` of several, as Dash writes them."""
    several = isinstance(outputs, list)
    names = []
    for each in outputs if isinstance(outputs, list) else [outputs]:
        if isinstance(each, Mapping) and "property" in each:
            identity = each.get("id")
            names.append(f"{identity if isinstance(identity, str) else to_json(identity)}.{each['property']}")
    if not names:
        return None
    return f"..{'...'.join(names)}.." if several else names[0]


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # no address
        return urlsplit("")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
