"""Deleting, backing up and bringing up to date: asked for, told, and never by half."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Callable

import pytest
from commands import run
from conftest import Program
from http_server import Receiver

from dash_user_tracker import Event, SqlTrackerRepository
from dash_user_tracker.demo_data import Plan, demo_events

END = datetime(2025, 2, 1, tzinfo=timezone.utc)
LIMIT = datetime(2025, 1, 20, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def events() -> list[Event]:
    return list(demo_events(Plan.of(events=900, days=20, users=12, end=END)))


@pytest.fixture
def db(tmp_path: Path, events: list[Event]) -> str:
    """The URL of a database that holds *events*."""
    url = f"sqlite:///{tmp_path / 'usage.db'}"
    with contextlib.closing(SqlTrackerRepository(url)) as repository:
        repository.save_events(events)
    return url


def stored(url: str) -> list[Event]:
    with contextlib.closing(SqlTrackerRepository(url)) as repository:
        return list(repository.export())


def kept(events: list[Event]) -> list[Event]:
    return [event for event in events if event.timestamp >= LIMIT]


# -- purge -----------------------------------------------------------------------------


def test_a_purge_deletes_what_is_older_and_nothing_else(db: str, events: list[Event]) -> None:
    result = run("purge", "--db", db, "--before", "2025-01-20", "--yes")
    assert result.exit_code == 0, result.output
    gone = len(events) - len(kept(events))
    assert f"{gone} events before 2025-01-20T00:00:00+00:00 deleted from " in result.output
    assert stored(db) == kept(events)


def test_a_purge_asks_and_says_what_goes(db: str, events: list[Event]) -> None:
    gone = len(events) - len(kept(events))
    result = run("purge", "--db", db, "--before", "2025-01-20", input="n\n")
    assert result.exit_code == 1
    assert f"Delete {gone} events from {events[0].timestamp.isoformat()} until 2025-01-20T00:00" in result.output
    assert "nothing is deleted" in result.output
    assert stored(db) == events
    assert run("purge", "--db", db, "--before", "2025-01-20", input="y\n").exit_code == 0
    assert stored(db) == kept(events)


def test_a_purge_by_age_keeps_the_last_days(db: str) -> None:
    assert run("purge", "--db", db, "--keep-days", "1", "--yes").exit_code == 0
    assert stored(db) == []


def test_a_date_is_that_of_the_time_zone(db: str, events: list[Event]) -> None:
    result = run("purge", "--db", db, "--before", "2025-01-20T09:00", "--tz", "Asia/Tokyo", "--yes")
    assert result.exit_code == 0, result.output
    assert stored(db) == kept(events)


def test_nothing_to_purge_is_told_and_not_asked(db: str) -> None:
    result = run("purge", "--db", db, "--before", "2020-01-01")
    assert (result.exit_code, "has no events before 2020-01-01" in result.output) == (0, True)


@pytest.mark.parametrize("arguments", [[], ["--before", "2025-01-01", "--keep-days", "3"]])
def test_a_purge_wants_to_know_what_is_old(arguments: list[str], db: str) -> None:
    result = run("purge", "--db", db, "--yes", *arguments)
    assert (result.exit_code, "either --before or --keep-days" in result.output) == (2, True)


def test_an_endpoint_can_be_purged(events: list[Event]) -> None:
    with Receiver() as receiver:
        receiver.repository.save_events(events)
        assert run("purge", "--db", receiver.url, "--before", "2025-01-20", "--yes").exit_code == 0
        assert sorted(event.id for event in receiver.repository.events) == sorted(event.id for event in kept(events))


def test_an_interrupted_purge_is_finished_by_running_it_again(
    start: Callable[..., Program], db: str, events: list[Event]
) -> None:
    # The signal comes within the third of its steps: that one ends, and the work stops.
    program = start(
        "-c",
        "import os, signal, sys\n"
        "from dash_user_tracker.cli import main\n"
        "from dash_user_tracker.repositories.sql import deleting\n"
        "deleting.AT_ONCE = 20\n"
        "whole, calls = deleting.delete_before, []\n"
        "def delete_before(*arguments):\n"
        "    calls.append(arguments)\n"
        "    if len(calls) == 3:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return whole(*arguments)\n"
        "deleting.delete_before = delete_before\n"
        "main(['purge', '--db', sys.argv[1], '--before', '2025-01-20', '--yes'])\n",
        db,
    )
    assert program.process.wait(60) == 130
    deleted = int(program.wait_for(r"Interrupted\. (\d+) events deleted\. What is deleted stays deleted")[1])
    assert 0 < deleted < len(events) - len(kept(events))
    assert stored(db) == events[deleted:]
    assert run("purge", "--db", db, "--before", "2025-01-20", "--yes").exit_code == 0
    assert stored(db) == kept(events)


# -- erase-user ------------------------------------------------------------------------


def somebody(events: list[Event]) -> str:
    return next(event.data["user_id"] for event in events if event.data["user_id"] != "anonymous")


def test_a_person_is_erased_whole_and_nobody_else(db: str, events: list[Event]) -> None:
    user = somebody(events)
    result = run("erase-user", user, "--db", db, input="y\n")
    assert result.exit_code == 0, result.output
    left = [event for event in events if event.data["user_id"] != user]
    assert f"{len(events) - len(left)} events of {user!r} deleted from " in result.output
    assert stored(db) == left
    assert f"has no events of {user!r}" in run("erase-user", user, "--db", db).output


def test_a_person_is_not_erased_unasked(db: str, events: list[Event]) -> None:
    result = run("erase-user", somebody(events), "--db", db, input="")
    assert (result.exit_code, "--yes does not ask" in result.output) == (1, True)
    assert stored(db) == events


def test_anonymous_is_no_person(db: str, events: list[Event]) -> None:
    result = run("erase-user", "anonymous", "--db", db, "--yes")
    assert (result.exit_code, "anonymous" in result.output) == (2, True)
    assert stored(db) == events


# -- backup and migrate ----------------------------------------------------------------


def test_a_backup_is_a_store_with_the_same_events(db: str, events: list[Event], tmp_path: Path) -> None:
    target = tmp_path / "copies" / "copy.db"
    target.parent.mkdir()
    result = run("backup", "--db", db, "--to", str(target))
    assert result.exit_code == 0, result.output
    assert f"copied to {target}, " in result.output
    assert os.listdir(target.parent) == ["copy.db"]
    assert stored(f"sqlite:///{target}") == events


@pytest.mark.parametrize(
    ("to", "code", "told"), [("usage.db", 1, "exists; name another file"), ("none/x.db", 2, "is not a folder")]
)
def test_a_backup_replaces_nothing(to: str, code: int, told: str, db: str, events: list[Event], tmp_path: Path) -> None:
    result = run("backup", "--db", db, "--to", str(tmp_path / to))
    assert (result.exit_code, told in result.output) == (code, True)
    assert stored(db) == events


def test_a_migration_of_a_store_of_today_changes_nothing(db: str, events: list[Event]) -> None:
    result = run("migrate", "--db", db)
    assert result.exit_code == 0, result.output
    assert "is up to date" in result.output
    assert stored(db) == events


@pytest.mark.parametrize("command", [["backup", "--to", "copy.db"], ["migrate"]])
def test_an_endpoint_looks_after_its_own_store(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*command, "--db", "http://127.0.0.1:9/events")
    assert (result.exit_code, f"cannot be used with `{command[0]}`" in result.output) == (1, True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "command",
    [["export"], ["export-user", "ada"], ["purge", "--before", "2025-01-01"], ["erase-user", "ada"], ["migrate"]],
)
def test_a_file_that_is_not_there_stays_away(command: list[str], tmp_path: Path) -> None:
    result = run(*command, "--db", f"sqlite:///{tmp_path / 'none.db'}")
    assert (result.exit_code, "does not exist" in result.output) == (1, True)
    assert os.listdir(tmp_path) == []


def test_a_server_that_is_not_there_is_one_line_without_the_password(environment: dict[str, str]) -> None:
    db = "postgresql://ada:hunter2@127.0.0.1:9/usage"
    command = [sys.executable, "-m", "dash_user_tracker", "export", "--db", db]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "hunter2" not in done.stderr
