"""Paths by their template, and paths their owner wants left out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union

from werkzeug.routing import Map, Rule

from .errors import ConfigurationError

IgnoreRoute = Union[Callable[[str], bool], Iterable[str], None]

_VARIABLE = re.compile(r"<.*?>")

#: A page's template and the literal texts between its variables; one text for a plain path.
Route = tuple[str, tuple[str, ...]]


def route_matcher(pages: Iterable[Mapping[str, Any]]) -> list[Route]:
    """The routes of ``dash.page_registry.values()``, those with variables first, as Dash matches them."""
    templates: list[Route] = []
    plain: list[Route] = []
    for page in pages:
        template, path = page.get("path_template"), page.get("path")
        if isinstance(template, str) and template:
            templates.append((template, tuple(_VARIABLE.split(template.strip("/")))))
        elif isinstance(path, str):
            plain.append((path, (path.strip("/"),)))
    return templates + plain


def match_route(matcher: Iterable[Route], path: str) -> str | None:
    """The template of the page at the app-relative decoded *path*, None for an unknown page.

    A variable stands for any text (Dash makes it ``(.*)``). The path is a client's, so the
    texts are looked for from left to right, each once: a regular expression with several
    variables can be made to go back for minutes.
    """
    bare = path.strip("/")
    for template, texts in matcher:
        if _matches(texts, bare):
            return template
    return None


def _matches(texts: tuple[str, ...], path: str) -> bool:
    if len(texts) == 1:
        return path == texts[0]
    first, last = texts[0], texts[-1]
    if not path.startswith(first) or not path.endswith(last) or len(path) < len(first) + len(last):
        return False
    position, end = len(first), len(path) - len(last)
    for text in texts[1:-1]:
        position = path.find(text, position, end)
        if position < 0:
            return False
        position += len(text)
    return True


class IgnoredRoutes:
    """The owner's wish, asked with app-relative decoded paths.

    A callable that raises means "not ignored"; *failed* is told of it.
    """

    def __init__(self, wish: IgnoreRoute, failed: Callable[[Exception], None]) -> None:
        self._ask = ignore_rules(wish)
        self._failed = failed

    def __contains__(self, path: str) -> bool:
        try:
            return bool(self._ask(path))
        except Exception as error:  # noqa: BLE001 - the owner's code
            self._failed(error)
            return False


def ignore_rules(wish: IgnoreRoute) -> Callable[[str], bool]:
    """*wish* as a callable; `ConfigurationError` where it holds what is no werkzeug rule."""
    if wish is None:
        return lambda _: False
    if callable(wish):
        return wish
    if isinstance(wish, str):
        raise ConfigurationError(
            f"ignore_route must be a callable or a list of rules, got the text {wish!r}: write [{wish!r}]"
        )
    try:
        rules = list(wish)
    except TypeError:
        raise ConfigurationError(
            f"ignore_route must be a callable or a list of werkzeug rules such as '/admin/<path:rest>', got {wish!r}"
        ) from None
    try:
        table = Map([Rule(rule, endpoint=rule) for rule in rules], strict_slashes=False, merge_slashes=False)
    except (ValueError, LookupError, TypeError, AttributeError, SyntaxError) as error:
        raise ConfigurationError(
            f"ignore_route must hold werkzeug rules such as '/admin/<path:rest>', got {rules!r}: {error}"
        ) from error
    adapter = table.bind("")
    return lambda path: adapter.test(path, method="GET")
