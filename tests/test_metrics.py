"""The metrics' contract for every repository that computes them from its events."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from http_server import Receiver
from metrics_contract import MetricsContract

from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.console import ConsoleTrackerRepository
from dash_user_tracker.repositories.http import HttpTrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository


class TestMemory(MetricsContract):
    @pytest.fixture
    def repository(self) -> TrackerRepository:
        return MemoryTrackerRepository()


class TestConsole(MetricsContract):
    @pytest.fixture
    def repository(self) -> TrackerRepository:
        return ConsoleTrackerRepository(stream=io.StringIO())


class TestHttp(MetricsContract):
    @pytest.fixture
    def repository(self) -> Iterator[TrackerRepository]:
        with Receiver(batch=500) as receiver:
            repository = HttpTrackerRepository(receiver.url, batch=True)
            yield repository
            repository.close()
