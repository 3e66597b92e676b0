"""The metrics' contract on SQLite, and that roll-ups say what the events say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from metrics_contract import MetricsContract

from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository


class TestSqlFile(MetricsContract):
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Iterator[TrackerRepository]:
        repository = SqlTrackerRepository(f"sqlite:///{tmp_path}/usage.db")
        yield repository
        repository.close()
