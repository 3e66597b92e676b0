"""The contract on real database servers, and what is special about them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from contract import EventsContract, RepositoryContract, view
from hypothesis import HealthCheck, given, note, settings
from metrics_contract import MetricsContract
from metrics_strategies import Change, Question, assert_same, stories
from sql_servers import SERVERS, database, empty

from dash_user_tracker.errors import SchemaError, UnavailableError
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository
from dash_user_tracker.repositories.sql.address import parse_address
from dash_user_tracker.repositories.sql.schema import metadata

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module", params=list(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    with database(request.param) as url:
        yield url


@pytest.fixture
def url(server: str) -> str:
    empty(server)
    return server


@pytest.fixture
def repository(url: str) -> Iterator[TrackerRepository]:
    repository = SqlTrackerRepository(url)
    yield repository
    repository.close()


class TestServer(RepositoryContract, EventsContract):
    @pytest.fixture
    def repository(self, url: str) -> Iterator[TrackerRepository]:
        repository = SqlTrackerRepository(url)
        yield repository
        repository.close()


class TestServerMetrics(MetricsContract):
    @pytest.fixture
    def repository(self, url: str) -> Iterator[TrackerRepository]:
        repository = SqlTrackerRepository(url)
        yield repository
        repository.close()


@settings(deadline=None, max_examples=15, suppress_health_check=list(HealthCheck))
@given(stories())
def test_a_server_answers_what_the_memory_repository_does(
    server: str, story: tuple[list[Change], list[tuple[int, Question]]]
) -> None:
    changes, asked = story
    reference = MemoryTrackerRepository()
    empty(server)
    with closing(SqlTrackerRepository(server)) as repository:
        for number, change in enumerate(changes, 1):
            assert change.apply(repository) == change.apply(reference)
            for _, question in (pair for pair in asked if pair[0] == number):
                note(f"after {number} changes: {question}")
                assert_same(question.ask(reference), question.ask(repository))


_WRITER = """
import sys
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.sql import SqlTrackerRepository
from dash_user_tracker.repositories.sql.address import parse_address
from dash_user_tracker.repositories.sql.schema import metadata

name, url, batches = sys.argv[1], sys.argv[2], int(sys.argv[3])
repository = SqlTrackerRepository(url)
print("ready", flush=True)
sys.stdin.readline()
for number in range(batches):
    events = [Event.new("page_view", {"path": f"/{name}/{number}/{n}", "user_id": name}) for n in range(5)]
    repository.save_events(events)
    print(*(event.id for event in events), flush=True)
