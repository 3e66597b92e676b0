"""What an owner chose is checked once, and a wrong choice says what would be right."""

from __future__ import annotations

import functools
from typing import Any

import attrs
import pytest

from dash_user_tracker.counting import Counting
from dash_user_tracker.errors import ConfigurationError
from dash_user_tracker.policy import Policy
from dash_user_tracker.request import CustomEvent


class Provider:
    def __call__(self, environ: dict[str, Any]) -> Any:
        return environ["who"]


class AsyncProvider:
    async def __call__(self) -> Any: ...


async def coroutine() -> Any: ...


def of_two(environ: Any, other: Any) -> Any: ...


def of_a_keyword(*, request: Any) -> Any: ...


def of_the_environ_and_a_keyword(environ: Any, *, request: Any) -> Any: ...


@pytest.mark.parametrize(
    ("arguments", "error", "parts"),
    [
        pytest.param({"app_name": 7}, TypeError, ["app_name", "text or None", "7"], id="app_name"),
        pytest.param({"app_name": b"x"}, TypeError, ["app_name", "text or None", "b'x'"], id="app_name-bytes"),
        pytest.param({"release": 2.0}, TypeError, ["release", "text or None", "2.0"], id="release"),
        pytest.param({"environment": []}, TypeError, ["environment", "text or None", "[]"], id="environment"),
        pytest.param({"queue_size": 0}, ConfigurationError, ["queue_size", "at least 1", "0"], id="queue_size-zero"),
        pytest.param({"queue_size": -1}, ConfigurationError, ["queue_size", "at least 1", "-1"], id="queue_size-below"),
        pytest.param({"queue_size": True}, ConfigurationError, ["queue_size", "whole number", "True"], id="queue-bool"),
        pytest.param({"queue_size": 1.5}, ConfigurationError, ["queue_size", "whole number", "1.5"], id="queue-float"),
        pytest.param({"queue_size": "9"}, ConfigurationError, ["queue_size", "whole number", "'9'"], id="queue-text"),
        pytest.param(
            {"ignore_callback": "refresh"},
            ConfigurationError,
            ["ignore_callback", "list of names", "write ['refresh']"],
            id="ignore_callback-text",
        ),
        pytest.param(
            {"ignore_callback": 7},
            ConfigurationError,
            ["ignore_callback", "a callable or a list of names", "7"],
            id="ignore_callback-number",
        ),
        pytest.param(
            {"ignore_callback": ["refresh", of_two]},
            ConfigurationError,
            ["ignore_callback", "names, outputs or labels", "of_two", "@ignore_callback"],
            id="ignore_callback-list-of-functions",
        ),
        pytest.param(
            {"ignore_callback": [["refresh"]]},
            ConfigurationError,
            ["ignore_callback", "['refresh']"],
            id="ignore_callback-list-in-a-list",
        ),
        pytest.param(
            {"ignore_route": "/admin"},
            ConfigurationError,
            ["ignore_route", "list of rules", "write ['/admin']"],
            id="ignore_route-text",
        ),
        pytest.param(
            {"ignore_route": ["admin"]},
            ConfigurationError,
            ["ignore_route", "'/admin/<path:rest>'", "admin"],
            id="ignore_route-no-rule",
        ),
        pytest.param(
            {"ignore_route": 7}, ConfigurationError, ["ignore_route", "'/admin/<path:rest>'", "7"], id="ignore_route-7"
        ),
        pytest.param({"user_provider": "ana"}, TypeError, ["user_provider", "function", "'ana'"], id="provider-text"),
        pytest.param(
            {"user_provider": coroutine},
            TypeError,
            ["user_provider", "plain function", "coroutine"],
            id="provider-async",
        ),
        pytest.param(
            {"user_provider": functools.partial(coroutine)},
            TypeError,
            ["user_provider", "plain function", "coroutine"],
            id="provider-partial-of-async",
        ),
        pytest.param(
            {"user_provider": AsyncProvider()},
            TypeError,
            ["user_provider", "plain function", "AsyncProvider"],
            id="provider-async-object",
        ),
        pytest.param(
            {"user_provider": of_two},
            ConfigurationError,
            ["user_provider", "nothing or the WSGI environ", "2 positional", "of_two"],
            id="provider-of-two",
        ),
        pytest.param(
            {"user_provider": of_a_keyword},
            ConfigurationError,
            ["user_provider", "nothing or the WSGI environ", "1 keyword-only", "of_a_keyword"],
            id="provider-of-a-keyword",
        ),
        pytest.param(
            {"user_provider": of_the_environ_and_a_keyword},
            ConfigurationError,
            ["user_provider", "nothing or the WSGI environ", "of_the_environ_and_a_keyword"],
            id="provider-of-environ-and-keyword",
        ),
    ],
)
def test_a_wrong_argument_says_what_it_is_and_what_would_do(
    arguments: dict[str, Any], error: type[Exception], parts: list[str]
) -> None:
    with pytest.raises(error) as caught:
        Policy(**arguments)
    for part in parts:
        assert part in str(caught.value)


