"""A store through full disks, kills, purges and workers: real processes, real faults."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import sqlalchemy
from conftest import Program
from contract import T0, view
from metrics_strategies import assert_same
from served import PLAIN, answers, ask, free_port, until
from sql_servers import SERVERS, database

from dash_user_tracker.errors import ConfigurationError, UnavailableError
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.memory import MemoryTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository
from dash_user_tracker.repositories.sql.connections import Process
from dash_user_tracker.repositories.sql.folding import Folding

ROOT = Path(__file__).resolve().parent.parent

#: Saves batches until it is killed, or so many; says the ids of each when they are stored.
WRITER = """
import sys
from datetime import datetime, timedelta, timezone
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.sql import SqlTrackerRepository, repository as module
from dash_user_tracker.repositories.sql.folding import is_due

module.is_due = lambda connection, memory, least=60: is_due(connection, memory, least)
name, url, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
repository = SqlTrackerRepository(url)
repository.keep_open()
begin = datetime(2025, 1, 30, tzinfo=timezone.utc)
for number in range(batches):
    events = [
        Event.new(
            "page_view",
            {"path": f"/{n}", "user_id": f"{name}-{number % 7}", "app_name": "Sales"},
            timestamp=begin + timedelta(minutes=number * 3, seconds=n),
        )
        for n in range(10)
    ]
    repository.save_events(events)
    print(*(event.id for event in events), flush=True)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


@pytest.fixture
def repository(file: Path) -> Iterator[SqlTrackerRepository]:
    repository = SqlTrackerRepository(f"sqlite:///{file}")
    yield repository
    repository.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 12 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(options, capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def batch(name: str, number: int) -> list[Event]:
    return [view(f"/{n}", name, at=number * 200.0 + n, app_name="Sales") for n in range(10)]


def start_writers(count: int, url: str, batches: int) -> list[subprocess.Popen[str]]:
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, f"u{number}", url, str(batches)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]


def told_by(writers: list[subprocess.Popen[str]]) -> set[str]:
    """The ids that writers, which run to their end, were told are stored; none of them failed."""
    told = [writer.communicate(timeout=60) for writer in writers]
    assert [errors for _, errors in told] == [""] * len(writers)
    return {event_id for output, _ in told for event_id in output.split()}


def assert_exact(repository: SqlTrackerRepository, file: Path | None = None) -> set[str]:
    """The file is sound, and the roll-ups say what the events say; the ids of these."""
    if file is not None:
        connection = sqlite3.connect(str(file))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    events = repository.get_events(limit=None)[::-1]
    reference = MemoryTrackerRepository(max_events=len(events) + 1)
    reference.save_events(events)
    assert len(reference.events) == len(events)
    assert_same(reference.get_summary(), repository.get_summary())
    for dimension in ("page", "user"):
        assert_same(
            reference.get_breakdown(dimension, metrics=["views"]),
            repository.get_breakdown(dimension, metrics=["views"]),
        )
    return {event.id for event in events}


# -- a full disk -----------------------------------------------------------------------------


def fill(repository: SqlTrackerRepository) -> tuple[set[str], list[Event], UnavailableError]:
    """Saves until there is no space; the ids that are stored, the events that are not, and why."""
    stored: set[str] = set()
    for number in range(10_000):
        events = [attrs.evolve(event, data={**event.data, "more": "x" * 3000}) for event in batch("ada", number)]
        try:
            repository.save_events(events)
        except UnavailableError as error:
            return stored, events, error
        stored.update(event.id for event in events)
    raise AssertionError("the disk was never full")


@pytest.mark.parametrize("keep_open", [False, True])
def test_a_full_disk_loses_nothing_and_writing_goes_on_when_there_is_space_again(
    small_disk: Path, keep_open: bool
) -> None:
    repository = SqlTrackerRepository(f"sqlite:///{small_disk}/usage.db")
    if keep_open:
        repository.keep_open()
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 8_000_000)
    stored, refused, error = fill(repository)
    assert "usage.db: database or disk is full; free some disk space" in str(error)
    assert {event.id for event in repository.get_events(limit=None)} == stored
    assert repository.get_page_views(limit=1)["count"] == len(stored)
    ballast.unlink()
    repository.save_events(refused)
    assert assert_exact(repository, small_disk / "usage.db") == stored | {event.id for event in refused}
    repository.close()


def test_a_file_that_may_not_grow_loses_nothing(file: Path, repository: SqlTrackerRepository) -> None:
    repository.save_events(batch("bob", 0))
    most = [40]

    def limit(connection: Any, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {most[0]}")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", limit)
    try:
        stored, refused, error = fill(repository)
        assert "database or disk is full; free some disk space" in str(error)
        with pytest.raises(UnavailableError, match="full"):
            repository.save_events(refused)
        most[0] = 100_000
        repository.save_events(refused)
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "connect", limit)
    assert assert_exact(repository, file) >= stored | {event.id for event in refused}


def test_a_backup_that_does_not_fit_leaves_no_file_and_is_told(
    small_disk: Path, file: Path, repository: SqlTrackerRepository
) -> None:
    repository.save_events(batch("ada", 0))
    (small_disk / "ballast").write_bytes(b"x" * 12_500_000)
    with pytest.raises(
        UnavailableError, match=r"no copy at .*/disk/copy\.db: (database or disk is full|disk I/O error)"
    ):
        repository.backup(small_disk / "copy.db")
    assert [each.name for each in small_disk.iterdir()] == ["ballast"]


def test_a_backup_is_as_readable_as_the_store_and_no_more(file: Path, repository: SqlTrackerRepository) -> None:
    repository.save_events(batch("ada", 0))
    file.chmod(0o600)
    repository.backup(file.parent / "copy.db")
    assert (file.parent / "copy.db").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="file must not exist"):
        repository.backup(file.parent / "copy.db")
    assert_exact(SqlTrackerRepository(f"sqlite:///{file.parent}/copy.db"))


