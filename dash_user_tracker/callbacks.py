"""What a callback is called, why it ran, and whether its owner wants it counted."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Container, Iterable
from typing import Any, TypeVar, Union

import attrs

from .component_ids import Properties, text_of, without_hash
from .navigation import is_poll
from .request import CallbackRequest

_MARK = "__dash_user_tracker_ignore__"

INITIAL = "initial"
POLL = "poll"
TIMER = "timer"
NAVIGATION = "navigation"
CASCADE = "cascade"
USER = "user"
UNKNOWN = "unknown"

#: Causes that a person did not bring about; left out unless asked for.
NOISE = frozenset({TIMER, POLL})

_ADDRESS = (".pathname", ".href", ".search", ".hash")

Function = TypeVar("Function", bound=Callable[..., Any])
IgnoreCallback = Union[Callable[["CallbackName"], bool], Iterable[str], None]


def ignore_callback(function: Function) -> Function:
    """Leave a callback out of the usage data. Works on either side of ``@callback``.

    ::

        @callback(Output("clock", "children"), Input("tick", "n_intervals"))
        @ignore_callback
        def clock(n): ...
    """
    if not callable(function):
        raise TypeError(
            f"ignore_callback decorates a function, got {function!r}; "
            "to name callbacks, use Tracker(app, ignore_callback=[...])"
        )
    # A bound method has no attributes of its own.
    setattr(getattr(function, "__func__", function), _MARK, True)
    return function


class CallbackName(str):
    """A callback's function name, with its *output* id and its *label* (``module:function``)."""

    __slots__ = ("label", "output")

    output: str
    label: str

    def __new__(cls, name: str, *, output: str, label: str) -> CallbackName:
        self = super().__new__(cls, name)
        self.output = output
        self.label = label
        return self


@attrs.frozen
class Callback:
    """One callback of a Dash app."""

    name: CallbackName
    background: bool = False
    ignored: bool = False  # by the decorator
    inputs: Properties = attrs.field(factory=lambda: Properties(()), eq=False)

    @classmethod
    def of(cls, output: str, spec: dict[str, Any]) -> Callback:
        """The callback under the key *output* of ``Dash.callback_map``."""
        output = without_hash(output)
        layers = _layers(spec.get("callback"))
        function = layers[-1]
        name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None)
        if name is None or "<lambda>" in name:
            name = label = output
        else:
            name = name.replace("<locals>.", "")
            label = f"{getattr(function, '__module__', None) or '?'}:{name}"
            name = name.rpartition(".")[2]
        if "_pages_content" in output:
            name, label = "pages", "dash:pages"
        return cls(
            name=CallbackName(name, output=output, label=label),
            background=bool(spec.get("background") or spec.get("long")),
            ignored=any(getattr(layer, _MARK, False) for layer in layers),
            inputs=Properties(f"{text_of(item.get('id'))}.{item.get('property')}" for item in spec.get("inputs") or ()),
        )


def _layers(function: Any) -> list[Any]:
    """Dash's wrapper, the decorators and partials below it, and last the user's own function."""
    layers = [function]
    for _ in range(100):  # a chain that goes in a circle ends, too
        inner = function.func if isinstance(function, functools.partial) else getattr(function, "__wrapped__", None)
        if inner is None:
            break
        function = inner
        layers.append(function)
    if inspect.ismethod(function):
        layers.append(function.__func__)
    return layers


class IgnoredCallbacks:
    """The owner's wish, asked once for each callback.

    A callable that raises means "not ignored"; *failed* is told of it.
    """

    def __init__(self, wish: IgnoreCallback, failed: Callable[[Exception], None]) -> None:
        self._ask: Callable[[CallbackName], bool]
        if wish is None:
            self._ask = lambda _: False
        elif callable(wish):
            self._ask = wish
        else:
            names = frozenset(wish)
            self._ask = lambda name: not names.isdisjoint((str(name), name.output, name.label))
        self._failed = failed
        self._answers: dict[tuple[str, str], bool] = {}

    def __contains__(self, callback: Callback) -> bool:
        if callback.ignored:
            return True
        # The output alone will not do: several callbacks may write it (allow_duplicate).
        key = (callback.name.output, callback.name.label)
        if key not in self._answers:
            try:
                self._answers[key] = bool(self._ask(callback.name))
            except Exception as error:  # noqa: BLE001 - the owner's code
                self._failed(error)
                self._answers[key] = False
        return self._answers[key]


def cause_of(
    call: CallbackRequest,
    *,
    query: str,
    produced: Container[str],
    action: int | None = None,
    fresh: bool | None = None,
) -> str:
    """Why the callback ran.

    *produced* are the ``id.property`` that callbacks of the app write. A property can be
    both, written by a callback and changed by a person: the page script decides (*fresh*: the
    person acted a moment ago and no callback was answered since; *action* 0: they did not act
    at all). Both are None for a page without the script.
    """
    if is_poll(query):
        return POLL
    if not call.changed:
        return INITIAL
    kind = _kind_of(call.changed)
    if kind is not None:
        return kind
    if all(map(produced.__contains__, call.changed)):
        return USER if fresh else CASCADE
    return UNKNOWN if action == 0 else USER


def _kind_of(changed: tuple[str, ...]) -> str | None:
    """What the names of the properties alone tell, None where they tell nothing."""
    timers = 0
    for trigger in changed:
        if trigger.endswith(_ADDRESS):
            return NAVIGATION
        timers += trigger.endswith(".n_intervals")
    return TIMER if timers == len(changed) else None


def trigger_of(call: CallbackRequest) -> str | None:
    """The first ``id.property`` that triggered the run, None on an initial call."""
    return call.changed[0] if call.changed else None
