"""Any interleaving of put, fork, failure, retry, flush and close: nothing is lost unsaid, nothing stored twice.

The receiver is a file that every process appends to: what it says is what came over the
wire, in the order in which it came, and it survives the death of whoever sent it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dash_user_tracker.delivery import Delivery, Spooling, delivery, sending
from dash_user_tracker.errors import RejectedError, UnavailableError
from dash_user_tracker.events import Event
from dash_user_tracker.repositories.base import TrackerRepository

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs Python with os.fork")


class Wire(TrackerRepository):
    """Appends what arrives to a file; fails before or after that, in whole or in part, as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.manner = ("takes", 0)
        # By the word of this process, as its delivery has to see it.
        self.acknowledged = 0
        self.refused = 0
        self.unacknowledged: Counter[str] = Counter()

    def save_event(self, event: Event) -> None:
        raise AssertionError("one call for a batch")

    def save_events(self, events: Sequence[Event]) -> None:
        how, count = self.manner
        count = min(count, len(events))
        if how == "down":
            raise ConnectionError("nobody there")
        if how == "acknowledgement lost":
            self._arrived(events)
            self.unacknowledged.update(event.id for event in events)
            raise ConnectionError("cut off")
        if how == "takes some":
            self._arrived(events[:count])
            self.acknowledged += count
            raise UnavailableError("busy", taken=count)
        if how == "refuses one":
            self._arrived(events[:count])
            self.acknowledged += count
            refused = min(1, len(events) - count)
            self.refused += refused
            if count < len(events):
                raise RejectedError("bad", taken=count, refused=refused)
            return
        self._arrived(events)
        self.acknowledged += len(events)

    def _arrived(self, events: Sequence[Event]) -> None:
        lines = "".join(f"{json.dumps([os.getpid(), event.id, event.data['who']])}\n" for event in events)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(handle, lines.encode())
        finally:
            os.close(handle)


MANNERS = st.sampled_from(
    [
        ("takes", 0),
        ("takes", 0),
        ("down", 0),
        ("acknowledgement lost", 0),
        ("takes some", 0),
        ("takes some", 2),
        ("refuses one", 0),
        ("refuses one", 1),
    ]
)
ENDINGS = ["flush", "close", "close and put", "os._exit", "SIGKILL"]


