"""What the owner of an app chose, checked once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import attrs

from .callbacks import IgnoreCallback
from .errors import ConfigurationError
from .request import Environ
from .routes import IgnoreRoute, ignore_rules


@attrs.frozen(kw_only=True)
class Policy:
    """The choices of a `Tracker` or `TrackerMiddleware`; see those for the meaning of each.

    Raises TypeError or `ConfigurationError` where one cannot work.
    """

    app_name: str | None = None
    user_provider: Callable[..., Any] | None = None
    ignore_route: IgnoreRoute = None
    ignore_callback: IgnoreCallback = None
    visitor_key: bytes | str | None = None
    release: str | None = None
    environment: str | None = None
    queue_size: int = 10_000

    def __attrs_post_init__(self) -> None:
        for name in ("app_name", "release", "environment"):
            text = getattr(self, name)
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{name} must be a text or None, got {text!r}")
        if self.visitor_key is not None and not isinstance(self.visitor_key, (bytes, str)):
            raise TypeError(f"visitor_key must be bytes, a text or None, got a {type(self.visitor_key).__name__}")
        if isinstance(self.queue_size, bool) or not isinstance(self.queue_size, int) or self.queue_size < 1:
            raise ConfigurationError(f"queue_size must be a whole number of at least 1, got {self.queue_size!r}")
        if isinstance(self.ignore_callback, str):
            raise ConfigurationError(
                f"ignore_callback must be a callable or a list of names, got the text {self.ignore_callback!r}: "
                f"write [{self.ignore_callback!r}]"
            )
        ignore_rules(self.ignore_route)
        self.asking()

    def asking(self) -> Callable[[Environ], Any] | None:
        """The user provider as a function of the environ, whether it takes one or nothing; None for the default."""
        provider = self.user_provider
        if provider is None:
            return None
        if not callable(provider):
            raise TypeError(f"user_provider must be a function that returns a user, got {provider!r}")
        if inspect.iscoroutinefunction(provider):
            raise TypeError(f"user_provider must be a plain function, got the coroutine function {provider!r}")
        required = _required_arguments(provider)
        if required > 1:
            raise ConfigurationError(
                f"user_provider must take nothing or the WSGI environ, got a function that needs {required} arguments"
            )
        return provider if required else lambda _: provider()


def _required_arguments(function: Callable[..., Any]) -> int:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return 0
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(item.default is item.empty and item.kind in positional for item in parameters)
