"""The documented addresses of the metrics: what a repository sends, and what it makes of the answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from http_server import Receiver, Reply
from metrics_contract import T0, view

from dash_user_tracker.async_metrics import AsyncMetrics
from dash_user_tracker.errors import DecodeError, NotReadableError, TrackerError, UnavailableError
from dash_user_tracker.metrics.arguments import Member, Registry, Step
from dash_user_tracker.metrics.filters import EVERYTHING, Filters
from dash_user_tracker.metrics.queries import QUESTIONS, arguments_of
from dash_user_tracker.metrics.wire import from_wire
from dash_user_tracker.repositories.http import HttpTrackerRepository
from dash_user_tracker.repositories.http_metrics import RemoteMetrics
from dash_user_tracker.repositories.metrics import MetricsReader

START = datetime(2025, 1, 30, tzinfo=timezone.utc)
END = datetime(2025, 1, 31, 1, tzinfo=timezone(timedelta(hours=1)))
RANGE = "start=2025-01-30T00%3A00%3A00%2B00%3A00&end=2025-01-31T00%3A00%3A00%2B00%3A00"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def repository(receiver: Receiver) -> Iterator[HttpTrackerRepository]:
    repository = HttpTrackerRepository(receiver.url, "key")
    yield repository
    repository.close()


@pytest.mark.parametrize(
    ("method", "arguments", "target", "body"),
    [
        ("get_summary", {"start": START, "end": END}, f"/metrics/summary?{RANGE}", None),
        (
            "get_summary",
            {"start": START, "end": END, "compare": "previous"},
            f"/metrics/summary?{RANGE}&compare=previous",
            None,
        ),
        (
            "get_summary",
            {"compare": (START, END)},
            f"/metrics/summary?{RANGE.replace('start', 'compare').replace('end', 'compare')}",
            None,
        ),
        (
            "get_series",
            {"metric": "views", "interval": "day", "start": START, "end": END, "tz": "Europe/Berlin"},
            f"/metrics/series?metric=views&interval=day&{RANGE}&tz=Europe%2FBerlin",
            None,
        ),
        (
            "get_breakdown",
            {"dimension": "page", "metrics": ["views", "people"], "limit": None},
            "/metrics/breakdown?dimension=page&metrics=views&metrics=people&limit=all",
            None,
        ),
        ("get_active_users", {"end": END}, "/metrics/active-users?end=2025-01-31T00%3A00%3A00%2B00%3A00&tz=UTC", None),
        (
            "get_visits",
            {"limit": 5, "filters": Filters(app="Sales & more", user="ada")},
            "/metrics/visits?limit=5&app=Sales+%26+more&user=ada&automated=false",
            None,
        ),
        ("get_visits", {"limit": 5, "filters": EVERYTHING}, "/metrics/visits?limit=5&automated=any", None),
        ("get_visit", {"visit_id": "a/b"}, "/metrics/visit?visit_id=a%2Fb", None),
        ("get_journeys", {"start_page": "/a"}, "/metrics/journeys?start_page=%2Fa&depth=4&limit=100", None),
        (
            "get_retention",
            {"end": END},
            "/metrics/retention?unit=week&periods=8&end=2025-01-31T00%3A00%3A00%2B00%3A00&tz=UTC",
            None,
        ),
        ("get_lifecycle", {"unit": "day", "periods": 3}, "/metrics/lifecycle?unit=day&periods=3&tz=UTC", None),
        (
            "get_funnel",
            {"steps": [Step("page", "/a"), "event:export"], "within": timedelta(minutes=30)},
            "/metrics/funnel?steps=page%3A%2Fa&steps=event%3Aexport&within=1800.0",
            None,
        ),
        ("get_callback_stats", {}, "/metrics/callback-stats?sort=waiting_ms&limit=100", None),
        ("get_errors", {"limit": 1}, "/metrics/errors?limit=1", None),
        (
            "get_unused",
            {"registry": Registry(pages=["/a"])},
            "/metrics/unused?days=60",
            {"registry": {"pages": ["/a"], "callbacks": [], "controls": []}},
        ),
        (
            "get_adoption",
            {"roster": ["ada", Member("bob", "it")], "start": START, "end": END},
            f"/metrics/adoption?{RANGE}",
            {"roster": [{"user_id": "ada", "group": None}, {"user_id": "bob", "group": "it"}]},
        ),
        ("export", {"event": "page_view"}, "/export?event=page_view", None),
        ("export_user", {"user_id": "ada"}, "/export-user", {"user_id": "ada"}),
        ("erase_user", {"user_id": "ada"}, "/erase-user", {"user_id": "ada"}),
        ("purge", {"before": END}, "/purge", {"before": "2025-01-31T00:00:00+00:00"}),
    ],
)
def test_each_question_has_its_address(
    receiver: Receiver,
    repository: HttpTrackerRepository,
    method: str,
    arguments: dict[str, Any],
    target: str,
    body: object,
) -> None:
    answer = getattr(repository, method)(**arguments)
    if method.startswith("export"):
        assert list(answer) == []
    (request,) = receiver.requests
    assert (request.method, request.target) == ("GET" if body is None else "POST", f"/events{target}")
    assert request.body == body
    assert request.headers["x-api-key"] == "key"


def test_every_question_has_an_address_and_a_twin() -> None:
    asked = {
        name
        for name, _ in inspect.getmembers(MetricsReader, inspect.isfunction)
        if not name.startswith("_") and name != "get_events"
    }
    assert asked == set(QUESTIONS)
    for name in asked:
        ours = inspect.signature(getattr(MetricsReader, name))
        assert inspect.signature(getattr(RemoteMetrics, name)) == ours, name
        twin = inspect.signature(getattr(AsyncMetrics, name))
        assert list(twin.parameters) == list(ours.parameters), name
        if name != "get_unused":  # the app says there what it has
            assert twin.parameters == ours.parameters, name
        assert set(ours.parameters) <= {"self", "filters", *QUESTIONS[name].arguments, *QUESTIONS[name].body}, name
        assert getattr(AsyncMetrics, name).__doc__


def test_an_export_comes_event_by_event(receiver: Receiver, repository: HttpTrackerRepository) -> None:
    events = [view(n, f"/ä\u2028{n}") for n in range(1000)]  # U+2028 ends a line in Unicode, not in JSON lines
    receiver.repository.save_events(events)
    assert list(repository.export()) == events


@pytest.mark.parametrize(
    ("reply", "error", "message"),
    [
        pytest.param(Reply(404), NotReadableError, "does not answer this query", id="an older receiver"),
        pytest.param(Reply(503), UnavailableError, "answered 503", id="down"),
        pytest.param(Reply(401), TrackerError, "is api_key the one", id="not allowed"),
        pytest.param(
            Reply(200, body=b"[]"), TrackerError, "answered something else: an answer needs rows", id="a list"
        ),
        pytest.param(
            Reply(200, body=b'{"rows": [], "total": "0", "exact": true}'), TrackerError, "needs int", id="a text"
        ),
        pytest.param(
            Reply(200, body=b'{"rows": [{}], "total": 1, "exact": true}'), TrackerError, "incomplete", id="half"
        ),
        pytest.param(Reply(200, body=b"<html>"), TrackerError, "not JSON", id="a page"),
    ],
)
def test_what_is_no_answer_is_an_error(
    receiver: Receiver, repository: HttpTrackerRepository, reply: Reply, error: type[Exception], message: str
) -> None:
    receiver.replies.append(reply)
    with pytest.raises(error, match=message):
        repository.get_visits()


def test_a_stream_that_is_no_event_or_refused_is_an_error(
    receiver: Receiver, repository: HttpTrackerRepository
) -> None:
    receiver.replies.extend([Reply(200, body=b'{"id": 1}\n'), Reply(404), Reply(200, body=b'{"deleted": -1}')])
    with pytest.raises(TrackerError, match="one event a line"):
        list(repository.export())
    with pytest.raises(NotReadableError):
        list(repository.export())
    with pytest.raises(TrackerError, match='"deleted"'):
        repository.purge(T0)


def test_what_cannot_be_asked_is_not_sent(receiver: Receiver, repository: HttpTrackerRepository) -> None:
    with pytest.raises(ValueError, match="metric must be one of"):
        repository.get_series("clicks", "day", START, END)
    with pytest.raises(ValueError, match="user_id must be"):
        repository.erase_user("anonymous")
    assert receiver.requests == []


def test_a_newer_receiver_may_tell_more() -> None:
    row = {"step": "page:/", "people": 1, "visitors": 0, "share": 1, "from_previous": None, "median_s": 5}
    (answer,) = from_wire("Rows[FunnelRow]", {"rows": [row], "total": 1, "exact": True, "took_ms": 3})
    assert (answer.people, answer.share) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("Rows[JourneyRow]", {"rows": [{"pages": "/a", "visits": 1, "ended": 1}], "total": 1, "exact": True}),
        ("Rows[JourneyRow]", {"rows": [{"pages": ["/a"], "visits": True, "ended": 1}], "total": 1, "exact": True}),
        ("Rows[UnusedRow]", {"rows": [{"kind": "page", "name": "/", "last": "2025-01-30"}], "total": 1, "exact": True}),
        ("Rows[UnusedRow]", {"rows": [{"kind": "page", "name": "/", "last": "soon"}], "total": 1, "exact": True}),
        ("Rows[UnusedRow]", {"rows": None, "total": 1, "exact": True}),
        ("Summary", None),
    ],
)
def test_a_document_of_another_shape_is_refused(kind: str, document: object) -> None:
    with pytest.raises(DecodeError):
        from_wire(kind, document)


@pytest.mark.parametrize(
    ("method", "params", "body", "message"),
    [
        ("get_visits", {"aap": ["Sales"]}, None, "has no parameter aap"),
        ("get_visit", {"visit_id": ["x"], "app": ["Sales"]}, None, "has no parameter app"),
        ("get_series", {"interval": ["day"]}, None, "needs the parameter end, metric, start"),
        ("get_visits", {"automated": ["no"]}, None, "automated must be true, false or any"),
        ("get_visits", {"start": ["2025-01-30"]}, None, "must have an offset"),
        ("get_visits", {"start": ["soon"]}, None, "Invalid isoformat"),
        ("get_visits", {"limit": ["many"]}, None, "invalid literal"),
        ("get_visits", {"app": [""]}, None, "app must be a text"),
        ("get_funnel", {"steps": ["/a"]}, None, "a step must be"),
        ("erase_user", {}, None, "needs a JSON object with user_id"),
        ("erase_user", {}, {"user": "ada"}, "needs a JSON object with user_id"),
        ("erase_user", {}, {"user_id": 5}, "user_id must be a text"),
        ("purge", {}, {"before": "2025-01-30T00:00:00"}, "must have an offset"),
        ("get_adoption", {}, {"roster": "ada"}, "roster must be a list"),
        ("get_adoption", {}, {"roster": ["ada"]}, "roster must be a list"),
        ("get_unused", {}, {"registry": {"pages": "/a"}}, "registry must be an object"),
    ],
)
def test_a_request_that_cannot_be_is_refused(
    method: str, params: dict[str, list[str]], body: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        arguments_of(method, params, None if body is None else json.dumps(body).encode())
