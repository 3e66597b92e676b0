"""What one observed request counts as: hand-made observations of a small app."""

from __future__ import annotations

import json
import os
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dash_user_tracker.callbacks import Callback, CallbackName
from dash_user_tracker.classify import BOOT, CALLBACK, DOCUMENT, REPORT
from dash_user_tracker.codec import event_of, to_json
from dash_user_tracker.counting import LEDGER_SIZE, Counting
from dash_user_tracker.events import PAGE_KEYS, PAGE_VIEW, Event
from dash_user_tracker.marks import mark_of
from dash_user_tracker.policy import Policy
from dash_user_tracker.request import CallbackRequest, CustomEvent, ErrorPlace, Observation, User
from dash_user_tracker.routes import match_route, route_matcher
from dash_user_tracker.verdicts import MOST

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36"
ANA = User("7", "ana@example.com", "Ana Lima")
NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
PAGE_LOAD = "0123456789abcdef"
POLL = "cacheKey=1~mac&job=2~mac"

#: Beside `PAGE_KEYS`, what every event has (docs/events.rst).
EVERY_EVENT = {*PAGE_KEYS, "visitor", "route", "page_known", "page_load", "automated", "automated_reason"}
EVERY_RUN = EVERY_EVENT | {
    "callback",
    "output",
    "trigger",
    "cause",
    "action",
    "status",
    "outcome",
    "duration_ms",
    "error",
    "request_bytes",
    "response_bytes",
    "background",
}


def known(name: str, output: str, **more: Any) -> Callback:
    return Callback(CallbackName(name, output=output, label=f"app:{name}"), **more)


CALLBACKS = {
    "content.children": known("show", "content.children"),
    "table.data": known("fill", "table.data"),
    "report.href": known("export", "report.href", background=True),
    "clock.children": known("clock", "clock.children", ignored=True),
}
PAGES = route_matcher([{"path": "/"}, {"path": "/orders/none", "path_template": "/orders/<id>"}])


@attrs.define
class Facts:
    """A small Dash app."""

    title: str | None = "Sales"
    prefix_: str = "/"
    canonical: str | None = "content.children"
    key: str | None = None
    pages: bool = True

    def name(self) -> str | None:
        return self.title

    def prefix(self) -> str:
        return self.prefix_

    def routes_prefix(self) -> str:
        return self.prefix_

    def is_page(self, endpoint: str) -> bool:
        return endpoint in ("/", "/<path:path>")

    def is_callback(self, endpoint: str) -> bool:
        return endpoint == "/_dash-update-component"

    def has_pages(self) -> bool:
        return self.pages

    def route(self, path: str) -> str | None:
        return match_route(PAGES, path)

    def callback(self, output: str) -> Callback | None:
        return CALLBACKS.get(output)

    def canonical_output(self) -> str | None:
        return self.canonical

    def has_background(self) -> bool:
        return True

    def produced(self) -> frozenset[str]:
        return frozenset({"store.data"})

    def visitor_key(self) -> str | None:
        return self.key

    def state(self) -> object:
        return self.title, self.key, self.pages


def counting(facts: Facts | None = Facts(), **policy: Any) -> Counting:  # noqa: B008 - never changed
    return Counting(Policy(**policy), facts, lambda reason, error: pytest.fail(f"{reason}: {error!r}"))


def seen(kind: str, **facts: Any) -> Observation:
    usual = {
        "received": NOON.timestamp(),
        "duration": 0.0125,
        "status": "200 OK",
        "host": "intranet:8050",
        "ip": "10.0.0.7",
        "user_agent": CHROME,
        "sent": 321,
    }
    return Observation(**{"kind": kind, **usual, **facts})


def document(path: str = "/", **facts: Any) -> Observation:
    return seen(DOCUMENT, **{"path": path, "html": True, "endpoint": "/", **facts})


def robot(path: str = "/", **facts: Any) -> Observation:
    return document(path, **{"user_agent": "curl/8.5.0", **facts})


def boot(referrer: str = "http://intranet:8050/", **facts: Any) -> Observation:
    return seen(BOOT, referrer=referrer, **facts)


def run(
    output: str = "table.data",
    *changed: str,
    pathname: str | None = None,
    endpoint: str | None = "/_dash-update-component",
    **facts: Any,
) -> Observation:
    facts.setdefault("referrer", "http://intranet:8050/")
    return seen(CALLBACK, call=CallbackRequest(output, changed, pathname), endpoint=endpoint, **facts)


def navigation(path: str, output: str = "content.children", **facts: Any) -> Observation:
    facts.setdefault("referrer", f"http://intranet:8050{path}")
    return run(output, "url.pathname", pathname=path, **facts)


def mark(*views: list[Any], page: str = "/", action: int = 0, load: str = PAGE_LOAD) -> str:
    return json.dumps({"i": load, "p": page, "a": action, "n": 20_000, "v": list(reversed(views))})


def told(path: str = "/", number: int = 1, age: int = 0, referrer: str = "") -> list[Any]:
    return [number, path, 20_000 - age, referrer]


def report(*views: list[Any], **facts: Any) -> Observation:
    return seen(REPORT, **{"mark": mark(*views), "status": "204 NO CONTENT", "fetch_site": "same-origin", **facts})


def short(events: list[Event]) -> list[tuple[str, Any]]:
    """What was counted: each event's kind, and its page or its callback's output."""
    return [(event.event, event.data["output" if event.event == "callback" else "path"]) for event in events]


VIEW = [(PAGE_VIEW, "/")]


# -- documents -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observation", "counted"),
    [
        pytest.param(robot(), VIEW, id="curl"),
        pytest.param(robot(status="203 X"), VIEW, id="another-success"),
        pytest.param(robot(endpoint=None), VIEW, id="endpoint-unknown"),
        pytest.param(document(host="localhost:8050"), VIEW, id="test-client-that-calls-itself-a-browser"),
        pytest.param(document(fetch_dest="document"), [], id="browser-left-to-its-script"),
        pytest.param(document(fetch_dest="iframe"), [], id="frame-left-to-its-script"),
        pytest.param(document(), [], id="browser-over-plain-http-left-to-its-script"),
        pytest.param(robot(html=False), [], id="no-html"),
        pytest.param(robot(status="404 NOT FOUND"), [], id="not-found"),
        pytest.param(robot(status="302 FOUND"), [], id="redirect"),
        pytest.param(robot(status="304 NOT MODIFIED"), [], id="not-modified"),
        pytest.param(robot(status="500 X"), [], id="error"),
        pytest.param(robot(status=""), [], id="no-status"),
        pytest.param(robot(status="x"), [], id="status-that-is-none"),
        pytest.param(robot(purpose="prefetch"), [], id="prefetch"),
        pytest.param(robot(purpose="prefetch;prerender"), [], id="prerender"),
        pytest.param(robot(endpoint="admin"), [], id="route-of-the-owners-own"),
        pytest.param(robot(endpoint=""), [], id="no-endpoint-matched"),
    ],
)
def test_a_document_counts_where_no_script_will_tell_it(
    observation: Observation, counted: list[tuple[str, str]]
) -> None:
    assert short(counting()(observation)) == counted


