"""What every event of a page has: who was there, where, and which app it is."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from datetime import datetime, timezone
from typing import Any

import attrs

from .addresses import below, encode_path, wsgi_text
from .documents import is_robot
from .events import ANONYMOUS
from .facts import DashFacts
from .hints import Hints
from .policy import Policy
from .privacy import visitor_id
from .request import Observation, User
from .routes import IgnoredRoutes
from .shared import Shared

#: Pages, with a person and a day each, whose data is kept. What a person does on a page mostly comes in a row.
KEPT = 512

_DAY = 86_400  # seconds

_NOBODY = User(ANONYMOUS, ANONYMOUS, ANONYMOUS)


@attrs.frozen
class Page:
    """The page an event belongs to."""

    path: str  # decoded, with every prefix: what the address bar shows
    query: str = ""
    referrer: str | None = None
    load: str | None = None


class PageData:
    """Makes the data that events of the same person on the same page have in common. Not thread-safe: the worker's."""

    def __init__(self, policy: Policy, dash: DashFacts | None, ignored: IgnoredRoutes, hints: Hints) -> None:
        self._policy = policy
        self._dash = dash
        self._ignored = ignored
        self._hints = hints
        self._kept = functools.lru_cache(KEPT)(self._make)

    def of(self, seen: Observation, page: Page, state: Hashable, *, unseen: bool = False) -> Shared | None:
        """The keys that every event of *page* has, None where it is outside of the app or the owner leaves it out.

        *state* is the app's (`DashFacts.state`); *unseen*: of a document that no browser is known to show.
        """
        user = seen.user or _NOBODY
        relative, shared = self._kept(
            page.path, page.query, page.referrer, page.load,
            seen.scheme, seen.host, seen.mount, seen.ip, seen.user_agent,
            user.id, user.email, user.full_name,
            seen.received // _DAY, state, unseen,
        )  # fmt: skip
        # The owner may answer otherwise the next time.
        return None if relative is None or relative in self._ignored else shared

    def labels(self) -> dict[str, Any]:
        """What the owner calls the app."""
        policy = self._policy
        name = policy.app_name or (self._dash.name() if self._dash is not None else None) or ""
        labels: dict[str, Any] = {"app_name": name}
        if policy.release is not None:
            labels["release"] = policy.release
        if policy.environment is not None:
            labels["environment"] = policy.environment
        return labels

    def _make(
        self,
        path: str,
        query: str,
        referrer: str | None,
        load: str | None,
        scheme: str,
        host: str,
        mount: str,
        ip: str | None,
        user_agent_text: str,
        user_id: str,
        email: str,
        full_name: str,
        day: float,
        state: Hashable,  # of the app, on which the answer depends as well
        unseen: bool,
    ) -> tuple[str | None, Shared | None]:
        """The path below the app's, and the data; twice None outside of the app."""
        relative = path if self._dash is None else below(path, self._dash.prefix())
        if relative is None:
            return None, None
        labels = self.labels()
        origin = f"{scheme}://{host}"
        base = origin + encode_path(path)
        user_agent = wsgi_text(user_agent_text) or None
        robot = is_robot(user_agent)
        reason = "user agent" if robot and user_id == ANONYMOUS else None
        # What calls itself a browser over TLS and sends no Fetch Metadata may be a Safari before 16.4, whose page tells
        # the view as well.
        if unseen and reason is None and (user_id == ANONYMOUS or (scheme == "https" and not robot)):
            reason = "no browser"
        route = self._dash.route(relative) if self._dash is not None else None
        data: dict[str, Any] = {
            "app_name": labels["app_name"],
            "ip": ip,
            "user_agent": user_agent,
            "base_url": base,
            "url": f"{base}?{query}" if query else base,
            "url_root": f"{origin}{encode_path(wsgi_text(mount))}/",
            "referrer": referrer,
            "path": path,
            "full_path": f"{path}?{query}",
            "method": "GET",
            "user_id": user_id,
            "email": email,
            "full_name": full_name,
            "visitor": self._visitor(day, labels["app_name"], ip, user_agent),
            "route": route,
            "page_known": route is not None if self._dash is not None and self._dash.has_pages() else None,
            "page_load": load,
            "automated": reason is not None,
            "automated_reason": reason,
            **labels,
        }
        return relative, Shared(data)

    def _visitor(self, day: float, app_name: str, ip: str | None, user_agent: str | None) -> str | None:
        key = self._policy.visitor_key or (self._dash.visitor_key() if self._dash is not None else None)
        if not key:
            self._hints.no_visitor_key()
            return None
        when = datetime.fromtimestamp(day * _DAY, timezone.utc)
        return visitor_id(key, when=when, app_name=app_name, ip=ip, user_agent=user_agent)
