"""What the owner of an app chose, checked once."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from .callbacks import IgnoreCallback
from .errors import ConfigurationError
from .request import Environ
from .routes import IgnoreRoute, ignore_rules


def _kept(wish: Any) -> Any:
    # A generator could be read once only, and more than one reader comes.
    return wish if callable(wish) or isinstance(wish, str) or not isinstance(wish, Iterable) else tuple(wish)


@attrs.frozen(kw_only=True)
class Policy:
    """The choices of a `Tracker` or `TrackerMiddleware`; see those for the meaning of each.

    Raises TypeError or `ConfigurationError` where one cannot work.
    """

    app_name: str | None = None
    user_provider: Callable[..., Any] | None = None
    ignore_route: IgnoreRoute = attrs.field(default=None, converter=_kept)
    ignore_callback: IgnoreCallback = attrs.field(default=None, converter=_kept)
    visitor_key: bytes | str | None = None
    release: str | None = None
    environment: str | None = None
    queue_size: int = 10_000
    spool: str | os.PathLike[str] | None = None
    durable: str | None = None

    def __attrs_post_init__(self) -> None:
        for name in ("app_name", "release", "environment"):
            text = getattr(self, name)
            if text is not None and not isinstance(text, str):
                raise TypeError(f"{name} must be a text or None, got {text!r}")
        if self.visitor_key is not None and not isinstance(self.visitor_key, (bytes, str)):
            raise TypeError(f"visitor_key must be bytes, a text or None, got a {type(self.visitor_key).__name__}")
        if isinstance(self.queue_size, bool) or not isinstance(self.queue_size, int) or self.queue_size < 1:
            raise ConfigurationError(f"queue_size must be a whole number of at least 1, got {self.queue_size!r}")
        if self.spool is not None and not (isinstance(self.spool, (str, os.PathLike)) and os.fspath(self.spool)):
            raise ConfigurationError(f"spool must be the path of a folder or None, got {self.spool!r}")
        if self.durable not in (None, "request"):
            raise ConfigurationError(f"durable must be 'request' or None, got {self.durable!r}")
        if self.durable and self.spool is None:
            raise ConfigurationError("durable='request' needs a folder to write to: give spool='/var/lib/app/usage'")
        if isinstance(self.ignore_callback, str):
            raise ConfigurationError(
                f"ignore_callback must be a callable or a list of names, got the text {self.ignore_callback!r}: "
                f"write [{self.ignore_callback!r}]"
            )
        if self.ignore_callback is not None and not callable(self.ignore_callback):
            self._check_names(self.ignore_callback)
        ignore_rules(self.ignore_route)
        self.asking()

    def _check_names(self, names: object) -> None:
        if not isinstance(names, tuple):
            raise ConfigurationError(f"ignore_callback must be a callable or a list of names, got {names!r}")
        for name in names:
            if not isinstance(name, str):
                raise ConfigurationError(
                    f"ignore_callback must hold names, outputs or labels of callbacks as texts, got {name!r}; "
                    "to leave out a function itself, decorate it with @ignore_callback"
                )

    def asking(self) -> Callable[[Environ], Any] | None:
        """The user provider as a function of the environ, whether it takes one or nothing; None for the default."""
        provider = self.user_provider
        if provider is None:
            return None
        if not callable(provider):
            raise TypeError(f"user_provider must be a function that returns a user, got {provider!r}")
        if inspect.iscoroutinefunction(provider) or inspect.iscoroutinefunction(type(provider).__call__):
            raise TypeError(f"user_provider must be a plain function, got the coroutine function {provider!r}")
        required = _required_arguments(provider)
        if required not in ([], ["positional"]):
            raise ConfigurationError(
                "user_provider must take nothing or the WSGI environ, "
                f"got a function that needs {len(required)} {required[-1]} argument(s): {provider!r}"
            )
        return provider if required else lambda _: provider()


def _required_arguments(function: Callable[..., Any]) -> list[str]:
    """The kind of each argument that has no default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    kinds = {
        inspect.Parameter.POSITIONAL_ONLY: "positional",
        inspect.Parameter.POSITIONAL_OR_KEYWORD: "positional",
        inspect.Parameter.KEYWORD_ONLY: "keyword-only",
    }
    return [kinds[item.kind] for item in parameters if item.default is item.empty and item.kind in kinds]
