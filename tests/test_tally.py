"""A count without a lock loses nothing."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.delivery.tally import Tally


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads change places as often as the interpreter can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_a_new_tally_is_zero() -> None:
    assert Tally().read() == 0


@given(st.lists(st.booleans()))
def test_reading_changes_nothing(raises: list[bool]) -> None:
    tally = Tally()
    raised = 0
    for raise_it in raises:
        if raise_it:
            tally.add()
            raised += 1
        else:
            assert tally.read() == raised
    assert tally.read() == raised


@pytest.mark.usefixtures("impatient_threads")
def test_many_threads_are_counted_exactly_while_others_read() -> None:
    tally, each = Tally(), 5_000
    start = threading.Barrier(12)
    readings: list[list[int]] = [[], []]

    def add() -> None:
        start.wait()
        for _ in range(each):
            tally.add()

    def read(seen: list[int]) -> None:
        start.wait()
        seen += [tally.read() for _ in range(500)]

    threads = [threading.Thread(target=add) for _ in range(10)]
    threads += [threading.Thread(target=read, args=(seen,)) for seen in readings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tally.read() == 10 * each
    for seen in readings:
        assert seen == sorted(seen)
        assert seen[0] >= 0
        assert seen[-1] <= 10 * each
