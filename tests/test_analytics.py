"""The asyncio side: any loop, any thread, and the process's own writes first."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from contract import T0, view
from http_server import Receiver

from dash_user_tracker.analytics import TrackerAnalytics
from dash_user_tracker.errors import NotReadableError
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.http import HttpTrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def repository() -> MemoryTrackerRepository:
    repository = MemoryTrackerRepository()
    repository.save_events(
        [
            view("/b", "ada", at=1, email="ada@example.com"),
            view("/a", "ada", at=2, email="ada@example.com"),
            view("/a", "bob", at=3, email=None, automated=True),
            view("/a", at=4, email="anonymous"),
            view("/a", "ada", at=5, email="ada@new.example.com"),
        ]
    )
    return repository


def test_every_primitive_answers_as_the_repository_does(repository: MemoryTrackerRepository) -> None:
    analytics = TrackerAnalytics(repository=repository)

    async def ask() -> None:
        start, end = T0 + timedelta(seconds=2), T0 + timedelta(seconds=5)
        for options in ({}, {"automated": False}):
            for name in ("get_page_views", "get_user_count", "get_page_count"):
                expected = getattr(repository, name)(start, end, **options)
                assert await getattr(analytics, name)(start, end, **options) == expected
            for name, key in (
                ("get_page_views_by_user", "ada"),
                ("get_page_views_by_path", "/a"),
                ("get_user_count_by_path", "/a"),
                ("get_page_count_by_user", "ada"),
            ):
                expected = getattr(repository, name)(key, start, end, **options)
                assert await getattr(analytics, name)(key, start, end, **options) == expected
        assert len((await analytics.get_page_views(limit=2))["data"]) == 2

    asyncio.run(ask())


def test_the_activity_of_a_user_has_the_documented_shape(repository: MemoryTrackerRepository) -> None:
    activity = asyncio.run(TrackerAnalytics(repository=repository).get_user_activity("ada"))
    assert activity == {
        "total_views": 3,
        "unique_pages": {"count": 2, "pages": ["/a", "/b"]},
        "page_views": repository.get_page_views_by_user("ada")["data"],
    }


def test_the_activity_of_a_page_has_the_documented_shape(repository: MemoryTrackerRepository) -> None:
    activity = asyncio.run(TrackerAnalytics(repository=repository).get_page_activity("/a"))
    assert activity == {
        "total_views": 4,
        "unique_users": {
            "count": 3,
            "user_ids": ["ada", "anonymous", "bob"],
            "user_emails": ["ada@example.com", "ada@new.example.com"],
        },
        "page_views": repository.get_page_views_by_path("/a")["data"],
    }


def test_activity_keeps_to_its_range_and_to_people_when_asked(repository: MemoryTrackerRepository) -> None:
    analytics = TrackerAnalytics(repository=repository)
    page = asyncio.run(analytics.get_page_activity("/a", T0, T0 + timedelta(seconds=4), automated=False))
    assert page["total_views"] == 1
    assert page["unique_users"]["user_ids"] == ["ada"]
    user = asyncio.run(analytics.get_user_activity("ada", start=T0 + timedelta(seconds=5)))
    assert user["unique_pages"] == {"count": 1, "pages": ["/a"]}


def test_activity_of_nobody_is_empty(repository: MemoryTrackerRepository) -> None:
    activity = asyncio.run(TrackerAnalytics(repository=repository).get_user_activity("nobody"))
    assert activity == {"total_views": 0, "unique_pages": {"count": 0, "pages": []}, "page_views": []}


def test_activity_covers_all_rows_also_where_the_receiver_sends_a_thousand_by_default() -> None:
    with Receiver() as receiver:
        receiver.repository.save_events([view(f"/{n}", "ada") for n in range(1001)])
        repository = HttpTrackerRepository(receiver.url)
        activity = asyncio.run(TrackerAnalytics(repository=repository).get_user_activity("ada"))
        repository.close()
    assert activity["total_views"] == activity["unique_pages"]["count"] == len(activity["page_views"]) == 1001


def test_one_object_serves_several_runs(repository: MemoryTrackerRepository) -> None:
    analytics = TrackerAnalytics(repository=repository)
    assert [asyncio.run(analytics.get_user_count()) for _ in range(3)] == [3, 3, 3]


def test_one_object_serves_several_threads_at_once(repository: MemoryTrackerRepository) -> None:
    analytics = TrackerAnalytics(repository=repository)
    answers = []

    async def many() -> list[int]:
        return await asyncio.gather(*(analytics.get_page_count() for _ in range(10)))

    threads = [threading.Thread(target=lambda: answers.extend(asyncio.run(many()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert answers == [2] * 40


def test_the_processes_own_events_are_flushed_first_and_off_the_loop(repository: MemoryTrackerRepository) -> None:
    calls: list[tuple[float, threading.Thread]] = []

    def flush(timeout: float) -> bool:
        calls.append((timeout, threading.current_thread()))
        repository.save_event(view("/just-now"))
        return True

    analytics = TrackerAnalytics(repository=repository, flush=flush)
    assert asyncio.run(analytics.get_page_views())["data"][0]["path"] == "/a"
    assert asyncio.run(analytics.get_page_count()) == 3
    assert [timeout for timeout, _ in calls] == [1.0, 1.0]
    assert threading.current_thread() not in {thread for _, thread in calls}


def test_a_flush_that_runs_out_of_time_does_not_stop_the_query(repository: MemoryTrackerRepository) -> None:
    analytics = TrackerAnalytics(repository=repository, flush=lambda timeout: False)
    assert asyncio.run(analytics.get_user_count()) == 3


def test_the_loop_runs_on_while_the_repository_works() -> None:
    released = threading.Event()

    class Slow(MemoryTrackerRepository):
        def get_user_count(self, *args: Any, **kwargs: Any) -> int:
            assert released.wait(60)
            return 7

    async def ask() -> int:
        query = asyncio.ensure_future(TrackerAnalytics(repository=Slow()).get_user_count())
        await asyncio.sleep(0)
        released.set()  # reached only if the loop was not held up
        return await query

    assert asyncio.run(ask()) == 7


@pytest.mark.parametrize("error", [KeyError("x"), StopIteration(), SystemExit(3)], ids=repr)
def test_what_the_repository_raises_is_raised_where_it_is_awaited(error: BaseException) -> None:
    class Broken(MemoryTrackerRepository):
        def get_user_count(self, *args: Any, **kwargs: Any) -> int:
            raise error

    async def ask() -> BaseException | None:
        try:
            await TrackerAnalytics(repository=Broken()).get_user_count()
        except BaseException as raised:  # noqa: BLE001 - looked at below
            return raised
        return None

    raised = asyncio.run(ask())
    # Python makes a RuntimeError of a StopIteration that leaves a coroutine (PEP 479).
    assert raised is error or (isinstance(raised, RuntimeError) and raised.__cause__ is error)


def test_a_repository_that_cannot_read_says_so() -> None:
    class WriteOnly(TrackerRepository):
        def save_event(self, event: Event) -> None:
            raise AssertionError

    with pytest.raises(NotReadableError, match="WriteOnly stores events but cannot read them back"):
        asyncio.run(TrackerAnalytics(repository=WriteOnly()).get_user_activity("ada"))


def test_a_repository_that_does_not_know_automated_serves_who_does_not_ask_for_it() -> None:
    class Own(TrackerRepository):
        def save_event(self, event: Event) -> None:
            raise AssertionError

        def get_user_count(self, start: Any = None, end: Any = None) -> int:
            return 5

    assert asyncio.run(TrackerAnalytics(repository=Own()).get_user_count()) == 5


@pytest.mark.parametrize("wrong", [None, "sqlite:///usage.db", MemoryTrackerRepository], ids=["none", "url", "class"])
def test_a_repository_must_be_one(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"repository must be a TrackerRepository, got .*; pass a repository"):
        TrackerAnalytics(repository=wrong)


def test_an_interrupted_query_is_left_alone() -> None:
    released = threading.Event()

    class Slow(MemoryTrackerRepository):
        def get_user_count(self, *args: Any, **kwargs: Any) -> int:
            assert released.wait(60)
            return 7

    async def ask() -> None:
        await asyncio.wait_for(TrackerAnalytics(repository=Slow()).get_user_count(), 0.01)

    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(ask())
    released.set()  # its loop is closed by now: the thread must end without a word
    for thread in threading.enumerate():
        if thread.name == "dash-user-tracker-analytics":
            thread.join(60)


_HANGING = """
import asyncio, threading
from dash_user_tracker.analytics import TrackerAnalytics
from dash_user_tracker.repositories.memory import MemoryTrackerRepository

class Hanging(MemoryTrackerRepository):
    def get_user_count(self, *args, **kwargs):
        threading.Event().wait()

try:
    asyncio.run(asyncio.wait_for(TrackerAnalytics(repository=Hanging()).get_user_count(), 0.1))
except asyncio.TimeoutError:
    print("gave up")
"""


def test_a_store_that_never_answers_does_not_hang_the_end_of_the_interpreter() -> None:
    done = subprocess.run([sys.executable, "-c", _HANGING], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "gave up\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_works_in_a_forked_child_after_use_in_the_parent(repository: MemoryTrackerRepository) -> None:
    analytics = TrackerAnalytics(repository=repository)
    assert asyncio.run(analytics.get_user_count()) == 3
    pid = os.fork()
    if pid == 0:
        os._exit(asyncio.run(analytics.get_user_count()))
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 3
