"""What must hold between the answers of the reference, whatever the events."""

from __future__ import annotations

import itertools
import random
from datetime import datetime, timedelta

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metrics_strategies import ANCHORS, ZONES, changes, events, filters

from dash_user_tracker.events import Event
from dash_user_tracker.metrics.filters import EVERYTHING, Filters
from dash_user_tracker.metrics.funnels import furthest
from dash_user_tracker.metrics.history import History
from dash_user_tracker.metrics.visits import CAP, GAP
from dash_user_tracker.metrics.words import INTERVALS, METRICS
from dash_user_tracker.repositories.memory import MemoryTrackerRepository

T0 = ANCHORS[0]
RANGE = (T0 - timedelta(days=30), T0 + timedelta(days=30))
DIMENSIONS_OF_EVENTS = ("app", "page", "path", "user", "group", "browser", "release", "environment")
ADDITIVE = ("views", "visits", "interactions", "custom_events", "runs", "errors", "waiting_ms")

quietly = settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def stored(found: list[Event]) -> MemoryTrackerRepository:
    repository = MemoryTrackerRepository()
    repository.save_events(found)
    return repository


some_events = st.lists(events(T0), min_size=5, max_size=30)
some_ranges = st.tuples(st.integers(-40, 40), st.integers(-40, 40)).map(
    lambda pair: (T0 + timedelta(minutes=13 * min(pair)), T0 + timedelta(minutes=13 * max(pair)))
)


@quietly
@given(st.sampled_from(DIMENSIONS_OF_EVENTS), some_events, some_ranges, filters())
def test_a_row_says_what_a_summary_with_its_key_as_filter_says(
    dimension: str, found: list[Event], bounds: tuple[datetime, datetime], given_filters: Filters | None
) -> None:
    repository = stored(found)
    base = attrs.evolve(given_filters or Filters(), **{dimension: None})
    for row in repository.get_breakdown(dimension, *bounds, metrics=METRICS, filters=base, limit=None):
        if row.key is not None:
            alone = repository.get_summary(*bounds, filters=attrs.evolve(base, **{dimension: row.key}))
            assert row.values == {metric: getattr(alone, metric) for metric in METRICS}


@quietly
@given(some_events, some_ranges, st.sampled_from(INTERVALS), st.sampled_from(ZONES), filters())
def test_what_can_be_added_up_adds_up_to_the_summary(
    found: list[Event], bounds: tuple[datetime, datetime], interval: str, tz: str, given_filters: Filters | None
) -> None:
    repository = stored(found)
    whole = repository.get_summary(*bounds, filters=given_filters)
    for metric in ADDITIVE:
        points = repository.get_series(metric, interval, *bounds, tz=tz, filters=given_filters)
        assert sum(point.value or 0 for point in points) == getattr(whole, metric), metric


@quietly
@given(some_events)
def test_visits_share_out_the_activities_and_keep_their_bounds(found: list[Event]) -> None:
    history = History.of(stored(found).events)
    activities = [record.position for stay in history.visits for record in stay.activities]
    assert sorted(activities) == [record.position for record in history.records if record.active]
    streams = itertools.groupby(
        sorted(history.visits, key=lambda stay: repr(stay.stream)), key=lambda stay: stay.stream
    )
    for _, stays in streams:
        own = list(stays)
        for stay in own:
            assert stay.ended - stay.started <= CAP
            assert all(two.at - one.at <= GAP for one, two in zip(stay.activities, stay.activities[1:]))
        for one, two in zip(own, own[1:]):
            assert two.started - one.ended > GAP or two.started - one.started > CAP


@quietly
@given(changes(T0), st.randoms())
def test_the_order_of_arrival_matters_only_at_one_moment(story: list[object], shuffled: random.Random) -> None:
    found = {event.timestamp: event for change in story for event in change.saved}  # type: ignore[attr-defined]
    ordered = list({event.id: event for event in found.values()}.values())
    mixed = list(ordered)
    shuffled.shuffle(mixed)
    one, two = stored(ordered), stored(mixed)
    for ask in (
        lambda store: store.get_summary(*RANGE, filters=EVERYTHING),
        lambda store: store.get_visits(filters=EVERYTHING, limit=None),
        lambda store: store.get_breakdown("user", filters=EVERYTHING),
        lambda store: store.get_journeys(filters=EVERYTHING),
        lambda store: list(store.export()),
    ):
        assert ask(one) == ask(two)


def _moments(taken: list[tuple[int, set[int]]]) -> list[tuple[datetime, list[int]]]:
    return [(T0 + timedelta(minutes=at), sorted(steps)) for at, steps in sorted(taken, key=lambda one: one[0])]


_STEPS = st.lists(st.tuples(st.integers(0, 20), st.sets(st.integers(0, 2), min_size=1)), max_size=7).map(_moments)


@given(_STEPS, st.sampled_from([None, timedelta(0), timedelta(minutes=5), timedelta(minutes=12)]))
def test_a_funnel_finds_the_furthest_of_all_series(
    moments: list[tuple[datetime, list[int]]], within: timedelta | None
) -> None:
    def is_series(chosen: tuple[tuple[datetime, list[int]], ...]) -> bool:
        in_time = within is None or chosen[-1][0] - chosen[0][0] <= within
        return in_time and all(number in steps for number, (_, steps) in enumerate(chosen))

    best = max((count for count in (1, 2, 3) if any(map(is_series, itertools.combinations(moments, count)))), default=0)
    assert furthest(moments, 3, within) == best
