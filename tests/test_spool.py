"""What is in the spool is delivered, whoever has to do it, or it is counted."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dash_user_tracker.codec import encode_event
from dash_user_tracker.delivery import Delivery, Spooling, reading, sending
from dash_user_tracker.delivery import delivery as delivery_module
from dash_user_tracker.delivery import spool as spool_module
from dash_user_tracker.delivery.spool import Spool
from dash_user_tracker.errors import ConfigurationError, RejectedError
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.base import TrackerRepository

pytest.importorskip("fcntl", reason="needs Python for a system with flock")

FOREVER = 3600.0


class Store(TrackerRepository):
    """Keeps what it takes, by id; takes nothing while it is down."""

    def __init__(self, name: str = "store", *, down: bool = False) -> None:
        self.name = name
        self.down = down
        self.calls: list[list[str]] = []
        self.events: dict[str, Event] = {}
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    @property
    def destination(self) -> str:
        return self.name

    @property
    def numbers(self) -> list[int]:
        return [event.data["n"] for event in self.events.values()]

    def save_event(self, event: Event) -> None:
        raise AssertionError("one call for a batch")

    def save_events(self, events: Sequence[Event]) -> None:
        self.calls.append([event.id for event in events])
        self.entered.set()
        assert self.gate.wait(60)
        if self.down:
            raise ConnectionError("nobody there")
        self.events.update((event.id, event) for event in events)


def read(number: int) -> list[Event]:
    return [Event.new("counted", {"n": number})] if number >= 0 else []


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        pause.wait(0.002)


def lines(folder: Path) -> list[int]:
    """The numbers in all segments."""
    return [
        json.loads(line)["data"]["n"]
        for path in sorted(folder.glob("*.ndjson"))
        for line in path.read_bytes().split(b"\n")[:-1]
    ]


def check_law(stats: dict[str, Any]) -> None:
    assert stats["accepted"] == stats["delivered"] + stats["pending"] + sum(stats["dropped"].values()), stats
    assert stats["pending"] >= 0, stats


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "yet"


@pytest.fixture
def make(folder: Path) -> Iterator[Callable[..., Delivery[int]]]:
    made: list[tuple[Delivery[int], Any]] = []

    def make(store: TrackerRepository, *, durable: bool = False, max_bytes: int = 64 << 20, **options: Any) -> Any:
        spool = Spooling(folder, durable=durable, max_bytes=max_bytes)
        made.append((Delivery(store, options.pop("read", read), spool=spool, **{"interval": 0.005, **options}), store))
        return made[-1][0]

    yield make
    for one, store in made:
        store.gate.set()
        one.close(5)
        check_law(one.stats())


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "retry_delay", lambda attempt, retry_after=None: 0.003)
    monkeypatch.setattr(reading, "_DISK_RETRY", 0.01)
    monkeypatch.setattr(delivery_module, "_ADOPT_INTERVAL", 0.01)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """While it is set, a write gets half of its bytes to the disk and then no more."""
    full = threading.Event()
    write = os.write

    def half(file: int, data: bytes) -> None:
        if full.is_set():
            write(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, data)

    monkeypatch.setattr(spool_module, "_write", half)
    yield full
    full.clear()


# -- as long as all goes well -------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Event, str], ids=["events", "lines"])
def test_events_go_through_the_folder_and_nothing_stays_there(make: Any, folder: Path, kind: type) -> None:
    store = Store()
    with_spool = make(store, read=read if kind is Event else lambda number: [*map(encode_event, read(number))])
    for number in range(250):
        with_spool.put(number)
    assert with_spool.flush(20)
    assert store.numbers == list(range(250))
    assert not list(folder.glob("*.ndjson"))
    with_spool.close()
    assert not list(folder.iterdir())
    assert with_spool.stats()["pending"] == 0


def test_nothing_touches_the_disk_before_the_first_event(make: Any, folder: Path) -> None:
    with_spool = make(Store())
    assert with_spool.flush()
    assert not folder.exists()


def test_items_without_events_are_done_with(make: Any) -> None:
    with_spool = make(Store())
    for number in (-1, 1, -1):
        with_spool.put(number)
    assert with_spool.flush(20)
    assert with_spool.stats()["pending"] == 0


def test_an_event_is_on_disk_soon_though_the_repository_hangs(make: Any, folder: Path) -> None:
    store = Store()
    store.gate.clear()
    with_spool = make(store)
    with_spool.put(1)
    assert store.entered.wait(20)
    with_spool.put(2)
    until(lambda: lines(folder) == [1, 2])
    assert with_spool.stats()["spool_bytes"] > 0


def test_a_durable_event_is_on_disk_when_put_returns(make: Any, folder: Path) -> None:
    store = Store(down=True)
    with_spool = make(store, durable=True, interval=FOREVER)
    for number in range(3):
        assert with_spool.put(number)
        assert lines(folder) == list(range(number + 1))


def test_events_of_many_threads_are_durable_each_once(make: Any, folder: Path) -> None:
    store = Store()
    with_spool = make(store, durable=True)

    def put(first: int) -> None:
        for number in range(first, first + 200):
            with_spool.put(number)

    threads = [threading.Thread(target=put, args=(first,)) for first in range(0, 1000, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert with_spool.flush(20)
    assert sorted(store.numbers) == list(range(1000))


def test_what_the_owners_code_tracks_meanwhile_is_no_deadlock(make: Any) -> None:
    store = Store()

    def tracking(number: int) -> list[Event]:
        if number == 1:
            with_spool.put(2)
        return read(number)

    with_spool = make(store, durable=True, read=tracking)
    with_spool.put(1)
    assert with_spool.flush(20)
    assert sorted(store.numbers) == [1, 2]


def test_files_are_for_the_owner_alone(make: Any, folder: Path) -> None:
    with_spool = make(Store(down=True), durable=True)
    with_spool.put(1)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())


def test_events_of_the_same_segment_go_in_batches(make: Any, folder: Path) -> None:
    store = Store()
    with_spool = make(store, batch_size=10, interval=FOREVER)
    for number in range(25):
        with_spool.put(number)
    assert with_spool.flush(20)
    assert [len(call) for call in store.calls] == [10, 10, 5]


@pytest.mark.usefixtures("soon")
def test_what_failed_is_sent_again_as_it_was(make: Any) -> None:
    store = Store(down=True)
    with_spool = make(store)
    with_spool.put(1)
    until(lambda: len(store.calls) > 3)
    store.down = False
    assert with_spool.flush(20)
    assert len({tuple(call) for call in store.calls}) == 1


def test_refused_events_are_counted_and_leave_the_disk(make: Any, folder: Path) -> None:
    class Refusing(Store):
        def save_events(self, events: Sequence[Event]) -> None:
            raise RejectedError("no")

    with_spool = make(Refusing())
    with_spool.put(1)
    assert with_spool.flush(20)
    assert with_spool.stats()["dropped"] == {"rejected": 1}
    assert not list(folder.glob("*.ndjson"))


# -- the end of a process ---------------------------------------------------------------------------


def test_what_cannot_be_delivered_at_the_end_stays_for_the_next_start(
    make: Any, caplog: pytest.LogCaptureFixture
) -> None:
    first = make(Store(down=True))
    for number in range(5):
        first.put(number)
    with caplog.at_level(logging.INFO, "dash_user_tracker"):
        first.close()
    assert "5 events stay in the spool" in caplog.text
    assert "not delivered" not in caplog.text
    stats = first.stats()
    assert (stats["pending"], stats["dropped"]) == (5, {})
    store = Store()
    second = make(store)
    second.put(5)
    until(lambda: sorted(store.numbers) == [0, 1, 2, 3, 4, 5])
    assert second.stats()["adopted"] == 5


def test_a_hanging_repository_at_the_end_costs_no_event(make: Any, folder: Path) -> None:
    store = Store()
    store.gate.clear()
    with_spool = make(store)
    with_spool.put(1)
    assert store.entered.wait(20)
    with_spool.put(2)
    with_spool.close(0.05)
    assert lines(folder) == [1, 2]


PROGRAM = """
import sys, threading, time
from dash_user_tracker.delivery import Delivery, Spooling
from tests.test_spool import Store, read
store = Store(down=True)
delivery = Delivery(store, read, spool=Spooling(sys.argv[1], durable=sys.argv[2] == "durable"), interval=0.01)
number = 0
while True:
    delivery.put(number)
    number += 1
    # What this says is a promise: a request was answered.
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    time.sleep(0.0005)
"""


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("mode", ["durable", "soon"])
def test_what_a_killed_process_left_is_delivered_by_another_that_lives(make: Any, folder: Path, mode: str) -> None:
    store = Store()
    sibling = make(store)
    sibling.put(1_000_000)
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), mode], stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
    ) as killed:
        assert killed.stdout is not None
        answered: list[tuple[float, int]] = []
        for line in killed.stdout:
            answered.append((time.monotonic(), int(line)))
            if answered[-1][1] >= 400:
                break
        killed.send_signal(signal.SIGKILL)
        end = time.monotonic()
        answered += [(end, int(line)) for line in killed.stdout.read().split()]
    # Without "durable" what came in the last 100 ms may be lost.
    promised = answered[-1][1] if mode == "durable" else [count for when, count in answered if when < end - 0.1][-1]
    until(lambda: len(store.events) >= promised + 1)
    assert set(range(promised)) <= set(store.numbers)
    until(lambda: not list(folder.glob("*.ndjson")))
    until(lambda: [path.name.split("-")[1] for path in folder.glob("*.lock")] == [f"{os.getpid()}"])


def test_the_segments_of_a_living_process_are_left_to_it(make: Any, folder: Path) -> None:
    first = make(Store(down=True), durable=True)
    first.put(1)
    store = Store()
    second = make(store, durable=True)
    second.put(2)
    assert second.flush(20)
    assert store.numbers == [2]
    assert lines(folder) == [1]


def test_what_is_on_its_way_elsewhere_is_left_alone_and_told(
    make: Any, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = make(Store("https://old.example.com", down=True))
    first.put(1)
    first.close()
    store = Store("https://new.example.com")
    second = make(store)
    second.put(2)
    assert second.flush(20)
    assert store.numbers == [2]
    assert lines(folder) == [1]
    assert [record.levelname for record in caplog.records if "for another repository" in record.message] == ["WARNING"]
    back = Store("https://old.example.com")
    third = make(back)
    third.put(3)
    assert third.flush(20)
    assert sorted(back.numbers) == [1, 3]


def test_a_torn_last_line_is_no_event_and_a_damaged_one_is_counted(make: Any, folder: Path) -> None:
    first = make(Store(down=True), durable=True)
    for number in range(4):
        first.put(number)
    first.close()
    (segment,) = folder.glob("*.ndjson")
    parts = segment.read_bytes().split(b"\n")
    segment.write_bytes(b"\n".join([parts[0], b"\xff{damaged", parts[2], parts[3][:-20]]))
    store = Store()
    second = make(store)
    second.put(9)
    assert second.flush(20)
    assert sorted(store.numbers) == [0, 2, 9]
    assert second.stats()["dropped"] == {"spool_damaged": 1}


def test_two_processes_that_adopt_at_once_share_what_there_is(make: Any, folder: Path) -> None:
    for first in range(0, 50, 10):
        ended = make(Store(down=True), durable=True)
        for number in range(first, first + 10):
            ended.put(number)
        ended.close()
    stores = [Store() for _ in range(4)]
    heirs = [make(store) for store in stores]
    threads = [threading.Thread(target=heir.put, args=(100 + index,)) for index, heir in enumerate(heirs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: sum(len(store.events) for store in stores) >= 54)
    assert sorted(number for store in stores for number in store.numbers) == [*range(50), 100, 101, 102, 103]


def test_a_forked_child_does_not_keep_its_dead_parents_events(folder: Path) -> None:
    """The child has a copy of the lock's descriptor; it must close it, or nobody could adopt while it lives."""
    program = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
