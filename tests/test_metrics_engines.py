"""Every engine answers every question as the memory repository does, whatever the events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import HealthCheck, given, note, settings
from metrics_strategies import Change, Question, assert_same, stories

from dash_user_tracker.codec import encode_event, to_json
from dash_user_tracker.events import Event
from dash_user_tracker.metrics.queries import METHODS, Query, arguments_of
from dash_user_tracker.metrics.wire import to_wire
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.http_metrics import RemoteMetrics
from dash_user_tracker.repositories.memory import MemoryTrackerRepository

Engine = Callable[[], AbstractContextManager[TrackerRepository]]


class OwnRepository(TrackerRepository):
    """What an owner may write: it knows how to list its events, and no more."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def save_event(self, event: Event) -> None:
        if all(event.id != kept.id for kept in self.events):
            self.events.append(event)

    def get_events(self, start=None, end=None, limit=1000, *, event=None):  # type: ignore[no-untyped-def]
        found = [
            kept
            for kept in self.events[::-1]
            if (start is None or start <= kept.timestamp)
            and (end is None or kept.timestamp < end)
            and event in (None, kept.event)
        ]
        return sorted(found, key=lambda kept: kept.timestamp, reverse=True)[:limit]

    def erase_user(self, user_id: str) -> int:
        return self._keep([kept for kept in self.events if kept.data.get("user_id") != user_id])

    def purge(self, before: datetime) -> int:
        return self._keep([kept for kept in self.events if kept.timestamp >= before])

    def _keep(self, events: list[Event]) -> int:
        gone = len(self.events) - len(events)
        self.events = events
        return gone


@contextmanager
def own() -> Iterator[TrackerRepository]:
    yield OwnRepository()


class WireRepository(RemoteMetrics, TrackerRepository):
    """Every question and every answer goes over the wire, but for the network."""

    def __init__(self) -> None:
        self.store = MemoryTrackerRepository()

    def save_event(self, event: Event) -> None:
        self.store.save_event(event)

    def _fetch(self, query: Query) -> object:
        answer = self._answer(query)
        document = {"deleted": answer} if isinstance(answer, int) else to_wire(answer)
        return json.loads(to_json(document))

    def _lines(self, query: Query) -> Iterator[bytes]:
        return iter([encode_event(event).encode() for event in self._answer(query)])

    def _answer(self, query: Query) -> Any:
        method = METHODS[query.address]
        params = parse_qs(urlencode(query.params), keep_blank_values=True)
        body = None if query.body is None else to_json(query.body).encode()
        return getattr(self.store, method)(**arguments_of(method, params, body))


@contextmanager
def wire() -> Iterator[TrackerRepository]:
    yield WireRepository()


#: Each gives an empty repository. An engine joins by one function.
ENGINES: list[Engine] = [own, wire]


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.__name__)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stories())
def test_an_engine_answers_what_the_memory_repository_does(
    engine: Engine, story: tuple[list[Change], list[tuple[int, Question]]]
) -> None:
    changes, asked = story
    reference = MemoryTrackerRepository()
    with engine() as repository:
        for number, change in enumerate(changes, 1):
            assert change.apply(repository) == change.apply(reference)
            for _, question in (pair for pair in asked if pair[0] == number):
                note(f"after {number} changes: {question}")
                assert_same(question.ask(reference), question.ask(repository))
        for visit in reference.get_visits(limit=3):
            assert_same(reference.get_visit(visit.id), repository.get_visit(visit.id))
