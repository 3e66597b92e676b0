"""What the metrics mean, by small examples; every repository that can read answers them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from metrics_strategies import assert_same

from dash_user_tracker.events import CALLBACK, PAGE_VIEW, Event
from dash_user_tracker.metrics.arguments import Member, Registry, Step
from dash_user_tracker.metrics.filters import EVERYTHING, Filters
from dash_user_tracker.metrics.words import DIMENSIONS, METRICS
from dash_user_tracker.repositories.base import TrackerRepository
from dash_user_tracker.repositories.memory import MemoryTrackerRepository

#: A Wednesday.
T0 = datetime(2025, 3, 12, 10, tzinfo=timezone.utc)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
DAY_OF_T0 = (datetime(2025, 3, 12, tzinfo=timezone.utc), datetime(2025, 3, 13, tzinfo=timezone.utc))

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/129.0.0.0 Safari/537.36"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


def event(kind: str, at: float, user: str | None = "ada", path: str | None = "/", **data: object) -> Event:
    """An event of the app *Sales*, *at* seconds after T0."""
    page = {"app_name": "Sales", "path": path, "user_id": user or "anonymous", "automated": False, **data}
    return Event.new(kind, page, timestamp=T0 + timedelta(seconds=at))


def view(at: float = 0, path: str | None = "/", user: str | None = "ada", **data: object) -> Event:
    return event(PAGE_VIEW, at, user, path, **data)


def run(at: float = 0, cause: str = "user", user: str | None = "ada", path: str | None = "/", **data: object) -> Event:
    told = {"callback": "app:draw", "output": "graph.figure", "outcome": "ok", "trigger": "region.value", **data}
    return event(CALLBACK, at, user, path, cause=cause, **told)


def custom(at: float = 0, name: str = "export", user: str | None = "ada", path: str | None = "/", **more: Any) -> Event:
    return event(name, at, user, path, properties=more)


def moment(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[arg-type]


def at_moment(when: datetime, path: str = "/", user: str = "ada", **data: object) -> Event:
    return view((when - T0).total_seconds(), path, user, **data)


def keys(rows: Any) -> list[object]:
    return [row.key for row in rows]


def values(rows: Any, metric: str) -> dict[object, object]:
    return {row.key: row.values[metric] for row in rows}


def life(user: str, **data: object) -> list[Event]:
    """What somebody does in three weeks, all of it with these *data*."""
    begins = [0, 40 * MINUTE, DAY, 3 * DAY + HOUR, 8 * DAY, 20 * DAY]
    return [
        event
        for at in begins
        for event in (
            view(at, user=user, **data),
            run(at + 1, "initial", user, duration_ms=120, **data),
            run(at + 9, user=user, page_load="0a" + user.encode().hex(), action=int(at), duration_ms=30, **data),
            run(at + 20, user=user, outcome="error", error={"type": "KeyError", "where": "app.py:5"}, **data),
            event_of_own(at + 30, user, **data),
            view(at + 60, user=user, **data),
        )
    ]


def event_of_own(at: float, user: str, **data: object) -> Event:
    return event("export", at, user, **{"properties": {"rows": 3}, **data})  # type: ignore[arg-type]


#: Each filter, what the events say that it selects, and what others say.
FILTERED: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "app": ({"app": "Sales"}, {"app_name": "Sales"}, {"app_name": "Stock"}),
    "page": ({"page": "/a/<id>"}, {"path": "/a/1", "route": "/a/<id>"}, {"path": "/a/1", "route": "/<other>"}),
    "page without a route": ({"page": "/a"}, {"path": "/a"}, {"path": "/a", "route": "/<other>"}),
    "path": ({"path": "/a/1"}, {"path": "/a/1", "route": "/a/<id>"}, {"path": "/a/2", "route": "/a/<id>"}),
    "route": ({"route": "/a/<id>"}, {"path": "/a/1", "route": "/a/<id>"}, {"path": "/a/<id>"}),
    "user": ({"user": "ada"}, {}, {}),
    "group": ({"group": "it"}, {"group": "it"}, {"group": "sales"}),
    "release": ({"release": "1.1"}, {"release": "1.1"}, {"release": "1.10"}),
    "environment": ({"environment": "test"}, {"environment": "test"}, {}),
    "browser": ({"browser": "Firefox"}, {"user_agent": FIREFOX}, {"user_agent": CHROME}),
    "automated": ({"automated": True}, {"automated": True}, {"automated": False}),
    "people": ({"automated": False}, {"automated": False}, {"automated": True}),
    "two": ({"group": "it", "release": "1.1"}, {"group": "it", "release": "1.1"}, {"group": "it", "release": "1.0"}),
}

_THREE_WEEKS = (T0 - timedelta(days=1), T0 + timedelta(days=20, hours=1))
_STEPS = ["page:/", "page:/a/1", "control:region.value", "event:export"]
_HAS = Registry(pages=["/", "/a/1", "/b"], callbacks=["app:draw", "app:x"], controls=["region.value", "go.n_clicks"])

#: Every question there is.
QUESTIONS: dict[str, Callable[[TrackerRepository, Filters], Any]] = {
    "summary": lambda store, filters: store.get_summary(*_THREE_WEEKS, filters=filters, compare="previous"),
    "series": lambda store, filters: [
        store.get_series(metric, "day", *_THREE_WEEKS, tz="Asia/Kathmandu", filters=filters)
        for metric in ("people", "visits", "interactions", "p95_ms")
    ],
    "breakdowns": lambda store, filters: [
        store.get_breakdown(dimension, *_THREE_WEEKS, metrics=metrics, filters=filters)
        for dimension, metrics in DIMENSIONS.items()
    ],
    "active users": lambda store, filters: store.get_active_users(_THREE_WEEKS[1], filters=filters),
    "visits": lambda store, filters: store.get_visits(*_THREE_WEEKS, filters=filters),
    "journeys": lambda store, filters: store.get_journeys(*_THREE_WEEKS, filters=filters),
    "journeys from": lambda store, filters: [
        store.get_journeys(*_THREE_WEEKS, start_page=page, filters=filters) for page in ("/", "/a", "/a/1", "/a/<id>")
    ],
    "retention": lambda store, filters: store.get_retention("week", 4, end=_THREE_WEEKS[1], filters=filters),
    "lifecycle": lambda store, filters: store.get_lifecycle("day", 9, end=_THREE_WEEKS[1], filters=filters),
    "funnels": lambda store, filters: [
        store.get_funnel(_STEPS[first:], *_THREE_WEEKS, within=timedelta(minutes=5), filters=filters)
        for first in range(len(_STEPS))
    ],
    "callback stats": lambda store, filters: store.get_callback_stats(*_THREE_WEEKS, filters=filters),
    "errors": lambda store, filters: store.get_errors(T0 + timedelta(days=2), filters=filters),
    "unused": lambda store, filters: store.get_unused(_HAS, 30, end=_THREE_WEEKS[1], filters=filters),
    "adoption": lambda store, filters: store.get_adoption(["ada", "eve", "tim"], *_THREE_WEEKS, filters=filters),
    "export": lambda store, filters: list(store.export(*_THREE_WEEKS, filters=filters)),
}


def assert_all_same(expected: Any, answer: Any) -> None:
    if isinstance(expected, list):
        assert len(answer) == len(expected)
        for one, other in zip(expected, answer):
            assert_same(one, other)
    else:
        assert_same(expected, answer)


class MetricsContract:
    """A subclass gives the fixture *repository*, empty."""

    # -- nothing there ---------------------------------------------------------------------

    def test_nothing_is_zero_people_and_no_latency(self, repository: TrackerRepository) -> None:
        answer = repository.get_summary(*DAY_OF_T0)
        counts = (
            "people",
            "visitors",
            "visits",
            "views",
            "interactions",
            "custom_events",
            "runs",
            "errors",
            "waiting_ms",
        )
        assert [getattr(answer, name) for name in counts] == [0] * len(counts)
        unknown = sorted(set(METRICS) - set(counts))
        assert [getattr(answer, name) for name in unknown] == [None] * len(unknown)

    def test_nothing_is_no_rows(self, repository: TrackerRepository) -> None:
        for dimension in DIMENSIONS:
            assert list(repository.get_breakdown(dimension)) == []
        for rows in (
            repository.get_visits(),
            repository.get_journeys(),
            repository.get_callback_stats(),
            repository.get_errors(),
        ):
            assert (list(rows), rows.total) == ([], 0)
        assert repository.get_visit("nobody's") is None
        assert list(repository.export()) == list(repository.export_user("ada")) == []
        assert (repository.erase_user("ada"), repository.purge(T0)) == (0, 0)
        assert repository.get_active_users(T0).stickiness is None
        assert [(row.people, row.share) for row in repository.get_funnel(["page:/", "event:x"])] == [(0, None)] * 2

    # -- visits ----------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("times", "expected"),
        [
            pytest.param([0], [0], id="one view is a visit of no length"),
            pytest.param([0, 30 * MINUTE], [1800], id="exactly 30 minutes of rest belong to it"),
            pytest.param([0, 30 * MINUTE + 1e-6], [0, 0], id="a microsecond more ends it"),
            pytest.param([14 * HOUR - 60, 14 * HOUR + 60], [120], id="midnight does not end it"),
            pytest.param([n * 1500 for n in range(58)], [57 * 1500], id="it may last almost a day"),
            pytest.param([*(n * 1800 for n in range(49))], [DAY], id="it may last exactly 24 hours"),
            pytest.param([*(n * 1800 for n in range(48)), DAY + 1e-6], [47 * 1800, 0], id="and no microsecond more"),
            pytest.param([n * 1800 for n in range(100)], [DAY, DAY, 1800], id="then the next one begins"),
        ],
    )
    def test_a_visit_ends_with_rest_or_after_a_day(
        self, repository: TrackerRepository, times: list[float], expected: list[float]
    ) -> None:
        repository.save_events([view(at) for at in times])
        visits = repository.get_visits()
        assert [visit.duration_s for visit in visits][::-1] == expected
        assert repository.get_summary().visits == len(expected)

    def test_events_may_come_late_and_in_any_order(self, repository: TrackerRepository) -> None:
        repository.save_events([view(40 * MINUTE)])
        assert repository.get_summary().visits == 1
        repository.save_events([view(0)])
        assert repository.get_summary().visits == 2
        repository.save_events([view(20 * MINUTE)])
        (visit,) = repository.get_visits()
        assert (visit.views, visit.duration_s) == (3, 2400)

    def test_a_visit_is_of_one_person_in_one_app(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0), view(1, user="bob"), view(2, app_name="Stock"), view(3)])
        assert [(visit.app, visit.user, visit.views) for visit in repository.get_visits()] == [
            ("Stock", "ada", 1),
            ("Sales", "bob", 1),
            ("Sales", "ada", 2),
        ]

    def test_a_visit_knows_how_it_began_and_ended(self, repository: TrackerRepository) -> None:
        first = view(
            0, "/a/1", route="/a/<id>", user_agent=FIREFOX, referrer="https://www.Intranet.example:8443/x",
            base_url="https://app.example/a/1", group="it", release="1.0", environment="production",
        )  # fmt: skip
        repository.save_events([first, view(5, "/b", user_agent=CHROME), run(7, path="/b"), custom(9, path="/b")])
        (visit,) = repository.get_visits()
        assert visit.id == first.id
        assert (visit.entry, visit.exit, visit.duration_s) == ("/a/<id>", "/b", 9)
        assert (visit.views, visit.interactions, visit.custom_events, visit.errors) == (2, 1, 1, 0)
        assert (visit.browser, visit.referrer, visit.group) == ("Firefox", "intranet.example", "it")
        assert (visit.release, visit.environment, visit.automated) == ("1.0", "production", False)
        assert (visit.started, visit.ended) == (T0, T0 + timedelta(seconds=9))

    def test_only_activities_keep_a_visit_alive(self, repository: TrackerRepository) -> None:
        others = [run(n * 600, cause) for n, cause in enumerate(["initial", "cascade", "timer", "poll", "unknown"])]
        repository.save_events([view(0), *others, run(31 * MINUTE)])
        assert [visit.duration_s for visit in repository.get_visits()] == [0, 0]

    def test_what_is_made_outside_of_a_page_is_no_visit(self, repository: TrackerRepository) -> None:
        repository.save_events([custom(path=None, user=None)])
        answer = repository.get_summary()
        assert (answer.visits, answer.custom_events, answer.people) == (0, 1, 0)

    def test_a_visit_counts_where_it_begins(self, repository: TrackerRepository) -> None:
        repository.save_events([view(-MINUTE), view(MINUTE), view(2 * MINUTE)])
        assert repository.get_summary(end=T0).visits == 1
        after = repository.get_summary(T0)
        assert (after.visits, after.views, after.people) == (0, 2, 1)
        assert list(repository.get_visits(T0)) == []
        (whole,) = repository.get_visits(end=T0)
        assert whole.views == 3

    @pytest.mark.parametrize(
        ("events", "bounce"),
        [
            pytest.param([view()], True, id="one view"),
            pytest.param([view(), view(5)], False, id="a second view"),
            pytest.param([view(), run(5)], False, id="an interaction"),
            pytest.param([view(), run(5, "initial"), run(6, "cascade")], True, id="callbacks of the page's own"),
            pytest.param([view(), custom(5)], False, id="a custom event"),
            pytest.param([view(), custom(5, interactive=False)], True, id="one that is not interactive"),
            pytest.param([view(), custom(5, interactive=0)], False, id="which only false says"),
            pytest.param([run()], False, id="no view at all"),
        ],
    )
    def test_a_bounce_is_one_view_and_nothing_done(
        self, repository: TrackerRepository, events: list[Event], bounce: bool
    ) -> None:
        repository.save_events(events)
        (visit,) = repository.get_visits()
        assert visit.bounce is bounce
        assert repository.get_summary().bounce_rate == int(bounce)

    def test_a_bounce_lasts_0_seconds_in_the_mean(self, repository: TrackerRepository) -> None:
        repository.save_events([view(), view(0, user="bob"), view(90, user="bob"), view(0, user="eve")])
        answer = repository.get_summary()
        assert (answer.visit_mean_s, answer.visit_median_s) == (30, 0)
        assert answer.bounce_rate == pytest.approx(2 / 3)

    def test_what_the_app_tracks_by_itself_does_not_prolong_a_bounce(self, repository: TrackerRepository) -> None:
        repository.save_events([view(), custom(60, "loaded", interactive=False)])
        answer = repository.get_summary()
        assert (answer.bounce_rate, answer.visit_mean_s, answer.visit_median_s) == (1, 0, 0)

    def test_the_latest_visit_is_first_and_a_limit_cuts(self, repository: TrackerRepository) -> None:
        repository.save_events([view(n * HOUR, f"/{n}") for n in range(5)])
        visits = repository.get_visits(limit=2)
        assert ([visit.entry for visit in visits], visits.total) == (["/4", "/3"], 5)

    def test_a_visit_can_be_looked_into(self, repository: TrackerRepository) -> None:
        events = [
            view(0, "/a"),
            run(1, "initial", path="/a", duration_ms=12.5, callback="app:load"),
            run(2, path="/a", outcome="error", error={"type": "KeyError", "where": "app.py:5"}),
            view(3, "/b", user="bob"),
            run(10 * MINUTE, "cascade", path="/a"),
            run(33 * MINUTE, "cascade", path="/a"),
            view(50 * MINUTE, "/b"),
        ]
        repository.save_events(events)
        found = repository.get_visit(events[0].id)
        assert found is not None
        assert [row.id for row in found.events] == [events[number].id for number in (0, 1, 2, 4)]
        assert (found.visit.duration_s, found.visit.errors) == (2, 1)
        assert [row.event for row in found.events] == ["page_view", "callback", "callback", "callback"]
        assert (found.events[1].callback, found.events[1].duration_ms) == ("app:load", 12.5)
        assert (found.events[2].outcome, found.events[2].error) == ("error", "KeyError")
        assert repository.get_visit(events[1].id) is None

    def test_of_equal_timestamps_the_earlier_arrival_is_first(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, "/1"), view(0, "/2")])
        repository.save_events([view(0, "/3")])
        (visit,) = repository.get_visits()
        assert (visit.entry, visit.exit) == ("/1", "/3")
        assert [found.data["path"] for found in repository.export()] == ["/1", "/2", "/3"]

    # -- interactions ----------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("events", "expected"),
        [
            pytest.param([run(0, page_load="l", action=1), run(9, page_load="l", action=1)], 1, id="one action"),
            pytest.param([run(0, page_load="l", action=1), run(0, page_load="l", action=2)], 2, id="two actions"),
            pytest.param([run(0, page_load="l", action=1), run(0, page_load="m", action=1)], 2, id="two page loads"),
            pytest.param([run(0), run(0.25, callback="app:other")], 1, id="without the script within 250 ms"),
            pytest.param([run(0), run(0.250001)], 2, id="and not a microsecond later"),
            pytest.param([run(0), run(0.2), run(0.4), run(0.6)], 1, id="each within 250 ms of the one before"),
            pytest.param([run(0), run(0.1, trigger="go.n_clicks")], 2, id="another trigger"),
            pytest.param([run(0), run(0.1, user="bob")], 2, id="another person"),
            pytest.param([run(0), run(0.1, path="/b")], 2, id="another page"),
            pytest.param([run(0), run(0.1, app_name="Stock")], 2, id="another app"),
            pytest.param([run(0, page_load="l"), run(0.1, page_load="m")], 1, id="page loads without an action"),
            pytest.param([run(0, "initial"), run(0, "cascade"), run(0, "navigation")], 0, id="nobody did anything"),
        ],
    )
    def test_runs_of_one_action_are_one_interaction(
        self, repository: TrackerRepository, events: list[Event], expected: int
    ) -> None:
        repository.save_events(events)
        assert repository.get_summary().interactions == expected

    def test_an_interaction_has_the_time_of_its_first_run(self, repository: TrackerRepository) -> None:
        repository.save_events([run(-1, page_load="l", action=1), run(1, page_load="l", action=1)])
        assert repository.get_summary(end=T0).interactions == 1
        assert repository.get_summary(T0).interactions == 0
        assert repository.get_summary(T0).runs == 1

    # -- people ----------------------------------------------------------------------------

    def test_people_visitors_and_nobody(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [
                view(0, user="ada", visitor="x"),
                view(1, user="ada", visitor="y"),
                view(2, user=None, visitor="x"),
                view(3, user=None, visitor="y"),
                view(4, user=None, visitor="y"),
                view(5, user=None),
                view(6, user=None, visitor=""),
            ]
        )
        answer = repository.get_summary()
        assert (answer.people, answer.visitors, answer.views, answer.visits) == (1, 2, 7, 4)
        assert {(visit.user, visit.visitor) for visit in repository.get_visits()} == {
            ("ada", None),
            (None, "x"),
            (None, "y"),
            (None, None),
        }

    def test_people_are_those_with_an_activity(self, repository: TrackerRepository) -> None:
        repository.save_events([run(0, "initial"), run(1, "timer"), view(2, user="bob")])
        answer = repository.get_summary()
        assert (answer.people, answer.runs) == (1, 2)

    def test_automated_clients_are_left_out_unless_asked(self, repository: TrackerRepository) -> None:
        repository.save_events([view(), view(1, user=None, visitor="bot", automated=True)])
        assert repository.get_summary().views == 1
        assert repository.get_summary(filters=EVERYTHING).views == 2
        only = repository.get_summary(filters=Filters(automated=True))
        assert (only.views, only.visits, only.visitors, only.people) == (1, 1, 1, 0)

    def test_automated_visits_are_apart(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, user=None), view(1, user=None, automated=True), view(2, user=None)])
        assert [visit.views for visit in repository.get_visits(filters=EVERYTHING)] == [1, 2]

    def test_active_users_by_day_week_and_month(self, repository: TrackerRepository) -> None:
        """28 days up to T0; ada each day, bob 3 days ago, eve 20 days ago."""
        repository.save_events(
            [view(-n * DAY - 60) for n in range(28)] + [view(-3 * DAY, user="bob"), view(-20 * DAY, user="eve")]
        )
        repository.save_events([view(-30, user=None, visitor="v"), view(-29 * DAY, user="old")])
        answer = repository.get_active_users(T0)
        assert (answer.now, answer.now_visitors, answer.day, answer.day_visitors) == (1, 1, 1, 1)
        assert (answer.week, answer.month) == (2, 3)
        assert answer.day_mean == pytest.approx(30 / 28)
        assert answer.stickiness == pytest.approx(30 / 28 / 3)
        assert answer.end == T0

    def test_now_is_the_last_5_minutes(self, repository: TrackerRepository) -> None:
        repository.save_events([view(-5 * MINUTE), view(-5 * MINUTE - 1e-6, user="bob"), view(0, user="eve")])
        assert repository.get_active_users(T0).now == 1

    def test_a_day_is_one_of_the_time_zone(self, repository: TrackerRepository) -> None:
        repository.save_events([at_moment(moment(2025, 3, 11, 22, 30))])
        end = moment(2025, 3, 12, 20)
        assert repository.get_active_users(end).day == 0
        assert repository.get_active_users(end, tz="Europe/Berlin").day == 0
        assert repository.get_active_users(end, tz="Asia/Kolkata").day == 0
        assert repository.get_active_users(moment(2025, 3, 12, 18), tz="Asia/Kolkata").day == 1

    # -- a period in numbers ----------------------------------------------------------------

    def test_a_summary_counts_everything_in_its_range(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [
                view(0),
                run(1, "initial", duration_ms=100),
                run(2, duration_ms=300, outcome="error"),
                run(3, "timer", duration_ms=50),
                custom(4),
                view(5, user="bob"),
                view(DAY, user="eve"),
            ]
        )
        answer = repository.get_summary(*DAY_OF_T0)
        assert (answer.people, answer.visits, answer.views, answer.interactions) == (2, 2, 2, 1)
        assert (answer.runs, answer.errors, answer.custom_events) == (3, 1, 1)
        assert answer.error_rate == pytest.approx(1 / 3)
        assert answer.waiting_ms == 400
        assert answer.p50_ms == pytest.approx(100, rel=0.04)
        assert answer.p95_ms == pytest.approx(300, rel=0.04)
        assert (answer.start, answer.end, answer.previous) == (*DAY_OF_T0, None)

    def test_a_summary_is_compared_with_the_period_before(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0), view(1), view(-2 * HOUR), view(-4 * HOUR)])
        answer = repository.get_summary(T0, T0 + timedelta(hours=3), compare="previous")
        assert answer.previous is not None
        assert (answer.views, answer.previous.views) == (2, 1)
        assert (answer.previous.start, answer.previous.end) == (T0 - timedelta(hours=3), T0)
        pair = (T0 - timedelta(hours=5), T0)
        other = repository.get_summary(T0, compare=pair)
        assert other.previous is not None
        assert other.previous.views == 2
        assert [row["views"] for row in other.to_dicts()] == [2, 2]

    @pytest.mark.parametrize(
        ("durations", "expected"),
        [
            pytest.param([5], (5, 5, 5), id="one"),
            pytest.param([100, 1], (1, 100, 100), id="two"),
            pytest.param(list(range(1, 101)), (50, 95, 99), id="a hundred"),
            pytest.param([None, "7", True, -1, 20], (20, 20, 20), id="only numbers of at least 0"),
        ],
    )
    def test_percentiles_are_values_that_were_measured(
        self, repository: TrackerRepository, durations: list[object], expected: tuple[float, ...]
    ) -> None:
        repository.save_events([run(number, duration_ms=value) for number, value in enumerate(durations)])
        answer = repository.get_summary()
        got = (answer.p50_ms, answer.p95_ms, answer.p99_ms)
        assert got == expected if answer.exact else got == pytest.approx(expected, rel=0.04)

    # -- series ----------------------------------------------------------------------------

    def series(self, repository: TrackerRepository, *asked: Any, tz: str = "UTC") -> list[tuple[str, object]]:
        return [(point.start.isoformat(), point.value) for point in repository.get_series(*asked, tz=tz)]

    def test_a_series_has_empty_days_and_gaps_in_latency(self, repository: TrackerRepository) -> None:
        repository.save_events([run(0, duration_ms=8), run(2 * DAY, duration_ms=8)])
        start, end = moment(2025, 3, 12), moment(2025, 3, 15)
        assert [count for _, count in self.series(repository, "runs", "day", start, end)] == [1, 0, 1]
        points = [value for _, value in self.series(repository, "p95_ms", "day", start, end)]
        assert points == [pytest.approx(8, rel=0.04), None, pytest.approx(8, rel=0.04)]

    def test_days_are_those_of_the_time_zone(self, repository: TrackerRepository) -> None:
        repository.save_events([at_moment(moment(2025, 3, 12, 22, 59)), at_moment(moment(2025, 3, 12, 23, 0))])
        start, end = moment(2025, 3, 11, 23), moment(2025, 3, 13, 23)
        assert self.series(repository, "views", "day", start, end, tz="Europe/Berlin") == [
            ("2025-03-12T00:00:00+01:00", 1),
            ("2025-03-13T00:00:00+01:00", 1),
        ]

    def test_a_day_has_23_or_25_hours_when_clocks_change(self, repository: TrackerRepository) -> None:
        for before, hours in ((moment(2025, 3, 29, 23), 23), (moment(2025, 10, 25, 22), 25)):
            after = before + timedelta(hours=hours)
            repository.save_events([at_moment(after - timedelta(microseconds=1)), at_moment(after)])
            days = repository.get_series("views", "day", before, after + timedelta(1), tz="Europe/Berlin")
            assert [(point.end - point.start, point.value) for point in days][:2] == [
                (timedelta(hours=hours), 1),
                (timedelta(hours=24), 1),
            ]
            assert len(repository.get_series("views", "hour", before, after, tz="Europe/Berlin")) == hours

    def test_an_hour_that_comes_twice_is_there_twice(self, repository: TrackerRepository) -> None:
        start = moment(2025, 10, 26, 0)
        repository.save_events([at_moment(start), at_moment(start + timedelta(hours=1)), at_moment(start)])
        assert self.series(
            repository, "views", "hour", start, start + timedelta(hours=3), tz="Europe/Berlin"
        ) == [
            ("2025-10-26T02:00:00+02:00", 2),
            ("2025-10-26T02:00:00+01:00", 1),
            ("2025-10-26T03:00:00+01:00", 0),
        ]  # fmt: skip

    def test_hours_of_a_half_hour_zone_begin_at_half_past(self, repository: TrackerRepository) -> None:
        repository.save_events([at_moment(moment(2025, 3, 12, 10, 29)), at_moment(moment(2025, 3, 12, 10, 30))])
        start, end = moment(2025, 3, 12, 9, 30), moment(2025, 3, 12, 11, 30)
        assert self.series(repository, "views", "hour", start, end, tz="Asia/Kolkata") == [
            ("2025-03-12T15:00:00+05:30", 1),
            ("2025-03-12T16:00:00+05:30", 1),
        ]

    def test_weeks_begin_on_monday_and_months_on_the_first(self, repository: TrackerRepository) -> None:
        repository.save_events([at_moment(moment(2025, 3, 9, 23, 59)), at_moment(moment(2025, 3, 10))])
        start, end = moment(2025, 3, 5), moment(2025, 3, 12)
        weeks = repository.get_series("views", "week", start, end)
        assert [(point.start, point.value, point.partial) for point in weeks] == [
            (moment(2025, 3, 3), 1, True),
            (moment(2025, 3, 10), 1, True),
        ]
        months = repository.get_series("views", "month", moment(2025, 2, 1), moment(2025, 4, 1))
        assert [(point.start.month, point.value, point.partial) for point in months] == [(2, 0, False), (3, 2, False)]

    def test_only_the_range_counts_in_a_partial_period(self, repository: TrackerRepository) -> None:
        repository.save_events([view(-1), view(0), view(59), view(60)])
        (point,) = repository.get_series("views", "day", T0, T0 + timedelta(seconds=60))
        assert (point.value, point.partial) == (2, True)
        assert list(repository.get_series("views", "day", T0, T0)) == []

    def test_people_are_counted_once_in_each_period_and_not_added_up(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0), view(1), view(DAY), view(DAY, user="bob")])
        start = DAY_OF_T0[0]
        days = self.series(repository, "people", "day", start, start + timedelta(2))
        assert [count for _, count in days] == [1, 2]
        (month,) = repository.get_series("people", "month", start, start + timedelta(2))
        assert month.value == 2

    def test_every_metric_makes_a_series_that_agrees_with_the_summary(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0), run(1, duration_ms=64), run(2, outcome="error"), custom(3), view(90, "/b")])
        answer = repository.get_summary(*DAY_OF_T0)
        for metric in METRICS:
            (point,) = repository.get_series(metric, "day", *DAY_OF_T0)
            assert point.value == getattr(answer, metric), metric

    # -- breakdowns ------------------------------------------------------------------------

    def test_a_breakdown_is_ordered_by_its_first_metric_then_by_key(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, "/b"), view(1, "/a"), view(2, "/c"), view(3, "/c")])
        rows = repository.get_breakdown("page", metrics=["views"])
        assert [(row.key, row.values) for row in rows] == [
            ("/c", {"views": 2}),
            ("/a", {"views": 1}),
            ("/b", {"views": 1}),
        ]
        assert rows[0].last == T0 + timedelta(seconds=3)
        cut = repository.get_breakdown("page", metrics=["views"], limit=1)
        assert (keys(cut), cut.total) == (["/c"], 3)

    def test_a_page_is_its_route_and_a_path_is_a_path(self, repository: TrackerRepository) -> None:
        repository.save_events([view(n, f"/o/{n}", route="/o/<id>") for n in range(3)] + [view(9, "/x")])
        assert values(repository.get_breakdown("page"), "views") == {"/o/<id>": 3, "/x": 1}
        assert len(repository.get_breakdown("path")) == 4
        assert repository.get_summary(filters=Filters(page="/o/<id>")).views == 3
        assert repository.get_summary(filters=Filters(route="/o/<id>")).views == 3
        assert repository.get_summary(filters=Filters(page="/x")).views == 1
        assert repository.get_summary(filters=Filters(route="/x")).views == 0
        assert repository.get_summary(filters=Filters(path="/o/1")).views == 1

    def test_a_page_has_entries_exits_bounces_and_time(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [
                view(0, "/a"),
                run(20, path="/a"),
                view(60, "/b"),
                view(100, "/a"),  # ada
                view(0, "/b", "bob"),  # bounced
                view(0, "/b", "eve"),
                view(29 * MINUTE, "/b", "eve"),
            ]
        )
        rows = repository.get_breakdown(
            "page", metrics=["entries", "exits", "bounces", "exit_rate", "time_s", "views", "visits"]
        )
        found = {row.key: list(row.values.values()) for row in rows}
        assert found["/a"] == [1, 1, 0, 0.5, 60, 2, 1]
        assert found["/b"] == [2, 2, 1, 0.5, 40 + 29 * 60, 4, 3]

    def test_time_on_a_last_page_is_unknown_and_not_0(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, "/a"), view(5, "/b")])
        assert values(repository.get_breakdown("page"), "time_s") == {"/a": 5, "/b": None}

    def test_users_have_a_name(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [
                view(0, user="ada", full_name="Ada", email="a@example.com"),
                view(2, user="ada", full_name="Ada L.", email="b@example.com"),
                view(3, user="ada", full_name="anonymous"),
                view(1, user="bob", full_name="anonymous", email="bob@example.com"),
                view(9, user=None),
            ]
        )
        rows = repository.get_breakdown("user", metrics=["views"])
        assert [(row.key, row.label) for row in rows] == [
            ("ada", "Ada L."),
            ("anonymous", None),
            ("bob", "bob@example.com"),
        ]

    def test_what_has_no_key_is_a_row_of_its_own_and_the_last(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, group="it"), view(1), view(2, group=None), view(3, group=["it"])])
        assert values(repository.get_breakdown("group", metrics=["views"]), "views") == {"it": 1, None: 3}
        repository.save_events([view(4, group="it"), view(5, group="it")])
        assert keys(repository.get_breakdown("group", metrics=["views"])) == ["it", None]

    def test_visits_break_down_by_where_they_came_from(self, repository: TrackerRepository) -> None:
        def came(user: str, referrer: str | None, path: str = "/a") -> list[Event]:
            return [
                view(0, path, user, referrer=referrer, base_url="https://app.example/a"),
                view(5, "/z", user, referrer="https://late.example/", base_url="https://app.example/z"),
            ]

        repository.save_events(
            came("ada", "https://wiki.example/page?q=1")
            + came("bob", "http://www.WIKI.example:80/")
            + came("eve", "https://app.example/other")
            + came("tim", None, "/b")
        )
        assert values(repository.get_breakdown("referrer"), "visits") == {"wiki.example": 2, None: 2}
        assert values(repository.get_breakdown("entry_page"), "people") == {"/a": 3, "/b": 1}
        assert values(repository.get_breakdown("exit_page"), "visits") == {"/z": 4}

    def test_browsers_releases_environments_and_apps(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [
                view(0, user_agent=CHROME, release="1.0", environment="test"),
                view(1, user_agent=FIREFOX, release="1.1", environment="production"),
                view(2, user_agent=FIREFOX, release="1.1", app_name="Stock"),
                view(3, user_agent="curl/8"),
                view(4),
            ]
        )

        def views(dimension: str) -> dict[object, object]:
            return values(repository.get_breakdown(dimension, metrics=["views"]), "views")

        assert views("browser") == {"Firefox": 2, "Chrome": 1, "Other": 1, None: 1}
        assert views("release") == {"1.1": 2, "1.0": 1, None: 2}
        assert views("environment") == {"test": 1, "production": 1, None: 3}
        assert views("app") == {"Sales": 4, "Stock": 1}

    def test_controls_callbacks_and_custom_events(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [
                run(0, page_load="l", action=1),
                run(0.1, page_load="l", action=1, callback="app:table", trigger="region.value"),
                run(5, trigger="go.n_clicks", user="bob"),
                run(6, "initial", trigger=None, callback=None, output="x.children"),
                custom(7, "export"),
                custom(8, "export", user="bob", path=None),
            ]
        )
        controls = repository.get_breakdown("control")
        assert [(row.key, *row.values.values()) for row in controls] == [
            ("go.n_clicks", 1, 1, 0),
            ("region.value", 1, 1, 0),
        ]
        callbacks = repository.get_breakdown("callback", metrics=["runs", "people"])
        assert [(row.key, *row.values.values()) for row in callbacks] == [
            ("app:draw", 2, 2),
            ("app:table", 1, 1),
            ("x.children", 1, 1),
        ]
        (event,) = repository.get_breakdown("event")
        assert (event.key, event.values) == ("export", {"custom_events": 2, "people": 2, "visitors": 0})

    @pytest.mark.parametrize("dimension", ["app", "page", "path", "user", "group", "browser", "release", "environment"])
    def test_a_row_says_what_a_summary_of_its_key_says(self, repository: TrackerRepository, dimension: str) -> None:
        def who(n: int) -> dict[str, Any]:
            return {
                "app_name": "Sales" if n % 5 else "Stock",
                "user": ("ada", "bob", None)[n % 3],
                "visitor": f"v{n % 2}",
                "path": f"/{n % 4}",
                "route": "/even" if n % 4 == 2 else None,
                "group": ("it", "sales")[n % 2],
                "user_agent": (CHROME, FIREFOX)[n % 2],
                "release": f"1.{n % 3}",
                "environment": ("test", "production")[n % 2],
            }

        repository.save_events(
            [view(n * 700.0, **who(n)) for n in range(24)]
            + [run(n * 650.0, ("user", "initial")[n % 2], duration_ms=2**n, **who(n)) for n in range(12)]
        )
        start, end = T0 + timedelta(hours=1), T0 + timedelta(hours=4)
        rows = repository.get_breakdown(dimension, start, end, metrics=METRICS)
        assert len(rows) >= 2
        for row in rows:
            alone = repository.get_summary(start, end, filters=Filters(**{dimension: row.key}))
            assert row.values == {metric: getattr(alone, metric) for metric in METRICS}, row.key

    # -- filters ---------------------------------------------------------------------------

    def test_filters_must_all_hold(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, "/a"), view(1, "/b"), view(2, "/a", "bob"), view(3, "/a", user=None)])
        assert repository.get_summary(filters=Filters(path="/a")).views == 3
        assert repository.get_summary(filters=Filters(path="/a", user="ada")).views == 1
        assert repository.get_summary(filters=Filters(user="anonymous")).views == 1
        assert repository.get_summary(filters=Filters(app="Sales", group="it")).views == 0

    @pytest.mark.parametrize("name", FILTERED)
    def test_every_question_takes_every_filter(self, repository: TrackerRepository, name: str) -> None:
        """A filter that selects all that somebody did answers as if nobody else had been there."""
        given, chosen, other = FILTERED[name]
        mine, theirs = life("ada", **chosen), life("eve", **other)
        repository.save_events([event for pair in zip(mine, theirs) for event in pair])
        alone = MemoryTrackerRepository()
        alone.save_events(mine)
        for ask in QUESTIONS.values():
            expected = ask(alone, EVERYTHING)
            assert expected != ask(MemoryTrackerRepository(), EVERYTHING)
            assert_all_same(expected, ask(repository, Filters(**{"automated": None, **given})))

    def test_a_filter_chooses_visits_and_does_not_change_them(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, "/a"), view(60, "/b"), view(90, "/a"), view(0, "/a", "bob")])
        (visit,) = repository.get_visits(filters=Filters(page="/b"))
        assert (visit.views, visit.duration_s, visit.entry) == (3, 90, "/a")
        answer = repository.get_summary(filters=Filters(page="/b"))
        assert (answer.visits, answer.views, answer.people, answer.visit_mean_s) == (1, 1, 1, 90)

    def test_a_visit_is_chosen_by_what_it_does_in_the_range(self, repository: TrackerRepository) -> None:
        repository.save_events([view(-1, "/a"), view(1, "/b")])
        assert repository.get_summary(end=T0, filters=Filters(page="/b")).visits == 0
        assert repository.get_summary(end=T0 + timedelta(seconds=2), filters=Filters(page="/b")).visits == 1

    def test_events_of_the_older_package_count(self, repository: TrackerRepository) -> None:
        """They have the documented keys, and no other."""
        repository.save_events([Event.new(PAGE_VIEW, {"path": "/", "user_id": "ada", "app_name": "Old"}, timestamp=T0)])
        answer = repository.get_summary(*DAY_OF_T0)
        assert (answer.people, answer.visits, answer.views) == (1, 1, 1)
        assert keys(repository.get_breakdown("browser")) == [None]

    def test_an_event_without_any_data_breaks_nothing(self, repository: TrackerRepository) -> None:
        repository.save_events([Event(f"{n}" * 32, kind, T0, {}) for n, kind in enumerate([PAGE_VIEW, CALLBACK, "x"])])
        answer = repository.get_summary()
        assert (answer.views, answer.runs, answer.custom_events) == (1, 1, 1)
        assert (answer.visits, answer.people, answer.interactions) == (0, 0, 0)
        assert keys(repository.get_breakdown("page", metrics=["views"])) == [None]
        assert [row.callback for row in repository.get_callback_stats()] == [None]

    @pytest.mark.parametrize("automated", [1, "true", ["x"]], ids=str)
    def test_whatever_is_true_says_automated(self, repository: TrackerRepository, automated: object) -> None:
        repository.save_events([view(automated=automated), view(1, automated=0), view(2, automated="")])
        assert repository.get_summary().views == 2
        assert repository.get_page_views(automated=True)["count"] == 1
        (event,) = repository.export(filters=Filters(automated=True))
        assert event.data["automated"] == automated

    @pytest.mark.parametrize("route", [0, False, [], {}], ids=str)
    def test_what_is_no_route_comes_back_and_names_no_page(self, repository: TrackerRepository, route: object) -> None:
        repository.save_events([view(0, "/a", route=route)])
        (event,) = repository.export()
        assert (event.data["route"], type(event.data["route"])) == (route, type(route))
        assert keys(repository.get_breakdown("page")) == ["/a"]

    def test_what_no_run_can_have_is_not_known(self, repository: TrackerRepository) -> None:
        odd = [run(n, duration_ms=value, request_bytes=1 << 62) for n, value in enumerate([1e15, 10**20, 1e300])]
        repository.save_events([*odd, run(9, duration_ms=8, request_bytes=5)])
        (row,) = repository.get_callback_stats()
        assert (row.runs, row.waiting_ms, row.request_bytes) == (4, 8, 5)
        assert row.p99_ms == pytest.approx(8, rel=0.04)
        assert [event.data["duration_ms"] for event in repository.export()][2] == 1e300

    def test_events_of_clocks_that_are_wrong_count_where_they_say(self, repository: TrackerRepository) -> None:
        first, last = datetime.min.replace(tzinfo=timezone.utc), datetime.max.replace(tzinfo=timezone.utc)
        moments = [first, moment(1970, 1, 1), T0, T0 - timedelta(hours=1), T0 + timedelta(minutes=1), last]
        repository.save_events(
            [attrs.evolve(view(path=f"/{number}"), timestamp=at) for number, at in enumerate(moments)]
        )
        assert [visit.started for visit in repository.get_visits()] == [last, T0, *sorted(moments)[2::-1]]
        assert [row.visits for row in repository.get_journeys()] == [1] * 5
        assert repository.get_summary(*DAY_OF_T0).views == 3
        assert repository.get_active_users(T0 + timedelta(minutes=2)).now == 1
        assert [event.timestamp for event in repository.export()] == sorted(moments)
        found = repository.get_visit(repository.get_visits(limit=1)[0].id)
        assert found is not None
        assert found.visit.entry == "/5"
        assert repository.purge(moment(1900, 1, 1)) == 1
        assert repository.erase_user("ada") == 5

    def test_an_event_that_comes_again_counts_once(self, repository: TrackerRepository) -> None:
        events = [view(0), run(1), custom(2)]
        repository.save_events([*events, *events])
        repository.save_events(events)
        answer = repository.get_summary()
        assert (answer.views, answer.runs, answer.custom_events, answer.visits) == (1, 1, 1, 1)

    # -- people over time --------------------------------------------------------------------

    def test_retention_is_a_triangle_of_weeks(self, repository: TrackerRepository) -> None:
        """Weeks begin 24 Feb, 3 and 10 March. Ada comes in all, bob in the first and third, eve in the second."""
        monday = moment(2025, 2, 24, 9)
        week = timedelta(7)
        repository.save_events(
            [at_moment(monday + n * week) for n in range(3)]
            + [at_moment(monday, user="bob"), at_moment(monday + 2 * week, user="bob")]
            + [at_moment(monday + week, user="eve")]
            + [view(user=None, visitor="v")]
        )
        end = moment(2025, 3, 17)
        rows = repository.get_retention("week", 3, end=end)
        assert [(row.cohort.date().isoformat(), row.size, row.active) for row in rows] == [
            ("2025-02-24", 2, (2, 1, 2)),
            ("2025-03-03", 1, (1, 0, None)),
            ("2025-03-10", 0, (0, None, None)),
        ]
        assert rows[0].shares == (1, 0.5, 1)
        assert rows[2].shares == (None, None, None)
        unfinished = repository.get_retention("week", 3, end=end - timedelta(microseconds=1))
        assert [row.active for row in unfinished] == [(2, 1, None), (1, None, None), (None, None, None)]

    def test_first_seen_is_ever_and_not_only_in_the_periods(self, repository: TrackerRepository) -> None:
        repository.save_events([view(-300 * DAY), view(0)])
        assert [row.size for row in repository.get_retention("day", 2, end=T0 + timedelta(1))] == [0, 0]

    def test_lifecycle_tells_new_returning_resurrected_and_dormant(self, repository: TrackerRepository) -> None:
        def on(user: str, *days: int) -> list[Event]:
            return [view(day * DAY, user=user) for day in days]

        repository.save_events(on("ada", -2, -1, 0) + on("bob", -2, 0) + on("eve", -1) + on("tim", -9, -1))
        rows = repository.get_lifecycle("day", 3, end=moment(2025, 3, 13))
        assert [(row.new, row.returning, row.resurrected, row.dormant) for row in rows] == [
            (2, 0, 0, 0),
            (1, 1, 1, 1),
            (0, 1, 1, 2),
        ]
        today = repository.get_lifecycle("day", 1, end=T0 + timedelta(seconds=1))[0]
        assert (today.returning, today.dormant, today.partial) == (1, None, True)

    # -- funnels and journeys ------------------------------------------------------------------

    def test_a_funnel_counts_people_by_the_steps_they_took(self, repository: TrackerRepository) -> None:
        steps = ["page:/a", "control:region.value", "event:export"]
        repository.save_events(
            [
                view(0, "/a"),
                run(1, path="/a"),
                view(2, "/z"),
                custom(3),
                view(0, "/a", "bob"),
                custom(1, user="bob"),
                run(2, user="bob"),
                run(0, user="eve"),
                view(1, "/a", "eve"),
                view(0, "/a", None, visitor="v"),
                view(0, "/a", None),
                custom(0, user="tim"),
            ]
        )
        rows = repository.get_funnel(steps)
        assert [(row.step, row.people, row.visitors) for row in rows] == [
            (steps[0], 3, 1),
            (steps[1], 2, 0),
            (steps[2], 1, 0),
        ]
        assert [(row.share, row.from_previous) for row in rows] == [(1, None), (0.5, 0.5), (0.25, 0.5)]
        assert list(repository.get_funnel([Step("page", "/a"), *steps[1:]])) == list(rows)

    def test_a_funnel_may_have_a_time_limit_from_any_first_step(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, "/a"), view(50, "/a"), view(60, "/b"), view(111, "/c")])
        steps = ["page:/a", "page:/b", "page:/c"]

        def reached(seconds: float) -> list[int]:
            return [row.people for row in repository.get_funnel(steps, within=timedelta(seconds=seconds))]

        assert reached(61) == [1, 1, 1]
        assert reached(60) == [1, 1, 0]
        assert reached(9) == [1, 0, 0]

    def test_one_event_is_one_step(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0, "/o/1", route="/o/<id>")])
        assert [row.people for row in repository.get_funnel(["page:/o/1", "page:/o/<id>"])] == [1, 0]
        repository.save_events([view(0, "/o/1", route="/o/<id>")])
        assert [row.people for row in repository.get_funnel(["page:/o/1", "page:/o/<id>"])] == [1, 1]

    def test_journeys_are_the_pages_that_visits_go_through(self, repository: TrackerRepository) -> None:
        def visit(user: str, *pages: str) -> list[Event]:
            return [view(n, page, user) for n, page in enumerate(pages)]

        repository.save_events(
            visit("ada", "/a", "/a", "/b", "/c") + visit("bob", "/a", "/b") + visit("eve", "/a", "/b", "/c", "/d")
        )
        assert [(row.pages, row.visits, row.ended) for row in repository.get_journeys(depth=3)] == [
            (("/a", "/b", "/c"), 2, 1),
            (("/a", "/b"), 1, 1),
        ]
        after = repository.get_journeys(start_page="/b", depth=2)
        assert [(row.pages, row.visits, row.ended) for row in after] == [(("/b", "/c"), 2, 1), (("/b",), 1, 1)]
        assert repository.get_journeys(depth=1).to_dicts() == [{"pages": "/a", "visits": 3, "ended": 0}]

    # -- callbacks and errors -------------------------------------------------------------------

    def test_callbacks_are_ordered_by_the_time_people_wait_for_them(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [
                run(0, duration_ms=1000, callback="app:slow", request_bytes=10, response_bytes=100),
                run(1, "initial", duration_ms=500, callback="app:slow", outcome="no_update", response_bytes=0),
                run(2, "timer", duration_ms=9000, callback="app:slow", user="bob"),
                run(3, "cascade", duration_ms=20, callback="app:quick"),
                run(4, "navigation", callback="app:quick", outcome="error"),
            ]
        )
        slow, quick = repository.get_callback_stats()
        assert (slow.callback, slow.waiting_ms, slow.runs) == ("app:slow", 1500, 3)
        assert (slow.runs_user, slow.runs_initial, slow.runs_other) == (1, 1, 1)
        assert (slow.people, slow.errors, slow.error_rate) == (2, 0, 0)
        assert slow.no_update_share == pytest.approx(1 / 3)
        assert (slow.request_bytes, slow.response_bytes) == (10, 100)
        assert slow.p50_ms == pytest.approx(1000, rel=0.04)
        assert (quick.callback, quick.waiting_ms, quick.error_rate) == ("app:quick", 20, 0.5)
        assert (quick.runs_cascade, quick.runs_navigation) == (1, 1)
        assert quick.last == T0 + timedelta(seconds=4)
        assert [row.callback for row in repository.get_callback_stats(sort="errors")] == ["app:quick", "app:slow"]
        assert repository.get_callback_stats(limit=1).total == 2

    def test_errors_are_one_by_type_and_place(self, repository: TrackerRepository) -> None:
        def failed(at: float, error: object, **data: Any) -> Event:
            return run(at, outcome="error", status=500, error=error, **data)

        place = {"type": "KeyError", "where": "app.py:5"}
        repository.save_events(
            [
                failed(-DAY, place),
                failed(0, place, callback="app:a"),
                failed(5, place, callback="app:b", path="/b", user="bob", release="1.1"),
                failed(1, {"type": "KeyError", "where": "app.py:9"}),
                failed(2, None),
                run(3, status=500),
            ]
        )
        rows = repository.get_errors(*DAY_OF_T0)
        assert [(row.type, row.where, row.count) for row in rows] == [
            ("KeyError", "app.py:5", 2),
            ("HTTP 500", "app:draw", 1),
            ("KeyError", "app.py:9", 1),
        ]
        top = rows[0]
        assert (top.first, top.last) == (T0 - timedelta(days=1), T0 + timedelta(seconds=5))
        assert (top.callback, top.page, top.release, top.user, top.people) == ("app:b", "/b", "1.1", "bob", 2)
        assert len({row.fingerprint for row in rows}) == 3

    # -- against what could be --------------------------------------------------------------------

    def test_unused_is_what_the_app_has_and_nobody_used_lately(self, repository: TrackerRepository) -> None:
        registry = Registry(
            pages=["/a", "/b", "/c", "/o/<id>"],
            callbacks=["app:draw", "app:old", "app:new"],
            controls=["region.value", "go.n_clicks"],
        )
        repository.save_events(
            [
                view(0, "/a"),
                view(1, "/o/7", route="/o/<id>"),
                view(-40 * DAY, "/b", "bob"),
                run(2),
                run(-40 * DAY, callback="app:old", trigger="go.n_clicks", user=None),
                run(3, "cascade", trigger="x.y"),
            ]
        )
        rows = repository.get_unused(registry, 30, end=T0 + timedelta(minutes=1))
        assert [(row.kind, row.name, row.last_user) for row in rows] == [
            ("page", "/c", None),
            ("page", "/b", "bob"),
            ("callback", "app:new", None),
            ("callback", "app:old", "anonymous"),
            ("control", "go.n_clicks", "anonymous"),
        ]
        assert rows[1].last == T0 - timedelta(days=40)
        assert [row.name for row in repository.get_unused(registry, 50, end=T0 + timedelta(minutes=1))] == [
            "/c",
            "app:new",
        ]

    def test_adoption_is_active_of_eligible(self, repository: TrackerRepository) -> None:
        repository.save_events(
            [view(0), view(-60 * DAY, user="bob"), run(0, "initial", user="eve"), view(user="guest")]
        )
        roster = [
            Member("ada", "it"),
            Member("bob", "it"),
            Member("eve", "sales"),
            {"user_id": "ada", "group": "sales"},
            "tim",
        ]
        answer = repository.get_adoption(roster, *DAY_OF_T0)
        everybody = answer.everybody
        assert (everybody.eligible, everybody.active, everybody.share) == (4, 1, 0.25)
        assert everybody.never == ("eve", "tim")
        assert [(row.group, row.eligible, row.active, row.never) for row in answer.groups] == [
            ("it", 2, 1, ()),
            ("sales", 2, 1, ("eve",)),
            (None, 1, 0, ("tim",)),
        ]

    # -- data out ------------------------------------------------------------------------------

    def test_an_export_is_everything_in_order(self, repository: TrackerRepository) -> None:
        events = [view(2), run(1), custom(0), view(3, automated=True)]
        repository.save_events(events)
        ordered = [events[2], events[1], events[0], events[3]]
        assert list(repository.export()) == ordered
        assert list(repository.export(T0 + timedelta(seconds=1), T0 + timedelta(seconds=3))) == ordered[1:3]
        assert list(repository.export(event=PAGE_VIEW)) == [events[0], events[3]]
        assert list(repository.export(filters=Filters())) == ordered[:3]
        assert list(repository.export(filters=Filters(user="bob"))) == []

    def test_a_person_can_be_exported_and_erased(self, repository: TrackerRepository) -> None:
        events = [view(0, email="ada@example.com"), view(1, user="bob"), run(2), view(3, user=None)]
        repository.save_events(events)
        assert list(repository.export_user("ada")) == [events[0], events[2]]
        assert repository.erase_user("ada") == 2
        assert list(repository.export()) == [events[1], events[3]]
        assert list(repository.export_user("ada")) == []
        answer = repository.get_summary()
        assert (answer.people, answer.views, answer.visits, answer.runs) == (1, 2, 2, 0)
        assert repository.get_user_count() == 2
        assert repository.erase_user("ada") == 0

    def test_the_past_can_be_purged(self, repository: TrackerRepository) -> None:
        repository.save_events([view(0), view(10 * MINUTE), view(20 * MINUTE)])
        assert repository.purge(T0 + timedelta(minutes=10)) == 1
        (visit,) = repository.get_visits()
        assert (visit.views, visit.started) == (2, T0 + timedelta(minutes=10))
        assert repository.purge(T0) == 0

    def test_events_are_taken_again_after_a_purge(self, repository: TrackerRepository) -> None:
        event = view()
        repository.save_event(event)
        repository.purge(T0 + timedelta(1))
        repository.save_event(event)
        assert repository.get_summary().visits == 1

    # -- arguments ------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("method", "arguments", "message"),
        [
            ("get_summary", {"start": datetime(2025, 1, 1)}, "start must be an aware datetime"),
            ("get_summary", {"start": T0, "end": T0 - timedelta(1)}, "end must not be before start"),
            ("get_summary", {"compare": "previous"}, "needs start and end"),
            ("get_summary", {"compare": "last year"}, "compare must be 'previous'"),
            ("get_series", {"metric": "clicks", "interval": "day", "start": T0, "end": T0}, "metric must be one of"),
            ("get_series", {"metric": "views", "interval": "year", "start": T0, "end": T0}, "interval must be one of"),
            (
                "get_series",
                {"metric": "views", "interval": "hour", "start": T0, "end": T0 + timedelta(600)},
                "at most 10000 periods",
            ),
            (
                "get_series",
                {"metric": "views", "interval": "day", "start": T0, "end": T0, "tz": "CEST/Berlin"},
                "tz must be an IANA time zone",
            ),
            ("get_breakdown", {"dimension": "colour"}, "dimension must be one of"),
            ("get_breakdown", {"dimension": "control", "metrics": ["p95_ms"]}, "metrics of the dimension control"),
            ("get_breakdown", {"dimension": "page", "metrics": "views"}, "metrics must be a sequence"),
            ("get_breakdown", {"dimension": "page", "limit": -1}, "limit must be at least 0"),
            ("get_summary", {"start": moment(1, 1, 1), "end": T0, "compare": "previous"}, "needs a period before"),
            ("get_active_users", {"end": moment(1, 1, 1)}, "in the years 1900 to 9000"),
            ("get_retention", {"end": moment(9999, 12, 31)}, "in the years 1900 to 9000"),
            ("get_visits", {"limit": -1}, "limit must be at least 0"),
            ("get_journeys", {"depth": 9}, "depth must be a whole number from 1 to 8"),
            ("get_retention", {"unit": "hour"}, "unit must be one of day, week, month"),
            ("get_lifecycle", {"periods": 0}, "periods must be a whole number"),
            ("get_active_users", {"end": datetime(2025, 1, 1)}, "end must be an aware datetime"),
            ("get_funnel", {"steps": []}, "steps must be a sequence"),
            ("get_funnel", {"steps": ["/a"]}, "a step must be 'page:/orders'"),
            ("get_funnel", {"steps": ["page:/"], "within": timedelta(-1)}, "within must be a timedelta"),
            ("get_callback_stats", {"sort": "callback"}, "sort must be one of"),
            ("get_unused", {"registry": {}}, "registry must be a Registry"),
            ("get_unused", {"registry": Registry(), "days": 0}, "days must be a whole number"),
            ("get_adoption", {"roster": "ada"}, "roster must be a sequence"),
            ("get_adoption", {"roster": [{"group": "it"}]}, "a member of the roster"),
            ("export", {"start": datetime(2025, 1, 1)}, "start must be an aware datetime"),
            ("export_user", {"user_id": "anonymous"}, "user_id must be the id of one person"),
            ("erase_user", {"user_id": ""}, "user_id must be the id of one person"),
            ("purge", {"before": datetime(2025, 1, 1)}, "before must be an aware datetime"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_asked_is_refused_at_the_call(
        self, repository: TrackerRepository, method: str, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            getattr(repository, method)(**arguments)
