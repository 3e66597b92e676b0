"""Files of every released version open, with all that is in them."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from contract import view
from metrics_strategies import assert_same

from dash_user_tracker.codec import decode_event
from dash_user_tracker.events import Event
from dash_user_tracker.metrics.filters import EVERYTHING
from dash_user_tracker.repositories.memory import MemoryTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository

STORES = Path(__file__).parent / "stores"
VERSIONS = sorted(STORES.glob("*.db"))


def copy_of(store: Path, folder: Path) -> Path:
    return Path(shutil.copy(store, folder / "usage.db"))


def events_of(store: Path) -> list[Event]:
    return [decode_event(line) for line in store.with_suffix(".jsonl").read_text().splitlines()]


def test_there_is_a_file_of_each_version() -> None:
    assert [store.stem for store in VERSIONS] == ["version-1", "version-2"]


@pytest.mark.parametrize("store", VERSIONS, ids=lambda store: store.stem)
def test_a_file_of_a_released_version_opens_with_every_event(store: Path, tmp_path: Path) -> None:
    repository = SqlTrackerRepository(f"sqlite:///{copy_of(store, tmp_path)}")
    assert repository.get_events(limit=None) == events_of(store)[::-1]
    fresh = view("/later", at=1000)
    repository.save_event(fresh)
    assert repository.get_events(limit=1) == [fresh]
    assert len(repository.get_events(limit=None)) == len(events_of(store)) + 1


@pytest.mark.parametrize("store", VERSIONS, ids=lambda store: store.stem)
def test_a_file_of_a_released_version_is_counted_as_its_events_are(store: Path, tmp_path: Path) -> None:
    repository, reference = SqlTrackerRepository(f"sqlite:///{copy_of(store, tmp_path)}"), MemoryTrackerRepository()
    reference.save_events(events_of(store))
    assert_same(reference.get_summary(filters=EVERYTHING), repository.get_summary(filters=EVERYTHING))
    for dimension in ("page", "path", "user", "callback"):
        assert_same(
            *(each.get_breakdown(dimension, filters=EVERYTHING, limit=None) for each in (reference, repository))
        )
    assert_same(reference.get_visits(filters=EVERYTHING), repository.get_visits(filters=EVERYTHING))


def test_saving_alone_moves_what_version_1_left(tmp_path: Path) -> None:
    store = STORES / "version-1.db"
    file = copy_of(store, tmp_path)
    SqlTrackerRepository(f"sqlite:///{file}").save_event(view("/later", at=1000))
    connection = sqlite3.connect(str(file))
    assert connection.execute("SELECT count(*) FROM dut_event").fetchone() == (len(events_of(store)) + 1,)
    assert connection.execute("SELECT count(*) FROM event").fetchone() == (0,)
    connection.close()


def test_a_worker_of_version_1_may_go_on_writing_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    file = copy_of(STORES / "version-1.db", tmp_path)
    repository = SqlTrackerRepository(f"sqlite:///{file}")
    assert len(repository.get_events(limit=None)) == len(events_of(STORES / "version-1.db"))
    # What version 1 does before it writes, and how it writes: an event of its own, and one that was moved already.
    connection = sqlite3.connect(str(file))
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    statement = (
        "INSERT INTO event (id, ts, name, app_name, path, route, user_id, automated, data) "
        "VALUES (?, ?, 'page_view', NULL, '/old', NULL, 'ada', 0, ?) ON CONFLICT (id) DO NOTHING"
    )
    moved = events_of(STORES / "version-1.db")[0]
    with connection:
        connection.execute(statement, ("from version 1", 1_800_000_000_000_000, '{"path":"/old","user_id":"ada"}'))
        connection.execute(statement, (moved.id, 1_800_000_000_000_000, '{"path":"/old","user_id":"ada"}'))
    connection.close()
    events = repository.get_events(limit=None)
    assert events[0].id == "from version 1"
    assert len(events) == len(events_of(STORES / "version-1.db")) + 1