class Forking(RuleBasedStateMachine):
    """A process with a live worker, and children of it that end in every way."""

    def __init__(self) -> None:
        super().__init__()
        self.open = contextlib.ExitStack()
        self.open.enter_context(mock.patch.object(sending, "retry_delay", return_value=0.001))
        self.open.enter_context(mock.patch.object(delivery.log, "disabled", True))
        folder = self.open.enter_context(tempfile.TemporaryDirectory())
        self.wire = Wire(Path(folder) / "wire")
        self.delivery: Delivery[Any] = Delivery(self.wire, self.read, batch_size=3, interval=0.001, queue_size=10_000)
        self.put_here = 0
        self.closed = False
        self.owners: dict[str, int] = {}
        self.in_child: Counter[str] = Counter()

    def read(self, who: str) -> list[Event]:
        return [Event.new("counted", {"who": who})]

    @initialize(first=st.booleans())
    def begin(self, first: bool) -> None:
        """A child may be forked before the parent ever had a worker, or after."""
        if first:
            self.put(1)

    @rule(count=st.integers(1, 7))
    def put(self, count: int) -> None:
        for _ in range(count):
            who = f"parent {self.put_here}"
            self.put_here += 1
            self.owners[who] = os.getpid()
            assert self.delivery.put(who) is not self.closed

    @rule(manner=MANNERS)
    def behave(self, manner: tuple[str, int]) -> None:
        self.wire.manner = manner

    @rule()
    def flush(self) -> None:
        if self.delivery.flush(0.05):
            self.check(self.delivery.stats(), self.wire)

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        self.closed = True
        self.delivery.close(2)
        stats = self.delivery.stats()
        assert (stats["pending"], stats["worker_alive"]) == (0, False)
        self.check(stats, self.wire)

    def check(self, stats: dict[str, Any], wire: Wire) -> None:
        lost = sum(stats["dropped"].values())
        assert stats["accepted"] == stats["delivered"] + stats["pending"] + lost, stats
        assert stats["pending"] == 0
        assert stats["delivered"] == wire.acknowledged
        assert stats["dropped"].get("rejected", 0) == wire.refused

    @rule(
        count=st.integers(0, 8),
        manner=MANNERS,
        recovers=st.booleans(),
        ending=st.sampled_from(ENDINGS),
    )
    def fork(self, count: int, manner: tuple[str, int], recovers: bool, ending: str) -> None:
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: this process has threads
            child = os.fork()
        if child == 0:
            try:
                os.write(writing, json.dumps(self.live(count, manner, recovers, ending)).encode())
            except BaseException as error:  # noqa: BLE001 - it is told to the parent
                os.write(writing, json.dumps({"raised": repr(error)}).encode())
            finally:
                os._exit(0)
        os.close(writing)
        told = heard_from(child, reading)
        names = [f"child {child} {number}" for number in range(count + (ending == "close and put"))]
        self.owners.update(dict.fromkeys(names, child))
        if ending in ("os._exit", "SIGKILL"):
            return
        assert "raised" not in told, told
        # Its own, from the first: nothing of the parent's is counted here or delivered from here.
        stats = told["stats"]
        assert stats["accepted"] == len(names)
        lost = sum(stats["dropped"].values())
        assert stats["accepted"] == stats["delivered"] + stats["pending"] + lost, stats
        assert stats["delivered"] == told["acknowledged"]
        assert stats["dropped"].get("rejected", 0) == told["refused"]
        if recovers:
            assert told["flushed"] is True
            assert stats["delivered"] == count - told["refused"]
        if ending != "flush":
            assert stats["pending"] == 0
        self.in_child.update(told["unacknowledged"])

    def live(self, count: int, manner: tuple[str, int], recovers: bool, ending: str) -> dict[str, Any]:
        """What a child does."""
        wire = self.wire
        wire.manner = manner
        wire.acknowledged = wire.refused = 0
        wire.unacknowledged.clear()
        for number in range(count):
            self.delivery.put(f"child {os.getpid()} {number}")
        if ending == "SIGKILL":
            os.kill(os.getpid(), signal.SIGKILL)
        if ending == "os._exit":
            os._exit(0)
        flushed = self.delivery.flush(0.02)
        if recovers:
            wire.manner = ("takes", 0)
            flushed = self.delivery.flush(20)
        if ending.startswith("close"):
            self.delivery.close(2)
        if ending == "close and put":
            assert self.delivery.put(f"child {os.getpid()} {count}") is False
        # The worker may be in the middle of an attempt: its numbers are taken between two.
        with self.delivery._process.delivering:
            return {
                "flushed": flushed,
                "stats": self.delivery.stats(),
                "acknowledged": wire.acknowledged,
                "refused": wire.refused,
                "unacknowledged": wire.unacknowledged,
            }

    def teardown(self) -> None:
        try:
            self.wire.manner = ("takes", 0)
            if not self.closed:
                assert self.delivery.flush(20)
                self.close()
            self.check_the_receiver()
        finally:
            self.open.close()

    def check_the_receiver(self) -> None:
        lines = self.wire.path.read_text().splitlines() if self.wire.path.exists() else []
        arrived = [tuple(json.loads(line)) for line in lines]
        times = Counter(event_id for _, event_id, _ in arrived)
        # Stored once: one id for each event, whoever sent it and however often.
        assert len(times) == len({who for _, _, who in arrived})
        assert len(times) == len({(event_id, who) for _, event_id, who in arrived})
        # More than once only where an acknowledgement was lost; children that died could not say whether one was.
        here = os.getpid()
        for pid, event_id, _ in arrived:
            if pid == here:
                assert times[event_id] <= 1 + self.wire.unacknowledged[event_id]
        # Nobody delivers what is another process's.
        for pid, _, who in arrived:
            assert self.owners.get(who, pid) == pid
            assert who.startswith(f"child {pid} ") or pid == here
        mine = {who for pid, _, who in arrived if pid == here}
        dropped = self.delivery.stats()["dropped"]
        lost = sum(dropped.values())
        assert len(mine) <= self.put_here
        # Lost without a word is none; one that was given up may have arrived all the same.
        assert len(mine) + lost >= self.put_here


