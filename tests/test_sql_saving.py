"""What a save remembers, and what it says to SQLite."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest
from contract import view

from dash_user_tracker.errors import UnavailableError
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.sql import SqlTrackerRepository
from dash_user_tracker.repositories.sql.driver import ROWS_AT_ONCE
from dash_user_tracker.repositories.sql.encoding import SQLITE_MARKS, Encoder
from dash_user_tracker.repositories.sql.labels import Labels
from dash_user_tracker.repositories.sql.schema import VISITOR


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


@pytest.fixture
def repository(file: Path) -> Iterator[SqlTrackerRepository]:
    with closing(SqlTrackerRepository(f"sqlite:///{file}")) as repository:
        yield repository


def refuse(file: Path, event: Event) -> None:
    """The table of events takes anything but this one."""
    key = event.id.replace("-", "")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            f"CREATE TRIGGER no BEFORE INSERT ON dut_event WHEN new.id = x'{key}' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )


def take_again(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TRIGGER no")


def views(count: int) -> list[Event]:
    return [view(user_id=f"user {number % 7}", number=number) for number in range(count)]


def test_numbers_of_a_save_that_failed_are_forgotten_with_all_that_was_remembered_of_them(
    file: Path, repository: SqlTrackerRepository
) -> None:
    repository.save_event(view(user_id="somebody", path="/"))
    ann, bob = view(user_id="ann", path="/ann"), view(user_id="bob", path="/bob")
    refuse(file, ann)
    with pytest.raises(UnavailableError):
        repository.save_event(ann)
    take_again(file)
    with closing(SqlTrackerRepository(f"sqlite:///{file}")) as other:
        other.save_event(bob)  # gets the numbers that ann would have had
    repository.save_event(ann)
    found = {event.id: event for event in repository.get_events()}
    assert (found[ann.id], found[bob.id]) == (ann, bob)


@pytest.mark.parametrize("place", [0, ROWS_AT_ONCE + 1, 2 * ROWS_AT_ONCE + 3])
def test_a_row_that_is_refused_takes_its_whole_batch_with_it(
    file: Path, repository: SqlTrackerRepository, place: int
) -> None:
    repository.save_event(view(user_id="somebody"))
    batch = views(2 * ROWS_AT_ONCE + 5)
    refuse(file, batch[place])
    with pytest.raises(UnavailableError) as refused:
        repository.save_events(batch)
    assert "user 1" not in f"{refused.value} {refused.value.__cause__}"
    assert len(repository.get_events()) == 1
    take_again(file)
    repository.save_events(batch)
    assert len(repository.get_events()) == 1 + len(batch)


@pytest.mark.parametrize("count", [1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, ROWS_AT_ONCE + 1, 3 * ROWS_AT_ONCE + 7])
def test_a_batch_of_any_size_is_stored_once_and_in_order(repository: SqlTrackerRepository, count: int) -> None:
    batch = views(count)
    repository.save_events([*batch, *batch[::-1]])
    repository.save_events(batch)
    assert list(repository.export()) == batch


def test_python_looks_for_no_adapter_of_what_sqlite_gets() -> None:
    labels = Labels()
    encoder = Encoder(labels, SQLITE_MARKS)
    run = Event.new("callback", {"callback": "app:draw", "status": 200, "duration_ms": 1.5, "action": None})
    events = [run, view(page_load="ab" * 16, full_path="/?q"), view(None), attrs.evolve(run, id="no UUID")]
    rows, _ = encoder.rows(events)
    labels.numbers.update((key, number) for number, key in enumerate(encoder.missing, 1))
    encoder.complete(rows, events)
    assert {type(value) for row in rows for value in row} == {int, float, str, bytearray}
    assert {value for row in rows for value in row if isinstance(value, float) and not math.isnan(value)} == set()


def test_a_new_text_costs_the_same_among_few_texts_and_among_many(repository: SqlTrackerRepository) -> None:
    def steps(visitor: str) -> int:
        with (
            repository._connections.writer() as process,
            repository._connections.write(process) as (connection, memory),
        ):
            driver = connection.connection.driver_connection
            assert driver is not None
            taken = []
            driver.set_progress_handler(lambda: taken.append(1), 1)
            memory.labels.resolve(connection, [(VISITOR, visitor)])
            driver.set_progress_handler(None, 1)
        return len(taken)

    repository.save_event(view(visitor="somebody"))
    few = steps("new")
    repository.save_events([view(visitor=f"visitor {number}") for number in range(2000)])
    assert steps("newer") < 2 * few
