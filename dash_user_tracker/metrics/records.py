"""What an event says, read once: names that are text, who it was, and whether a person did it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from ..events import ANONYMOUS, CALLBACK, PAGE_VIEW, Event
from .browsers import browser_of
from .filters import Filters

VIEW = "view"
RUN = "run"
CUSTOM = "custom"

#: The cause of runs that a person brought about (`callbacks.cause_of`).
USER = "user"
#: Causes of runs that nobody waits for.
UNATTENDED = ("timer", "poll")

#: Milliseconds (116 days), and bytes (4 TiB), that no run has: of lesser ones a store can add up millions in 64 bits.
LONGEST_MS = 1e10
LARGEST_BYTES = 1 << 42


@attrs.frozen
class Actor:
    """Who did something: a person, else a visitor, else nobody that can be told apart."""

    user: str | None
    visitor: str | None


@attrs.frozen
class Stream:
    """Whose activities make visits: an actor in one app."""

    app: str | None
    actor: Actor
    automated: bool


@attrs.frozen(eq=False)
class Record:
    """An event as the metrics see it. *position* is its place in the order of events."""

    position: int
    event: Event
    kind: str
    stream: Stream
    path: str | None
    route: str | None
    group: str | None
    release: str | None
    environment: str | None
    browser: str | None
    active: bool  # an activity

    @property
    def at(self) -> datetime:
        return self.event.timestamp

    @property
    def data(self) -> Mapping[str, Any]:
        return self.event.data

    @property
    def actor(self) -> Actor:
        return self.stream.actor

    @property
    def page(self) -> str | None:
        return self.route or self.path


def records_of(events: Iterable[Event]) -> list[Record]:
    """The *events*, which come in order of arrival, in the order of their timestamps."""
    ordered = sorted(events, key=lambda event: event.timestamp)  # stable
    browsers: dict[str | None, str | None] = {}
    streams: dict[tuple[Any, ...], Stream] = {}
    return [_record(position, event, browsers, streams) for position, event in enumerate(ordered)]


def _record(
    position: int,
    event: Event,
    browsers: dict[str | None, str | None],
    streams: dict[tuple[Any, ...], Stream],
) -> Record:
    data = event.data
    kind = VIEW if event.event == PAGE_VIEW else RUN if event.event == CALLBACK else CUSTOM
    path = text_of(data.get("path"))
    agent = text_of(data.get("user_agent"))
    if agent not in browsers:
        browsers[agent] = browser_of(agent)
    user = user_of(data)
    visitor = None if user else text_of(data.get("visitor"))
    key = (text_of(data.get("app_name")), user, visitor, bool(data.get("automated")))
    stream = streams.get(key)
    if stream is None:
        stream = streams[key] = Stream(key[0], Actor(user, visitor), key[3])
    return Record(
        position=position,
        event=event,
        kind=kind,
        stream=stream,
        path=path,
        route=text_of(data.get("route")),
        group=text_of(data.get("group")),
        release=text_of(data.get("release")),
        environment=text_of(data.get("environment")),
        browser=browsers[agent],
        active=path is not None and (kind != RUN or data.get("cause") == USER),
    )


def text_of(value: object) -> str | None:
    """A text that is not empty; None for anything else."""
    return value if isinstance(value, str) and value else None


def user_of(data: Mapping[str, Any]) -> str | None:
    """The id of an identified user."""
    user = text_of(data.get("user_id"))
    return None if user == ANONYMOUS else user


def latency_of(data: Mapping[str, Any]) -> float | None:
    """Milliseconds that a run took, None where it does not say, or says what cannot be."""
    value = data.get("duration_ms")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < LONGEST_MS:
        return None
    return value


def callback_of(data: Mapping[str, Any]) -> str | None:
    """What a run's callback is called: its label, else its output."""
    return text_of(data.get("callback")) or text_of(data.get("output"))


def is_error(data: Mapping[str, Any]) -> bool:
    """The run failed."""
    return data.get("outcome") == "error"


def is_interactive(data: Mapping[str, Any]) -> bool:
    """A custom event is something the person did: unless ``interactive=False`` is among its properties."""
    properties = data.get("properties")
    return not (isinstance(properties, Mapping) and properties.get("interactive") is False)


def is_selected(record: Record, filters: Filters) -> bool:
    """The filters select the event."""
    stream = record.stream
    return (
        (filters.automated is None or stream.automated is filters.automated)
        and (filters.app is None or stream.app == filters.app)
        and (filters.page is None or record.page == filters.page)
        and (filters.path is None or record.path == filters.path)
        and (filters.route is None or record.route == filters.route)
        and (filters.user is None or (stream.actor.user or ANONYMOUS) == filters.user)
        and (filters.group is None or record.group == filters.group)
        and (filters.release is None or record.release == filters.release)
        and (filters.environment is None or record.environment == filters.environment)
        and (filters.browser is None or record.browser == filters.browser)
    )
