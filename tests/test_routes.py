"""Paths by their template, and paths their owner wants left out."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dash_user_tracker.errors import ConfigurationError
from dash_user_tracker.routes import IgnoredRoutes, ignore_rules, match_route, route_matcher

#: As `dash.page_registry.values()` has them.
PAGES = [
    {"path": "/", "path_template": None},
    {"path": "/orders/new", "path_template": None},
    {"path": "/orders/none", "path_template": "/orders/<order_id>"},
    {"path": "/a.b", "path_template": None},
    {"path": "/none/v/none", "path_template": "/<shop>/v/<item>"},
]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        pytest.param("/", "/", id="home"),
        pytest.param("", "/", id="empty"),
        pytest.param("/orders/7", "/orders/<order_id>", id="variable"),
        pytest.param("/orders/7/", "/orders/<order_id>", id="trailing-slash"),
        pytest.param("/orders/new", "/orders/<order_id>", id="variables-go-first-as-in-dash"),
        pytest.param("/orders/caf\u00e9 au lait", "/orders/<order_id>", id="decoded-text"),
        pytest.param("/north/v/7", "/<shop>/v/<item>", id="two-variables"),
        pytest.param("/a.b", "/a.b", id="dot"),
        pytest.param("/axb", None, id="a-dot-is-no-wildcard"),
        pytest.param("/orders", None, id="parent-of-a-variable"),
        pytest.param("/unknown", None, id="unknown"),
        pytest.param("/old/orders/7", None, id="deeper"),
    ],
)
def test_a_page_is_known_by_its_template(path: str, template: str | None) -> None:
    assert match_route(route_matcher(PAGES), path) == template


def test_the_empty_registry_knows_no_page() -> None:
    assert match_route(route_matcher([]), "/") is None


def test_odd_pages_are_left_out() -> None:
    assert route_matcher([{}, {"path": None}, {"path_template": ""}]) == []


@given(st.text())
def test_a_plain_page_matches_itself_whatever_is_in_its_name(name: str) -> None:
    path = "/" + name
    assert match_route(route_matcher([{"path": path}]), path) == path


# -- ignore_route -------------------------------------------------------------------------


def ignored(wish: Any) -> IgnoredRoutes:
    return IgnoredRoutes(wish, pytest.fail)


@pytest.mark.parametrize(
    ("wish", "path", "left_out"),
    [
        pytest.param(None, "/", False, id="no-wish"),
        pytest.param([], "/", False, id="empty-list"),
        pytest.param(["/admin"], "/admin", True, id="plain"),
        pytest.param(["/admin"], "/admin/", True, id="plain-with-slash"),
        pytest.param(["/admin/"], "/admin", True, id="rule-with-slash"),
        pytest.param(["/admin"], "/admin/users", False, id="plain-is-not-what-is-below"),
        pytest.param(["/admin"], "/administration", False, id="same-letters"),
        pytest.param(["/admin/<path:rest>"], "/admin/users/7", True, id="path"),
        pytest.param(["/admin/<path:rest>"], "/admin", False, id="path-is-not-empty"),
        pytest.param(["/orders/<int:id>"], "/orders/7", True, id="int"),
        pytest.param(["/orders/<int:id>"], "/orders/new", False, id="int-refuses-text"),
        pytest.param(["/orders/<id>/edit"], "/orders/7/edit", True, id="variable-inside"),
        pytest.param(["/x", "/y"], "/y", True, id="any-of-several"),
        pytest.param(["/caf\u00e9"], "/caf\u00e9", True, id="decoded-text"),
        pytest.param(("/x",), "/x", True, id="tuple"),
        pytest.param((rule for rule in ["/x"]), "/x", True, id="generator"),
        pytest.param(["/"], "/", True, id="home"),
        pytest.param(["/"], "/x", False, id="home-alone"),
        pytest.param(lambda path: path.startswith("/h"), "/health", True, id="callable"),
        pytest.param(lambda path: path.startswith("/h"), "/", False, id="callable-that-declines"),
        pytest.param(lambda path: None, "/", False, id="callable-without-an-answer"),
    ],
)
def test_rules_are_werkzeugs(wish: Any, path: str, left_out: bool) -> None:
    routes = ignored(wish)
    assert [path in routes for _ in range(2)] == [left_out, left_out]


@given(st.text())
def test_no_path_makes_a_rule_raise(path: str) -> None:
    assert ("/admin/" + path in ignored(["/never/<int:n>", "/admin/x/<path:p>"])) in (True, False)


def test_a_callable_that_raises_means_not_ignored_and_is_told_each_time() -> None:
    told: list[Exception] = []

    def wish(path: str) -> bool:
        raise LookupError(path)

    routes = IgnoredRoutes(wish, told.append)
    assert ["/a" in routes, "/b" in routes] == [False, False]
    assert [error.args for error in told] == [("/a",), ("/b",)]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(["admin"], id="no-slash"),
        pytest.param(["/<wrong:x>"], id="unknown-converter"),
        pytest.param(["/ok", "/<int:x"], id="bracket-left-open"),
        pytest.param(["/<x>/<x>"], id="variable-twice"),
        pytest.param([7], id="number"),
        pytest.param([None], id="none"),
        pytest.param([["/admin"]], id="list-in-a-list"),
        pytest.param([re.compile("/admin")], id="regular-expression"),
        pytest.param(7, id="no-list"),
        pytest.param(True, id="bool"),
        pytest.param("/admin", id="text"),
        pytest.param(b"/admin", id="bytes"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_value(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^ignore_route must .*(/admin/<path:rest>|write \[)") as caught:
        ignore_rules(wrong)
    value = list(wrong) if isinstance(wrong, bytes) else wrong
    assert repr(value) in str(caught.value)


def test_no_path_keeps_the_matching_busy() -> None:
    matcher = route_matcher([{"path_template": "/a/<x>/<y>/<z>/edit", "path": "/a/1/2/3/edit"}])
    started = time.process_time()
    assert match_route(matcher, "/a" + "/" * 20_000 + "x") is None
    assert time.process_time() - started < 0.5
