"""Items go in on any thread and come out in order, once, or are counted under the reason they were lost for."""

from __future__ import annotations

import gc
import json
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dash_user_tracker.codec import encode_event
from dash_user_tracker.delivery import Delivery, delivery, process, reading, retry, sending
from dash_user_tracker.errors import ConfigurationError, RejectedError, UnavailableError
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.http import HttpTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository

FOREVER = 3600.0  # an interval that no test waits for


def numbered(*numbers: int) -> list[Event]:
    return [Event.new("counted", {"n": number}) for number in numbers]


def read(number: int) -> list[Event]:
    return numbered(number)


def numbers(events: Sequence[Event]) -> list[int]:
    return [event.data["n"] for event in events]


class Batches(TrackerRepository):
    """Keeps every call; fails as its script says; holds its caller while the gate is shut."""

    def __init__(self, *script: BaseException) -> None:
        self.script = deque(script)
        self.down: Exception | None = None
        self.calls: list[list[int]] = []
        self.ids: list[list[str]] = []
        self.saved: list[int] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()

    def save_event(self, event: Event) -> None:
        raise AssertionError("one call for a batch")

    def save_events(self, events: Sequence[Event]) -> None:
        self.calls.append(numbers(events))
        self.ids.append([event.id for event in events])
        self.entered.set()
        assert self.gate.wait(60)
        error = self.script.popleft() if self.script else self.down
        if error is not None:
            raise error
        self.saved += numbers(events)


class Singles(TrackerRepository):
    """Writes ``save_event`` alone, as most do; each number may fail by a script of its own."""

    def __init__(self, **failures: list[Exception]) -> None:
        self.failures = failures
        self.calls: list[int] = []
        self.saved: list[int] = []

    def save_event(self, event: Event) -> None:
        number = event.data["n"]
        self.calls.append(number)
        script = self.failures.get(f"n{number}")
        if script:
            raise script.pop(0)
        self.saved.append(number)


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    """Wait until *holds*, which must be before *seconds* have passed."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.002)


def check_law(stats: dict[str, Any]) -> None:
    assert stats["accepted"] == stats["delivered"] + stats["pending"] + sum(stats["dropped"].values()), stats
    assert stats["pending"] >= 0, stats


@pytest.fixture
def make() -> Iterator[Callable[..., Delivery[Any]]]:
    """Makes deliveries and ends their workers after the test."""
    made: list[tuple[Delivery[Any], Any]] = []

    def make(repository: TrackerRepository, *, read: Callable[[Any], list[Event]] = read, **options: Any) -> Any:
        made.append((Delivery(repository, read, **{"interval": 0.005, **options}), repository))
        return made[-1][0]

    yield make
    for one, repository in made:
        repository.down = None
        if isinstance(repository, Batches):
            repository.gate.set()
        one.close(5)
        check_law(one.stats())


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again after a few milliseconds."""
    monkeypatch.setattr(sending, "retry_delay", lambda attempt, retry_after=None: 0.003)


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread can be started, so that all is delivered by ``flush`` and ``close``, one step at a time."""

    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, no_threads: None) -> Clock:
    """The time of day in the test's hand; only without threads, for a wait would never end."""
    clock = Clock()
    for module in (delivery, reading, sending):
        monkeypatch.setattr(module, "time", clock)
    return clock


# -- nothing before the first item -------------------------------------------------------


def test_nothing_is_started_before_the_first_item(make: Any) -> None:
    before = threading.enumerate()
    one = make(Batches())
    assert one.flush(0) is True
    assert one.stats()["worker_alive"] is False
    assert threading.enumerate() == before
    assert one.put(1) is True
    (worker,) = set(threading.enumerate()) - set(before)
    assert (worker.name, worker.daemon) == ("dash-user-tracker", True)
    assert one.stats()["worker_alive"] is True


def test_a_delivery_that_was_never_used_closes_without_a_thread() -> None:
    before = threading.enumerate()
    one = Delivery(Batches(), read)
    one.close()
    assert threading.enumerate() == before


def test_a_delivery_that_was_never_used_is_given_back() -> None:
    # What `os.register_at_fork` holds can never be taken back.
    reference = weakref.ref(Delivery(Batches(), read))
    gc.collect()
    assert reference() is None


@pytest.mark.parametrize("name", ["queue_size", "queue_bytes", "batch_size"])
@pytest.mark.parametrize("value", [0, -1, True, 1.5, "9", None], ids=repr)
def test_a_bound_is_a_whole_number_of_at_least_one(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"{name} must be a whole number of at least 1, got {value!r}"):
        Delivery(Batches(), read, **{name: value})


# -- order and batches -------------------------------------------------------------------


def test_order_is_kept(make: Any) -> None:
    repository = Batches()
    one = make(repository, batch_size=7, interval=0.001)
    for number in range(500):
        assert one.put(number)
    assert one.flush(20) is True
    assert repository.saved == list(range(500))


def test_what_waits_is_handed_over_in_batches(make: Any) -> None:
    repository = Batches()
    repository.gate.clear()
    one = make(repository, batch_size=10, interval=0.001)
    one.put(0)
    assert repository.entered.wait(20)
    for number in range(1, 26):
        one.put(number)
    repository.gate.set()
    assert one.flush(20) is True
    assert [len(call) for call in repository.calls] == [1, 10, 10, 5]
    assert one.stats()["batches"] == 4


def test_the_events_of_one_item_are_not_parted(make: Any) -> None:
    repository = Batches()
    one = make(repository, read=lambda n: numbered(n, n, n), batch_size=4, interval=FOREVER)
    for number in range(3):
        one.put(number)
    assert one.flush(20) is True
    assert repository.calls == [[0, 0, 0, 1, 1, 1], [2, 2, 2]]
    assert one.stats()["accepted"] == 9


