"""A store that is copied, purged, folded and killed while many use it."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from contract import T0, view
from metrics_strategies import assert_same

from dash_user_tracker.errors import TrackerError
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.memory import MemoryTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository, deleting
from dash_user_tracker.repositories.sql import repository as module
from dash_user_tracker.repositories.sql.folding import Folding, is_due
from dash_user_tracker.repositories.sql.migrations import Migrations

ROOT = Path(__file__).resolve().parent.parent

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "usage.db"


@pytest.fixture
def repository(file: Path) -> Iterator[SqlTrackerRepository]:
    repository = SqlTrackerRepository(f"sqlite:///{file}")
    yield repository
    repository.close()


@pytest.fixture
def folds_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever saves folds when 40 events have gathered."""
    monkeypatch.setattr(module, "is_due", lambda connection, memory, least=40: is_due(connection, memory, least))


def batch(name: str, number: int, size: int = 10) -> list[Event]:
    return [view(f"/{n % 7}", name, at=number * 600 + n * 30.0) for n in range(size)]


def assert_exact(file: Path, repository: SqlTrackerRepository) -> None:
    """The file is sound, and the roll-ups say what the events say."""
    connection = sqlite3.connect(str(file))
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    events = repository.get_events(limit=None)[::-1]
    reference = MemoryTrackerRepository(max_events=max(len(events), 1))
    reference.save_events(events)
    assert repository.get_page_views(limit=0)["count"] == len(events)
    assert_same(reference.get_summary(), repository.get_summary())
    for dimension in ("page", "user"):
        assert_same(reference.get_breakdown(dimension), repository.get_breakdown(dimension))


def in_children(count: int, work: Callable[[int], None]) -> list[int]:
    """Forks; the children wait until all are there."""
    wait, go = os.pipe()
    children = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.read(wait, 1)
                work(number)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    os.write(go, b"x" * count)
    os.close(wait)
    os.close(go)
    return children


def ended_well(children: list[int]) -> bool:
    return [os.waitpid(child, 0)[1] for child in children] == [0] * len(children)


def test_a_backup_is_whole_while_others_write(file: Path, repository: SqlTrackerRepository, tmp_path: Path) -> None:
    before = batch("ada", 0, 500)
    repository.save_events(before)
    repository.maintain()
    done = threading.Event()
    failures: list[TrackerError] = []

    def write() -> None:
        number = 1
        while not done.is_set():
            try:
                repository.save_events(batch("bob", number))
            except TrackerError as error:
                failures.append(error)
                return
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    for number in range(3):
        repository.backup(tmp_path / f"copy{number}.db")
    done.set()
    writer.join(60)
    assert not failures
    for number in range(3):
        copy = SqlTrackerRepository(f"sqlite:///{tmp_path}/copy{number}.db")
        assert {event.id for event in before} <= {event.id for event in copy.get_events(limit=None)}
        assert_exact(tmp_path / f"copy{number}.db", copy)


def test_a_purge_gives_the_space_back_and_leaves_right_numbers(file: Path, repository: SqlTrackerRepository) -> None:
    repository.save_events(
        [view(f"/{n % 5}", f"u{n % 9}", at=n * 60.0, properties={"x": "y" * 200}) for n in range(6000)]
    )
    repository.maintain()
    before = file.stat().st_size
    assert repository.purge(T0 + timedelta(minutes=5400)) == 5400
    assert file.stat().st_size < before / 3
    assert_exact(file, repository)


# -- what is deleted -----------------------------------------------------------------------

_ADA = {
    "email": "ada@lovelace.example",
    "full_name": "Ada Lovelace",
    "group": "analytical engines",
    "ip": "10.99.88.77",
    "user_agent": "her own browser",
    "visitor": "feedfacefeedface",
    "referrer": "https://lovelace.example/",
    "full_path": "/people/ada?secret=her-query",
    "callback": "her:callback",
    "output": "her-graph.figure",
    "trigger": "her-control.value",
    "error": {"type": "HerError", "where": "her.py:1"},
    "further": "her-further-key",
}
_TRACES = [b"ada.lovelace", b"/people/ada", b"her-query", *(str(v).encode() for k, v in _ADA.items() if k != "error")]


def traces_in(file: Path) -> dict[str, list[bytes]]:
    """What the files of a store still hold of her."""
    return {
        each.name: found
        for each in file.parent.iterdir()
        if (found := [trace for trace in (*_TRACES, b"HerError", b"her.py") if trace in each.read_bytes()])
    }


def of_ada(number: int) -> list[Event]:
    """Her events among those of others, who have some of her texts, too."""
    hers = {"cause": "user", "outcome": "error", "status": 500, **_ADA}
    return [
        view("/people/ada", "ada.lovelace", at=number * 600.0, **_ADA),
        attrs.evolve(view("/people/ada", "ada.lovelace", at=number * 600.0 + 1, **hers), event="callback"),
        *batch("bob", number),
    ]


