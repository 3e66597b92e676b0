"""Telling people apart without knowing them."""

from __future__ import annotations

import functools
import hashlib
import hmac
from datetime import date, datetime, timezone


def visitor_id(
    key: bytes | str | None,
    *,
    when: datetime,
    app_name: str | None,
    ip: str | None,
    user_agent: str | None,
) -> str | None:
    """16 hex digits for a browser at an address on one UTC day, None without a *key* or an address.

    The same on every worker and host that has the key; not reversible without it, and
    another one the next day.
    """
    if not key or not ip:
        return None
    secret = key.encode("utf-8") if isinstance(key, str) else key
    return _digest(secret, when.astimezone(timezone.utc).date(), app_name or "", ip, user_agent or "")


@functools.lru_cache(4096)
def _digest(secret: bytes, day: date, app_name: str, ip: str, user_agent: str) -> str:
    text = "|".join((day.isoformat(), app_name, ip, user_agent))
    return hmac.new(secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]