class Durable(RuleBasedStateMachine):
    """The same with every event on disk before ``put`` returns: nothing is lost at all, whoever dies."""

    def __init__(self) -> None:
        super().__init__()
        self.open = contextlib.ExitStack()
        self.open.enter_context(mock.patch.object(sending, "retry_delay", return_value=0.001))
        self.open.enter_context(mock.patch.object(delivery, "_ADOPT_INTERVAL", 0.01))
        self.open.enter_context(mock.patch.object(delivery.log, "disabled", True))
        folder = Path(self.open.enter_context(tempfile.TemporaryDirectory()))
        self.wire = Wire(folder / "wire")
        self.spool = Spooling(folder / "spool", durable=True)
        self.deliveries: list[Delivery[str]] = []
        self.promised: list[str] = []
        self.start()

    def start(self) -> None:
        self.deliveries.append(
            Delivery(self.wire, lambda who: [Event.new("counted", {"who": who})], interval=0.001, spool=self.spool)
        )

    def put_some(self, count: int) -> None:
        for _ in range(count):
            self.promised.append(f"{os.getpid()} {len(self.promised)}")
            self.deliveries[-1].put(self.promised[-1])

    @rule(count=st.integers(1, 7))
    def put(self, count: int) -> None:
        self.put_some(count)

    @rule(manner=st.sampled_from([("takes", 0), ("down", 0), ("acknowledgement lost", 0), ("takes some", 1)]))
    def behave(self, manner: tuple[str, int]) -> None:
        self.wire.manner = manner

    @rule()
    def flush(self) -> None:
        self.deliveries[-1].flush(0.02)
        self.law()

    @precondition(lambda self: len(self.deliveries) < 5)
    @rule(close=st.booleans())
    def restart(self, close: bool) -> None:
        """A second one works beside the first, or after it."""
        if close:
            self.deliveries[-1].close(0.2)
            self.law()
        self.start()

    def law(self) -> None:
        for one in self.deliveries:
            stats = one.stats()
            assert stats["accepted"] == stats["delivered"] + stats["pending"] + sum(stats["dropped"].values()), stats
            assert stats["dropped"] == {}

    @rule(count=st.integers(1, 7), ending=st.sampled_from(["close", "os._exit", "SIGKILL"]))
    def fork(self, count: int, ending: str) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: this process has threads
            child = os.fork()
        if child == 0:
            try:
                self.put_some(count)
                if ending == "close":
                    self.deliveries[-1].close(1)
                if ending == "SIGKILL":
                    os.kill(os.getpid(), signal.SIGKILL)
            finally:
                os._exit(0)
        self.promised += [f"{child} {len(self.promised) + number}" for number in range(count)]
        os.waitpid(child, 0)

    def teardown(self) -> None:
        try:
            self.wire.manner = ("takes", 0)
            for one in self.deliveries:
                one.close(5)
            self.law()
            self.start()
            self.put_some(1)
            deadline = time.monotonic() + 30
            while {who for who, _ in self.arrived()} != set(self.promised):
                assert time.monotonic() < deadline
                self.deliveries[-1].flush(0.05)
            ids = {event_id for _, event_id in self.arrived()}
            assert len(ids) == len(self.promised)
            self.deliveries[-1].close(5)
            assert not list(self.spool.folder.iterdir())
        finally:
            self.open.close()

    def arrived(self) -> set[tuple[str, str]]:
        lines = self.wire.path.read_text().splitlines() if self.wire.path.exists() else []
        return {(who, event_id) for _, event_id, who in map(json.loads, lines)}


def heard_from(child: int, reading: int) -> dict[str, Any]:
    """What a child said until it ended, which must be within 30 seconds."""
    said = b""
    deadline = time.monotonic() + 30
    try:
        while True:
            ready, _, _ = select.select([reading], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                os.kill(child, signal.SIGKILL)
                raise AssertionError("the child hangs")
            part = os.read(reading, 65_536)
            if not part:
                break
            said += part
    finally:
        os.close(reading)
        os.waitpid(child, 0)
    answer: dict[str, Any] = json.loads(said) if said else {}
    return answer


TestForking = Forking.TestCase
TestForking.settings = settings(
    max_examples=60, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestDurable = Durable.TestCase
TestDurable.settings = settings(
    max_examples=30, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