from dash_user_tracker.delivery import Delivery, Spooling
from tests.test_spool import Store, read
delivery = Delivery(Store(down=True), read, spool=Spooling(sys.argv[1], durable=True))
delivery.put(1)
if os.fork() == 0:
    sys.stdin.read()  # lives on
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdin=subprocess.PIPE, cwd=Path(__file__).parents[1]
    ) as parent:
        assert parent.wait(20) == -signal.SIGKILL
        spool = Spool(folder, "store", max_bytes=1 << 20)
        until(lambda: spool.adopt() == 1)  # as soon as the child has run at all
        assert parent.stdin is not None
        assert not parent.stdin.closed
        spool.close()


def test_a_forked_child_has_a_spool_of_its_own(make: Any, folder: Path) -> None:
    with_spool = make(Store(down=True), durable=True, interval=FOREVER)
    with_spool.put(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        with_spool.put(2)
        os._exit(0 if len(list(folder.glob("*.lock"))) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(lines(folder)) == [1, 2]
    store = Store()
    heir = make(store)
    heir.put(3)
    assert heir.flush(20)
    assert sorted(store.numbers) == [2, 3]


# -- a disk that fails ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("durable", [False, True])
def test_a_full_disk_costs_nothing_while_there_is_memory(
    make: Any, full_disk: threading.Event, durable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "dash_user_tracker")
    store = Store(down=True)
    with_spool = make(store, durable=durable)
    with_spool.put(0)
    until(lambda: with_spool.stats()["spool_bytes"] > 0)
    full_disk.set()
    for number in range(1, 50):
        assert with_spool.put(number)
    until(lambda: with_spool.stats()["last_error"])
    store.down = False
    assert with_spool.flush(20)
    assert sorted(store.numbers) == list(range(50))
    full_disk.clear()
    for number in range(50, 60):
        with_spool.put(number)
    assert with_spool.flush(20)
    until(lambda: sorted(store.numbers) == list(range(60)))
    assert len([record for record in caplog.records if "takes no events" in record.message]) == 1
    assert with_spool.stats()["dropped"] == {}


@pytest.mark.usefixtures("soon")
def test_memory_is_bounded_while_the_disk_is_full_and_the_repository_down(
    make: Any, full_disk: threading.Event
) -> None:
    full_disk.set()
    store = Store(down=True)
    with_spool = make(store, queue_size=20, batch_size=5)
    for number in range(100):
        with_spool.put(number)
    stats = with_spool.stats()
    assert stats["dropped"].get("queue_full", 0) > 0
    check_law(stats)
    store.down = False
    assert with_spool.flush(20)
    stats = with_spool.stats()
    assert len(store.events) + stats["dropped"]["queue_full"] == 100


def test_what_neither_disk_nor_repository_takes_is_counted_at_the_end(make: Any, full_disk: threading.Event) -> None:
    full_disk.set()
    with_spool = make(Store(down=True))
    for number in range(5):
        with_spool.put(number)
    with_spool.close()
    assert with_spool.stats()["dropped"] == {"shutdown": 5}


def test_what_waited_in_memory_goes_to_disk_at_the_end(make: Any, folder: Path, full_disk: threading.Event) -> None:
    full_disk.set()
    with_spool = make(Store(down=True))
    for number in range(5):
        with_spool.put(number)
    until(lambda: with_spool.stats()["last_error"])
    full_disk.clear()
    with_spool.close()
    assert sorted(lines(folder)) == list(range(5))
    assert with_spool.stats()["dropped"] == {}


@pytest.mark.usefixtures("soon")
def test_a_folder_that_vanishes_costs_nothing(make: Any, folder: Path) -> None:
    store = Store(down=True)
    with_spool = make(store, durable=True)
    with_spool.put(1)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with_spool.put(2)
    store.down = False
    assert with_spool.flush(20)
    with_spool.put(3)
    assert with_spool.flush(20)
    assert store.numbers == [1, 2, 3]
    assert folder.is_dir()


@pytest.mark.usefixtures("soon")
def test_a_folder_that_cannot_be_made_leaves_events_in_memory(make: Any, folder: Path) -> None:
    folder.parent.parent.mkdir()
    folder.parent.write_text("a file is in the way")
    store = Store()
    with_spool = make(store, durable=True)
    with_spool.put(1)
    assert with_spool.flush(20)
    assert store.numbers == [1]
    assert "spool" in with_spool.stats()["last_error"]


def test_a_link_in_the_place_of_a_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    victim = tmp_path / "victim"
    victim.write_text("stays")
    name = Spool(folder, "store", max_bytes=1)._key + "-1-ab"
    (folder / f"{name}.lock").symlink_to(victim)
    (folder / f"{name}.000000.ndjson").symlink_to(victim)
    spool = Spool(folder, "store", max_bytes=1 << 20)
    assert spool.adopt() == 0
    spool.close()
    assert victim.read_text() == "stays"


@pytest.mark.usefixtures("soon")
def test_the_oldest_segments_go_when_the_folder_is_full(make: Any, folder: Path) -> None:
    store = Store(down=True)
    with_spool = make(store, durable=True, max_bytes=40_000, batch_size=10)
    for number in range(400):
        with_spool.put(number)
    assert sum(path.stat().st_size for path in folder.glob("*.ndjson")) <= 40_000
    stats = with_spool.stats()
    check_law(stats)
    dropped = stats["dropped"]["spool_full"]
    assert dropped > 0
    store.down = False
    assert with_spool.flush(20)
    assert len(store.events) == 400 - dropped
    assert store.numbers[-1] == 399
    assert with_spool.stats()["pending"] == 0


@pytest.mark.usefixtures("soon")
def test_where_others_fill_the_folder_events_stay_in_memory(make: Any, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "00000000-1-ab.000000.ndjson").write_bytes(b"\n" * 40_000)
    store = Store(down=True)
    with_spool = make(store, durable=True, max_bytes=40_000)
    with_spool.put(1)
    assert lines_of(folder) == [40_000]
    store.down = False
    assert with_spool.flush(20)
    assert store.numbers == [1]


@pytest.mark.usefixtures("soon")
def test_where_others_fill_the_folder_nothing_is_dropped_in_vain(make: Any, folder: Path) -> None:
    store = Store(down=True)
    with_spool = make(store, durable=True, max_bytes=40_000)
    for number in range(60):
        with_spool.put(number)
    others = folder / "00000000-1-ab.000000.ndjson"
    others.write_bytes(b"\n" * 40_000)
    for number in range(60, 160):
        with_spool.put(number)
    check_law(with_spool.stats())
    assert not with_spool.stats()["dropped"].get("spool_full")
    store.down = False
    others.unlink()
    assert with_spool.flush(20)
    assert sorted(store.numbers) == list(range(160))


def test_what_had_to_go_is_told_though_nothing_could_be_written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Spool) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool(folder, "there", max_bytes=4000, segment_bytes=1000)
    for number in range(4):
        spool.append(b"x" * 999 + b"\n", events=1 + number, items=1)
    assert spool.dropped() == []
    monkeypatch.setattr(Spool, "_new_segment", full)
    with pytest.raises(OSError, match="No space left"):
        spool.append(b"\n", events=1, items=1)
    assert [segment.events for segment in spool.dropped()] == [1]
    assert spool.dropped() == []
    spool.close()


@pytest.mark.usefixtures("soon")
def test_a_folder_that_gives_no_locks_leaves_events_in_memory(
    make: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(spool_module.fcntl, "flock", flock)
    store = Store()
    with_spool = make(store, durable=True)
    with_spool.put(1)
    assert with_spool.flush(20)
    assert store.numbers == [1]
    assert with_spool.stats()["last_error"] == "spool: No locks available"
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("soon")
def test_a_segment_that_cannot_be_read_for_now_is_read_later(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    content = spool_module._content
    failures = iter([errno.EMFILE, errno.ENOMEM])

    def scarce(segment: Any) -> bytes:
        number = next(failures, None)
        if number is not None:
            raise OSError(number, os.strerror(number))
        return content(segment)

    monkeypatch.setattr(spool_module, "_content", scarce)
    store = Store()
    with_spool = make(store)
    with_spool.put(1)
    assert with_spool.flush(20)
    assert store.numbers == [1]
    assert with_spool.stats()["dropped"].get("spool_damaged", 0) == 0


def test_a_durable_event_waits_in_the_bounded_queue_while_the_disk_takes_none(
    make: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_DISK_RETRY", -1.0)  # each event finds the disk due for another try
    folder.parent.parent.mkdir()
    folder.parent.write_text("a file is in the way")
    with_spool = make(Store(down=True), durable=True, queue_size=20, batch_size=50, interval=FOREVER)
    for number in range(200):
        with_spool.put(number)
    stats = with_spool.stats()
    assert stats["dropped"]["queue_full"] > 0
    assert stats["pending"] <= 20 + 2 * 50


def lines_of(folder: Path) -> list[int]:
    return [path.stat().st_size for path in folder.glob("*.ndjson")]


# -- odd moments -----------------------------------------------------------------------------------------


def test_an_event_that_is_no_json_is_counted_and_stops_no_other(make: Any) -> None:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    def odd(number: int) -> list[Event]:
        return [Event.new("counted", {"n": number, "x": deep if number == 1 else None})]

    store = Store()
    with_spool = make(store, read=odd)
    for number in range(3):
        with_spool.put(number)
    assert with_spool.flush(20)
    assert store.numbers == [0, 2]
    assert with_spool.stats()["dropped"] == {"encode_error": 1}


def test_a_request_that_is_ended_in_the_middle_of_a_write_leaves_whole_lines(
    make: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    with_spool = make(store, durable=True)
    with_spool.put(1)
    whole = spool_module._write

    def ended(file: int, data: bytes) -> None:
        os.write(file, data[:7])
        raise SystemExit(1)

    monkeypatch.setattr(spool_module, "_write", ended)
    with pytest.raises(SystemExit):
        with_spool.put(2)
    monkeypatch.setattr(spool_module, "_write", whole)
    with_spool.put(3)
    assert with_spool.flush(20)
    assert sorted(store.numbers) == [1, 2, 3]
    assert with_spool.stats()["pending"] == 0


def test_a_finaliser_queues_without_a_lock(make: Any, folder: Path) -> None:
    """It may run in a thread that holds any of them."""
    store = Store(down=True)
    with_spool = make(store, durable=True)
    with_spool.put(1)
    process = with_spool._process
    held = threading.Event()
    done = threading.Event()

    def hold() -> None:
        with process.reading, process.starting, process.spool._lock:
            held.set()
            assert done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(20)
    assert with_spool.put(2, quiet=True)
    done.set()
    holder.join()
    store.down = False
    assert with_spool.flush(20)
    assert sorted(store.numbers) == [1, 2]


def test_without_threads_a_flush_and_the_end_deliver(make: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    store = Store()
    with_spool = make(store)
    with_spool.put(1)
    assert with_spool.flush(5)
    with_spool.put(2)
    with_spool.close()
    assert store.numbers == [1, 2]


def test_a_system_without_flock_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(spool_module, "fcntl", None)
    with pytest.raises(ConfigurationError, match="flock"):
        Spooling(tmp_path)
