"""The metrics' contract on SQLite, and that roll-ups say what the events say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from metrics_contract import MetricsContract
from metrics_strategies import Change, Question, assert_same, stories

from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository


class Estimating(SqlTrackerRepository):
    """Percentiles come from the roll-ups, however few there are."""

    exact_below = -1


class TestSqlFile(MetricsContract):
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Iterator[TrackerRepository]:
        repository = SqlTrackerRepository(f"sqlite:///{tmp_path}/usage.db")
        yield repository
        repository.close()


@contextmanager
def sqlite() -> Iterator[TrackerRepository]:
    repository = Estimating("sqlite://")
    yield repository
    repository.close()


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(stories())
def test_roll_ups_say_what_the_events_say(story: tuple[list[Change], list[tuple[int, Question]]]) -> None:
    changes, asked = story
    reference = MemoryTrackerRepository()
    with sqlite() as repository:
        for number, change in enumerate(changes, 1):
            assert change.apply(repository) == change.apply(reference)
            repository.maintain()  # also between changes, so that late events meet what is counted
            for _, question in (pair for pair in asked if pair[0] == number):
                note(f"after {number} changes: {question}")
                assert_same(question.ask(reference), question.ask(repository))