def test_items_without_events_are_done_with(make: Any) -> None:
    repository = Batches()
    one = make(repository, read=lambda n: numbered(n) if n % 2 else [], interval=FOREVER)
    for number in range(5):
        one.put(number)
    assert one.flush(20) is True
    assert repository.calls == [[1, 3]]
    one.put(6)
    assert one.flush(20) is True
    assert (one.stats()["accepted"], one.stats()["batches"]) == (2, 1)


def test_a_full_batch_does_not_wait_for_the_interval(make: Any) -> None:
    repository = Batches()
    one = make(repository, batch_size=3, interval=FOREVER)
    for number in range(3):
        one.put(number)
    until(lambda: repository.saved == [0, 1, 2])


@pytest.mark.parametrize(
    ("bound", "size"), [({"queue_size": 10}, 0), ({"queue_bytes": 40 << 10}, 4 << 10)], ids=["items", "bytes"]
)
def test_a_queue_smaller_than_a_batch_is_emptied_before_it_is_full(make: Any, bound: dict[str, int], size: int) -> None:
    repository = Batches()
    one = make(repository, interval=FOREVER, **bound)
    one.put(0)
    assert one.flush(20)
    for number in range(1, 6):
        one.put(number, size)
    until(lambda: repository.saved == [0, 1, 2, 3, 4, 5])


@pytest.mark.parametrize("kind", [Batches, Singles])
def test_a_repository_that_takes_no_lines_is_given_events(make: Any, kind: type[Batches | Singles]) -> None:
    def lines(number: int) -> list[str]:
        return [encode_event(event) for event in numbered(number)]

    repository = kind()
    one = make(repository, read=lines)
    for number in range(3):
        one.put(number)
    assert one.flush(20)
    assert repository.saved == [0, 1, 2]


def test_less_than_a_batch_waits_for_the_interval_only(make: Any) -> None:
    repository = Batches()
    make(repository, batch_size=100, interval=0.01).put(7)
    until(lambda: repository.saved == [7])


# -- flush -------------------------------------------------------------------------------


def test_a_flush_does_not_wait_for_the_interval(make: Any) -> None:
    repository = Batches()
    one = make(repository, interval=FOREVER)
    one.put(1)
    assert one.flush(20) is True
    assert repository.saved == [1]


def test_a_flush_that_does_not_succeed_says_so_at_its_deadline(make: Any) -> None:
    repository = Batches()
    repository.gate.clear()
    one = make(repository)
    one.put(1)
    started = time.monotonic()
    assert one.flush(0.1) is False
    assert 0.1 <= time.monotonic() - started < 10
    assert one.stats()["pending"] == 1
    repository.gate.set()
    assert one.flush(20) is True


def test_a_flush_of_what_is_delivered_returns_at_once(make: Any) -> None:
    one = make(Batches())
    one.put(1)
    assert one.flush(20) is True
    assert one.flush(0) is True


def test_a_flush_does_not_wait_for_what_came_after_it(make: Any) -> None:
    repository = Batches()
    repository.gate.clear()
    one = make(repository, batch_size=1)
    one.put(1)
    answers: list[bool] = []
    flush = threading.Thread(target=lambda: answers.append(one.flush(20)))
    flush.start()
    assert repository.entered.wait(20)
    one.put(2)
    held = SecondCallHeld(repository)
    repository.gate.set()
    flush.join(20)
    assert answers == [True]
    assert repository.saved == [1]
    held.release()
    assert one.flush(20) is True


class SecondCallHeld:
    """Makes every later call of *repository* wait."""

    def __init__(self, repository: Batches) -> None:
        self._released = threading.Event()
        save = repository.save_events

        def held(events: Sequence[Event]) -> None:
            assert self._released.wait(60)
            save(events)

        repository.save_events = held  # type: ignore[method-assign]
        self.release = self._released.set


