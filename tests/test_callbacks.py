"""What a callback is called, why it ran, and whether its owner wants it counted."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import dash
import pytest
from dash import Input, Output, html

from dash_user_tracker.callbacks import (
    CASCADE,
    INITIAL,
    NAVIGATION,
    NOISE,
    POLL,
    TIMER,
    USER,
    Callback,
    CallbackName,
    IgnoredCallbacks,
    cause_of,
    ignore_callback,
    trigger_of,
)
from dash_user_tracker.component_ids import outputs_of
from dash_user_tracker.request import CallbackRequest

HASH = "0123456789abcdef" * 4


def plain(n: Any) -> Any:
    return n


def with_prefix(prefix: str, n: Any) -> str:
    return f"{prefix}{n}"


class Panel:
    def update(self, n: Any) -> Any:
        return n

    @staticmethod
    def static(n: Any) -> Any:
        return n

    def __call__(self, n: Any) -> Any:
        return n


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


def registered(function: Callable[..., Any], output: Any = None, **options: Any) -> Callback:
    """*function* as a callback of a real Dash app, as the tracker finds it."""
    app = dash.Dash("tests")
    app.callback(output or Output("out", "children"), Input("in", "value"), **options)(function)
    ((key, spec),) = app.callback_map.items()
    return Callback.of(key, spec)


def local() -> Callable[..., Any]:
    def inner(n: Any) -> Any:
        return n

    return inner


M = __name__


@pytest.mark.parametrize(
    ("function", "name", "label"),
    [
        pytest.param(plain, "plain", f"{M}:plain", id="function"),
        pytest.param(local(), "inner", f"{M}:local.inner", id="function-in-a-function"),
        pytest.param(Panel().update, "update", f"{M}:Panel.update", id="bound-method"),
        pytest.param(Panel.static, "static", f"{M}:Panel.static", id="static-method"),
        pytest.param(functools.partial(with_prefix, "x"), "with_prefix", f"{M}:with_prefix", id="partial"),
        pytest.param(
            functools.partial(functools.partial(with_prefix), "x"), "with_prefix", f"{M}:with_prefix", id="two-partials"
        ),
        pytest.param(functools.partial(Panel().update), "update", f"{M}:Panel.update", id="partial-of-a-method"),
        pytest.param(decorated(plain), "plain", f"{M}:plain", id="decorated"),
        pytest.param(decorated(Panel().update), "update", f"{M}:Panel.update", id="decorated-method"),
        pytest.param(
            decorated(functools.partial(with_prefix, "x")), "with_prefix", f"{M}:with_prefix", id="decorated-partial"
        ),
        pytest.param(lambda n: n, "out.children", "out.children", id="lambda-has-its-output"),
        pytest.param(Panel(), "out.children", "out.children", id="object-has-its-output"),
    ],
)
def test_a_callback_is_called_after_the_users_function(function: Callable[..., Any], name: str, label: str) -> None:
    callback = registered(function)
    assert (str(callback.name), callback.name.label, callback.name.output) == (name, label, "out.children")


def test_a_name_is_a_text() -> None:
    name = registered(plain).name
    assert isinstance(name, str)
    assert name == "plain"
    assert name.startswith("pl")


@pytest.mark.parametrize(
    ("key", "output"),
    [
        pytest.param("out.children", "out.children", id="single"),
        pytest.param(f"out.children@{HASH}", "out.children", id="sha256"),
        pytest.param(f"out.children@{HASH[:32]}", "out.children", id="md5-of-dash-2"),
        pytest.param(f"..a.children@{HASH}...b.data@{HASH}..", "..a.children...b.data..", id="several"),
        pytest.param("mail@home.children", "mail@home.children", id="at-sign-of-an-id"),
        pytest.param('{"ix":["MATCH"]}.children', '{"ix":["MATCH"]}.children', id="pattern"),
    ],
)
def test_the_hash_of_a_duplicate_output_is_cut(key: str, output: str) -> None:
    assert Callback.of(key, {"callback": plain}).name.output == output


def test_a_duplicate_output_of_dash_is_cut() -> None:
    duplicate = Output("out", "children", allow_duplicate=True)
    assert registered(plain, duplicate, prevent_initial_call=True).name.output == "out.children"


def test_the_router_of_dash_pages_has_a_name_of_its_own() -> None:
    callback = Callback.of(".._pages_content.children..._pages_store.data..", {"callback": plain})
    assert (str(callback.name), callback.name.label) == ("pages", "dash:pages")


def test_a_callback_without_a_function_has_its_output() -> None:
    assert Callback.of("out.children", {}).name.label == "out.children"


def test_decorators_that_go_in_a_circle_end() -> None:
    one, other = local(), local()
    one.__wrapped__, other.__wrapped__ = other, one  # type: ignore[attr-defined]
    assert Callback.of("out.children", {"callback": one}).name == "inner"


@pytest.mark.parametrize(
    ("spec", "background"),
    [({"background": {"interval": 1}}, True), ({"long": {"interval": 1}}, True), ({"background": None}, False)],
    ids=["dash-4", "dash-2", "none"],
)
def test_background_callbacks_are_told(spec: dict[str, Any], background: bool) -> None:
    assert Callback.of("out.children", spec).background is background


# -- the decorator ------------------------------------------------------------------------


def inside(register: Any) -> None:
    @register
    @ignore_callback
    def function(n: Any) -> Any: ...


def outside(register: Any) -> None:
    @ignore_callback
    @register
    def function(n: Any) -> Any: ...


def inside_above_a_decorator(register: Any) -> None:
    @register
    @ignore_callback
    @decorated
    def function(n: Any) -> Any: ...


def inside_below_a_decorator(register: Any) -> None:
    @register
    @decorated
    @ignore_callback
    def function(n: Any) -> Any: ...


def outside_with_a_decorator(register: Any) -> None:
    # The mark is then on neither end of the chain of wrappers.
    @ignore_callback
    @register
    @decorated
    def function(n: Any) -> Any: ...


def on_a_method(register: Any) -> None:
    class Board:
        def update(self, n: Any) -> Any: ...

    register(ignore_callback(Board().update))


def in_a_class(register: Any) -> None:
    class Board:
        @ignore_callback
        def update(self, n: Any) -> Any: ...

    register(Board().update)


def on_a_partial(register: Any) -> None:
    register(ignore_callback(functools.partial(lambda prefix, n: n, "x")))


def nowhere(register: Any) -> None:
    @register
    @decorated
    def function(n: Any) -> Any: ...


@pytest.mark.parametrize("is_global", [False, True], ids=["app.callback", "dash.callback"])
@pytest.mark.parametrize(
    ("define", "ignored"),
    [
        (inside, True),
        (outside, True),
        (inside_above_a_decorator, True),
        (inside_below_a_decorator, True),
        (outside_with_a_decorator, True),
        (on_a_method, True),
        (in_a_class, True),
        (on_a_partial, True),
        (nowhere, False),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_decorator_works_on_either_side(define: Callable[[Any], None], ignored: bool, is_global: bool) -> None:
    app = dash.Dash("tests")
    app.layout = html.Div()
    register = dash.callback if is_global else app.callback
    define(register(Output("out", "children"), Input("in", "value")))
    app.server.test_client().get("/_dash-layout")  # moves the global callbacks into the app
    ((key, spec),) = app.callback_map.items()
    callback = Callback.of(key, spec)
    assert callback.ignored is ignored
    assert (callback in IgnoredCallbacks(None, pytest.fail)) is ignored


def test_the_decorator_gives_the_function_back() -> None:
    function = local()
    assert ignore_callback(function) is function


@pytest.mark.parametrize("wrong", ["app:refresh", ["refresh"], None], ids=repr)
def test_the_decorator_refuses_names(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"ignore_callback decorates a function, got .*ignore_callback=\[") as caught:
        ignore_callback(wrong)
    assert repr(wrong) in str(caught.value)


# -- IgnoredCallbacks ---------------------------------------------------------------------


def named(name: str = "refresh", output: str = "clock.children", label: str = "app:refresh") -> Callback:
    return Callback(CallbackName(name, output=output, label=label))


@pytest.mark.parametrize(
    ("wish", "ignored"),
    [
        pytest.param(None, False, id="nothing"),
        pytest.param([], False, id="empty-list"),
        pytest.param(["refresh"], True, id="name"),
        pytest.param(["app:refresh"], True, id="label"),
        pytest.param(["clock.children"], True, id="output"),
        pytest.param(("other", "refresh"), True, id="tuple"),
        pytest.param({"refresh"}, True, id="set"),
        pytest.param((name for name in ["refresh"]), True, id="generator"),
        pytest.param(["refres", "app", "clock"], False, id="parts-do-not-match"),
        pytest.param(lambda name: name == "refresh", True, id="callable-of-the-name"),
        pytest.param(lambda name: name.output == "clock.children", True, id="callable-of-the-output"),
        pytest.param(lambda name: name.label.startswith("app:"), True, id="callable-of-the-label"),
        pytest.param(lambda name: False, False, id="callable-that-declines"),
        pytest.param(lambda name: None, False, id="callable-without-an-answer"),
        pytest.param(lambda name: "yes", True, id="callable-with-a-true-answer"),
    ],
)
def test_a_wish_matches_name_label_or_output(wish: Any, ignored: bool) -> None:
    callbacks = IgnoredCallbacks(wish, pytest.fail)
    assert [named() in callbacks for _ in range(2)] == [ignored, ignored]


def test_a_callable_is_asked_once_for_each_callback() -> None:
    asked: list[str] = []
    callbacks = IgnoredCallbacks(lambda name: asked.append(name.label), pytest.fail)  # type: ignore[arg-type,func-returns-value]
    for _ in range(3):
        assert named() not in callbacks
        assert named("stop", "b.children", "app:stop") not in callbacks
    assert asked == ["app:refresh", "app:stop"]


@pytest.mark.parametrize("order", [1, -1], ids=["ignored-first", "ignored-last"])
def test_two_callbacks_that_write_one_output_are_asked_about_each(order: int) -> None:
    pair = [named("clock", label="app:clock"), named("reset", label="app:reset")][::order]
    callbacks = IgnoredCallbacks(["clock"], pytest.fail)
    assert {str(callback.name): callback in callbacks for callback in pair} == {"clock": True, "reset": False}


def test_a_callable_that_raises_means_not_ignored_and_is_told_once() -> None:
    told: list[Exception] = []

    def wish(name: CallbackName) -> bool:
        raise LookupError(name)

    callbacks = IgnoredCallbacks(wish, told.append)
    assert [named() in callbacks for _ in range(3)] == [False, False, False]
    assert [type(error) for error in told] == [LookupError]


def test_a_decorated_callback_is_ignored_without_asking() -> None:
    callbacks = IgnoredCallbacks(lambda _: pytest.fail("asked"), pytest.fail)
    assert Callback(named().name, ignored=True) in callbacks


# -- causes -------------------------------------------------------------------------------

PRODUCED = frozenset({"store.data", '{"ix":0}.value'})


@pytest.mark.parametrize(
    ("changed", "query", "cause"),
    [
        pytest.param([], "", INITIAL, id="nothing-changed"),
        pytest.param([], "cacheKey=1&job=2", POLL, id="poll-of-an-initial-call"),
        pytest.param(["btn.n_clicks"], "cacheKey=1&job=2", POLL, id="poll-repeats-the-first-changes"),
        pytest.param(["btn.n_clicks"], "oldJob=2", USER, id="started-again"),
        pytest.param(["tick.n_intervals"], "", TIMER, id="timer"),
        pytest.param(["tick.n_intervals", "tock.n_intervals"], "", TIMER, id="two-timers"),
        pytest.param(["tick.n_intervals", "btn.n_clicks"], "", USER, id="timer-and-button"),
        pytest.param(["url.pathname"], "", NAVIGATION, id="pathname"),
        pytest.param(["url.href"], "", NAVIGATION, id="href"),
        pytest.param(["url.search"], "", NAVIGATION, id="search"),
        pytest.param(["url.hash"], "", NAVIGATION, id="hash"),
        pytest.param(["url.pathname", "store.data"], "", NAVIGATION, id="pathname-and-store"),
        pytest.param(["store.data"], "", CASCADE, id="written-by-a-callback"),
        pytest.param(["store.data", '{"ix":0}.value'], "", CASCADE, id="several-written-by-callbacks"),
        pytest.param(["store.data", "btn.n_clicks"], "", USER, id="store-and-button"),
        pytest.param(["btn.n_clicks"], "", USER, id="button"),
    ],
)
def test_the_cause_of_a_run_follows_from_what_changed(changed: list[str], query: str, cause: str) -> None:
    call = CallbackRequest("out.children", tuple(changed))
    assert cause_of(call, query=query, produced=PRODUCED) == cause
    assert trigger_of(call) == (changed[0] if changed else None)


def test_timers_and_polls_are_noise() -> None:
    assert frozenset({TIMER, POLL}) == NOISE


@pytest.mark.parametrize(
    ("key", "outputs"),
    [
        pytest.param("a.children", ["a.children"], id="single"),
        pytest.param("..a.children...b.data..", ["a.children", "b.data"], id="several"),
        pytest.param("..a.children..", ["a.children"], id="list-of-one"),
        pytest.param(f"a.children@{HASH}", ["a.children"], id="duplicate"),
        pytest.param(f"..a.children@{HASH}...b.data..", ["a.children", "b.data"], id="duplicate-among-several"),
        pytest.param('{"ix":["MATCH"]}.value', ['{"ix":["MATCH"]}.value'], id="pattern"),
        pytest.param(HASH, [], id="no-output"),
    ],
)
def test_the_outputs_of_a_key_are_listed(key: str, outputs: list[str]) -> None:
    assert outputs_of(key) == outputs
