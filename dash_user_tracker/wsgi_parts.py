"""What a WSGI application is made of: the middleware and applications inside of it, as far as they can be seen."""

from __future__ import annotations

import functools
import types
from collections import deque
from collections.abc import Callable, Iterator, MutableMapping
from itertools import islice
from typing import Any

import attrs

#: Objects that are looked into; a stack has about ten.
_LIMIT = 500

#: Entries of one container that are looked at: mounts are few, and a table of files is none.
_ENTRIES = 50


@attrs.frozen(eq=False)
class Part:
    """Something inside of a WSGI application, and how to put another in its place there (None: impossible)."""

    value: Any
    replace: Callable[[Any], None] | None = None


def parts(root: Part) -> Iterator[Part]:
    """*root* and every reference from it to something that may be an application, the nearest first.

    Follows attributes, closures, the globals that a function names, ``partial``, bound
    methods and mounts in dicts and lists. Of a Flask application only ``wsgi_app`` is
    followed: its views are not around it. Calls nothing of what it finds.
    """
    known: dict[int, Any] = {}  # by id; holding the objects keeps the ids theirs
    waiting = deque([root])
    while waiting and len(known) < _LIMIT:
        part = waiting.popleft()
        yield part
        if id(part.value) not in known:
            known[id(part.value)] = part.value
            waiting.extend(child for child in _inside(part.value) if _may_hold(child.value))


def is_flask(value: object) -> bool:
    """*value* is a Flask application, told without importing Flask."""
    return hasattr(type(value), "wsgi_app") and "view_functions" in _attributes(value)


def _inside(value: Any) -> Iterator[Part]:
    if isinstance(value, types.FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield Part(cell.cell_contents, functools.partial(setattr, cell, "cell_contents"))
            except ValueError:  # an empty cell
                continue
        yield from _entries(value.__globals__, [name for name in value.__code__.co_names if name in value.__globals__])
        yield from _entries(value.__dict__)
    elif isinstance(value, types.MethodType):
        # The method is the application; what it belongs to need not be callable.
        yield from [Part(value.__self__)] if callable(value.__self__) else _inside(value.__self__)
    elif isinstance(value, functools.partial):
        yield from map(Part, (value.func, *value.args, *value.keywords.values()))
    elif isinstance(value, dict):
        yield from _entries(value)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(islice(value, _ENTRIES)):
            yield Part(item, functools.partial(value.__setitem__, index) if isinstance(value, list) else None)
    elif is_flask(value):
        attributes = _attributes(value)
        yield from _entries(attributes, ["wsgi_app"] if "wsgi_app" in attributes else [])
    else:
        attributes = _attributes(value)
        yield from _entries(attributes, list(attributes))
        yield from _slots(value)
        wrapped = _wrapped(value)
        if wrapped is not None:
            yield Part(wrapped, functools.partial(setattr, value, "__wrapped__"))


def _entries(mapping: MutableMapping[str, Any], names: list[str] | None = None) -> Iterator[Part]:
    for name in list(islice(mapping, _ENTRIES)) if names is None else names:
        yield Part(mapping[name], functools.partial(mapping.__setitem__, name))


def _attributes(value: object) -> dict[str, Any]:
    # Not vars(): a proxy, such as Flask's current_app, would answer for something else or raise.
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except (AttributeError, RuntimeError):
        return {}
    return attributes if isinstance(attributes, dict) else {}


def _slots(value: object) -> Iterator[Part]:
    for base in type(value).__mro__:
        for member in list(base.__dict__.values()):
            if isinstance(member, types.MemberDescriptorType):
                try:
                    yield Part(member.__get__(value), functools.partial(member.__set__, value))
                except AttributeError:  # never set
                    continue


def _wrapped(value: object) -> Any:
    """What a proxy such as wrapt's stands for; agents put those around applications."""
    try:
        return getattr(value, "__wrapped__", None)
    except Exception:  # noqa: BLE001 - a proxy to nothing may raise what it likes
        return None


def _may_hold(value: object) -> bool:
    kind = type(value)
    if issubclass(kind, (type, types.ModuleType, types.BuiltinFunctionType)):
        return False
    return callable(value) or issubclass(kind, (dict, list, tuple))
