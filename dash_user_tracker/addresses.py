"""Paths and URLs: one decoded form inside, one encoded form outside."""

from __future__ import annotations

import functools
import re
from urllib.parse import quote, unquote

_LOCAL_HOST = re.compile(r"((.+\.)?localhost|127(\.\d+){3}|\[::1\]|::1)(:\d+)?", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")


def wsgi_text(value: str) -> str:
    """A string of the environ as text: PEP 3333 hands bytes over as latin-1; bytes that are not UTF-8 become U+FFFD."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode("utf-8", "replace")
    except UnicodeEncodeError:  # a fake environ with real text in it
        return sound_text(value)


def sound_text(value: str) -> str:
    """A text without lone surrogates: a client's JSON can hold them, UTF-8 and a store cannot."""
    return value if value.isascii() else _SURROGATE.sub("\ufffd", value)


@functools.lru_cache(256)
def split_address(address: str) -> tuple[str, str]:
    """Decoded path and raw query of an address as the browser writes it."""
    path, _, query = address.partition("#")[0].partition("?")
    return unquote(path, errors="replace"), query


@functools.lru_cache(256)
def encode_path(path: str) -> str:
    """A decoded path as it stands in a URL."""
    return quote(path, safe="/:@!$&'()*+,;=~-._")


def below(path: str, prefix: str) -> str | None:
    """*path* below *prefix* with a leading slash, None outside of it.

    Segments count: ``/base`` is not in ``/basement``.
    """
    bare = prefix.rstrip("/")
    if path == bare:
        return "/"
    return path[len(bare) :] if path.startswith(bare + "/") else None


@functools.lru_cache(256)
def is_local(host: str) -> bool:
    """The host is this machine's own name: browsers trust such an origin without TLS."""
    return not host or _LOCAL_HOST.fullmatch(host) is not None
