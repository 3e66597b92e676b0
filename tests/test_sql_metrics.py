"""The metrics' contract on SQLite, and that roll-ups say what the events say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from metrics_contract import T0, MetricsContract, run, view
from metrics_strategies import (
    ANCHORS,
    PATHS,
    USERS,
    Change,
    Question,
    assert_same,
    changes,
    moments,
    questions,
    ranges,
    stories,
)

from dash_user_tracker.metrics.filters import EVERYTHING, Filters
from dash_user_tracker.metrics.records import LARGEST_BYTES, LONGEST_MS
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository
from dash_user_tracker.repositories.sql import SqlTrackerRepository, deleting, trails
from dash_user_tracker.repositories.sql import repository as repository_module


class Estimating(SqlTrackerRepository):
    """Percentiles come from the roll-ups, however few there are."""

    exact_below = -1


class TestSqlFile(MetricsContract):
    @pytest.fixture
    def repository(self, tmp_path: Path) -> Iterator[TrackerRepository]:
        repository = SqlTrackerRepository(f"sqlite:///{tmp_path}/usage.db")
        yield repository
        repository.close()


@contextmanager
def sqlite() -> Iterator[TrackerRepository]:
    repository = Estimating("sqlite://")
    yield repository
    repository.close()


LENGTHY = settings(
    deadline=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting takes several transactions."""
    monkeypatch.setattr(deleting, "AT_ONCE", 3)


@LENGTHY
@given(stories())
def test_roll_ups_say_what_the_events_say(
    few_at_once: None, story: tuple[list[Change], list[tuple[int, Question]]]
) -> None:
    changes, asked = story
    reference = MemoryTrackerRepository()
    with sqlite() as repository:
        for number, change in enumerate(changes, 1):
            assert change.apply(repository) == change.apply(reference)
            repository.maintain()  # also between changes, so that late events meet what is counted
            for _, question in (pair for pair in asked if pair[0] == number):
                note(f"after {number} changes: {question}")
                assert_same(question.ask(reference), question.ask(repository))


@st.composite
def interruptions(draw: st.DrawFn) -> tuple[list[Change], Change, list[Change], list[Question]]:
    """What was saved, what begins to be deleted, what is saved after that, and what is asked."""
    anchor = draw(st.sampled_from(ANCHORS))
    deleted = st.one_of(
        st.sampled_from(USERS).map(lambda user: Change(erased=user)),
        moments(anchor).map(lambda moment: Change(purged=moment)),
    )
    later = st.one_of(st.just([]), changes(anchor))
    asked = st.lists(questions(anchor), min_size=3, max_size=8)
    return draw(changes(anchor)), draw(deleted), draw(later), draw(asked)


class Killed(Exception):
    pass


@LENGTHY
@given(interruptions())
def test_a_deletion_that_was_killed_on_the_way_leaves_right_numbers(
    few_at_once: None, story: tuple[list[Change], Change, list[Change], list[Question]]
) -> None:
    before, deletion, later, asked = story
    with sqlite() as repository, pytest.MonkeyPatch.context() as patch:
        for change in before:
            change.apply(repository)
            repository.maintain()
        done = 0

        def counted(found: tuple[int, object]) -> tuple[int, object]:
            nonlocal done
            done += 1
            if done > 1:
                raise Killed  # in the second transaction, which is rolled back
            return found

        for name in ("delete_before", "delete_user"):
            own = getattr(deleting, name)
            patch.setattr(deleting, name, lambda *args, own=own: counted(own(*args)))
        patch.setattr(repository, "maintain", lambda: None)
        with suppress(Killed):
            deletion.apply(repository)
        patch.undo()
        for change in later:
            change.apply(repository)
        reference = MemoryTrackerRepository()
        reference.save_events(repository.get_events(limit=None)[::-1])
        for maintained in (False, True):
            for question in asked:
                note(f"maintained: {maintained}, {question}")
                with pytest.MonkeyPatch.context() as unmaintained:
                    if not maintained and not later:
                        unmaintained.setattr(repository, "maintain", lambda: None)
                    assert_same(question.ask(reference), question.ask(repository))


