"""Every repository passes the same contract; then what is special about memory and console."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from contract import T0, EventsContract, RepositoryContract, view
from http_server import Receiver
from hypothesis import given, settings
from hypothesis import strategies as st

from dash_user_tracker.codec import decode_event
from dash_user_tracker.errors import ConfigurationError, NotReadableError
from dash_user_tracker.events import CALLBACK, PAGE_VIEW, Event
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.console import ConsoleTrackerRepository
from dash_user_tracker.repositories.http import HttpTrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository


class TestMemory(RepositoryContract, EventsContract):
    @pytest.fixture
    def repository(self) -> TrackerRepository:
        return MemoryTrackerRepository()


class TestConsole(RepositoryContract, EventsContract):
    @pytest.fixture
    def repository(self) -> TrackerRepository:
        return ConsoleTrackerRepository(stream=io.StringIO())


class TestSqlFile(RepositoryContract, EventsContract):
    @pytest.fixture
    def repository(self, tmp_path: Path) -> TrackerRepository:
        return SqlTrackerRepository(f"sqlite:///{tmp_path}/usage.db")


class TestSqlMemory(RepositoryContract, EventsContract):
    @pytest.fixture
    def repository(self) -> Iterator[TrackerRepository]:
        repository = SqlTrackerRepository("sqlite://")
        yield repository
        repository.close()


class TestHttpOneByOne(RepositoryContract):
    @pytest.fixture
    def repository(self) -> Iterator[TrackerRepository]:
        with Receiver(bare_counts=True) as receiver:
            repository = HttpTrackerRepository(receiver.url, "key")
            yield repository
            repository.close()

    test_rows_are_limited_to_a_thousand_unless_asked = None  # a thousand requests; as a batch below


class TestHttpInBatches(RepositoryContract):
    @pytest.fixture
    def repository(self) -> Iterator[TrackerRepository]:
        with Receiver(batch=300) as receiver:
            repository = HttpTrackerRepository(receiver.url)
            yield repository
            repository.close()


class WriteOnly(TrackerRepository):
    def save_event(self, event: Event) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("get_page_views", ()),
        ("get_page_views_by_user", ("ada",)),
        ("get_page_views_by_path", ("/",)),
        ("get_user_count", ()),
        ("get_user_count_by_path", ("/",)),
        ("get_page_count", ()),
        ("get_page_count_by_user", ("ada",)),
        ("get_events", ()),
    ],
)
def test_a_repository_that_only_writes_says_where_to_read_instead(method: str, arguments: tuple[str, ...]) -> None:
    with pytest.raises(NotReadableError, match=r"WriteOnly.*SqlTrackerRepository"):
        getattr(WriteOnly(), method)(*arguments)


# -- SQL equals memory -----------------------------------------------------------------

_PATHS = st.sampled_from(["/", "/a", "/A", "/a/", "/ä", "", None])
_USERS = st.sampled_from(["ada", "Ada", "anonymous", "", None])
_MOMENTS = st.integers(-3, 3).map(lambda step: T0 + timedelta(microseconds=step))
_DATA = st.fixed_dictionaries(
    {"path": _PATHS, "user_id": _USERS}, optional={"automated": st.booleans(), "properties": st.text(max_size=3)}
)
_EVENTS = st.builds(
    Event,
    id=st.integers(0, 30).map(str),
    event=st.sampled_from([PAGE_VIEW, PAGE_VIEW, CALLBACK]),
    timestamp=_MOMENTS,
    data=_DATA,
)
_RANGES = st.tuples(st.none() | _MOMENTS, st.none() | _MOMENTS).filter(lambda pair: None in pair or pair[0] <= pair[1])


@settings(max_examples=40, deadline=None)
@given(
    batches=st.lists(st.lists(_EVENTS, max_size=8), max_size=4),
    bounds=_RANGES,
    automated=st.none() | st.booleans(),
    limit=st.none() | st.integers(0, 5),
    path=_PATHS.filter(lambda path: path is not None),
    user_id=_USERS.filter(lambda user_id: user_id is not None),
)
def test_sql_answers_as_memory_does(
    batches: list[list[Event]],
    bounds: tuple[datetime | None, datetime | None],
    automated: bool | None,
    limit: int | None,
    path: str,
    user_id: str,
) -> None:
    def answers(repository: TrackerRepository) -> list[object]:
        for batch in batches:
            repository.save_events(batch)
        return [
            repository.get_page_views(*bounds, limit, automated=automated),
            repository.get_page_views_by_user(user_id, *bounds, limit, automated=automated),
            repository.get_page_views_by_path(path, *bounds, limit, automated=automated),
            repository.get_user_count(*bounds, automated=automated),
            repository.get_user_count_by_path(path, *bounds, automated=automated),
            repository.get_page_count(*bounds, automated=automated),
            repository.get_page_count_by_user(user_id, *bounds, automated=automated),
            repository.get_events(*bounds, limit),
            repository.get_events(*bounds, limit, event=CALLBACK),
        ]

    sql = SqlTrackerRepository("sqlite://")
    try:
        assert answers(sql) == answers(MemoryTrackerRepository())
    finally:
        sql.close()


# -- memory ----------------------------------------------------------------------------


def test_memory_keeps_the_newest_arrivals() -> None:
    repository = MemoryTrackerRepository(max_events=3)
    events = [view(f"/{n}", at=-n) for n in range(5)]
    repository.save_events(events)
    assert repository.events == events[2:]


def test_memory_gives_its_events_in_order_of_arrival_as_a_copy() -> None:
    repository = MemoryTrackerRepository()
    events = [view(at=2), view(at=1)]
    repository.save_events(events)
    repository.events.clear()
    assert repository.events == events


def test_memory_can_be_cleared() -> None:
    repository = MemoryTrackerRepository()
    event = view()
    repository.save_event(event)
    repository.clear()
    assert repository.events == []
    repository.save_event(event)
    assert repository.events == [event]


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, None, "10"])
def test_max_events_must_be_a_positive_whole_number(wrong: object) -> None:
    with pytest.raises(ConfigurationError, match="max_events must be a whole number of at least 1, got"):
        MemoryTrackerRepository(max_events=wrong)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_memory_is_usable_in_a_child_forked_while_another_thread_held_its_lock() -> None:
    repository = MemoryTrackerRepository()
    repository.save_event(view())
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with repository._lock():
            held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    pid = os.fork()
    if pid == 0:
        repository.save_event(view())
        os._exit(0 if len(repository.events) == 2 else 1)
    status = os.waitpid(pid, 0)[1]
    done.set()
    thread.join(60)
    assert status == 0


# -- console ---------------------------------------------------------------------------


def test_console_prints_one_line_of_json_for_each_event() -> None:
    stream = io.StringIO()
    events = [view("/a\n", "ä"), view("/b")]
    ConsoleTrackerRepository(stream=stream).save_events(events)
    assert [decode_event(line) for line in stream.getvalue().splitlines()] == events


def test_console_looks_stdout_up_when_it_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    repository = ConsoleTrackerRepository()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    repository.save_event(view("/late"))
    assert json.loads(stream.getvalue())["data"]["path"] == "/late"


def test_console_works_without_a_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    repository = ConsoleTrackerRepository()
    repository.save_event(view())
    assert len(repository.events) == 1


def test_console_flushes_once_for_each_batch() -> None:
    class Counting(io.StringIO):
        flushes = 0

        def flush(self) -> None:
            self.flushes += 1

    stream = Counting()
    ConsoleTrackerRepository(stream=stream).save_events([view(), view()])
    assert stream.flushes == 1


def test_console_prints_an_event_that_comes_again_once() -> None:
    stream = io.StringIO()
    repository = ConsoleTrackerRepository(stream=stream)
    event = view()
    repository.save_event(event)
    repository.save_event(event)
    assert len(stream.getvalue().splitlines()) == 1


def test_a_closed_stream_costs_lines_but_no_events_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    stream = io.StringIO()
    stream.close()
    repository = ConsoleTrackerRepository(stream=stream)
    with caplog.at_level(logging.WARNING):
        repository.save_event(view("/1"))
        repository.save_event(view("/2"))
    assert [record.getMessage() for record in caplog.records] == [
        "events are kept but cannot be printed: ValueError: I/O operation on closed file"
    ]
    assert repository.get_page_views()["count"] == 2


def test_console_takes_an_ascii_only_stream() -> None:
    with tempfile.TemporaryFile("w+", encoding="ascii") as stream:
        ConsoleTrackerRepository(stream=stream).save_event(view("/ä\U0001f600"))
        stream.seek(0)
        assert json.loads(stream.read())["data"]["path"] == "/ä\U0001f600"


def test_console_prints_what_it_is_given_in_utc() -> None:
    stream = io.StringIO()
    moment = datetime(2025, 1, 30, 15, 0, tzinfo=timezone(timedelta(hours=-5)))
    ConsoleTrackerRepository(stream=stream).save_event(Event.new(PAGE_VIEW, {}, timestamp=moment))
    assert json.loads(stream.getvalue())["timestamp"] == "2025-01-30T20:00:00+00:00"