@pytest.mark.parametrize(
    ("facts", "automated", "reason"),
    [
        pytest.param({"user_agent": "curl/8.5.0"}, True, "user agent", id="robot"),
        pytest.param({"user_agent": ""}, True, "user agent", id="nameless"),
        pytest.param({"host": "localhost:8050"}, True, "no browser", id="browsers-name-without-a-browser"),
        pytest.param({"user_agent": "curl/8.5.0", "user": ANA}, False, None, id="identified-user"),
        pytest.param({"host": "localhost:8050", "user": ANA}, False, None, id="identified-user-without-a-browser"),
        # Its page tells the view as well.
        pytest.param({"scheme": "https", "user": ANA}, True, "no browser", id="identified-user-of-an-older-safari"),
        pytest.param(
            {"user_agent": "curl/8.5.0", "user": User("anonymous", "anonymous", "anonymous")},
            True,
            "user agent",
            id="provider-says-anonymous",
        ),
    ],
)
def test_a_document_no_browser_shows_is_automated_unless_the_user_is_known(
    facts: dict[str, Any], automated: bool, reason: str | None
) -> None:
    (event,) = counting()(document(**facts))
    assert (event.data["automated"], event.data["automated_reason"]) == (automated, reason)
    assert event.data["navigation"] == "load"


def test_a_view_has_the_documented_keys_and_values() -> None:
    observation = robot(
        "/orders/7", query="a=1", referrer="http://intranet:8050/", user=ANA, scheme="https", host="app.example"
    )
    (event,) = counting(app_name="My Dash App", release="2.1", environment="test", visitor_key="k")(observation)
    assert event.timestamp == NOON
    data = dict(event.data)
    assert len(data.pop("visitor")) == 16
    assert data == {
        "app_name": "My Dash App",
        "ip": "10.0.0.7",
        "user_agent": "curl/8.5.0",
        "base_url": "https://app.example/orders/7",
        "url": "https://app.example/orders/7?a=1",
        "url_root": "https://app.example/",
        "referrer": "http://intranet:8050/",
        "path": "/orders/7",
        "full_path": "/orders/7?a=1",
        "method": "GET",
        "user_id": "7",
        "email": "ana@example.com",
        "full_name": "Ana Lima",
        "route": "/orders/<id>",
        "page_known": True,
        "page_load": None,
        "automated": False,
        "automated_reason": None,
        "release": "2.1",
        "environment": "test",
        "navigation": "load",
    }


def test_an_address_without_a_query_is_written_as_flask_does() -> None:
    (event,) = counting()(robot())
    assert [event.data[key] for key in ("base_url", "url", "full_path", "referrer")] == [
        "http://intranet:8050/",
        "http://intranet:8050/",
        "/?",
        None,
    ]


@pytest.mark.parametrize(
    ("facts", "path", "page_known"),
    [
        pytest.param(Facts(), "/orders/7", True, id="template"),
        pytest.param(Facts(), "/unknown", False, id="not-in-the-registry"),
        pytest.param(Facts(pages=False), "/orders/7", None, id="app-without-a-registry"),
        pytest.param(None, "/orders/7", None, id="unknown-app"),
    ],
)
def test_a_page_is_known_where_the_app_has_a_registry(facts: Facts | None, path: str, page_known: bool | None) -> None:
    (event,) = counting(facts)(robot(path))
    assert event.data["page_known"] is page_known


def test_bytes_of_the_environ_are_read_as_utf_8() -> None:
    as_wsgi = "caf\u00e9".encode().decode("latin-1")
    (event,) = counting()(
        robot("/" + as_wsgi, query="q=" + as_wsgi, referrer="http://x/" + as_wsgi, user_agent=as_wsgi)
    )
    assert (event.data["path"], event.data["base_url"]) == ("/caf\u00e9", "http://intranet:8050/caf%C3%A9")
    assert event.data["full_path"] == "/caf\u00e9?q=caf\u00e9"
    assert (event.data["referrer"], event.data["user_agent"]) == ("http://x/caf\u00e9", "caf\u00e9")


def test_a_mounted_app_counts_its_documents_below_the_mount() -> None:
    (event,) = counting(Facts(prefix_="/dash/"))(robot("/orders/7", mount="/dash"))
    assert [event.data[key] for key in ("path", "url_root", "route")] == [
        "/dash/orders/7",
        "http://intranet:8050/dash/",
        "/orders/<id>",
    ]


@pytest.mark.parametrize("path", ["/", "/basement/", "/other/base/"])
def test_a_document_outside_of_the_prefix_is_not_the_apps(path: str) -> None:
    assert counting(Facts(prefix_="/base/"))(robot(path)) == []


# -- views told by the page script ---------------------------------------------------------


@pytest.mark.parametrize("carrier", ["report", "callback", "ignored", "unknown", "poll", "timer", "no-call"])
def test_a_view_counts_whatever_request_tells_it(carrier: str) -> None:
    observation = {
        "report": report(),
        "callback": run("table.data", "btn.n_clicks"),
        "ignored": run("clock.children", "btn.n_clicks"),
        "unknown": run("stranger.children", "btn.n_clicks"),
        "poll": run("table.data", "btn.n_clicks", query=POLL),
        "timer": run("table.data", "tick.n_intervals"),
        "no-call": seen(CALLBACK),
    }[carrier]
    told_by = mark(told("/orders/7?a=1", referrer="http://before/"), page="/orders/7?a=1")
    observation = observation._replace(mark=told_by)
    event = counting()(observation)[0]
    assert event.event == PAGE_VIEW
    assert [event.data[key] for key in ("path", "full_path", "route", "referrer", "page_load", "navigation")] == [
        "/orders/7",
        "/orders/7?a=1",
        "/orders/<id>",
        "http://before/",
        PAGE_LOAD,
        "load",
    ]
    assert (event.data["method"], event.data["automated"]) == ("GET", False)