@settings(LENGTHY, max_examples=25)
@given(st.sampled_from(ANCHORS).flatmap(changes))
def test_each_visit_is_told_with_its_events(few_at_once: None, done: list[Change]) -> None:
    reference = MemoryTrackerRepository()
    with sqlite() as repository:
        for change in done:
            change.apply(repository)
            change.apply(reference)
        visits = reference.get_visits(filters=EVERYTHING, limit=None)
        for visit_id in {row.id for row in visits} | {event.id for event in reference.events[:3]} | {"nobody's"}:
            assert repository.get_visit(visit_id) == reference.get_visit(visit_id)


@settings(LENGTHY, max_examples=25)
@given(
    st.sampled_from(ANCHORS).flatmap(
        lambda anchor: st.tuples(changes(anchor), st.lists(ranges(anchor), min_size=2, max_size=4))
    ),
    st.booleans(),
)
def test_a_path_of_many_views_has_as_many_as_one_of_few(
    few_at_once: None, story: tuple[list[Change], list[tuple[datetime, datetime]]], maintained: bool
) -> None:
    """Those of few are counted, for those of many the roll-ups are asked, and the events behind the watermark."""
    done, asked = story
    reference = MemoryTrackerRepository()
    with sqlite() as repository, pytest.MonkeyPatch.context() as patch:
        patch.setattr(repository_module, "MANY", 0)
        for change in done:
            change.apply(repository)
            change.apply(reference)
            if maintained:
                repository.maintain()
            for start, end in [(None, None), *asked]:
                for path, automated in itertools.product((*PATHS, "/nowhere"), (None, True, False)):
                    counts = [
                        store.get_page_views_by_path(path, start, end, 1, automated=automated)["count"]
                        for store in (reference, repository)
                    ]
                    assert counts[0] == counts[1], (path, start, end, automated)


def test_a_funnel_finds_a_page_among_many_on_days_that_saw_few(tmp_path: Path) -> None:
    # Of a day that saw the first page only the numbers take a byte, and that of the last one, in order of texts, two.
    day = 86_400
    events = [view(n, f"/{n}") for n in range(300)] + [view(day, "/0", "bob"), view(2 * day, "/99", "bob")]
    repository, reference = SqlTrackerRepository(f"sqlite:///{tmp_path}/usage.db"), MemoryTrackerRepository()
    for one in (repository, reference):
        one.save_events(events)
    steps = ["page:/0", "page:/99"]
    assert repository.get_funnel(steps) == reference.get_funnel(steps)
    assert [row.people for row in repository.get_funnel(steps)] == [2, 2]
    repository.close()


@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_journeys_are_the_same_however_many_visits_are_read_at_once(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trails, "AT_ONCE", at_once)
    memory = MemoryTrackerRepository()
    walks = ["abc", "abcabcabcabc", "a", "ab", "aab", "acb", "abc", "b", "abcd"]
    events = [
        view((number // 3) * 7200 + place * 60.0, f"/{page}", f"user {number % 5}")  # three begin at once
        for number, walk in enumerate(walks * 2)
        for place, page in enumerate(walk)
    ]
    memory.save_events(events)
    with sqlite() as stored:
        stored.save_events(events)
        for depth in range(1, 9):
            for limit in (None, 0, 1, 3):
                expected = memory.get_journeys(depth=depth, limit=limit)
                found = stored.get_journeys(depth=depth, limit=limit)
                assert (found.to_dicts(), found.total) == (expected.to_dicts(), expected.total)


def test_sums_of_the_largest_latencies_and_sizes_are_exact() -> None:
    runs = [run(n, "initial", duration_ms=LONGEST_MS - 1, request_bytes=LARGEST_BYTES - 1) for n in range(900)]
    with sqlite() as repository:
        repository.save_events(runs)
        (row,) = repository.get_callback_stats()
    assert row.waiting_ms == 900 * (LONGEST_MS - 1)
    assert row.request_bytes == 900 * (LARGEST_BYTES - 1)


def test_an_app_is_told_apart_however_many_host_names_its_clients_make_up() -> None:
    events = [view(n, app_name="sales", url_root=f"http://{n}.example.com/") for n in range(1200)] + [
        view(n, app_name="stock") for n in range(3)
    ]
    with sqlite() as repository:
        repository.save_events(events)
        odd = T0 + timedelta(seconds=1)
        assert repository.get_summary(odd, filters=Filters(app="sales")).views == 1199
        assert repository.get_summary(odd, filters=Filters(app="sales", user="ada")).views == 1199
