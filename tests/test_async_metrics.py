"""The metrics, awaited."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from metrics_contract import DAY_OF_T0, T0, run, view

from dash_user_tracker.analytics import TrackerAnalytics
from dash_user_tracker.errors import ConfigurationError, NotReadableError
from dash_user_tracker.events import Event
from dash_user_tracker.metrics.arguments import Registry
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository

ASKED: dict[str, dict[str, Any]] = {
    "get_summary": {"start": T0},
    "get_series": {"metric": "views", "interval": "day", "start": DAY_OF_T0[0], "end": DAY_OF_T0[1]},
    "get_breakdown": {"dimension": "page"},
    "get_active_users": {"end": DAY_OF_T0[1]},
    "get_visits": {},
    "get_journeys": {},
    "get_retention": {"end": DAY_OF_T0[1]},
    "get_lifecycle": {"end": DAY_OF_T0[1]},
    "get_funnel": {"steps": ["page:/"]},
    "get_callback_stats": {},
    "get_errors": {},
    "get_unused": {"registry": Registry(pages=["/", "/b"]), "end": DAY_OF_T0[1]},
    "get_adoption": {"roster": ["ada", "bob"]},
}


@pytest.fixture
def repository() -> MemoryTrackerRepository:
    repository = MemoryTrackerRepository()
    repository.save_events([view(0), run(1, outcome="error", duration_ms=5), view(60, user="bob")])
    return repository


@pytest.mark.parametrize("method", sorted(ASKED))
def test_a_coroutine_answers_as_the_repository_does(repository: MemoryTrackerRepository, method: str) -> None:
    answer = asyncio.run(getattr(TrackerAnalytics(repository=repository), method)(**ASKED[method]))
    assert answer == getattr(repository, method)(**ASKED[method])
    assert answer.to_dicts()


def test_a_visit_can_be_awaited(repository: MemoryTrackerRepository) -> None:
    visit_id = repository.get_visits()[0].id
    answer = asyncio.run(TrackerAnalytics(repository=repository).get_visit(visit_id))
    assert answer == repository.get_visit(visit_id)


def test_own_writes_are_flushed_first(repository: MemoryTrackerRepository) -> None:
    def flush(timeout: float) -> bool:
        repository.save_event(view(120))
        return True

    assert asyncio.run(TrackerAnalytics(repository=repository, flush=flush).get_summary()).views == 3


def test_an_export_is_read_in_parts(repository: MemoryTrackerRepository) -> None:
    repository.save_events([view(n) for n in range(1200)])

    async def read() -> tuple[list[Event], list[Event]]:
        analytics = TrackerAnalytics(repository=repository)
        return [event async for event in analytics.export()], [event async for event in analytics.export_user("bob")]

    everything, of_bob = asyncio.run(read())
    assert everything == list(repository.export())
    assert of_bob == list(repository.export_user("bob"))


def test_a_person_is_erased_and_the_past_purged(repository: MemoryTrackerRepository) -> None:
    analytics = TrackerAnalytics(repository=repository)
    assert asyncio.run(analytics.erase_user("ada")) == 2
    assert asyncio.run(analytics.purge(T0 + timedelta(days=1))) == 1
    assert repository.events == []


def test_an_app_can_say_itself_what_it_has(repository: MemoryTrackerRepository) -> None:
    analytics = TrackerAnalytics(repository=repository, registry=lambda: Registry(pages=["/", "/b"]))
    (unused,) = asyncio.run(analytics.get_unused(end=DAY_OF_T0[1]))
    assert unused.name == "/b"
    with pytest.raises(ConfigurationError, match="registry must be given"):
        asyncio.run(TrackerAnalytics(repository=repository).get_unused())


class WriteOnly(TrackerRepository):
    def save_event(self, event: Event) -> None:
        raise AssertionError


@pytest.mark.parametrize("method", sorted(ASKED))
def test_a_repository_that_only_writes_says_so(method: str) -> None:
    with pytest.raises(NotReadableError, match="WriteOnly stores events but cannot read them back"):
        getattr(WriteOnly(), method)(**ASKED[method])


def test_a_repository_that_cannot_delete_says_so() -> None:
    for call in (lambda: WriteOnly().erase_user("ada"), lambda: WriteOnly().purge(T0)):
        with pytest.raises(NotReadableError, match="WriteOnly cannot delete events"):
            call()