@pytest.mark.parametrize(
    ("status", "counted"),
    [("200 OK", 1), ("204 NO CONTENT", 1), ("500 X", 1), ("503 X", 0), ("401 X", 0), ("302 FOUND", 0)],
)
def test_a_view_counts_by_exactly_the_answers_after_which_the_script_tells_it_no_more(
    status: str, counted: int
) -> None:
    events = counting()(run("table.data", "btn.n_clicks", mark=mark(told()), status=status))
    assert [event.event for event in events].count(PAGE_VIEW) == counted


def test_views_come_before_the_run_that_told_them_in_their_order() -> None:
    views = mark(told("/", 1), told("/orders/7", 2), page="/orders/7")
    events = counting()(run("table.data", "btn.n_clicks", mark=views))
    assert short(events) == [(PAGE_VIEW, "/"), (PAGE_VIEW, "/orders/7"), ("callback", "table.data")]
    assert [event.data["navigation"] for event in events[:2]] == ["load", "internal"]


@pytest.mark.parametrize(("age", "seconds"), [(0, 0), (1500, 1.5), (99_999, 10), (-99_999, 0)])
def test_a_views_time_is_the_requests_less_its_age(age: int, seconds: float) -> None:
    (event,) = counting()(report(told(age=age)))
    assert event.timestamp == NOON - timedelta(seconds=seconds)


def test_a_view_told_twice_has_one_id() -> None:
    (first,) = counting()(report(told()))
    (again,) = counting()(report(told(age=2000), received=NOON.timestamp() + 2))
    (other,) = counting()(report(told(number=2)))
    assert first.id == again.id != other.id
    read = mark_of(mark(told()))
    assert read is not None
    assert first.id == read.view_id(read.views[0])


def test_a_worker_counts_a_view_once_however_often_it_is_told() -> None:
    count = counting()
    assert len(count(report(told()))) == 1
    assert count(report(told(age=2000))) == []
    assert count.journal.read()[-1].why == "told before"


@pytest.mark.parametrize("purpose", ["prefetch", "prefetch;prerender"])
def test_a_page_that_is_prerendered_is_no_view_yet(purpose: str) -> None:
    assert counting()(report(told(), purpose=purpose)) == []
    assert [name for name, _ in short(counting()(navigation("/orders/7", purpose=purpose)))] == ["callback"]


def test_with_a_mark_no_other_rule_counts() -> None:
    # The canonical callback stands for the view on pages without the script only, and so does the boot.
    marked = mark(page="/orders/7")
    assert short(counting()(navigation("/orders/7", mark=marked))) == [("callback", "content.children")]
    assert counting(Facts(canonical=None))(boot(mark=marked)) == []


@pytest.mark.parametrize(
    ("prefix", "facts"),
    [
        pytest.param("/base/", {"mark": mark(told("/other/"))}, id="another-prefix"),
        pytest.param("/base/", {"mark": mark(told("/basement/"))}, id="same-letters"),
        pytest.param("/", {"fetch_site": "cross-site"}, id="cross-site"),
        pytest.param("/", {"fetch_site": "same-site"}, id="sub-domain"),
        pytest.param("/", {"fetch_site": "none"}, id="address-bar"),
        pytest.param("/", {"status": "400 BAD REQUEST"}, id="bad-request"),
        pytest.param("/", {"status": "401 UNAUTHORIZED"}, id="not-logged-in"),
        pytest.param("/", {"status": "404 NOT FOUND"}, id="not-found"),
        pytest.param("/", {"status": "302 FOUND"}, id="redirect-to-the-log-in"),
        pytest.param("/", {"status": "500 INTERNAL SERVER ERROR"}, id="error"),
        pytest.param("/", {"status": ""}, id="no-answer"),
        pytest.param("/", {"mark": ""}, id="no-mark"),
        pytest.param("/", {"mark": "{"}, id="no-json"),
        pytest.param("/", {"mark": mark(told(), load="x")}, id="no-page-load"),
        pytest.param("/", {"mark": mark(told("//evil.example/"), page="x")}, id="no-address"),
    ],
)
def test_a_forged_report_counts_nothing(prefix: str, facts: dict[str, Any]) -> None:
    genuine = report(told(prefix))
    assert short(counting(Facts(prefix_=prefix))(genuine)) == [(PAGE_VIEW, prefix)]
    assert counting(Facts(prefix_=prefix))(report(told(prefix), **{"mark": genuine.mark, **facts})) == []


@pytest.mark.parametrize(
    "facts",
    [
        pytest.param({"fetch_site": "cross-site"}, id="cross-site"),
        pytest.param({"fetch_site": "same-site"}, id="sub-domain"),
        pytest.param({"mark": mark(told("/other/"), page="/base/")}, id="another-prefix"),
    ],
)
def test_a_forged_mark_on_a_callback_adds_no_view(facts: dict[str, Any]) -> None:
    observation = run("table.data", "btn.n_clicks", **{"mark": mark(told("/base/"), page="/base/"), **facts})
    assert [event.event for event in counting(Facts(prefix_="/base/"))(observation)] == ["callback"]


@pytest.mark.parametrize("status", ["400 BAD REQUEST", "401 UNAUTHORIZED", "404 NOT FOUND", "415 X", "302 FOUND", ""])
def test_a_refused_callback_counts_nothing(status: str) -> None:
    observation = navigation("/", status=status, mark=mark(told()))
    assert counting()(observation) == []
    observation = observation._replace(mark="")
    assert counting()(observation) == []


def test_a_lone_surrogate_in_a_mark_is_no_reason_to_lose_the_request() -> None:
    events = counting()(report(told("/\ud800", referrer="\ud800"), told("/", 2)))
    assert [event.data["path"] for event in events] == ["/\ufffd", "/"]
    for event in events:
        to_json(event.to_dict()).encode()


def test_a_bare_middleware_believes_no_mark() -> None:
    # Nobody answers for the script there, and nothing tells whose prefix it is.
    observation = navigation("/orders/7", mark=mark(told("/forged")))
    assert short(counting(None)(observation)) == [(PAGE_VIEW, "/orders/7"), ("callback", "content.children")]


