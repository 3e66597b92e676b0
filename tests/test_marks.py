"""The page script's header, and whatever else a client writes into it."""

from __future__ import annotations

import json
import math
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.marks import INTERNAL, LOAD, MAX_AGE, MAX_VIEWS, Mark, View, mark_of
from dash_user_tracker.request import MARK_LIMIT, TEXT_LIMIT

NOW = 1_795_000_000_000  # the browser's clock, milliseconds
LOADED = [1, "/orders?a=1", NOW - 120, "http://intranet/", 0]
MARK: dict[str, Any] = {"i": "0123456789abcdef", "p": "/orders?a=1", "a": 3, "n": NOW, "v": [LOADED]}

_ANY_TEXT = st.text(st.characters())  # with lone surrogates, which st.text() leaves out
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _ANY_TEXT,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)
# Documents that are nearly a mark: each part is right, or any JSON.
_VIEW_ITEMS = st.tuples(
    _JSON | st.integers(0, 9),
    _JSON | _ANY_TEXT.map(lambda text: "/" + text),
    _JSON | st.integers(-5, 20_000) | st.floats(),
    _JSON,
).map(list)
_MARKS = st.fixed_dictionaries(
    {},
    optional={
        "i": _JSON | st.just("0123456789abcdef"),
        "p": _JSON | _ANY_TEXT.map(lambda text: "/" + text),
        "a": _JSON | st.integers(0, 9),
        "n": _JSON | st.integers(0, 20_000),
        "v": _JSON | st.lists(_VIEW_ITEMS | _JSON, max_size=4),
    },
)


def read(**changes: Any) -> Mark | None:
    return mark_of(json.dumps({**MARK, **changes}))


def told(*views: Any) -> tuple[View, ...]:
    mark = read(v=list(views))
    assert mark is not None
    return mark.views


def test_what_the_script_writes_is_read() -> None:
    assert read() == Mark(
        page_load="0123456789abcdef",
        address="/orders?a=1",
        action=3,
        views=(View(1, "/orders?a=1", 0.12, "http://intranet/"),),
    )


def test_action_and_views_may_be_missing() -> None:
    assert mark_of('{"i": "0123456789abcdef", "p": "/"}') == Mark("0123456789abcdef", "/", 0, ())


@pytest.mark.parametrize("text", [None, "", "null", "[]", '"/"', "{}", "{", "\x00", "NaN"], ids=repr)
def test_what_is_no_json_object_is_no_mark(text: str | None) -> None:
    assert mark_of(text) is None


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"i": "0123456"}, id="page-load-too-short"),
        pytest.param({"i": "0" * 33}, id="page-load-too-long"),
        pytest.param({"i": "0123456789ABCDEF"}, id="page-load-not-hex"),
        pytest.param({"i": "0123456789abcdef\n"}, id="page-load-with-a-line-end"),
        pytest.param({"i": 12345678}, id="page-load-a-number"),
        pytest.param({"i": None}, id="page-load-null"),
        pytest.param({"p": "orders"}, id="address-without-slash"),
        pytest.param({"p": "http://intranet/"}, id="address-with-origin"),
        pytest.param({"p": None}, id="address-null"),
        pytest.param({"p": 0, "v": []}, id="address-of-no-view"),
        pytest.param({"a": -1}, id="action-negative"),
        pytest.param({"a": True}, id="action-a-bool"),
        pytest.param({"a": 1.0}, id="action-a-float"),
        pytest.param({"a": 2**53}, id="action-beyond-javascript"),
        pytest.param({"a": None}, id="action-null"),
        pytest.param({"v": {}}, id="views-no-list"),
        pytest.param({"v": None}, id="views-null"),
        pytest.param({"v": [LOADED] * (MAX_VIEWS + 1)}, id="too-many-views"),
    ],
)
def test_a_mark_with_a_wrong_part_is_none(changes: dict[str, Any]) -> None:
    assert read() is not None
    assert read(**changes) is None


def test_as_many_views_as_the_limit_are_believed() -> None:
    assert len(told(*[[number, "/", 0, ""] for number in range(1, MAX_VIEWS + 1)])) == MAX_VIEWS


@pytest.mark.parametrize(
    "view",
    [
        pytest.param([1, "/", 0], id="too-short"),
        pytest.param([True, "/", 0, ""], id="number-a-bool"),
        pytest.param([-1, "/", 0, ""], id="number-negative"),
        pytest.param([0, "/", 0, ""], id="number-zero"),
        pytest.param(["1", "/", 0, ""], id="number-a-text"),
        pytest.param([1, "orders", 0, ""], id="address-without-slash"),
        pytest.param([1, 7, 0, ""], id="address-a-number"),
        pytest.param({"number": 1}, id="object"),
        pytest.param(None, id="null"),
    ],
)
def test_a_wrong_view_is_left_out_and_the_others_stay(view: Any) -> None:
    assert [one.number for one in told(view, [2, "/", 0, ""])] == [2]


@pytest.mark.parametrize(
    ("then", "seconds"),
    [
        pytest.param(NOW, 0.0, id="now"),
        pytest.param(NOW - 1500, 1.5, id="milliseconds"),
        pytest.param(NOW - 10_000, MAX_AGE, id="longest"),
        pytest.param(NOW - 10_001, MAX_AGE, id="too-old"),
        pytest.param(NOW + 5, 0.0, id="from-the-future"),
        pytest.param(10**400, MAX_AGE, id="huge"),
        pytest.param(-(10**400), MAX_AGE, id="hugely-negative"),
        pytest.param(math.nan, MAX_AGE, id="nan"),
        pytest.param(math.inf, MAX_AGE, id="infinite"),
        pytest.param(str(NOW), MAX_AGE, id="text"),
        pytest.param(None, MAX_AGE, id="null"),
    ],
)
def test_an_age_is_clamped(then: object, seconds: float) -> None:
    (view,) = told([1, "/", then, ""])
    assert view.age == seconds