# -- kills -----------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_four_writers_killed_at_any_moment_lose_no_acknowledged_event(
    file: Path, repository: SqlTrackerRepository
) -> None:
    acknowledged: set[str] = set()
    for round_ in range(2):
        writers = start_writers(4, f"sqlite:///{file}", 100_000)
        for number, writer in enumerate(writers):
            for _ in range(4 + 5 * number + round_):
                acknowledged.update(writer.stdout.readline().split())
            writer.kill()  # SIGKILL, wherever it is: it saves, folds or waits
        for writer in writers:
            for line in writer.stdout:
                if line.endswith("\n"):
                    acknowledged.update(line.split())
            assert writer.communicate(timeout=60)[1] == ""
    stored = assert_exact(repository, file)
    assert len(acknowledged) >= 700
    assert acknowledged <= stored
    assert len(stored) <= len(acknowledged) + 8 * 10  # at most the batch in flight of each


# -- others that write meanwhile -------------------------------------------------------------


def test_a_purge_while_others_write_deletes_what_is_old_and_nothing_else(
    file: Path, repository: SqlTrackerRepository
) -> None:
    old = [view(f"/{n % 9}", f"old{n % 5}", at=-86400 * 9 + n * 60.0) for n in range(5000)]
    for begin in range(0, len(old), 500):
        repository.save_events(old[begin : begin + 500])
    writers = start_writers(2, f"sqlite:///{file}", 40)
    first = writers[0].stdout.readline()
    assert repository.purge(T0 - timedelta(days=2)) == 5000
    acknowledged = told_by(writers)
    assert first
    assert acknowledged < assert_exact(repository, file)
    assert repository.get_page_views(limit=0)["count"] == 2 * 40 * 10


@pytest.mark.parametrize("server", list(SERVERS))
def test_four_writers_and_a_reader_on_a_server_meet_no_deadlock_and_every_event_counts_once(server: str) -> None:
    with database(server) as url:
        repository = SqlTrackerRepository(url)
        writers = start_writers(4, url, 30)
        seen = 0
        while any(writer.poll() is None for writer in writers):
            views = repository.get_summary().views
            assert views >= seen  # rows become visible in the order of their numbers: none is passed over
            seen = views
        acknowledged = told_by(writers)
        assert assert_exact(repository) == acknowledged
        assert len(acknowledged) == 4 * 30 * 10
        repository.close()


def test_a_question_does_not_wait_for_what_comes_after_it(
    file: Path, repository: SqlTrackerRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.save_events(batch("ada", 0))
    other, run, folds = SqlTrackerRepository(f"sqlite:///{file}"), Folding.run, []
    write = repository._connections.write

    @contextmanager
    def writes_and_then_somebody_else_does(process: Process) -> Iterator[Any]:
        with write(process) as found:
            yield found
        if len(folds) < 20:
            other.save_events(batch("bob", len(folds)))

    monkeypatch.setattr(Folding, "run", lambda self: folds.append(1) or run(self))
    monkeypatch.setattr(repository._connections, "write", writes_and_then_somebody_else_does)
    assert repository.get_summary().views == 10
    assert len(folds) == 1


# -- workers -----------------------------------------------------------------------------------

#: The repository has been written to and read, with its connection kept open, when the workers are forked.
SHARED = (
    PLAIN
    + """
from dash_user_tracker import SqlTrackerRepository, Tracker

repository = SqlTrackerRepository(os.environ["STORE"])
tracker = Tracker(app, repository=repository)
tracker.track("loaded")
assert tracker.flush(30)
repository.get_summary()

@server.get("/stats")
def stats():
    tracker.flush(30)
    return json.dumps({"pid": os.getpid(), "runs": repository.get_summary().runs})
"""
)


@pytest.mark.parametrize("engine", ["sqlite", *SERVERS])
def test_workers_that_were_forked_from_a_loaded_app_share_a_repository(
    tmp_path: Path, start: Callable[..., Program], engine: str
) -> None:
    pytest.importorskip("gunicorn")
    with nullcontext(f"sqlite:///{tmp_path}/usage.db") if engine == "sqlite" else database(engine) as url:
        (tmp_path / "shared_app.py").write_text(SHARED)
        port = free_port()
        program = start(
            *("-m", "gunicorn", "--preload", "--workers", "3", "--bind", f"127.0.0.1:{port}", "shared_app:server"),
            STORE=url,
        )
        until(lambda: program.process.poll() is not None or answers(port), "gunicorn answers")
        assert program.process.poll() is None, program.output()
        pids: set[int] = set()

        def all_answered() -> bool:
            pids.update(pool.map(lambda _: json.loads(ask(port, "GET", "/stats")[1])["pid"], range(16)))
            return len(pids) == 3  # a worker that is still starting would not hear the signal to stop

        with ThreadPoolExecutor(8) as pool:  # one after the other may all meet the same worker
            found = list(pool.map(lambda number: ask(port, "GET", f"/page-{number}")[0], range(20)))
            until(all_answered, "all workers answer")
        assert found == [200] * 20
        assert program.stop(signal.SIGTERM) == 0
        assert "Traceback" not in program.output()
        repository = SqlTrackerRepository(url)
        views = repository.get_page_views(limit=None)["data"]
        paths = [row["path"] for row in views if row["path"].startswith("/page-")]
        assert sorted(paths) == sorted(f"/page-{number}" for number in range(20))
        assert len(list(repository.export(event="loaded"))) == 1
        assert_exact(repository, tmp_path / "usage.db" if engine == "sqlite" else None)
        repository.close()