# -- pages without the script --------------------------------------------------------------


@pytest.mark.parametrize(
    ("observation", "counted"),
    [
        pytest.param(navigation("/orders/7"), [(PAGE_VIEW, "/orders/7")], id="canonical-callback"),
        pytest.param(navigation("/"), VIEW, id="home"),
        pytest.param(navigation("/orders/7", status="204 X"), [(PAGE_VIEW, "/orders/7")], id="no-update"),
        pytest.param(navigation("/orders/7", status="500 X"), [(PAGE_VIEW, "/orders/7")], id="that-failed"),
        pytest.param(navigation("/caf%C3%A9"), [(PAGE_VIEW, "/caf\u00e9")], id="percent-encoded"),
        pytest.param(navigation("/orders/7", referrer=""), [(PAGE_VIEW, "/orders/7")], id="referer-hidden"),
        pytest.param(
            navigation("/orders/7", referrer="http://intranet:8050/"), [(PAGE_VIEW, "/orders/7")], id="origin-only"
        ),
        pytest.param(
            navigation("/two", referrer="http://intranet:8050/one"), [], id="page-about-to-be-left-by-refresh"
        ),
        pytest.param(navigation("/orders/7", "table.data"), [], id="another-pathname-callback"),
        pytest.param(navigation("/orders/7", query=POLL), [], id="poll-repeats-the-first-changes"),
        pytest.param(run("content.children", pathname="/orders/7"), [], id="initial-call-without-a-change"),
        pytest.param(run("content.children", "btn.n_clicks", pathname="/orders/7"), [], id="button-beside-it"),
        pytest.param(run("content.children", "url.search", pathname="/orders/7"), [], id="search-only"),
    ],
)
def test_without_the_script_each_post_of_the_canonical_callback_is_a_view(
    observation: Observation, counted: list[tuple[str, str]]
) -> None:
    events = counting()(observation)
    assert [one for one in short(events) if one[0] == PAGE_VIEW] == counted


def test_without_the_script_the_same_page_again_is_a_view_again() -> None:
    count = counting()
    assert [short(count(navigation("/")))[0] for _ in range(3)] == VIEW * 3


def test_without_a_canonical_callback_the_boot_is_the_load() -> None:
    count = counting(Facts(canonical=None))
    (event,) = count(boot("http://intranet:8050/orders/7?a=1"))
    assert (event.event, event.data["path"], event.data["navigation"]) == (PAGE_VIEW, "/orders/7", "load")
    assert short(count(navigation("/orders/8"))) == [("callback", "content.children")]


@pytest.mark.parametrize(
    ("canonical", "facts"),
    [
        pytest.param("content.children", {}, id="an-app-with-a-canonical-callback"),
        pytest.param(None, {"referrer": ""}, id="referer-hidden"),
        pytest.param(None, {"referrer": "http://evil.example/"}, id="another-host"),
        pytest.param(None, {"fetch_site": "cross-site"}, id="cross-site"),
        pytest.param(None, {"status": "401 UNAUTHORIZED"}, id="not-logged-in"),
        pytest.param(None, {"status": "500 X"}, id="error"),
    ],
)
def test_no_other_boot_is_a_load(canonical: str | None, facts: dict[str, Any]) -> None:
    assert counting(Facts(canonical=canonical))(boot(**facts)) == []


# -- a bare middleware ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("observation", "counted"),
    [
        pytest.param(document(), VIEW, id="document"),
        pytest.param(document(fetch_dest="document"), VIEW, id="browser"),
        pytest.param(robot(), VIEW, id="robot"),
        pytest.param(document(endpoint="anything"), VIEW, id="any-endpoint"),
        pytest.param(document(fetch_dest="iframe"), [], id="frame"),
        pytest.param(document(fetch_dest="empty"), [], id="fetch"),
        pytest.param(document(purpose="prefetch"), [], id="prefetch"),
        pytest.param(document(html=False), [], id="no-html"),
        pytest.param(document(status="404 NOT FOUND"), [], id="not-found"),
        pytest.param(document(status="302 FOUND"), [], id="redirect"),
    ],
)
def test_around_an_unknown_app_a_document_is_a_load(observation: Observation, counted: list[tuple[str, str]]) -> None:
    assert short(counting(None)(observation)) == counted


def test_around_an_unknown_app_another_path_is_a_navigation() -> None:
    count = counting(None)
    steps = [document("/"), navigation("/"), navigation("/a"), navigation("/a"), navigation("/b"), navigation("/a")]
    views = [[event for event in count(step) if event.event == PAGE_VIEW] for step in steps]
    assert [[(event.data["path"], event.data["navigation"]) for event in events] for events in views] == [
        [("/", "load")],
        [],
        [("/a", "internal")],
        [],
        [("/b", "internal")],
        [("/a", "internal")],
    ]


@pytest.mark.parametrize(
    "other",
    [{"ip": "10.0.0.8"}, {"user_agent": "Mozilla/5.0 Firefox"}, {"host": "other"}, {"user": ANA}],
    ids=lambda facts: next(iter(facts)),
)
def test_around_an_unknown_app_clients_are_kept_apart(other: dict[str, Any]) -> None:
    count = counting(None)
    count(document("/a"))
    assert [one[0] for one in short(count(navigation("/a")))] == ["callback"]
    assert [one[0] for one in short(count(navigation("/a", **other)))] == [PAGE_VIEW, "callback"]


def test_around_an_unknown_app_so_many_clients_are_remembered_and_no_more() -> None:
    count = counting(None)
    for number in range(LEDGER_SIZE + 1):
        count(document("/a", ip=str(number)))
    assert len(count._last_page) == LEDGER_SIZE
    assert short(count(navigation("/a", ip=str(LEDGER_SIZE)))) == [("callback", "content.children")]
    assert (PAGE_VIEW, "/a") in short(count(navigation("/a", ip="0")))


def test_around_an_unknown_app_a_poll_is_no_navigation() -> None:
    assert counting(None)(navigation("/a", query=POLL)) == []


def test_around_an_unknown_app_a_copied_body_is_read() -> None:
    body = {
        "output": "x.children",
        "changedPropIds": ["url.pathname"],
        "inputs": [{"id": "url", "property": "pathname", "value": "/a"}],
    }
    observation = seen(CALLBACK, body=json.dumps(body).encode())
    assert short(counting(None)(observation)) == [(PAGE_VIEW, "/a"), ("callback", "x.children")]