@pytest.mark.parametrize("now", [None, -1, "0", math.nan, True])
def test_ages_are_unknown_without_the_browsers_time(now: object) -> None:
    mark = read(n=now, t=NOW)
    assert mark is not None
    assert (mark.views[0].age, mark.run_age) == (MAX_AGE, None)


@pytest.mark.parametrize(
    ("then", "seconds"), [(NOW - 61_000, 61.0), (NOW + 9, 0.0), (None, None), (True, None), ("1", None), (-1, None)]
)
def test_a_poll_says_how_long_ago_its_run_began(then: object, seconds: float | None) -> None:
    mark = read(t=then)
    assert mark is not None
    assert mark.run_age == seconds


@pytest.mark.parametrize(("value", "read_as"), [(True, True), (False, False), (None, False), (1, False), ("x", False)])
def test_a_flag_is_true_or_it_is_not(value: object, read_as: bool) -> None:
    mark = read(f=value, c=value)
    assert mark is not None
    assert (mark.fresh, mark.cancelled) == (read_as, read_as)


@pytest.mark.parametrize(("number", "navigation"), [(1, LOAD), (2, INTERNAL), (77, INTERNAL)])
def test_the_first_view_of_a_page_load_is_the_load(number: int, navigation: str) -> None:
    assert [view.navigation for view in told([number, "/", 0, ""])] == [navigation]


def test_views_come_newest_first_and_are_read_in_the_order_they_happened() -> None:
    assert [view.number for view in told([3, "/c", NOW, ""], [2, "/b", NOW, ""])] == [2, 3]


def test_an_address_that_equals_the_newest_views_is_left_out() -> None:
    mark = read(p=0, v=[[3, "/c", NOW, ""], [2, "/b", NOW, ""]])
    assert mark is not None
    assert mark.address == "/c"


@pytest.mark.parametrize("referrer", ["", None, 7, ["http://intranet/"]], ids=repr)
def test_a_referrer_that_is_no_text_is_none(referrer: object) -> None:
    assert [view.referrer for view in told([1, "/", 0, referrer])] == [None]


def test_long_texts_are_cut() -> None:
    long = "/" + "x" * (TEXT_LIMIT + 100)
    mark = read(p=long, v=[])
    assert mark is not None
    assert mark.address == long[:TEXT_LIMIT]
    (view,) = told([1, long, 0, long])
    assert (view.address, view.referrer) == (long[:TEXT_LIMIT], long[:TEXT_LIMIT])


def test_a_header_beyond_the_limit_is_not_read() -> None:
    text = json.dumps(MARK)
    assert mark_of(text.ljust(MARK_LIMIT)) is not None
    assert mark_of(text.ljust(MARK_LIMIT + 1)) is None


def test_nesting_beyond_the_parsers_depth_is_no_mark() -> None:
    assert mark_of("[" * MARK_LIMIT) is None


def test_a_lone_surrogate_does_not_get_in() -> None:
    # JSON can write one; it cannot be hashed into an id, nor stored.
    mark = read(p="/\ud800", v=[[1, "/\udfff", 0, "\ud800"]])
    assert mark is not None
    assert (mark.address, mark.views[0].address, mark.views[0].referrer) == ("/\ufffd", "/\ufffd", "\ufffd")
    assert mark.view_id(mark.views[0])


@given(_ANY_TEXT)
def test_no_text_raises(text: str) -> None:
    mark_of(text)


@given(_JSON | _MARKS)
def test_no_document_raises_and_what_is_read_can_be_used(document: Any) -> None:
    mark = mark_of(json.dumps(document))
    if mark is None:
        return
    assert mark.address.startswith("/")
    assert 0 <= mark.action < 2**53
    assert len(mark.views) <= len(document.get("v", []))
    for view in mark.views:
        assert 0 <= view.age <= MAX_AGE
        assert view.address.startswith("/")
        assert view.navigation in (LOAD, INTERNAL)
        assert uuid.UUID(mark.view_id(view)).version == 5
        f"{mark.address}{view.address}{view.referrer}".encode()


def test_a_view_told_again_has_the_same_id() -> None:
    first, again = read(a=3), read(a=4, v=[[*LOADED[:2], 9_000, "", 1]])
    assert first is not None
    assert again is not None
    assert first.view_id(first.views[0]) == again.view_id(again.views[0])
    # A constant: workers of two versions must agree.
    assert first.view_id(first.views[0]) == str(
        uuid.uuid5(uuid.UUID("5d8f2f2e-6a3b-4c58-9a51-3c9e0f4f7a10"), "0123456789abcdef/1//orders?a=1")
    )


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"i": "fedcba9876543210"}, id="page-load"),
        pytest.param({"v": [[2, *LOADED[1:]]]}, id="number"),
        pytest.param({"v": [[1, "/", 120, ""]]}, id="address"),
    ],
)
def test_another_view_has_another_id(changes: dict[str, Any]) -> None:
    first, other = read(), read(**changes)
    assert first is not None
    assert other is not None
    assert first.view_id(first.views[0]) != other.view_id(other.views[0])