"""


def make_tables_anew(url: str) -> None:
    engine = sa.create_engine(parse_address(url)[0])
    metadata.drop_all(engine)
    engine.dispose()


def start_writers(count: int, url: str, batches: int) -> list[subprocess.Popen[str]]:
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, f"u{number}", url, str(batches)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(count)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    return writers


def test_sixteen_processes_create_the_tables_and_write_at_once_and_nothing_is_lost(url: str) -> None:
    make_tables_anew(url)
    writers = start_writers(16, url, 5)
    told = [writer.communicate() for writer in writers]
    assert [errors for _, errors in told] == [""] * 16
    repository = SqlTrackerRepository(url)
    assert {event.id for event in repository.get_events(limit=None)} == {
        event_id for output, _ in told for event_id in output.split()
    }
    assert repository.get_page_count() == 16 * 25
    assert repository.get_user_count() == 16
    repository.close()


def test_questions_that_come_first_all_at_once_make_the_tables_once(url: str) -> None:
    make_tables_anew(url)
    repository, start = SqlTrackerRepository(url), threading.Barrier(6)
    answers: list[int] = []

    def ask() -> None:
        start.wait(30)
        answers.append(repository.get_summary().views)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    repository.close()
    assert answers == [0] * 6


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_writer_loses_no_acknowledged_event(url: str) -> None:
    acknowledged: set[str] = set()
    writers = start_writers(2, url, 100_000)
    for writer in writers:
        for _ in range(20):
            acknowledged.update(writer.stdout.readline().split())
        writer.kill()  # SIGKILL, wherever it is
        for line in writer.stdout:
            if line.endswith("\n"):
                acknowledged.update(line.split())
        assert writer.communicate()[1] == ""
    repository = SqlTrackerRepository(url)
    stored = {event.id for event in repository.get_events(limit=None)}
    repository.close()
    assert len(acknowledged) >= 200
    assert acknowledged <= stored
    assert len(stored) <= len(acknowledged) + 2 * 5  # at most the batch in flight of each


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_writes_and_reads_with_connections_of_its_own(repository: TrackerRepository) -> None:
    repository.save_event(view("/parent"))
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            repository.save_event(view("/child"))
            assert repository.get_page_views()["count"] == 2
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    repository.save_event(view("/parent again"))
    assert repository.get_page_count() == 3


def test_tables_of_others_are_left_alone(url: str, repository: TrackerRepository) -> None:
    engine = sa.create_engine(parse_address(url)[0])
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE customer (name VARCHAR(20))")
    try:
        repository.save_event(view())
        assert repository.get_page_views()["count"] == 1
        assert "customer" in sa.inspect(engine).get_table_names()
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE customer")
        engine.dispose()


#: What version 2 had otherwise; the roll-ups that it left are void, whatever they are.
VERSION_2 = (
    "UPDATE dut_event SET ts = ts + 1830297600000000, page = COALESCE(page, path), "
    "who = CASE WHEN actor > 0 THEN actor ELSE who END",
    "UPDATE dut_store SET version = 2, compatible = 2, folded = 3",
)


def test_a_store_of_version_2_is_taken_over_with_all_that_is_in_it(url: str, repository: TrackerRepository) -> None:
    events = [view("/a", "ada", at=n, route="/<page>") for n in range(3)] + [view("/b", None, at=n) for n in range(3)]
    repository.save_events(events)
    counted = repository.get_summary()
    repository.close()
    engine = sa.create_engine(parse_address(url)[0])
    with engine.begin() as connection:
        for statement in VERSION_2:
            connection.exec_driver_sql(statement)
    engine.dispose()
    again = SqlTrackerRepository(url)
    try:
        assert again.get_events(limit=None) == repository.get_events(limit=None)
        assert sorted(event.id for event in again.get_events(limit=None)) == sorted(event.id for event in events)
        assert {event.id: event for event in again.get_events(limit=None)} == {event.id: event for event in events}
        assert again.get_summary() == counted
        assert again.get_page_views_by_user("ada")["count"] == 3
    finally:
        again.close()


def test_a_newer_schema_is_refused_with_the_way_out(url: str, repository: TrackerRepository) -> None:
    repository.save_event(view())
    engine = sa.create_engine(parse_address(url)[0])
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE dut_store SET version = version + 1, compatible = version + 1")
    engine.dispose()
    with pytest.raises(SchemaError, match=r"schema version 4, this .* knows 3.*pip install -U dash-user-tracker"):
        repository.save_event(view())


def test_more_questions_at_once_than_connections_means_try_again(repository: SqlTrackerRepository) -> None:
    pool = repository._connections.process().reading.pool
    pool._timeout = 0.1
    with ExitStack() as open_:
        for _ in range(pool.size() + pool._max_overflow):
            open_.enter_context(repository._connections.read())
        with pytest.raises(UnavailableError, match="too many questions at once"):
            repository.get_page_count()
    assert repository.get_page_count() == 0


def test_a_server_that_does_not_answer_means_try_again(url: str) -> None:
    nowhere = sa.make_url(url).set(host="127.0.0.1", port=1)
    repository = SqlTrackerRepository(nowhere)
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1") as caught:
        repository.save_event(view())
    assert "\n" not in str(caught.value)
