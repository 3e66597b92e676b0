"""The metrics' contract for every repository that computes them from its events."""

from __future__ import annotations

import io

import pytest
from metrics_contract import MetricsContract

from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.console import ConsoleTrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository


class TestMemory(MetricsContract):
    @pytest.fixture
    def repository(self) -> TrackerRepository:
        return MemoryTrackerRepository()


class TestConsole(MetricsContract):
    @pytest.fixture
    def repository(self) -> TrackerRepository:
        return ConsoleTrackerRepository(stream=io.StringIO())