@pytest.mark.parametrize("times", [1, 5])
def test_several_flushes_at_once_are_all_answered(make: Any, times: int) -> None:
    one = make(Batches(), interval=FOREVER)
    answers: list[bool] = []

    def put_and_flush(number: int) -> None:
        one.put(number)
        answers.append(one.flush(20))

    threads = [threading.Thread(target=put_and_flush, args=(number,)) for number in range(times * 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == [True] * times * 2


def test_a_flush_from_the_worker_itself_is_false_rather_than_a_deadlock(make: Any) -> None:
    answers: list[bool] = []

    class Flushing(Batches):
        def save_events(self, events: Sequence[Event]) -> None:
            answers.append(one.flush(60))
            super().save_events(events)

    one = make(Flushing())
    one.put(1)
    assert one.flush(20) is True
    assert answers == [False]


def test_closing_from_the_worker_itself_is_no_deadlock(make: Any) -> None:
    class Closing(Batches):
        def save_events(self, events: Sequence[Event]) -> None:
            one.close(60)
            super().save_events(events)

    repository = Closing()
    one = make(repository, interval=0.001)
    one.put(1)
    until(lambda: repository.saved == [1] and not one.stats()["worker_alive"])


# -- close -------------------------------------------------------------------------------


def test_the_worker_is_known_before_it_runs(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may close the delivery before its start has returned, and would wait for itself."""
    done = threading.Event()

    class Closing(Batches):
        def save_events(self, events: Sequence[Event]) -> None:
            one.close(60)
            super().save_events(events)
            done.set()

    start = threading.Thread.start

    def start_slowly(self: threading.Thread) -> None:
        start(self)
        assert done.wait(20)

    monkeypatch.setattr(threading.Thread, "start", start_slowly)
    one = make(Closing(), interval=0.001)
    one.put(1)
    assert done.is_set()


def test_closing_delivers_what_is_queued_and_ends_the_worker(make: Any) -> None:
    repository = Batches()
    one = make(repository, batch_size=10, interval=FOREVER)
    for number in range(9):
        one.put(number)
    one.close(20)
    assert repository.saved == list(range(9))
    assert one.stats()["worker_alive"] is False


def test_closing_again_does_nothing(make: Any) -> None:
    repository = Batches()
    one = make(repository)
    one.put(1)
    one.close(20)
    stats = one.stats()
    one.close(20)
    assert one.stats() == stats
    assert repository.calls == [[1]]


def test_what_comes_after_closing_is_refused_and_counted(make: Any) -> None:
    one = make(Batches())
    one.put(1)
    one.close(20)
    assert one.put(2) is False
    assert one.stats()["dropped"] == {"closed": 1}
    assert one.flush(0) is True


@pytest.mark.parametrize("in_constructor", [True, False], ids=["shutdown_timeout", "argument"])
def test_closing_takes_no_longer_than_it_may_with_a_hanging_repository(
    make: Any, in_constructor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    repository = Batches()
    repository.gate.clear()
    one = make(repository, batch_size=1, **({"shutdown_timeout": 0.1} if in_constructor else {}))
    one.put(1)
    assert repository.entered.wait(20)
    one.put(2)
    started = time.monotonic()
    one.close(*(() if in_constructor else (0.1,)))
    one.close()
    assert time.monotonic() - started < 2
    check_law(one.stats())
    assert [record.getMessage() for record in caplog.records] == [
        "2 events were not delivered when the process ended: no time"
    ]


def test_closing_tries_a_failing_repository_once_more_and_counts_what_is_lost(
    make: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Once, not twice: an attempt may take long, and the process is to end.
    monkeypatch.setattr(sending, "retry_delay", lambda attempt, retry_after=None: FOREVER)
    repository = Batches()
    repository.down = ConnectionError("nobody there")
    one = make(repository, batch_size=2, interval=0.001)
    for number in range(5):
        one.put(number)
    until(lambda: one.stats()["retries"] == 1)
    before = len(repository.calls)
    one.close(20)
    assert len(repository.calls) == before + 1
    stats = one.stats()
    assert (stats["dropped"], stats["pending"]) == ({"shutdown": 5}, 0)
    assert "5 events were not delivered when the process ended: ConnectionError: nobody there" in caplog.text


def test_closing_does_not_wait_out_a_back_off(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "retry_delay", lambda attempt, retry_after=None: FOREVER)
    repository = Batches(ConnectionError())
    one = make(repository)
    one.put(1)
    until(lambda: one.stats()["retries"] == 1)
    one.close(20)
    assert repository.saved == [1]


PROGRAM = """
import threading, time
from dash_user_tracker.delivery import Delivery
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.http import HttpTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository

class Repository(TrackerRepository):
    def save_event(self, event):
        {save}

delivery = Delivery(Repository(), lambda n: [Event.new("counted", {{"n": n}})], interval=3600, shutdown_timeout=0.2)
for n in range(3):
    delivery.put(n)
print("end")
"""


def run_program(save: str) -> tuple[str, float]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(save=save)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    return done.stdout, time.monotonic() - started


def test_a_process_that_just_ends_delivers_what_is_queued() -> None:
    assert run_program("print(event.data['n'], flush=True)")[0].split() == ["end", "0", "1", "2"]


def test_a_process_that_just_ends_is_not_held_up_by_a_hanging_repository() -> None:
    output, seconds = run_program("threading.Event().wait(50)")
    assert output.split() == ["end"]
    assert seconds < 25


# -- a repository that fails ---------------------------------------------------------------


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ConnectionError("refused"), id="any-exception"),
        pytest.param(UnavailableError("down"), id="unavailable"),
        pytest.param(KeyError("bug"), id="a-bug-in-the-repository"),
    ],
)
def test_what_failed_is_tried_again_with_the_same_events(make: Any, error: Exception) -> None:
    repository = Batches(error, error)
    one = make(repository, batch_size=3, interval=FOREVER)
    for number in range(4):
        one.put(number)
    assert one.flush(20) is True
    assert repository.calls[:3] == [[0, 1, 2]] * 3
    assert repository.ids[0] == repository.ids[1] == repository.ids[2]
    assert repository.saved == [0, 1, 2, 3]
    stats = one.stats()
    assert (stats["retries"], stats["delivered"], stats["dropped"]) == (2, 4, {})
    assert stats["last_error"] == f"{type(error).__name__}: {error}"
    assert stats["last_success"] is not None


@pytest.mark.usefixtures("soon")
def test_a_failure_is_logged_once_for_each_change_of_state(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dash_user_tracker")
    repository = Batches(*[ConnectionError("a")] * 5, *[UnavailableError("b")] * 5)
    one = make(repository)
    one.put(1)
    assert one.flush(20) is True
    one.put(2)
    assert one.flush(20) is True
    repository.script.append(ConnectionError("c"))
    one.put(3)
    assert one.flush(20) is True
    kept = "events cannot be delivered; they are kept and tried again"
    again = (logging.INFO, "events are delivered again", False)
    assert [(record.levelno, record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        (logging.WARNING, f"{kept}: ConnectionError: a", True),
        (logging.WARNING, f"{kept}: UnavailableError: b", False),
        again,
        (logging.WARNING, f"{kept}: ConnectionError: c", True),
        again,
    ]


def test_refusals_are_logged_once_a_minute(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dash_user_tracker")
    repository = Batches()
    one = make(repository)
    for number in range(5):
        repository.script.append(RejectedError("no"))
        one.put(number)
        assert one.flush(20) is True
        one.put(number)
        assert one.flush(20) is True
    assert one.stats()["dropped"] == {"rejected": 5}
    assert len(caplog.records) == 1


def test_no_event_is_in_the_log(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "dash_user_tracker")
    one = make(Batches(RejectedError("no")), read=lambda _: [Event.new("secret-name", {"n": 1, "ip": "10.9.8.7"})])
    one.put(1)
    assert one.flush(20) is True
    assert caplog.records
    assert "secret-name" not in caplog.text
    assert "10.9.8.7" not in caplog.text


@pytest.mark.parametrize(
    ("taken", "refused", "next_call", "saved", "rejected"),
    [
        pytest.param(0, None, None, 0, 6, id="all"),
        pytest.param(2, None, None, 2, 4, id="all-after-some"),
        pytest.param(0, 1, [1, 2, 3, 4, 5], 0, 1, id="the-first"),
        pytest.param(2, 1, [3, 4, 5], 2, 1, id="one-in-the-middle"),
        pytest.param(2, 0, [2, 3, 4, 5], 2, 0, id="none-but-some-taken"),
        pytest.param(0, 0, [1, 2, 3, 4, 5], 0, 1, id="none-at-all-would-go-on-for-ever"),
        pytest.param(4, 9, None, 4, 2, id="more-than-there-are"),
        pytest.param(9, None, None, 6, 0, id="more-taken-than-there-are"),
        pytest.param(-1, 1, [1, 2, 3, 4, 5], 0, 1, id="less-than-nothing-taken"),
        pytest.param(0, -1, [1, 2, 3, 4, 5], 0, 1, id="less-than-nothing-refused"),
    ],
)
def test_refused_events_are_counted_and_the_rest_is_delivered(
    make: Any, taken: int, refused: int | None, next_call: list[int] | None, saved: int, rejected: int
) -> None:
    repository = Batches(RejectedError("bad", taken=taken, refused=refused))
    one = make(repository, batch_size=6, interval=FOREVER)
    for number in range(6):
        one.put(number)
    assert one.flush(20) is True
    assert repository.calls[1:] == ([next_call] if next_call else [])
    stats = one.stats()
    assert stats["dropped"] == ({"rejected": rejected} if rejected else {})
    assert stats["delivered"] == 6 - rejected
    assert saved + len(repository.saved) == 6 - rejected


@pytest.mark.usefixtures("soon")
def test_what_an_unavailable_receiver_took_is_not_sent_again(make: Any) -> None:
    repository = Batches(UnavailableError("stopped", taken=2))
    one = make(repository, batch_size=4, interval=FOREVER)
    for number in range(4):
        one.put(number)
    assert one.flush(20) is True
    assert repository.calls == [[0, 1, 2, 3], [2, 3]]
    assert one.stats()["delivered"] == 4


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("taken", [0, 3])
def test_the_default_save_events_does_not_repeat_what_came_before_a_failure(make: Any, taken: int) -> None:
    # Whatever the exception says of a batch: one event was handed over.
    repository = Singles(n2=[ConnectionError(), UnavailableError("down", taken=taken)])
    one = make(repository, batch_size=5, interval=FOREVER)
    for number in range(5):
        one.put(number)
    assert one.flush(20) is True
    assert repository.calls == [0, 1, 2, 2, 2, 3, 4]
    assert repository.saved == [0, 1, 2, 3, 4]
    assert one.stats()["delivered"] == 5


@pytest.mark.parametrize("says", [{}, {"taken": 2}, {"refused": 3}, {"refused": 0}], ids=repr)
def test_the_default_save_events_loses_only_the_event_that_was_refused(make: Any, says: dict[str, int]) -> None:
    repository = Singles(n0=[RejectedError("bad", **says)], n2=[RejectedError("bad", **says)])
    one = make(repository, batch_size=5, interval=FOREVER)
    for number in range(5):
        one.put(number)
    assert one.flush(20) is True
    assert repository.saved == [1, 3, 4]
    assert repository.calls == [0, 1, 2, 3, 4]
    assert one.stats()["dropped"] == {"rejected": 2}


@pytest.mark.parametrize("fatal", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_was_ended_is_replaced_and_goes_on_with_the_same_events(
    make: Any, fatal: type[BaseException]
) -> None:
    repository = Batches(fatal())
    one = make(repository, batch_size=1, interval=FOREVER)
    one.put(1)
    one._process.wake.set()
    until(lambda: repository.calls == [[1]] and not one.stats()["worker_alive"])
    one.put(2)
    until(lambda: repository.saved == [1, 2])
    check_law(one.stats())


def test_the_worker_rests_while_it_reads_so_that_no_request_waits_for_a_batch(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    clock = Clock()
    monkeypatch.setattr(reading, "time", SimpleNamespace(monotonic=clock.monotonic, sleep=rests.append))
    repository = Batches()

    def slowly(number: int) -> list[Event]:
        clock.now += 0.0002  # so the first 25 are a stretch
        return read(number)

    one = make(repository, read=slowly, batch_size=100, interval=FOREVER)
    for number in range(100):
        one.put(number)
    until(lambda: one.stats()["delivered"] == 100)
    assert len(rests) == 4
    assert max(rests) <= 0.001

    # Somebody waits for it.
    for number in range(100, 190):
        one.put(number)
    assert one.flush(20) is True
    assert len(rests) == 4

    # It is late: five batches wait when the first is done, and it rests in the last two.
    repository.gate.clear()
    repository.entered.clear()
    for number in range(190, 290):
        one.put(number)
    assert repository.entered.wait(20)
    assert len(rests) == 8
    for number in range(290, 790):
        one.put(number)
    repository.gate.set()
    until(lambda: one.stats()["delivered"] == 790)
    assert len(rests) == 16


def test_an_item_that_cannot_be_read_is_counted_and_stops_no_other(make: Any, caplog: pytest.LogCaptureFixture) -> None:
    def read(number: int) -> list[Event]:
        if number in (1, 4):
            raise LookupError("a fault of ours")
        return numbered(number)

    repository = Batches()
    one = make(repository, read=read, batch_size=2, interval=FOREVER)
    for number in range(5):
        one.put(number)
    assert one.flush(20) is True
    assert repository.saved == [0, 2, 3]
    assert one.stats()["dropped"] == {"unreadable": 2}
    assert one.stats()["accepted"] == 5
    assert {record.getMessage() for record in caplog.records} == {"a request could not be read and is not counted"}


# -- when to try again ---------------------------------------------------------------------


@pytest.mark.parametrize("attempt", [1, 2, 5, 6, 20, 10_000])
def test_a_delay_grows_with_full_jitter_up_to_its_longest(monkeypatch: pytest.MonkeyPatch, attempt: int) -> None:
    monkeypatch.setattr(retry.random, "uniform", lambda low, high: low)
    assert retry.retry_delay(attempt) == 0.2
    monkeypatch.setattr(retry.random, "uniform", lambda low, high: high)
    assert retry.retry_delay(attempt) == {1: 1.0, 2: 2.0, 5: 16.0}.get(attempt, retry.LONGEST)


@pytest.mark.parametrize(
    ("retry_after", "delay"),
    [
        pytest.param(None, 0.2, id="no-wish"),
        pytest.param(0.0, 0.2, id="at-once-is-not-obeyed"),
        pytest.param(-5.0, 0.2, id="in-the-past"),
        pytest.param(30.0, 30.0, id="a-minimum"),
        pytest.param(120.0, 120.0, id="longer-than-our-own-longest"),
        pytest.param(9999.0, retry.LONGEST_ASKED, id="clamped"),
        pytest.param(float("inf"), retry.LONGEST_ASKED, id="infinite"),
        pytest.param(float("nan"), 0.2, id="nan"),
    ],
)
def test_a_receivers_wish_is_the_least_that_is_waited(
    monkeypatch: pytest.MonkeyPatch, retry_after: float | None, delay: float
) -> None:
    monkeypatch.setattr(retry.random, "uniform", lambda low, high: low)
    assert retry.retry_delay(1, retry_after) == delay


def test_a_longer_jitter_wins_over_the_receivers_wish(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry.random, "uniform", lambda low, high: high)
    assert retry.retry_delay(6, 5.0) == 30.0


@pytest.mark.parametrize("retry_after", [30.0, None])
def test_nothing_is_sent_before_the_receiver_wants_it(
    make: Any, monkeypatch: pytest.MonkeyPatch, clock: Clock, retry_after: float | None
) -> None:
    monkeypatch.setattr(retry.random, "uniform", lambda low, high: low)
    repository = Batches(UnavailableError("busy", retry_after=retry_after))
    one = make(repository)
    one.put(1)
    assert one.flush(1) is False
    one.put(2)
    clock.now += (retry_after or 0.2) - 0.01
    assert one.flush(1) is False
    assert repository.calls == [[1]]
    clock.now += 0.02
    assert one.flush(1) is True
    assert repository.calls == [[1], [1], [2]]


def test_a_worker_that_waits_to_try_again_is_not_woken_by_what_comes(make: Any) -> None:
    repository = Batches(UnavailableError("busy", retry_after=60))
    one = make(repository, batch_size=5, interval=FOREVER)
    for number in range(5):
        one.put(number)
    until(lambda: one.stats()["retries"] == 1)
    with mock.patch.object(one, "_deliver", wraps=one._deliver) as looked:
        for number in range(5, 105):
            one.put(number)
            time.sleep(0.001)  # so that a worker that is woken gets its turn
        assert looked.call_count <= 1
    check_law(one.stats())
    assert one.stats()["queued"] == 100


def test_events_that_nobody_takes_are_given_up_after_an_hour(make: Any, clock: Clock) -> None:
    repository = Batches()
    repository.down = ConnectionError("nobody there")
    one = make(repository)
    one.put(1)
    for _ in range(11):
        assert one.flush(1) is False
        assert one.stats()["dropped"] == {}
        clock.now += 330
    repository.script.append(ConnectionError("nobody there"))
    repository.down = None
    one.put(2)
    assert one.flush(1) is True
    assert repository.saved == [2]
    assert one.stats()["dropped"] == {"expired": 1}


# -- bounds --------------------------------------------------------------------------------


def test_a_full_queue_drops_and_counts_the_newest(make: Any) -> None:
    repository = Batches()
    repository.gate.clear()
    one = make(repository, queue_size=3, batch_size=1)
    one.put(0)
    assert repository.entered.wait(20)
    assert [one.put(number) for number in range(1, 7)] == [True, True, True, False, False, False]
    assert one.stats()["dropped"] == {"queue_full": 3}
    assert one.stats()["queued"] == 3
    repository.gate.set()
    assert one.flush(20) is True
    assert repository.saved == [0, 1, 2, 3]


def test_large_items_are_bounded_in_bytes(make: Any) -> None:
    repository = Batches()
    repository.gate.clear()
    one = make(repository, queue_bytes=12 << 10, batch_size=1)
    one.put(0, 8 << 10)
    assert repository.entered.wait(20)
    assert one.stats()["queued_bytes"] == 0
    assert [one.put(number, 4 << 10) for number in range(1, 6)] == [True, True, True, False, False]
    assert one.stats()["queued_bytes"] == 12 << 10
    assert one.stats()["dropped"] == {"queue_full": 2}
    repository.gate.set()
    assert one.flush(20) is True
    assert repository.saved == [0, 1, 2, 3]
    assert one.stats()["queued_bytes"] == 0
    assert one.put(9, 4 << 10) is True


def test_small_items_are_not_weighed(make: Any, no_threads: None) -> None:
    one = make(Batches(), queue_bytes=1 << 10)
    assert all(one.put(number, 2000) for number in range(50))
    assert one.stats()["queued_bytes"] == 0


# -- the law -------------------------------------------------------------------------------


class Accounting(RuleBasedStateMachine):
    """accepted == delivered + pending + dropped, whatever the repository does and in any order.

    Without threads, and with the clock in our hand, each step is a state of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.patches = [
            *(mock.patch.object(module, "time", self.clock) for module in (delivery, reading, sending)),
            mock.patch.object(threading.Thread, "start", side_effect=RuntimeError("can't start new thread")),
            mock.patch.object(delivery.log, "disabled", True),
        ]
        for patch in self.patches:
            patch.start()
        self.repository = Answering()
        self.delivery: Delivery[Any] = Delivery(
            self.repository, self.read, queue_size=6, queue_bytes=8 << 10, batch_size=3
        )
        self.next = 0
        self.refused_puts = 0
        self.unreadable = 0
        self.closed = False

    def read(self, item: tuple[int, ...] | None) -> list[Event]:
        if item is None:
            self.unreadable += 1
            raise LookupError("a fault of ours")
        return numbered(*item)

    @rule(events=st.integers(0, 4), size=st.sampled_from([0, 0, 4096]))
    def put(self, events: int, size: int) -> None:
        item = tuple(range(self.next, self.next + events))
        self.next += events
        if not self.delivery.put(item, size):
            self.refused_puts += 1

    @rule()
    def put_what_cannot_be_read(self) -> None:
        if not self.delivery.put(None):
            self.refused_puts += 1

    @rule()
    def recover(self) -> None:
        self.repository.answer = None

    @rule()
    def fail(self) -> None:
        self.repository.answer = ConnectionError()

    @rule(taken=st.integers(-1, 5))
    def be_unavailable(self, taken: int) -> None:
        self.repository.answer = UnavailableError("busy", taken=taken)

    @rule(taken=st.integers(-1, 5), refused=st.none() | st.integers(-1, 5))
    def reject(self, taken: int, refused: int | None) -> None:
        self.repository.answer = RejectedError("bad", taken=taken, refused=refused)

    @rule(seconds=st.sampled_from([0.1, 40.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def flush(self) -> None:
        if self.delivery.flush(5):
            assert self.delivery.stats()["pending"] == 0

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        self.closed = True
        self.delivery.close(5)
        assert self.delivery.stats()["pending"] == 0

    @invariant()
    def the_law_holds(self) -> None:
        stats = self.delivery.stats()
        check_law(stats)
        dropped = stats["dropped"]
        assert stats["delivered"] == len(self.repository.taken)
        assert dropped.get("rejected", 0) == self.repository.refused
        assert dropped.get("queue_full", 0) + dropped.get("closed", 0) == self.refused_puts
        assert dropped.get("unreadable", 0) == self.unreadable
        batch = self.delivery._process.batch
        assert stats["pending"] == stats["queued"] + (len(batch.events) if batch else 0)

    @invariant()
    def nothing_is_taken_twice_or_out_of_order(self) -> None:
        assert self.repository.taken == sorted(set(self.repository.taken))

    def teardown(self) -> None:
        self.delivery.close(5)
        for patch in self.patches:
            patch.stop()


class Answering(TrackerRepository):
    """Gives the same answer until it is told another, and remembers what it took by it."""

    def __init__(self) -> None:
        self.answer: Exception | None = None
        self.taken: list[int] = []
        self.refused = 0

    def save_event(self, event: Event) -> None:
        raise AssertionError("one call for a batch")

    def save_events(self, events: Sequence[Event]) -> None:
        assert events
        if self.answer is None:
            self.taken += numbers(events)
            return
        count = min(len(events), max(0, getattr(self.answer, "taken", 0)))
        self.taken += numbers(events[:count])
        left = len(events) - count
        if isinstance(self.answer, RejectedError):
            refused = left if self.answer.refused is None else min(left, max(0, self.answer.refused))
            self.refused += refused if count or refused else 1
        raise self.answer


TestAccounting = Accounting.TestCase
TestAccounting.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


class Busy(process.Process[int]):
    """An item comes and is done with just before each look at a number."""

    came = empty = 0

    @property
    def delivered(self) -> int:
        self.offered.add()
        self.came += 1
        return self.came

    @delivered.setter
    def delivered(self, _: int) -> None: ...

    @property
    def grown(self) -> int:
        self.offered.add()
        self.empty += 1
        return -self.empty

    @grown.setter
    def grown(self, _: int) -> None: ...


def test_the_law_holds_for_numbers_that_move_while_they_are_read(make: Any) -> None:
    one = make(Batches())
    one._current().__class__ = Busy
    for _ in range(3):
        check_law(one.stats())


def test_the_law_holds_at_every_moment_of_a_busy_process(make: Any) -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        repository = Batches()
        one = make(repository, queue_size=50, batch_size=5, interval=0.001, read=lambda n: numbered(*[n] * (n % 3)))
        ended = threading.Event()
        broken: list[dict[str, Any]] = []
        puts: list[bool] = []

        def watch() -> None:
            while not ended.is_set():
                stats = one.stats()
                lost = sum(stats["dropped"].values())
                if stats["pending"] < 0 or stats["accepted"] != stats["delivered"] + stats["pending"] + lost:
                    broken.append(stats)

        def put() -> None:
            puts.extend([one.put(number) for number in range(1500)])

        watcher = threading.Thread(target=watch)
        watcher.start()
        threads = [threading.Thread(target=put) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.flush(30) is True
        ended.set()
        watcher.join()
    finally:
        sys.setswitchinterval(interval)
    assert broken == []
    stats = one.stats()
    assert (stats["pending"], stats["delivered"]) == (0, len(repository.saved))
    assert stats["dropped"].get("queue_full", 0) == puts.count(False)
    assert stats["accepted"] == puts.count(False) + len(repository.saved)


# -- forks ---------------------------------------------------------------------------------

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs Python with os.fork")
threaded_fork = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def in_child(work: Callable[[], Any]) -> Any:
    """What *work* returns in a forked child, which has 30 seconds."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = {"returned": work()}
        except BaseException as error:  # noqa: BLE001 - it is told to the parent
            answer = {"raised": repr(error)}
        os.write(writing, json.dumps(answer).encode())
        os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], 30)
        if not ready:
            os.kill(pid, signal.SIGKILL)
        text = os.read(reading, 65_536)
    finally:
        os.close(reading)
        os.waitpid(pid, 0)
    assert text, "the child hangs" if not ready else "the child died"
    answer = json.loads(text)
    assert "returned" in answer, answer
    return answer["returned"]


class Held(TrackerRepository):
    """Holds the worker of the process that made it, without a lock that a child could inherit."""

    def __init__(self) -> None:
        self.parent = os.getpid()
        self.held = False
        self.busy = False
        self.saved: list[int] = []

    def save_event(self, event: Event) -> None:
        self.busy = True
        while self.held and os.getpid() == self.parent:
            time.sleep(0.0005)
        self.saved.append(event.data["n"])
        self.busy = False


def deliver_in_child(one: Delivery[int], repository: Held, number: int) -> dict[str, Any]:
    empty = one.stats()
    before = len(repository.saved)
    one.put(number)
    flushed = one.flush(20)
    return {
        "accepted before": empty["accepted"],
        "queued before": empty["queued"],
        "worker before": empty["worker_alive"],
        "flushed": flushed,
        "saved": repository.saved[before:],
        "accepted": one.stats()["accepted"],
    }


def own_only(number: int) -> dict[str, Any]:
    return {
        "accepted before": 0,
        "queued before": 0,
        "worker before": False,
        "flushed": True,
        "saved": [number],
        "accepted": 1,
    }


@forks
@threaded_fork
def test_a_forked_child_starts_empty_and_delivers_its_own(make: Any) -> None:
    repository = Held()
    repository.held = True
    one = make(repository, interval=0.001)
    for number in range(5):
        one.put(number)
    assert in_child(lambda: deliver_in_child(one, repository, 99)) == own_only(99)
    repository.held = False
    assert one.flush(20) is True
    assert repository.saved == [0, 1, 2, 3, 4]


@forks
def test_a_child_of_a_process_that_delivered_nothing_delivers_its_own(make: Any) -> None:
    repository = Held()
    one = make(repository, interval=0.001)
    assert in_child(lambda: deliver_in_child(one, repository, 99)) == own_only(99)
    assert one.stats()["accepted"] == 0


@forks
@threaded_fork
def test_a_child_of_a_closed_process_delivers_its_own(make: Any) -> None:
    repository = Held()
    one = make(repository, interval=0.001)
    one.put(1)
    one.close(20)
    assert in_child(lambda: deliver_in_child(one, repository, 99)) == own_only(99)


@forks
@threaded_fork
def test_a_child_that_ends_leaves_the_parents_events_alone(make: Any) -> None:
    repository = Held()
    repository.held = True
    one = make(repository, interval=0.001)
    one.put(1)
    until(lambda: repository.busy)

    def close() -> dict[str, Any]:
        one.close(5)
        stats: dict[str, Any] = one.stats()
        return stats

    assert in_child(close)["dropped"] == {}
    repository.held = False
    assert one.flush(20) is True
    assert one.stats()["delivered"] == 1


@forks
@threaded_fork
def test_forks_at_any_moment_of_a_busy_worker_leave_no_child_hanging(make: Any) -> None:
    repository = Held()
    one = make(repository, batch_size=3, interval=0.001, queue_size=200)
    ended = threading.Event()

    def put() -> None:
        number = 0
        while not ended.wait(0.0002):
            one.put(number)
            one.flush(0) if number % 7 == 0 else one.stats()
            number += 1

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for fork in range(20):
            repository.held = fork % 2 == 0
            if repository.held:
                until(lambda: repository.busy)
            assert in_child(lambda: deliver_in_child(one, repository, -1)) == own_only(-1)
    finally:
        repository.held = False
        ended.set()
        for thread in threads:
            thread.join()
    assert one.flush(20) is True
    assert -1 not in repository.saved
    check_law(one.stats())


@pytest.fixture
def another_pid(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """A fork that Python is not told of, as uWSGI does it: only the pid is another."""
    real = os.getpid()
    return lambda: monkeypatch.setattr(delivery, "os", SimpleNamespace(getpid=lambda: real + 1))


def end_worker(process: Any) -> None:
    process.closed = True
    process.wake.set()
    process.thread.join(20)


def test_a_fork_without_hooks_is_found_out_by_the_pid(make: Any, another_pid: Callable[[], None]) -> None:
    repository = Batches()
    repository.gate.clear()
    one = make(repository)
    one.put(1)
    assert repository.entered.wait(20)
    one.put(2)
    parents = one._process
    another_pid()
    assert one.stats()["accepted"] == 0
    repository.gate.set()
    one.put(3)
    assert one.flush(20) is True
    stats = one.stats()
    assert (stats["accepted"], stats["delivered"]) == (1, 1)
    assert one._process.thread is not parents.thread
    assert 3 in repository.saved
    end_worker(parents)


def test_between_two_looks_at_the_pid_little_time_passes(make: Any, another_pid: Callable[[], None]) -> None:
    repository = Batches()
    one = make(repository, interval=FOREVER)
    one.put(1, now=100.0)
    parents = one._process
    another_pid()
    one.put(2, now=100.0 + delivery._PID_INTERVAL / 2)
    assert one._process is parents
    one.put(3, now=100.0 + delivery._PID_INTERVAL * 1.5)
    assert one._process is not parents
    assert one.stats()["accepted"] == 1
    end_worker(parents)


def test_a_clock_that_goes_back_does_not_keep_the_old_process(make: Any, another_pid: Callable[[], None]) -> None:
    one = make(Batches(), interval=FOREVER)
    one.put(1, now=100.0)
    parents = one._process
    another_pid()
    one.put(2, now=50.0)
    assert one._process is not parents
    end_worker(parents)


# -- no threads ----------------------------------------------------------------------------


def test_where_no_thread_can_be_started_a_flush_delivers(make: Any, no_threads: None) -> None:
    repository = Batches()
    one = make(repository, batch_size=2)
    assert [one.put(number) for number in range(5)] == [True] * 5
    assert repository.calls == []
    assert one.flush(20) is True
    assert repository.calls == [[0, 1], [2, 3], [4]]
    assert one.stats()["worker_alive"] is False
    assert one.stats()["last_error"] == "RuntimeError: can't start new thread"


def test_where_no_thread_can_be_started_closing_delivers(make: Any, no_threads: None) -> None:
    repository = Batches()
    one = make(repository, batch_size=2)
    for number in range(5):
        one.put(number)
    one.close(20)
    assert repository.saved == [0, 1, 2, 3, 4]


def test_where_no_thread_can_be_started_a_failing_repository_loses_nothing_before_the_end(
    make: Any, clock: Clock
) -> None:
    repository = Batches()
    repository.down = ConnectionError("nobody there")
    one = make(repository)
    one.put(1)
    assert one.flush(20) is False
    assert (one.stats()["pending"], one.stats()["retries"]) == (1, 1)
    one.close(20)
    assert one.stats()["dropped"] == {"shutdown": 1}


def test_where_no_thread_can_be_started_the_end_takes_no_longer_than_it_may(make: Any, no_threads: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts and never answers
        repository = HttpTrackerRepository(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout=(60.0, 60.0))
        one = make(repository, batch_size=2)
        for number in range(5):
            one.put(number)
        started = time.monotonic()
        one.close(0.3)
        assert time.monotonic() - started < 20
        assert one.stats()["dropped"] == {"shutdown": 5}
        assert repository.deadline is None


def test_a_thread_is_tried_again_later(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Batches()
    one = make(repository, interval=0.01)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", mock.Mock(side_effect=RuntimeError("can't start new thread")))
        one.put(1)
    until(lambda: one.put(2) and one.stats()["worker_alive"])
    assert one.flush(20) is True
    assert repository.saved[:2] == [1, 2]


def test_a_receiver_is_told_of_each_loss_once(make: Any) -> None:
    class Told(Batches):
        dropped: dict[str, int] = {}

        def __init__(self, *script: Any) -> None:
            super().__init__(*script)
            self.told: list[dict[str, int]] = []

        def save_events(self, events: Sequence[Event]) -> None:
            self.told.append(dict(self.dropped))
            super().save_events(events)

    repository = Told(RejectedError("no"), None, None, RejectedError("no"), RejectedError("no"), None)
    one = make(repository)
    for number in range(6):
        one.put(number)
        assert one.flush(20) is True
    assert one.stats()["dropped"] == {"rejected": 3}
    assert repository.told == [{}, {"rejected": 1}, {}, {}, {"rejected": 1}, {"rejected": 2}]


def test_a_child_forked_while_a_store_is_written_can_write_it(tmp_path: Path) -> None:
    repository = SqlTrackerRepository(f"sqlite:///{tmp_path / 'usage.db'}", busy_timeout=1.0)
    repository.wait_before_fork = 60.0  # as long as it takes, however busy the machine is
    one: Delivery[int] = Delivery(repository, read, interval=0.001)
    children = []
    for number in range(20):
        for event in range(200):
            one.put(event)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: this process has threads
            child = os.fork()
        if child == 0:
            try:
                one.put(number)
                # Others may be writing; but a lock that it has itself, as far as SQLite knows, is never free.
                os._exit(0 if one.flush(40) else 1)
            finally:
                os._exit(2)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 20
    assert one.flush(30)
    one.close()
    assert len(repository.get_events(limit=None)) == 20 * 200 + 20


def test_a_uwsgi_without_threads_is_told_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(has_threads=0))
    repository = Batches()
    one = Delivery(repository, read)
    for number in range(3):
        one.put(number)
    assert one.flush(20)
    one.close()
    assert repository.saved == [0, 1, 2]
    assert [record.message.count("enable-threads = true") for record in caplog.records] == [1]


def test_a_uwsgi_with_threads_is_no_exception(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(has_threads=1))
    one = Delivery(Batches(), read)
    one.put(1)
    one.close()
    assert not caplog.records
