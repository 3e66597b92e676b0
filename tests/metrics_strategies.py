"""Random events, and random questions about them, for holding an engine to the memory repository's answers.

Values come from small pools, so that everything meets everything; moments lie on and
beside every edge that a definition has.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
from hypothesis import strategies as st

from dash_user_tracker.events import CALLBACK, PAGE_VIEW, Event
from dash_user_tracker.metrics.answers import BreakdownRow, SeriesPoint
from dash_user_tracker.metrics.arguments import Member, Registry
from dash_user_tracker.metrics.callback_stats import SORTS
from dash_user_tracker.metrics.filters import Filters
from dash_user_tracker.metrics.tables import Rows
from dash_user_tracker.metrics.words import DIMENSIONS, INTERVALS, METRICS, UNITS
from dash_user_tracker.repositories.base import TrackerRepository

#: An engine's percentile may be off by this share, if its answer says that it is not exact.
TOLERANCE = 0.04
PERCENTILES = ("p50_ms", "p95_ms", "p99_ms", "visit_median_s")

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",  # half an hour off
    "Asia/Kathmandu",  # a quarter
    "Australia/Lord_Howe",  # clocks change by half an hour
    "America/Sao_Paulo",  # clocks changed at midnight
)
#: Around these: clocks go forward in Berlin, back in Berlin, back at midnight in São Paulo, a Monday, a month, a day.
ANCHORS = tuple(
    datetime(*parts, tzinfo=timezone.utc)
    for parts in (
        (2025, 3, 30, 1),
        (2025, 10, 26, 1),
        (2018, 11, 4, 3),
        (2025, 3, 31),
        (2025, 3, 1),
        (2025, 3, 12, 23, 59),
    )
)
_MICRO = timedelta(microseconds=1)
_EDGES = (
    timedelta(0),
    timedelta(milliseconds=250),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=1),
    timedelta(hours=24),
    timedelta(days=7),
    timedelta(days=28),
)
#: What is no text where a text belongs.
_NOT_TEXT = st.sampled_from([None, "", 7, 0, True, False, ["x"], {"x": 1}, {}])

APPS = ("sales", "stock")
USERS = ("ada", "bob", "eve", "O'Neil")
VISITORS = ("v1", "v2")
PATHS = ("/", "/a", "/b", "/orders/1", "/orders/2", "/ä b")
ROUTES = ("/orders/<id>", "/a")
TRIGGERS = ("region.value", "go.n_clicks")
CALLBACKS = ("m:one", "m:two")
NAMES = ("export", "opened")
AGENTS = (
    "Mozilla/5.0 (X11; rv:130.0) Gecko/20100101 Firefox/130.0",
    "Mozilla/5.0 Chrome/129.0 Safari/537.36",
    "curl/8",
)
DURATIONS = (0, 0.5, 1.25, 100, 250.5, 1000)  # sums are exact in any order


@functools.cache
def moments(anchor: datetime) -> st.SearchStrategy[datetime]:
    """On the anchor, or an edge away from it, or a microsecond beside that; most within an hour or two."""
    near = st.sampled_from([edge for edge in _EDGES if edge <= timedelta(hours=1)])
    return st.builds(
        lambda edge, steps, more, beside: anchor + edge * steps + more + beside,
        st.one_of(near, near, st.sampled_from(_EDGES)),
        st.integers(-2, 2),
        st.sampled_from([timedelta(0), timedelta(0), timedelta(minutes=7), timedelta(seconds=1)]),
        st.sampled_from([timedelta(0), timedelta(0), _MICRO, -_MICRO]),
    )


@functools.cache
def ranges(anchor: datetime) -> st.SearchStrategy[tuple[datetime, datetime]]:
    """Most hold all that happens near the anchor."""
    day = timedelta(days=1)
    wide = st.sampled_from([(anchor - day, anchor + day), (anchor - 8 * day, anchor + 8 * day)])
    return st.one_of(wide, st.tuples(moments(anchor), moments(anchor)).map(lambda pair: (min(pair), max(pair))))


def _mostly(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    """One of *values*, now and then something that is no text."""
    return st.integers(0, 19).flatmap(lambda number: st.sampled_from(values) if number else _NOT_TEXT)


def _page() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "app_name": _mostly(APPS),
        "path": _mostly(PATHS),
        "user_id": _mostly((*USERS, "anonymous")),
    }


def _more() -> dict[str, st.SearchStrategy[Any]]:
    """Keys that events of the older package do not have."""
    return {
        "visitor": _mostly(VISITORS),
        "route": _mostly(ROUTES),
        "group": _mostly(("sales", "it")),
        "email": _mostly(("ada@example.com", "anonymous")),
        "full_name": _mostly(("Ada L.", "anonymous")),
        "user_agent": _mostly(AGENTS),
        "base_url": st.sampled_from(["https://app.example.com/a", "http://localhost:8050/", None]),
        "referrer": _mostly(("https://www.Example.org/x?y", "https://app.example.com/b", "http://[broken", "text")),
        "release": _mostly(("1.0", "1.1")),
        "environment": _mostly(("production",)),
        "automated": st.sampled_from([False] * 9 + [True, True, None, "", "true", 0, 1, ["x"]]),
        "page_load": _mostly(("l1", "l2")),
        "navigation": st.sampled_from(["load", "internal", None]),
    }


def _run() -> dict[str, st.SearchStrategy[Any]]:
    return {
        "callback": _mostly(CALLBACKS),
        "output": _mostly(("graph.figure",)),
        "trigger": _mostly(TRIGGERS),
        "cause": st.sampled_from(
            ["user", "user", "user", "initial", "cascade", "navigation", "timer", "poll", "unknown", None, 5]
        ),
        "action": st.sampled_from([0, 1, 2, None, "2", True]),
        "status": st.sampled_from([200, 204, 500, None, "500"]),
        "outcome": st.sampled_from(["ok", "no_update", "error", "error", "cancelled", None]),
        "duration_ms": st.sampled_from([*DURATIONS, None, -1, "5", True, 10**20, 1e15, 1e10]),
        "error": st.sampled_from(
            [None, {"type": "KeyError", "where": "m.py:5"}, {"type": "KeyError"}, {"where": "m.py:5"}, "x", {"type": 5}]
        ),
        "request_bytes": st.sampled_from([0, 10, 2000, None, -5, "7", 1 << 62, 1 << 42]),
        "response_bytes": st.sampled_from([0, 10, 2000, None]),
        "background": st.booleans(),
    }


@st.composite
def events(draw: st.DrawFn, anchor: datetime) -> Event:
    """One event of any kind; some lack what events of the older package lacked."""
    kind = draw(st.sampled_from([PAGE_VIEW, PAGE_VIEW, CALLBACK, CALLBACK, CALLBACK, *NAMES]))
    keys = _page()
    if draw(st.integers(0, 9)):
        keys.update(_more())
    if kind == CALLBACK:
        keys.update(_run())
    elif kind != PAGE_VIEW:
        keys["properties"] = st.sampled_from([{}, {"interactive": False}, {"interactive": 0}, None, []])
    data = draw(
        st.fixed_dictionaries({}, optional=keys) if not draw(st.integers(0, 4)) else st.fixed_dictionaries(keys)
    )
    number = draw(st.integers(0, 10**9))
    return Event(f"{number:08x}-0000-4000-8000-000000000000", kind, draw(moments(anchor)), data)


@attrs.frozen
class Change:
    """Something that is done to a store: events *saved*, a person *erased*, or what is older *purged*."""

    saved: tuple[Event, ...] = ()
    erased: str | None = None
    purged: datetime | None = None

    def apply(self, repository: TrackerRepository) -> int | None:
        if self.erased is not None:
            return repository.erase_user(self.erased)
        if self.purged is not None:
            return repository.purge(self.purged)
        repository.save_events(list(self.saved))
        return None


def changes(anchor: datetime) -> st.SearchStrategy[list[Change]]:
    """Batches in any order, late ones too; now and then somebody is erased, or the past purged."""
    batch = st.lists(events(anchor), min_size=5, max_size=20).map(lambda found: Change(saved=tuple(found)))
    erased = st.sampled_from(USERS).map(lambda user: Change(erased=user))
    purged = moments(anchor).map(lambda moment: Change(purged=moment))
    others = st.lists(st.one_of(batch, batch, batch, erased, purged), max_size=3)
    return st.tuples(batch, others).map(lambda found: [found[0], *found[1]])


def filters() -> st.SearchStrategy[Filters | None]:
    fields: dict[str, st.SearchStrategy[Any]] = {
        "app": st.sampled_from(APPS),
        "page": st.sampled_from((*PATHS, *ROUTES)),
        "path": st.sampled_from(PATHS),
        "route": st.sampled_from(ROUTES),
        "user": st.sampled_from((*USERS, "anonymous")),
        "group": st.sampled_from(["sales", "it"]),
        "release": st.sampled_from(["1.0", "1.1"]),
        "environment": st.just("production"),
        "browser": st.sampled_from(["Firefox", "Chrome", "Other"]),
        "automated": st.sampled_from([True, False, None]),
    }
    one = st.sampled_from(sorted(fields)).flatmap(lambda name: fields[name].map(lambda value: Filters(**{name: value})))
    many = st.fixed_dictionaries({}, optional=fields).map(lambda given: Filters(**given))
    return st.one_of(st.none(), one, one, many)


@attrs.frozen
class Question:
    """A call of a reading method."""

    method: str
    arguments: dict[str, Any]

    def ask(self, repository: TrackerRepository) -> Any:
        answer = getattr(repository, self.method)(**self.arguments)
        return list(answer) if self.method.startswith("export") else answer


def _bounds(anchor: datetime) -> st.SearchStrategy[dict[str, datetime]]:
    """Both bounds, one, or none."""
    return ranges(anchor).flatmap(
        lambda pair: st.sampled_from(
            [
                {"start": pair[0], "end": pair[1]},
                {"start": pair[0], "end": pair[1]},
                {"start": pair[0]},
                {"end": pair[1]},
                {},
            ]
        )
    )


def _limit() -> st.SearchStrategy[int | None]:
    return st.sampled_from([None, None, 0, 1, 2])


@st.composite
def questions(draw: st.DrawFn, anchor: datetime) -> Question:
    """Any question, with any arguments that can be."""
    method = draw(st.sampled_from(sorted(_asked(anchor))))
    arguments = draw(_asked(anchor)[method])
    if method not in ("get_visit", "export_user"):
        arguments = {**arguments, "filters": draw(filters())}
    return Question(method, arguments)


def _with_bounds(anchor: datetime, **more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(lambda bounds, rest: {**bounds, **rest}, _bounds(anchor), st.fixed_dictionaries(more))


def _summaries(anchor: datetime) -> st.SearchStrategy[dict[str, Any]]:
    both = ranges(anchor).map(lambda pair: {"start": pair[0], "end": pair[1]})
    compare = st.one_of(st.none(), st.just("previous"), ranges(anchor))
    return st.one_of(_bounds(anchor), st.builds(lambda bounds, other: {**bounds, "compare": other}, both, compare))


def _series(anchor: datetime) -> st.SearchStrategy[dict[str, Any]]:
    def bounded(interval: str, pair: tuple[datetime, datetime]) -> dict[str, Any]:
        start, end = pair
        longest = timedelta(days=10 if interval == "hour" else 400)
        return {"interval": interval, "start": start, "end": min(end, start + longest)}

    return st.builds(
        lambda asked, metric, tz: {**asked, "metric": metric, "tz": tz},
        st.builds(bounded, st.sampled_from(INTERVALS), ranges(anchor)),
        st.sampled_from(METRICS),
        st.sampled_from(ZONES),
    )


def _breakdowns(anchor: datetime) -> st.SearchStrategy[dict[str, Any]]:
    def of(dimension: str) -> st.SearchStrategy[dict[str, Any]]:
        metrics = st.lists(st.sampled_from(DIMENSIONS[dimension]), min_size=1, max_size=4, unique=True)
        return st.fixed_dictionaries({"dimension": st.just(dimension), "metrics": st.one_of(st.none(), metrics)}).map(
            # The order by an estimate is an estimate: a limit would cut other rows.
            lambda asked: {**asked, "limit": None}
        )

    return st.builds(
        lambda asked, bounds: {**asked, **bounds}, st.sampled_from(sorted(DIMENSIONS)).flatmap(of), _bounds(anchor)
    )


_STEPS = (
    [f"page:{name}" for name in (*PATHS[:4], ROUTES[0])]
    + [f"control:{name}" for name in TRIGGERS]
    + [f"event:{name}" for name in NAMES]
)


@functools.cache
def _asked(anchor: datetime) -> dict[str, st.SearchStrategy[dict[str, Any]]]:
    over_time = {
        "unit": st.sampled_from(UNITS),
        "periods": st.integers(1, 6),
        "end": moments(anchor),
        "tz": st.sampled_from(ZONES),
    }
    return {
        "get_summary": _summaries(anchor),
        "get_series": _series(anchor),
        "get_breakdown": _breakdowns(anchor),
        "get_visits": _with_bounds(anchor, limit=_limit()),
        "get_journeys": _with_bounds(
            anchor, start_page=st.one_of(st.none(), st.sampled_from(PATHS)), depth=st.integers(1, 8), limit=_limit()
        ),
        "get_active_users": st.fixed_dictionaries({"end": moments(anchor), "tz": st.sampled_from(ZONES)}),
        "get_retention": st.fixed_dictionaries(over_time),
        "get_lifecycle": st.fixed_dictionaries(over_time),
        "get_funnel": _with_bounds(
            anchor,
            steps=st.lists(st.sampled_from(_STEPS), min_size=1, max_size=4),
            within=st.sampled_from([None, timedelta(0), timedelta(minutes=30), timedelta(days=1), timedelta(days=7)]),
        ),
        "get_callback_stats": _with_bounds(
            anchor, sort=st.sampled_from([name for name in SORTS if name not in PERCENTILES])
        ),
        "get_errors": _with_bounds(anchor, limit=_limit()),
        "get_unused": st.fixed_dictionaries(
            {
                "registry": st.just(
                    Registry(pages=(*PATHS, *ROUTES, "/new"), callbacks=(*CALLBACKS, "m:new"), controls=TRIGGERS)
                ),
                "days": st.sampled_from([1, 7, 60, 3000]),
                "end": moments(anchor),
            }
        ),
        "get_adoption": _with_bounds(
            anchor,
            roster=st.lists(
                st.builds(Member, st.sampled_from((*USERS, "new")), st.sampled_from([None, "sales", "it"])), max_size=5
            ),
        ),
        "export": _with_bounds(anchor, event=st.sampled_from([None, PAGE_VIEW, "export"])),
        "export_user": st.fixed_dictionaries({"user_id": st.sampled_from(USERS)}),
    }


@st.composite
def stories(draw: st.DrawFn) -> tuple[list[Change], list[tuple[int, Question]]]:
    """What happens to a store, and what is asked after how many changes; all near one anchor."""
    anchor = draw(st.sampled_from(ANCHORS))
    done = draw(changes(anchor))
    asked = st.tuples(st.integers(1, len(done)), questions(anchor))
    last = st.tuples(st.just(len(done)), questions(anchor))
    return done, draw(st.lists(st.one_of(asked, last, last), min_size=3, max_size=8))


# -- comparing -----------------------------------------------------------------------------


def assert_same(expected: Any, answer: Any) -> None:
    """The *answer* says what is *expected*; percentiles within `TOLERANCE` where it says that it is not exact."""
    exact = getattr(answer, "exact", True)
    assert type(answer) is type(expected)
    if isinstance(answer, Rows):
        assert answer.total == expected.total
        assert len(answer) == len(expected)
        wanted, got = list(expected), list(answer)
        if not exact and got and isinstance(got[0], BreakdownRow):
            wanted, got = sorted(wanted, key=_key), sorted(got, key=_key)
        for one, other in zip(wanted, got):
            _same_row(one, other, exact)
    elif attrs.has(type(answer)):
        _same_row(expected, answer, exact)
    else:
        assert answer == expected


def _key(row: BreakdownRow) -> str:
    return repr(row.key)


def _same_row(expected: Any, answer: Any, exact: bool) -> None:
    assert type(answer) is type(expected)
    if not attrs.has(type(expected)):
        assert answer == expected
        return
    for field in attrs.fields(type(expected)):
        one, other = getattr(expected, field.name), getattr(answer, field.name)
        where = f"{type(expected).__name__}.{field.name}"
        if field.name == "exact":
            continue
        if field.name == "values":
            assert list(other) == list(one), where
            for metric in one:
                _same_value(one[metric], other[metric], not exact and metric in PERCENTILES, f"{where}[{metric}]")
        elif attrs.has(type(one)):
            _same_row(one, other, exact) if not isinstance(one, Rows) else assert_same(one, other)
        else:
            estimated = not exact and (
                field.name in PERCENTILES or (isinstance(expected, SeriesPoint) and field.name == "value")
            )
            _same_value(one, other, estimated, where)


def _same_value(expected: Any, answer: Any, estimated: bool, where: str) -> None:
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):
        assert isinstance(answer, (int, float)), (where, expected, answer)
        # Half a millisecond: below a histogram's first bucket there is nothing to be exact about.
        close = math.isclose(
            answer, expected, rel_tol=TOLERANCE if estimated else 1e-9, abs_tol=0.5 if estimated else 0
        )
        assert close, (where, expected, answer)
    else:
        assert answer == expected, (where, expected, answer)
        assert type(answer) is type(expected), (where, expected, answer)
