"""Which page a callback belongs to, and which callback stands for a page view; the bodies are those Dash sends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.classify import BOOT
from dash_user_tracker.navigation import (
    callback_request,
    canonical_output,
    is_poll,
    navigated_path,
    referred_path,
)
from dash_user_tracker.request import TEXT_LIMIT, CallbackRequest, Observation

_ANY_TEXT = st.text(st.characters())  # with lone surrogates, which st.text() leaves out
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
_INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "id": _JSON | st.just("url"),
        "property": _JSON | st.sampled_from(["pathname", "href"]),
        "value": _JSON | _ANY_TEXT.map(lambda text: "/" + text) | _ANY_TEXT.map(lambda text: "http://" + text),
    },
)
_BODIES = st.fixed_dictionaries(
    {},
    optional={
        "output": _JSON | st.just("content.children"),
        "changedPropIds": _JSON | st.lists(_JSON | st.sampled_from(["url.pathname", "url.href"]), max_size=3),
        "inputs": _JSON | st.lists(_JSON | _INPUTS | st.lists(_INPUTS, max_size=2), max_size=3),
    },
)


def location(prop: str, value: object, identity: object = "url") -> dict[str, Any]:
    return {"id": identity, "property": prop, "value": value}


def body(changed: list[str], *inputs: Any, output: str = "content.children") -> dict[str, Any]:
    return {"output": output, "inputs": list(inputs), "changedPropIds": changed}


# -- callback_request ---------------------------------------------------------------------


@given(_JSON | _BODIES)
def test_no_document_raises_and_what_is_read_can_be_used(document: Any) -> None:
    call = callback_request(document)
    if call is None:
        assert not (isinstance(document, dict) and isinstance(document.get("output"), str))
        return
    for text in (call.output, *call.changed, call.pathname or "", navigated_path(call) or ""):
        assert len(text) <= TEXT_LIMIT
        text.encode("utf-8")
    assert call.pathname is None or call.pathname.startswith("/")


@pytest.mark.parametrize("document", [None, [], "x", 7, {}, {"output": None}, {"output": ["a.b"]}], ids=repr)
def test_what_names_no_output_is_no_callback(document: object) -> None:
    assert callback_request(document) is None


def test_inputs_and_changes_may_be_missing() -> None:
    assert callback_request({"output": "a.children"}) == CallbackRequest("a.children", (), None)


PATTERN = {"ix": 0, "type": "loc"}


@pytest.mark.parametrize(
    ("document", "pathname"),
    [
        pytest.param(body(["url.pathname"], location("pathname", "/beta")), "/beta", id="pathname"),
        pytest.param(body(["url.href"], location("href", "http://h:8050/beta?a=1#x")), "/beta", id="href"),
        pytest.param(body(["url.href"], location("href", "http://h:8050")), "/", id="href-without-path"),
        pytest.param(body(["b.n_clicks"], location("pathname", "/beta")), "/beta", id="beside-a-button"),
        pytest.param(
            body(
                ["two.pathname"],
                location("pathname", "/one", "one"),
                location("pathname", "/two", "two"),
                location("pathname", "/three", "three"),
            ),
            "/two",
            id="the-changed-of-several",
        ),
        pytest.param(
            body([], location("pathname", "/one", "one"), location("pathname", "/two", "two")),
            "/one",
            id="else-the-first",
        ),
        pytest.param(
            body(
                ['{"ix":0,"type":"loc"}.pathname'],
                location("pathname", "/one", {"type": "loc", "ix": 1}),
                location("pathname", "/two", {"type": "loc", "ix": 0}),
            ),
            "/two",
            id="pattern-id-in-any-order-of-keys",
        ),
        pytest.param(
            body(
                ['{"ix":0,"type":"loc"}.pathname'],
                [location("pathname", "/one", {"ix": 1, "type": "loc"}), location("pathname", "/two", PATTERN)],
            ),
            "/two",
            id="list-of-a-wildcard",
        ),
        pytest.param(body(["url.pathname"], [[location("pathname", "/deep")]]), None, id="list-in-a-list"),
        pytest.param(body(["url.pathname"], location("pathname", None)), None, id="nulled-by-a-poll"),
        pytest.param(body(["url.pathname"], location("pathname", "beta")), None, id="no-path"),
        pytest.param(body(["url.href"], location("href", "http://[::1")), None, id="no-url"),
        pytest.param(body(["url.search"], location("search", "?a=1")), None, id="search-only"),
        pytest.param(body(["url.pathname"], {"property": "pathname", "value": "/x"}), "/x", id="no-id"),
    ],
)
def test_the_pathname_is_that_of_the_changed_location(document: dict[str, Any], pathname: str | None) -> None:
    call = callback_request(document)
    assert call is not None
    assert call.pathname == pathname


def test_a_body_from_the_wire_is_read() -> None:
    text = (
        '{"output":"content.children","outputs":{"id":"content","property":"children"},'
        '"inputs":[{"id":"url","property":"pathname","value":"/caf%C3%A9%20au%20lait"}],'
        '"changedPropIds":["url.pathname"],"parsedChangedPropsIds":["url.pathname"]}'
    )
    call = callback_request(json.loads(text))
    assert call == CallbackRequest("content.children", ("url.pathname",), "/caf%C3%A9%20au%20lait")
    assert navigated_path(call) == "/caf\u00e9 au lait"


def test_what_a_client_writes_is_bounded() -> None:
    long = "x" * (TEXT_LIMIT + 1)
    call = callback_request(body([long] * 100, location("pathname", "/" + long), output=long))
    assert call is not None
    assert (len(call.output), len(call.changed), len(call.changed[0])) == (TEXT_LIMIT, 5, TEXT_LIMIT)
    assert len(call.pathname or "") == TEXT_LIMIT


def test_an_id_nested_beyond_any_depth_does_not_raise() -> None:
    identity: dict[str, Any] = {}
    for _ in range(100_000):
        identity = {"a": identity}
    call = callback_request(body(["url.pathname"], location("pathname", "/beta", identity)))
    while identity:  # or freeing it recurses as deep
        identity = identity.pop("a")
    assert call is not None
    assert call.pathname == "/beta"


# -- navigated_path -----------------------------------------------------------------------

# What dcc.Location changes: Inputs of the callback; changedPropIds; does it tell a page?
LOCATION_CHANGES = [
    pytest.param(["pathname"], ["url.pathname"], True, id="pathname"),
    pytest.param(["pathname", "search"], ["url.pathname", "url.search"], True, id="pages-after-a-load"),
    pytest.param(["pathname", "search"], ["url.pathname"], True, id="pages-path-only"),
    pytest.param(["pathname", "search"], ["url.search"], False, id="pages-search-only"),
    pytest.param(["pathname", "hash"], ["url.pathname", "url.hash"], True, id="hash-after-a-load"),
    pytest.param(["pathname", "hash"], ["url.hash"], False, id="hash-only"),
    pytest.param(["href"], ["url.href"], True, id="href"),
    pytest.param(["search"], ["url.search"], False, id="search-is-no-page"),
    pytest.param(["pathname"], [], False, id="initial-call-without-a-changed-prop"),
    pytest.param(["pathname"], ["tick.n_intervals"], False, id="interval-beside-the-pathname"),
    pytest.param(["pathname"], ["button.n_clicks"], False, id="button-beside-the-pathname"),
]


@pytest.mark.parametrize(("inputs", "changed", "tells"), LOCATION_CHANGES)
def test_a_callback_tells_a_page_only_where_its_address_changed(
    inputs: list[str], changed: list[str], tells: bool
) -> None:
    values = {"pathname": "/beta", "href": "http://h/beta?a=1", "search": "?a=1", "hash": "#x"}
    call = callback_request(body(changed, *(location(name, values[name]) for name in inputs)))
    assert call is not None
    assert navigated_path(call) == ("/beta" if tells else None)


# -- referred_path ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("referrer", "path"),
    [
        pytest.param("http://app:8050/beta?a=1#x", "/beta", id="same-host"),
        pytest.param("http://app:8050", "/", id="no-path"),
        pytest.param("http://app:8050/caf%C3%A9", "/caf\u00e9", id="percent-decoded"),
        pytest.param("http://app:8050/caf\u00c3\u00a9", "/caf\u00e9", id="raw-utf-8"),
        pytest.param("http://other/beta", None, id="another-host"),
        pytest.param("http://app/beta", None, id="another-port"),
        pytest.param("http://[::1/beta", None, id="no-url"),
        pytest.param("", None, id="none"),
    ],
)
def test_the_referer_names_the_page_on_the_same_host_only(referrer: str, path: str | None) -> None:
    assert referred_path(Observation(BOOT, host="app:8050", referrer=referrer)) == path


@given(_ANY_TEXT, _ANY_TEXT)
def test_no_referer_raises(host: str, referrer: str) -> None:
    referred_path(Observation(BOOT, host=host, referrer=referrer))


# -- is_poll ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "poll"),
    [
        pytest.param("cacheKey=1&job=2", True, id="poll"),
        pytest.param("job=2", True, id="job-alone"),
        pytest.param("endId=a~b&cacheKey=1&job=2", True, id="poll-of-dash-4"),
        pytest.param("", False, id="first-call"),
        pytest.param("endId=a~b", False, id="first-call-of-dash-4"),
        pytest.param("oldJob=2", False, id="first-call-again"),
        pytest.param("cancelJob=2", False, id="cancel"),
        pytest.param("a=cacheKey=1", False, id="inside-a-value"),
    ],
)
def test_a_poll_names_the_job_it_asks_for(query: str, poll: bool) -> None:
    assert is_poll(query) is poll


# -- canonical_output ---------------------------------------------------------------------


def spec(output: str, *inputs: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {"output": output, "inputs": [{"id": identity, "property": prop} for identity, prop in inputs], **more}


ROUTER = spec(
    ".._pages_content.children..._pages_store.data..", ("_pages_location", "pathname"), ("_pages_location", "search")
)
CONTENT = spec("content.children", ("url", "pathname"))
LAYOUT = frozenset({"url", "content", "title", "menu", '{"ix":0,"type":"view"}', '{"ix":0,"type":"loc"}'})


@pytest.mark.parametrize(
    ("specs", "chosen"),
    [
        pytest.param([], None, id="no-callbacks"),
        pytest.param([spec("content.children", ("button", "n_clicks"))], None, id="no-address-input"),
        pytest.param([spec("content.children", ("url", "search"))], None, id="search-is-no-address"),
        pytest.param([CONTENT], "content.children", id="pathname"),
        pytest.param([spec("content.children", ("url", "href"))], "content.children", id="href"),
        pytest.param([spec("title.children", ("url", "href")), CONTENT], "content.children", id="pathname-before-href"),
        pytest.param([CONTENT, spec("title.children", ("url", "pathname"))], "content.children", id="first-of-several"),
        pytest.param(
            [spec("late.children", ("url", "pathname")), CONTENT], "content.children", id="page-only-output-left-out"
        ),
        pytest.param([spec("late.children", ("url", "pathname"))], None, id="page-only-output-alone"),
        pytest.param(
            [spec("..title.children...late.children..", ("url", "pathname")), CONTENT],
            "content.children",
            id="one-of-its-outputs-is-page-only",
        ),
        pytest.param(
            [spec("title.children", ("late", "pathname")), CONTENT], "content.children", id="late-location-left-out"
        ),
        pytest.param(
            [spec("title.children", ("url", "pathname"), clientside_function={"namespace": "x"}), CONTENT],
            "content.children",
            id="clientside-left-out",
        ),
        pytest.param(
            [spec("content.children", ("url", "pathname"), clientside_function={"namespace": "x"})],
            None,
            id="clientside-alone",
        ),
        pytest.param([CONTENT, ROUTER], ROUTER["output"], id="pages-router-first"),
        pytest.param(
            [spec("..content.children...title.style..", ("url", "pathname"))],
            "..content.children...title.style..",
            id="several-outputs",
        ),
        pytest.param([spec("..content.children..", ("url", "pathname"))], "..content.children..", id="list-of-one"),
        pytest.param(
            [spec("content.children@" + "0" * 64, ("url", "pathname"))],
            "content.children@" + "0" * 64,
            id="duplicate-output",
        ),
        pytest.param([spec("0" * 64, ("url", "pathname"))], "0" * 64, id="no-output"),
        pytest.param(
            [spec('{"ix":["MATCH"],"type":"view"}.children', ('{"ix":["MATCH"],"type":"loc"}', "pathname"))],
            '{"ix":["MATCH"],"type":"view"}.children',
            id="pattern-ids-match-wildcards",
        ),
        pytest.param(
            [spec('{"ix":["MATCH"],"type":"other"}.children', ("url", "pathname"))], None, id="pattern-of-another-type"
        ),
        pytest.param([spec('{"ix":["MATCH"]}.children', ("url", "pathname"))], None, id="pattern-with-fewer-keys"),
        pytest.param(
            [spec('{"ix":0,"type":"view"}.children', ("url", "pathname"))] * 2,
            '{"ix":0,"type":"view"}.children',
            id="dictionary-id-without-wildcard",
        ),
        pytest.param([spec("{broken.children", ("url", "pathname"))], None, id="brace-that-is-no-pattern"),
        pytest.param([{"output": None, "inputs": []}, {}, CONTENT], "content.children", id="odd-specs"),
    ],
)
def test_the_canonical_callback_is_sent_once_for_each_view(specs: list[dict[str, Any]], chosen: str | None) -> None:
    assert canonical_output(specs, LAYOUT) == chosen


@pytest.mark.parametrize(
    ("specs", "chosen"),
    [
        pytest.param([spec("late.children", ("late", "pathname"))], "late.children", id="any-location-will-do"),
        pytest.param([CONTENT, ROUTER], ROUTER["output"], id="pages-router-first"),
        pytest.param([spec("late.children", ("button", "n_clicks"))], None, id="still-needs-an-address"),
    ],
)
def test_an_unknown_layout_rules_nothing_out(specs: list[dict[str, Any]], chosen: str | None) -> None:
    assert canonical_output(specs, None) == chosen


@pytest.mark.parametrize("identity", ["{x", "{}x", "{[1]}"])
def test_a_plain_id_that_begins_with_a_brace_is_an_id_like_any_other(identity: str) -> None:
    # One such id in the layout used to make every search for a pattern raise.
    layout = LAYOUT | {identity}
    pattern = spec('{"ix":["MATCH"],"type":"view"}.children', ("url", "pathname"))
    assert canonical_output([pattern], layout) == pattern["output"]
    assert canonical_output([spec(identity + ".children", ("url", "pathname"))], layout) == identity + ".children"
    assert canonical_output([spec('{"ix":["MATCH"],"type":"none"}.children', ("url", "pathname"))], layout) is None
