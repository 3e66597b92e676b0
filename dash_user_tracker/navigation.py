"""Which page a callback belongs to, and which callback stands for a page view.

From one request the server cannot tell a page load from an internal navigation, but it
need not: a callback that is sent once for each of both counts them. Everything here is
decided from what a client sent, so nothing raises: what cannot be read is None.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from .addresses import sound_text, wsgi_text
from .component_ids import dictionary_of, fits, outputs_of, text_of
from .request import TEXT_LIMIT, CallbackRequest, Observation

_POLL = re.compile(r"(?:^|&)(?:cacheKey|job)=")

#: Inputs of a callback that are looked at for an address, and changed properties that are kept.
_MOST_INPUTS = 50
_MOST_CHANGED = 5

#: Makes a named tuple of values in their order, without a call of its `__new__`.
_new = tuple.__new__

# What a location's callback inputs are called (dcc.Location).
_ADDRESSES = ("pathname", "href")
_ADDRESS_PROPERTIES = (".pathname", ".href")


def referred_path(observation: Observation) -> str | None:
    """The decoded path of the page a request came from by its Referer, None where that names another host."""
    return _path_below(observation.referrer, observation.host) if observation.referrer else None


@functools.lru_cache(256)
def _path_below(referrer: str, host: str) -> str | None:
    try:
        parts = urlsplit(referrer)
    except ValueError:
        return None
    if host and parts.netloc != host:
        return None
    return unquote(wsgi_text(parts.path) or "/", errors="replace")


def callback_request(body: object) -> CallbackRequest | None:
    """What identifies the callback in a decoded body of ``_dash-update-component``; None for any other document."""
    try:
        # Nearly all are like this one, and each call counts: this runs on the request thread, cold.
        output, raw, inputs = body["output"], body["changedPropIds"], body["inputs"]  # type: ignore[index]
        text = "".join([output, *raw])
        if raw.__class__ is list and len(raw) <= _MOST_CHANGED and len(text) <= TEXT_LIMIT and text.isascii():
            changed, pathname = tuple(raw), None
            for item in inputs if len(inputs) <= _MOST_INPUTS else inputs[:_MOST_INPUTS]:
                if item.__class__ is not dict or item["property"] in _ADDRESSES:
                    pathname = _pathname(inputs[:_MOST_INPUTS], changed)
                    break
            return _new(CallbackRequest, (output, changed, pathname))
    except (KeyError, TypeError):
        pass
    return _any_callback_request(body)


def _any_callback_request(body: object) -> CallbackRequest | None:
    """`callback_request` of whatever a client may send."""
    if not isinstance(body, dict):
        return None
    output = body.get("output")
    if not isinstance(output, str):
        return None
    raw = body.get("changedPropIds")
    raw = raw[:_MOST_CHANGED] if isinstance(raw, list) else []
    changed = tuple([_kept(item) for item in raw if isinstance(item, str)])
    inputs = body.get("inputs")
    pathname = _pathname(inputs[:_MOST_INPUTS], changed) if isinstance(inputs, list) else None
    return CallbackRequest(_kept(output), changed, pathname)


def _kept(text: str) -> str:
    text = text[:TEXT_LIMIT]
    return text if text.isascii() else sound_text(text)


def _pathname(inputs: list[object], changed: tuple[str, ...]) -> str | None:
    """The address a location input holds: the changed one's, else the first."""
    found = None
    for item in inputs:
        for inner in item[:_MOST_INPUTS] if isinstance(item, list) else (item,):  # a wildcard (ALL) input is a list
            if not isinstance(inner, dict):
                continue
            name, value = inner.get("property"), inner.get("value")
            if name not in _ADDRESSES or not isinstance(value, str):
                continue
            if name == "href":
                try:
                    value = urlsplit(value).path or "/"
                except ValueError:
                    continue
            if not value.startswith("/"):
                continue
            if _kept(f"{text_of(inner.get('id'))}.{name}") in changed:
                return _kept(value)
            found = found or _kept(value)
    return found


def navigated_path(call: CallbackRequest) -> str | None:
    """The decoded pathname of a callback that an address change triggered, None for any other."""
    if call.pathname is None or not any(item.endswith(_ADDRESS_PROPERTIES) for item in call.changed):
        return None
    return unquote(call.pathname, errors="replace")


def is_poll(query: str) -> bool:
    """The request asks for a running background callback (``cacheKey``, ``job``; Dash's ``background_callback``)."""
    return "=" in query and _POLL.search(query) is not None


def canonical_output(specs: Iterable[Mapping[str, Any]], layout_ids: frozenset[str] | None) -> str | None:
    """The callback that is sent exactly once for each page view, None where the app has none.

    That is a server callback whose Input is a location's ``pathname`` (else ``href``) and
    whose location and outputs are all in the start layout (*layout_ids*, None where that is
    not known). The router of Dash Pages goes first.
    """
    candidates: list[tuple[int, str]] = []
    for order, spec in enumerate(specs):
        output = spec.get("output")
        if not isinstance(output, str) or spec.get("clientside_function"):
            continue
        address = [item for item in spec.get("inputs", ()) if item.get("property") in ("pathname", "href")]
        if not address:
            continue
        if "_pages_content" in output:
            return output
        ids = [str(item.get("id")) for item in address] + _output_ids(output)
        if layout_ids is not None and not all(_is_there(identity, layout_ids) for identity in ids):
            continue
        rank = 0 if any(item.get("property") == "pathname" for item in address) else 1
        candidates.append((rank * 10_000 + order, output))
    return min(candidates)[1] if candidates else None


def _output_ids(output: str) -> list[str]:
    return [item.rpartition(".")[0].replace("\\.", ".") for item in outputs_of(output)]


def _is_there(identity: str, layout_ids: frozenset[str]) -> bool:
    if identity in layout_ids:
        return True
    pattern = dictionary_of(identity)
    return pattern is not None and any(
        known is not None and fits(pattern, known) for known in map(dictionary_of, layout_ids)
    )