@pytest.mark.parametrize(
    "body", [None, b"", b"{", b"\xff", b"[]", b"[" * 60_000, b'{"output": 7}'], ids=lambda b: repr(b)[:16]
)
def test_a_body_that_is_no_callbacks_counts_nothing(body: bytes | None) -> None:
    assert counting(None)(seen(CALLBACK, body=body)) == []


_ANY_TEXT = st.text(st.characters())  # with lone surrogates, which st.text() leaves out
_BODIES = st.binary(max_size=200) | _ANY_TEXT.map(
    lambda text: json.dumps(
        {
            "output": "content.children",
            "changedPropIds": ["url.pathname", text],
            "inputs": [{"id": "url", "property": "pathname", "value": "/" + text}],
        }
    ).encode()
)


@given(
    _BODIES,
    _ANY_TEXT | _ANY_TEXT.map(lambda text: mark(told("/" + text, referrer=text), page="/" + text)),
    _ANY_TEXT,
    _ANY_TEXT,
    _ANY_TEXT,
)
def test_no_request_raises_and_what_it_counts_can_be_written(
    body: bytes, marked: str, referrer: str, path: str, query: str
) -> None:
    for facts in (None, Facts(), Facts(canonical=None)):
        for kind in (DOCUMENT, BOOT, CALLBACK, REPORT):
            observation = seen(
                kind,
                body=body,
                mark=marked,
                referrer=referrer,
                path="/" + path,
                query=query,
                user_agent=path,
                html=True,
            )
            for event in counting(facts)(observation):
                to_json(event.to_dict()).encode()
                for key in ("path", "url", "full_path"):
                    event.data[key].encode()


# -- callback runs -------------------------------------------------------------------------


def test_a_run_has_the_documented_keys_and_values() -> None:
    place = ErrorPlace("ValueError", "app:show:7")
    observation = run(
        "table.data",
        "btn.n_clicks",
        "other.value",
        status="500 INTERNAL SERVER ERROR",
        error=place,
        request_bytes="120",
        query="endId=secret~handle",
        mark=mark(page="/orders/7?a=1", action=3),
        user=ANA,
    )
    (event,) = counting(release="2.1")(observation)
    assert set(event.data) == EVERY_RUN | {"release"}
    assert {key: event.data[key] for key in EVERY_RUN - EVERY_EVENT} == {
        "callback": "app:fill",
        "output": "table.data",
        "trigger": "btn.n_clicks",
        "cause": "user",
        "action": 3,
        "status": 500,
        "outcome": "error",
        "duration_ms": 12.5,
        "error": {"type": "ValueError", "where": "app:show:7"},
        "request_bytes": 120,
        "response_bytes": 321,
        "background": False,
    }
    assert [event.data[key] for key in ("full_path", "route", "page_load", "user_id", "method", "referrer")] == [
        "/orders/7?a=1",
        "/orders/<id>",
        PAGE_LOAD,
        "7",
        "GET",
        None,
    ]
    assert "secret" not in to_json(event.to_dict())
    assert "_dash-update-component" not in to_json(event.to_dict())


@pytest.mark.parametrize("status", ["200 OK", "204 NO CONTENT"])
def test_a_run_on_a_page_without_the_script_has_no_action(status: str) -> None:
    (event,) = counting()(run("table.data", status=status))
    assert set(event.data) == EVERY_RUN
    assert [event.data[key] for key in ("action", "page_load", "trigger", "error", "request_bytes")] == [None] * 5


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        pytest.param({"status": "200 OK"}, "ok", id="ok"),
        pytest.param({"status": "204 NO CONTENT"}, "no_update", id="prevent-update"),
        pytest.param({"status": "500 X"}, "error", id="error-page"),
        pytest.param({"status": "200 OK", "error": ErrorPlace("E", "")}, "error", id="broken-off"),
        pytest.param({"status": "503 X"}, "error", id="unavailable"),
    ],
)
def test_an_outcome_follows_from_the_answer(facts: dict[str, Any], outcome: str) -> None:
    (event,) = counting()(run(**facts))
    assert event.data["outcome"] == outcome


@pytest.mark.parametrize(
    ("changed", "cause"),
    [
        pytest.param([], "initial", id="initial"),
        pytest.param(["btn.n_clicks"], "user", id="user"),
        pytest.param(["store.data"], "cascade", id="cascade"),
        pytest.param(["url.search"], "navigation", id="navigation"),
    ],
)
def test_a_run_says_why_it_ran(changed: list[str], cause: str) -> None:
    (event,) = counting()(run("table.data", *changed))
    assert event.data["cause"] == cause


@pytest.mark.parametrize(
    "observation",
    [
        pytest.param(run("table.data", "tick.n_intervals"), id="timer"),
        pytest.param(run("report.href", "btn.n_clicks", query=POLL), id="poll"),
        pytest.param(run("clock.children", "btn.n_clicks"), id="ignored-by-the-decorator"),
        pytest.param(run("stranger.children", "btn.n_clicks"), id="unknown-callback"),
        pytest.param(run("table.data", "btn.n_clicks", endpoint="other"), id="endpoint-of-another-app"),
        pytest.param(seen(CALLBACK, endpoint="/_dash-update-component"), id="no-call"),
    ],
)
def test_noise_and_strangers_are_no_runs(observation: Observation) -> None:
    assert counting()(observation) == []


def test_a_background_callback_is_told() -> None:
    (event,) = counting()(run("report.href", "btn.n_clicks"))
    assert event.data["background"] is True


def test_around_an_unknown_app_a_run_has_no_label() -> None:
    (event,) = counting(None)(run("any.children", "btn.n_clicks"))
    assert set(event.data) == EVERY_RUN
    assert [event.data[key] for key in ("callback", "output", "route", "app_name")] == [None, "any.children", None, ""]


@pytest.mark.parametrize(
    ("size", "count"),
    [("120", 120), ("0", 0), (None, None), ("", None), ("-1", None), ("1e3", None), ("x", None), ("9" * 30, None)],
)
def test_a_content_length_is_a_number_or_null(size: str | None, count: int | None) -> None:
    (event,) = counting()(run(request_bytes=size))
    assert event.data["request_bytes"] == count


