"""Who a request is from, out of what a session or the owner's provider says."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from .events import ANONYMOUS
from .request import User

# The names used by the README, dash-auth's basic and OIDC log-ins (the userinfo claims), and Flask-Login.
_ID = ("id", "user_id", "sub", "oid", "email", "username", "preferred_username")
_EMAIL = ("email", "user_email", "mail")
_FULL_NAME = ("full_name", "user_full_name", "name", "display_name")

#: Longest id, email or name that is kept, in characters.
LIMIT = 256


def user_of(claims: object) -> User | None:
    """The user in a provider's answer or in ``session["user"]``; None where it names nobody.

    A mapping with ``id``, ``email`` and ``full_name``, each of them optional. A plain text
    or number is an id; of any other object ``get_id()`` or ``id`` is asked for.
    """
    if isinstance(claims, Mapping):
        found = _first(claims, _ID)
        if found is None:
            return None
        return User(found, _first(claims, _EMAIL) or ANONYMOUS, _first(claims, _FULL_NAME) or _names(claims))
    text = _text(claims)
    if text is None and claims is not None:
        # A user object, such as Flask-Login's. Never its text: that may hold all there is to know.
        get_id = getattr(claims, "get_id", None)
        text = _text(get_id() if callable(get_id) else getattr(claims, "id", None))
    return User(text, ANONYMOUS, ANONYMOUS) if text is not None else None


def user_of_session(session: Mapping[str, Any]) -> User | None:
    """The user of a Flask session: ``session["user"]``, else the flat keys, else Flask-Login's."""
    if not session:  # as most are that nobody has logged in to
        return None
    nested = session.get("user")
    if nested is not None:
        found = user_of(nested)
        if found is not None:
            return found
    user_id = _first(session, ("user_id", "_user_id"))
    if user_id is None:
        return None
    return User(
        user_id,
        _first(session, ("user_email",)) or ANONYMOUS,
        _first(session, ("user_full_name",)) or ANONYMOUS,
    )


def _first(claims: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        text = _text(claims.get(key))
        if text is not None:
            return text
    return None


def _names(claims: Mapping[str, Any]) -> str:
    parts = (_text(claims.get("given_name")), _text(claims.get("family_name")))
    return " ".join(part for part in parts if part) or ANONYMOUS


def _text(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, uuid.UUID)) or value == "":
        return None
    return str(value)[:LIMIT]