@pytest.mark.parametrize("keep_open", [False, True])
def test_nothing_is_left_in_the_files_of_somebody_who_was_erased(
    file: Path, repository: SqlTrackerRepository, folds_often: None, keep_open: bool
) -> None:
    writer = SqlTrackerRepository(f"sqlite:///{file}")  # an app that goes on
    if keep_open:
        writer.keep_open()
    for number in range(40):
        writer.save_events(of_ada(number))
    assert traces_in(file)
    assert repository.erase_user("ada.lovelace") == 80
    assert traces_in(file) == {}
    assert_exact(file, repository)
    writer.save_events(batch("ada.lovelace", 41))  # the number of her label may be somebody else's by now
    writer.save_events(batch("eve", 42))
    assert {row["user_id"] for row in repository.get_page_views(limit=None)["data"]} == {"bob", "ada.lovelace", "eve"}
    assert_exact(file, repository)
    writer.close()


def test_nothing_is_left_of_a_person_whose_erasure_was_killed_after_the_last_event(
    file: Path, repository: SqlTrackerRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.save_events(of_ada(0))
    with monkeypatch.context() as killed:
        killed.setattr(repository, "_clean_up", lambda: None)
        assert repository.erase_user("ada.lovelace") == 2
    assert repository.erase_user("ada.lovelace") == 0
    assert traces_in(file) == {}


def test_a_purge_leaves_no_texts_behind_that_only_old_events_had(file: Path, repository: SqlTrackerRepository) -> None:
    repository.save_events([event for number in range(10) for event in of_ada(number)])
    repository.save_events([view("/", "bob", at=90000.0, ip="10.99.88.77")])
    repository.purge(T0 + timedelta(days=1))
    assert traces_in(file) == {"usage.db": [b"10.99.88.77"]}
    assert_exact(file, repository)


def test_a_text_that_comes_back_while_it_is_being_forgotten_stays(
    file: Path, repository: SqlTrackerRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.save_events(of_ada(0))
    other = SqlTrackerRepository(f"sqlite:///{file}")
    other.save_event(view("/", "bob"))
    look = deleting.unused_labels
    looked = []

    def looks_and_somebody_writes(connection):  # type: ignore[no-untyped-def]
        found = look(connection)
        if not looked:
            other.save_events([view("/people/ada", "bob", at=7000.0, ip="10.99.88.77")])
        looked.append(found)
        return found

    monkeypatch.setattr(deleting, "unused_labels", looks_and_somebody_writes)
    repository.erase_user("ada.lovelace")
    assert len(looked) == 1
    assert other.get_page_views_by_path("/people/ada")["data"][0]["ip"] == "10.99.88.77"
    assert b"her:callback" not in file.read_bytes()


def test_what_was_deleted_meanwhile_is_looked_for_again(
    file: Path, repository: SqlTrackerRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last event goes while labels are looked for, and another one gets its number, and a label that was free."""
    repository.save_events([*batch("bob", 0), *of_ada(1), view("/", "last", at=10**6)])
    other = SqlTrackerRepository(f"sqlite:///{file}")
    other.get_events()
    look = deleting.unused_labels
    looked = []

    def looks_and_the_last_one_goes(connection):  # type: ignore[no-untyped-def]
        found = look(connection)
        looked.append(found)
        if len(looked) == 1:
            with monkeypatch.context() as not_again:
                not_again.setattr(other, "_clean_up", lambda: None)
                other.erase_user("last")
            other.save_event(view("/people/ada", "bob", at=7000.0))
        return found

    monkeypatch.setattr(deleting, "unused_labels", looks_and_the_last_one_goes)
    repository.erase_user("ada.lovelace")
    assert len(looked) == 2
    assert repository.get_page_views_by_path("/people/ada")["count"] == 1
    assert [row["path"] for row in repository.get_page_views(limit=None)["data"]].count("/people/ada") == 1


# -- threads, and files that change under them -----------------------------------------------


def test_a_question_counts_what_it_sees_whatever_other_threads_have_seen_since(
    file: Path, repository: SqlTrackerRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.save_events(batch("ada", 0))
    is_behind = repository._behind
    answers: list[int] = []

    def others_go_on(connection, memory):  # type: ignore[no-untyped-def]
        if threading.current_thread() is threading.main_thread() and not answers:
            other = threading.Thread(target=count_more)
            other.start()
            other.join(60)
        return is_behind(connection, memory)

    def count_more() -> None:
        repository.save_events(batch("bob", 1))
        answers.append(repository.get_page_views(limit=0)["count"])

    monkeypatch.setattr(repository, "_behind", others_go_on)
    assert repository.get_page_views(limit=0)["count"] == 20
    assert answers == [20]
    assert_exact(file, repository)


def test_a_question_that_begins_slowly_does_not_let_events_be_counted_twice(
    file: Path, repository: SqlTrackerRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thread saw of the watermark long ago is nothing to the one that counts now."""
    hours = [event for number in range(60) for event in batch("ada", number)]
    repository.save_events(hours)
    begin, run = Migrations.begin, Folding.run
    looked, may_go_on, began = threading.Event(), threading.Event(), threading.Event()

    def begins_slowly(self, connection, **options):  # type: ignore[no-untyped-def]
        state = begin(self, connection, **options)
        if threading.current_thread() is slow and not began.is_set():
            looked.set()
            may_go_on.wait(60)
        return state

    def ask() -> None:
        with repository._connections.read():
            began.set()

    def runs_when_the_slow_one_began(self):  # type: ignore[no-untyped-def]
        may_go_on.set()
        assert began.wait(60)
        return run(self)

    slow = threading.Thread(target=ask)
    monkeypatch.setattr(Migrations, "begin", begins_slowly)
    slow.start()
    assert looked.wait(60)
    repository.maintain()
    repository.save_events(batch("bob", 1))
    monkeypatch.setattr(Folding, "run", runs_when_the_slow_one_began)
    repository.maintain()
    slow.join(60)
    assert repository.get_summary().views == 610
    assert_exact(file, repository)


def test_a_backup_may_be_put_in_the_place_of_the_store_under_an_app_that_goes_on(
    file: Path, repository: SqlTrackerRepository, tmp_path: Path
) -> None:
    """The backup does not know the texts that came after it: their numbers mean others there."""
    app = SqlTrackerRepository(f"sqlite:///{file}")
    app.save_events(batch("ada", 0))
    repository.backup(tmp_path / "copy.db")
    app.save_events([view("/later", "later", at=6000.0)])
    os.replace(tmp_path / "copy.db", file)
    other = SqlTrackerRepository(f"sqlite:///{file}")
    other.save_events([view("/other", "other", at=7000.0)])
    app.save_events([view("/later", "later", at=8000.0)])
    repository.save_events([view("/other", "later", at=9000.0)])
    found = {(row["path"], row["user_id"]) for row in repository.get_page_views(limit=None)["data"]}
    assert found >= {("/other", "other"), ("/later", "later"), ("/other", "later")}
    assert repository.get_page_views(limit=0)["count"] == 13
    assert_exact(file, repository)


@needs_fork
def test_nobody_meets_a_locked_file_under_a_reader_that_never_stops_and_four_writers(
    file: Path, repository: SqlTrackerRepository, folds_often: None
) -> None:
    def work(name: int) -> None:
        for number in range(15):
            repository.save_events(batch(f"u{name}", number))

    children = in_children(4, work)
    running = set(children)
    codes = []
    while running:
        repository.get_summary()
        repository.get_page_views(limit=10)
        for child in list(running):
            pid, code = os.waitpid(child, os.WNOHANG)
            if pid:
                running.remove(child)
                codes.append(code)
    assert codes == [0] * 4
    assert repository.get_page_views(limit=0)["count"] == 4 * 15 * 10
    assert_exact(file, repository)


@needs_fork
def test_sixteen_processes_that_write_and_fold_count_each_event_once(
    file: Path, repository: SqlTrackerRepository, folds_often: None
) -> None:
    def work(name: int) -> None:
        for number in range(4):
            repository.save_events(batch(f"u{name}", number))

    assert ended_well(in_children(16, work))
    assert repository.get_page_views(limit=0)["count"] == 16 * 4 * 10
    assert_exact(file, repository)


@needs_fork
def test_a_connection_kept_open_does_not_cross_forks_under_load(file: Path, repository: SqlTrackerRepository) -> None:
    repository.keep_open()
    between_saves, done = threading.Lock(), threading.Event()
    saved = 0

    def write() -> None:
        nonlocal saved
        while not done.is_set():
            with between_saves:
                repository.save_events(batch("ada", saved))
                saved += 1

    writer = threading.Thread(target=write)
    writer.start()

    def work() -> None:
        for number in range(3):
            repository.save_events(batch("child", number))
        assert repository.get_page_views_by_user("child")["count"] >= 30

    children = []
    for _ in range(6):
        with between_saves:  # as a tracker, which waits for a save that is going on
            repository.before_fork()
            pid = os.fork()
        if pid == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    well = ended_well(children)
    done.set()
    writer.join(60)
    assert well
    assert repository.get_page_views(limit=0)["count"] == saved * 10 + 6 * 30
    assert_exact(file, repository)