@pytest.mark.parametrize(
    ("observation", "path"),
    [
        pytest.param(
            run("table.data", mark=mark(page="/marked"), referrer="http://intranet:8050/r"), "/marked", id="mark"
        ),
        pytest.param(
            run("table.data", "url.pathname", pathname="/new", referrer="http://intranet:8050/old"),
            "/new",
            id="navigated",
        ),
        pytest.param(
            run("table.data", "b.n_clicks", pathname="/input", referrer="http://intranet:8050/r"), "/r", id="referer"
        ),
        pytest.param(run("table.data", "b.n_clicks", pathname="/caf%C3%A9", referrer=""), "/caf\u00e9", id="input"),
        pytest.param(run("table.data", "b.n_clicks", referrer=""), "/", id="nothing-known"),
        pytest.param(run("table.data", "b.n_clicks", referrer="http://evil/x"), "/", id="another-host"),
    ],
)
def test_a_run_belongs_to_the_page_that_sent_it(observation: Observation, path: str) -> None:
    (event,) = counting()(observation)
    assert event.data["path"] == path


def test_a_run_of_which_no_page_is_known_belongs_to_the_apps_home() -> None:
    (event,) = counting(Facts(prefix_="/base/"))(run("table.data", "b.n_clicks", referrer=""))
    assert (event.data["path"], event.data["route"]) == ("/base/", "/")


# -- custom events -------------------------------------------------------------------------


def custom(name: str = "export", properties: str = '{"rows": 120, "path": "mine"}') -> CustomEvent:
    return CustomEvent("an-id", name, NOON.timestamp() - 1, properties)


def test_a_custom_event_outside_of_a_request_has_every_key() -> None:
    (event,) = counting(release="2.1")(custom())
    assert (event.id, event.event, event.timestamp) == ("an-id", "export", NOON - timedelta(seconds=1))
    nothing = dict.fromkeys(EVERY_EVENT - {"automated"})
    nobody = dict.fromkeys(["user_id", "email", "full_name"], "anonymous")
    assert event.data == {
        **nothing,
        **nobody,
        "app_name": "Sales",
        "automated": False,
        "release": "2.1",
        "properties": {"rows": 120, "path": "mine"},
    }


@pytest.mark.parametrize("properties", ["{}", '{"a": [1, null]}'])
def test_a_custom_event_in_a_callback_belongs_to_its_page(properties: str) -> None:
    observation = run("table.data", "btn.n_clicks", mark=mark(told("/orders/7"), page="/orders/7"), user=ANA)
    observation = observation._replace(custom=[custom(properties=properties), custom("second")])
    events = counting()(observation)
    assert [event.event for event in events] == [PAGE_VIEW, "callback", "export", "second"]
    data = events[2].data
    assert set(data) == EVERY_EVENT | {"properties"}
    assert data["properties"] == json.loads(properties)
    assert [data[key] for key in ("path", "route", "page_load", "user_id")] == [
        "/orders/7",
        "/orders/<id>",
        PAGE_LOAD,
        "7",
    ]


@pytest.mark.parametrize(
    ("observation", "path"),
    [
        pytest.param(document("/a", fetch_dest="document"), "/a", id="document-left-to-its-script"),
        pytest.param(document("/a", status="500 X"), "/a", id="failed-document"),
        pytest.param(run("clock.children", referrer="http://intranet:8050/a"), "/a", id="ignored-callback"),
        pytest.param(run("table.data", "t.n_intervals", referrer="http://intranet:8050/a"), "/a", id="timer"),
        pytest.param(run("table.data", status="400 X", referrer="http://intranet:8050/a"), "/a", id="refused-callback"),
        pytest.param(report(mark=mark(page="/a")), "/a", id="report"),
    ],
)
def test_a_custom_event_counts_where_its_request_does_not(observation: Observation, path: str) -> None:
    assert short(counting()(with_custom(observation))) == [("export", path)]


# -- what the owner leaves out -------------------------------------------------------------


def with_custom(observation: Observation) -> Observation:
    return observation._replace(custom=[custom()])


@pytest.mark.parametrize(
    "wish",
    [lambda path: path == "/secret/x", ["/secret/<path:rest>"]],
    ids=["callable", "rules"],
)
@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda page: with_custom(robot(page)), id="document"),
        pytest.param(lambda page: with_custom(report(told(page), mark=mark(told(page), page=page))), id="report"),
        pytest.param(lambda page: with_custom(navigation(page)), id="navigation"),
        pytest.param(
            lambda page: with_custom(run("table.data", "b.n_clicks", referrer=f"http://intranet:8050{page}")), id="run"
        ),
        pytest.param(lambda page: with_custom(run("table.data", mark=mark(told(page), page=page))), id="marked-run"),
    ],
)
@pytest.mark.parametrize("prefix", ["/", "/base/"])
def test_ignore_route_holds_for_views_callbacks_and_custom_events(prefix: str, make: Any, wish: Any) -> None:
    count = counting(Facts(prefix_=prefix), ignore_route=wish)
    assert count(make(prefix + "secret/x")) == []
    assert [event.event for event in count(make(prefix + "open"))][-1] == "export"


def test_ignore_route_holds_for_boots() -> None:
    count = counting(Facts(canonical=None), ignore_route=["/secret"])
    assert count(boot("http://intranet:8050/secret")) == []
    assert short(count(boot("http://intranet:8050/open"))) == [(PAGE_VIEW, "/open")]


def test_ignore_route_holds_around_an_unknown_app() -> None:
    count = counting(None, ignore_route=["/secret"])
    assert count(document("/secret")) == []
    assert count(navigation("/secret")) == []


def test_ignore_route_is_asked_with_the_decoded_path_below_the_prefix_without_query() -> None:
    asked: list[str] = []
    count = counting(Facts(prefix_="/base/"), ignore_route=lambda path: asked.append(path))  # type: ignore[arg-type,func-returns-value]
    count(report(told("/base/caf%C3%A9?a=1"), mark=mark(told("/base/caf%C3%A9?a=1"), page="/base/")))
    count(robot("/base"))
    assert asked == ["/caf\u00e9", "/"]


def test_a_view_of_an_ignored_page_does_not_hide_the_next() -> None:
    views = mark(told("/secret", 1), told("/open", 2), page="/open")
    assert short(counting(ignore_route=["/secret"])(report(mark=views))) == [(PAGE_VIEW, "/open")]