def test_a_visitor_key_that_is_none_does_not_get_into_the_message() -> None:
    with pytest.raises(TypeError, match="visitor_key must be bytes, a text or None, got a list") as caught:
        Policy(visitor_key=["hunter2"])  # type: ignore[arg-type]
    assert "hunter2" not in str(caught.value)


def test_everything_has_a_default_and_nothing_is_positional() -> None:
    assert Policy().asking() is None
    with pytest.raises(TypeError):
        Policy("Sales")  # type: ignore[misc]


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        Policy().app_name = "Sales"  # type: ignore[misc]


class Session:
    def user(self) -> str:
        return "ana"

    def user_of(self, environ: dict[str, Any]) -> Any:
        return environ["who"]


@pytest.mark.parametrize(
    "provider",
    [
        pytest.param(lambda: "ana", id="of-nothing"),
        pytest.param(lambda environ: environ["who"], id="of-the-environ"),
        pytest.param(lambda environ, /: environ["who"], id="of-the-environ-positional-only"),
        pytest.param(lambda user="ana": user, id="of-a-default"),
        pytest.param(lambda environ, other=1: environ["who"], id="of-the-environ-and-a-default"),
        pytest.param(lambda *args, **kwargs: "ana", id="of-anything"),
        pytest.param(lambda *, user="ana": user, id="of-a-keyword-with-default"),
        pytest.param(Session().user, id="method"),
        pytest.param(Session().user_of, id="method-of-the-environ"),
        pytest.param(Provider(), id="object"),
        pytest.param(functools.partial(lambda other, environ: environ["who"], 1), id="partial"),
    ],
)
def test_a_provider_may_take_nothing_or_the_environ(provider: Any) -> None:
    ask = Policy(user_provider=provider).asking()
    assert ask is not None
    assert ask({"who": "ana"}) == "ana"


def test_a_builtin_without_a_signature_is_asked_for_nothing() -> None:
    ask = Policy(user_provider=dict).asking()
    assert ask is not None
    assert ask({"who": "ana"}) == {}


def test_wishes_from_a_generator_hold_for_every_reader() -> None:
    # A generator is empty the second time, and the check of the rules was the first.
    policy = Policy(ignore_route=(rule for rule in ["/a"]), ignore_callback=(name for name in ["refresh"]))
    assert list(policy.ignore_route or ()) == ["/a"]  # type: ignore[arg-type]
    assert list(policy.ignore_callback or ()) == ["refresh"]  # type: ignore[arg-type]
    assert list(attrs.evolve(policy, release="2").ignore_route or ()) == ["/a"]  # type: ignore[arg-type]


@pytest.mark.parametrize("labels", [{}, {"release": "2.1"}, {"environment": "test"}, {"app_name": "Sales"}], ids=repr)
def test_labels_stand_in_every_event(labels: dict[str, str]) -> None:
    (event,) = Counting(Policy(**labels), None, pytest.fail)(CustomEvent("1", "export", 0.0, "{}"))
    assert {key: event.data[key] for key in ("app_name", "release", "environment") if key in event.data} == {
        "app_name": "",
        **labels,
    }