@pytest.mark.parametrize("wish", [["fill"], ["app:fill"], ["table.data"], lambda name: name == "fill"], ids=repr)
def test_ignore_callback_leaves_the_run_out_but_not_the_view(wish: Any) -> None:
    observation = run("table.data", "btn.n_clicks", mark=mark(told()))
    assert short(counting(ignore_callback=wish)(observation)) == VIEW


@pytest.mark.parametrize(
    ("option", "observation", "counted"),
    [
        ("ignore_route", robot(), VIEW),
        ("ignore_callback", run("table.data"), [("callback", "table.data")]),
    ],
    ids=["ignore_route", "ignore_callback"],
)
def test_a_wish_that_raises_is_told_and_nothing_is_ignored(
    option: str, observation: Observation, counted: list[tuple[str, str]]
) -> None:
    def wish(_: str) -> bool:
        raise LookupError("a fault of the owner's")

    problems: list[tuple[str, str]] = []
    count = Counting(
        Policy(**{option: wish}), Facts(), lambda reason, error: problems.append((reason, type(error).__name__))
    )
    assert short(count(observation)) == counted
    assert problems == [(option, "LookupError")]


# -- who and which app ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "policy", "name"),
    [
        pytest.param(Facts(), {}, "Sales", id="title"),
        pytest.param(Facts(), {"app_name": "Mine"}, "Mine", id="chosen"),
        pytest.param(Facts(title=None), {}, "", id="no-title"),
        pytest.param(None, {}, "", id="unknown-app"),
    ],
)
def test_an_app_is_called_by_its_title_unless_told(facts: Facts | None, policy: dict[str, Any], name: str) -> None:
    count = counting(facts, **policy)
    assert [event.data["app_name"] for event in (*count(robot()), *count(custom()))] == [name, name]


def test_a_visitor_is_the_same_for_every_kind_of_event() -> None:
    count = counting(Facts(key="secret"))
    observations = [report(told()), run("table.data"), with_custom(document(fetch_dest="document"))]
    visitors = {event.data["visitor"] for observation in observations for event in count(observation)}
    assert len(visitors) == 1
    assert visitors != {None}
    assert visitors == {event.data["visitor"] for event in counting(visitor_key=b"secret")(report(told()))}


@pytest.mark.parametrize(
    "facts", [{"ip": "10.0.0.8"}, {"user_agent": CHROME + "x"}, {"received": NOON.timestamp() + 86_400}], ids=repr
)
def test_another_address_browser_or_day_is_another_visitor(facts: dict[str, Any]) -> None:
    (one,), (other,) = (counting(Facts(key="secret"))(report(told(), **more)) for more in ({}, facts))
    assert one.data["visitor"] != other.data["visitor"]


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        ({"title": "Orders"}, "app_name", "Orders"),
        ({"key": "another"}, "visitor", ...),
        ({"pages": False}, "page_known", None),
    ],
    ids=lambda item: next(iter(item), None) if isinstance(item, dict) else "",
)
def test_what_is_kept_of_a_page_follows_the_app(change: dict[str, Any], key: str, value: Any) -> None:
    facts = Facts(key="secret")
    count = counting(facts)
    (before,) = count(robot("/orders/7"))
    for name, now in change.items():
        setattr(facts, name, now)
    after = count(robot("/orders/7"))
    assert [event.data for event in after] == [event.data for event in counting(facts)(robot("/orders/7"))]
    assert all(event.data[key] != before.data[key] and value in (..., event.data[key]) for event in after)


_MARKS = [
    "",
    mark(),
    mark(page="/orders/8"),
    mark(action=3),
    json.dumps({**json.loads(mark(action=4)), "f": True}),
    mark(told("/orders/7"), action=4),
    mark(load="fedcba9876543210"),
]
_SAID: dict[str, list[Any]] = {
    "kind": [CALLBACK, DOCUMENT, BOOT, REPORT],
    "path": ["/", "/orders/7"],
    "mount": ["", "/base"],
    "query": ["", "a=1", "job=1", "cacheKey=k&job=1", "cancelJob=1"],
    "scheme": ["http", "https"],
    "host": ["intranet:8050", "localhost:8050"],
    "ip": ["10.0.0.7", "10.0.0.8", None],
    "referrer": ["", "http://intranet:8050/orders/7", "http://elsewhere/"],
    "user_agent": [CHROME, "curl/8.5.0"],
    "fetch_dest": [None, "document", "iframe"],
    "fetch_site": [None, "same-origin", "cross-site"],
    "purpose": ["", "prefetch"],
    "proxied": [False, True],
    "foreign": [False, True],
    "mark": _MARKS,
    "html": [True, False],
    "status": ["200 OK", "204 NO CONTENT", "302 FOUND", "500 OH", "503 OH"],
    "endpoint": ["/_dash-update-component", "/", None, "/health"],
    "user": [None, User("ann", "a@x.org", "Ann"), User("ann", "b@x.org", "Ann"), User("ann", "a@x.org", "Bo")],
    "call": [
        CallbackRequest("table.data", ("btn.n_clicks",)),
        CallbackRequest("table.data", ("store.data",)),
        CallbackRequest("content.children", ("url.pathname",), "/orders/7"),
        CallbackRequest("content.children", ("url.pathname",), "/"),
        CallbackRequest("content.children", (), "/"),
        CallbackRequest("report.href", ("btn.n_clicks",)),
        CallbackRequest("clock.children", ("tick.n_intervals",)),
        CallbackRequest("nobodys.children", ("btn.n_clicks",)),
        None,
    ],
    "answer": [None, b'{"cacheKey":"k","job":"1"}', b'{"response":{}}', b"{}"],
    "error": [None, ErrorPlace("ValueError", "app:show:7")],
    "custom": [None, [CustomEvent("1", "export", NOON.timestamp(), "{}")]],
    "request_bytes": [None, "12", "90"],
    "sent": [0, 9],
    "duration": [0.0, 0.25],
    "received": [NOON.timestamp(), NOON.timestamp() + 1, NOON.timestamp() + 86_400],
}


_PLAIN = {name: values[0] for name, values in _SAID.items()}


@example({**_PLAIN, "call": CallbackRequest("table.data", ("store.data",))}, False, None)
@example({**_PLAIN, "kind": DOCUMENT, "endpoint": "/"}, True, None)
@example({**_PLAIN, "kind": DOCUMENT, "endpoint": "/", "host": "localhost:8050"}, True, None)
@example({**_PLAIN, "query": "cacheKey=k&job=1", "status": "204 NO CONTENT"}, False, None)
@given(
    # Mostly what comes first, so that the most of them count.
    st.fixed_dictionaries({name: st.sampled_from([values[0]] * 9 + values) for name, values in _SAID.items()}),
    st.booleans(),
    st.sampled_from([None, ["/orders/<id>"]]),
)
def test_what_was_said_before_counts_as_if_it_were_read_again(
    request: dict[str, Any], scripted: bool, wish: Any
) -> None:
    """Each request is followed by all that differ from it in one thing."""
    remembering, writing, forgetting = counts = [
        Counting(Policy(ignore_route=wish), Facts(key="secret"), lambda *_: None, scripted=scripted, lines=lines)
        for lines in (False, True, False)
    ]
    forgetting._may_repeat = False
    for name, values in _SAID.items():
        for value in values:
            told = [
                [
                    (event.event, event.timestamp, dict(event.data))
                    for event in map(event_of, count(seen(**{**request, name: value})))
                ]
                for count in counts
            ]
            assert told[0] == told[2]
            assert told[1] == told[2]
    for count in (remembering, writing):
        assert count.journal.read().to_dicts() == forgetting.journal.read().to_dicts()


@pytest.mark.parametrize("lines", [True, False])
def test_a_request_that_says_nothing_new_may_become_a_line_at_once(lines: bool) -> None:
    count = Counting(Policy(), Facts(), lambda *_: None, lines=lines)
    for observation in (robot(), run("table.data", "btn.n_clicks", request_bytes="90")):
        first, again = (*count(observation), *count(observation))
        assert isinstance(first, Event)
        assert isinstance(again, str) is lines
        told = event_of(again)
        assert told.id != first.id
        assert attrs.evolve(told, id=first.id) == first


def test_a_content_length_that_is_no_text_costs_no_event() -> None:
    count = counting()
    told = [event for _ in range(2) for event in count(run("table.data", "btn.n_clicks", request_bytes=90))]
    assert [event.data["request_bytes"] for event in told] == [None, None]


def test_ids_of_a_batch_are_distinct_and_a_batch_within_it_has_others() -> None:
    count = counting()
    with count.batch():
        ids = [count(robot())[0].id for _ in range(30)]
        with count.batch():  # ignore_route, which is asked meanwhile, tracks an event that goes to disk at once
            ids += [count(robot())[0].id for _ in range(30)]
        ids += [count(robot())[0].id for _ in range(30)]
    ids += [count(robot())[0].id for _ in range(30)]
    assert len(set(ids)) == 120
    assert all(uuid.UUID(one).version == 7 for one in ids)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_forked_in_a_batch_makes_other_ids() -> None:
    count = counting()
    reading, writing = os.pipe()
    with count.batch():
        count(robot())
        pid = os.fork()
        if pid == 0:
            with count.batch():  # as any reader does
                ids = [count(robot())[0].id for _ in range(10)]
            os.write(writing, "\n".join(ids).encode())
            os._exit(0)
        own = {count(robot())[0].id for _ in range(10)}
    os.waitpid(pid, 0)
    os.close(writing)
    with open(reading) as told:
        theirs = set(told.read().split())
    assert (len(own), len(theirs), own & theirs) == (10, 10, set())


def test_a_background_run_is_cancelled_however_often_the_same_was_said() -> None:
    count = counting()
    outcomes = []
    for key in ("a", "b"):
        count(run("report.href", "btn.n_clicks", answer=b'{"cacheKey":"%s","job":"1"}' % key.encode()))
        count(run("table.data", "stop.n_clicks", query="cancelJob=1"))
        ended = count(run("report.href", "btn.n_clicks", query=f"cacheKey={key}&job=1", status="204 NO CONTENT"))
        outcomes += [event.data["outcome"] for event in ended]
    assert outcomes == ["cancelled", "cancelled"]


def test_so_many_verdicts_are_kept_and_no_more() -> None:
    count = counting()
    for number in range(2 * MOST):
        (event,) = count(robot(f"/orders/{number}"))
        assert event.data["path"] == f"/orders/{number}"
    assert 0 < len(count._verdicts) <= MOST


def test_the_loads_of_a_page_share_a_verdict_and_keep_their_own_ids() -> None:
    count = counting()
    loads = ["0123456789abcdef", "fedcba9876543210", "0123456789abcdef"]
    told = [event.data["page_load"] for load in loads for event in count(run(mark=mark(load=load)))]
    assert told == loads
    assert len(count._verdicts) == 1


def test_what_a_client_made_long_counts_and_is_not_remembered() -> None:
    count = counting()
    for _ in range(2):
        assert short(count(robot("/", query="q" * 3000))) == VIEW
    assert len(count._verdicts) == 0


def test_ignore_route_is_asked_for_each_event() -> None:
    asked: list[str] = []

    def every_other(path: str) -> bool:
        asked.append(path)
        return len(asked) % 2 == 0

    count = counting(ignore_route=every_other)
    assert [len(count(robot("/"))) for _ in range(4)] == [1, 0, 1, 0]


@pytest.mark.parametrize(
    "other",
    [
        {"user": User("bo", "b@x.org", "Bo")},
        {"ip": "10.0.0.2"},
        {"user_agent": "Mozilla/5.0 (another)"},
        {"host": "other:8050"},
        {"scheme": "https"},
        {"mount": "/base"},
        {"path": "/orders/8"},
        {"query": "b=2"},
        {"referrer": "http://elsewhere/"},
        {"received": 1_700_000_000.0},
    ],
    ids=lambda item: next(iter(item)),
)
def test_nothing_of_another_request_is_kept(other: dict[str, Any]) -> None:
    count = counting(Facts(key="secret"))
    one = {"path": "/orders/7", "user": User("ann", "a@x.org", "Ann")}
    count(robot(**one))
    assert [event.data for event in count(robot(**{**one, **other}))] == [
        event.data for event in counting(Facts(key="secret"))(robot(**{**one, **other}))
    ]


def test_without_a_key_there_is_no_visitor() -> None:
    (event,) = counting()(report(told()))
    assert event.data["visitor"] is None


def test_a_robot_that_runs_the_script_is_automated() -> None:
    (event,) = counting()(report(told(), user_agent="Mozilla/5.0 (compatible; Googlebot/2.1)"))
    assert (event.data["automated"], event.data["automated_reason"]) == (True, "user agent")
