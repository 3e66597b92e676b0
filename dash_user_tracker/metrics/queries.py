"""Questions as HTTP requests and back: the addresses below an endpoint that answer them.

Both sides use this module, so they cannot disagree. See ``docs/metrics.rst``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs

from ..codec import parse_timestamp
from .arguments import Member, Registry, Step, members_of
from .filters import Filters

ALL = "all"  # a limit of None

Values = Sequence[str]


@attrs.frozen
class Query:
    """A request below the endpoint: a GET with *params*, or a POST where there is a *body*."""

    address: str
    params: tuple[tuple[str, str], ...] = ()
    body: dict[str, Any] | None = None


@attrs.frozen
class _Argument:
    """How one argument is written into parameters, and read from the values of its own."""

    write: Callable[[Any], Values]
    read: Callable[[Values], Any]


@attrs.frozen
class Question:
    """A reading method's *address*, its arguments, and the kind of its answer (see `wire`)."""

    address: str
    arguments: Mapping[str, _Argument]
    answer: str
    body: tuple[str, ...] = ()  # arguments that are sent as JSON: they are long, or name people
    required: tuple[str, ...] = ()  # of the others
    filtered: bool = True  # takes filters


def _moment(text: str) -> datetime:
    moment = parse_timestamp(text)
    if moment.tzinfo is None:
        raise ValueError(f"a timestamp must have an offset (2025-01-30T00:00:00+00:00), got {text!r}")
    return moment


def _utc(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).isoformat()


def _compare(values: Values) -> Any:
    return values[0] if len(values) == 1 else tuple(map(_moment, values))


_TEXT = _Argument(lambda text: [text], lambda values: values[0])
_TEXTS = _Argument(list, list)
_STEPS = _Argument(lambda steps: [str(step) for step in steps], lambda values: list(map(Step.of, values)))
_NUMBER = _Argument(lambda number: [str(number)], lambda values: int(values[0]))
_MOMENT = _Argument(lambda moment: [_utc(moment)], lambda values: _moment(values[0]))
_WITHIN = _Argument(lambda within: [repr(within.total_seconds())], lambda values: timedelta(seconds=float(values[0])))
_LIMIT = _Argument(
    lambda limit: [ALL if limit is None else str(limit)],
    lambda values: None if values[0] == ALL else int(values[0]),
)
_COMPARE = _Argument(lambda wish: [wish] if isinstance(wish, str) else list(map(_utc, wish)), _compare)

_RANGE = {"start": _MOMENT, "end": _MOMENT}
_OVER_TIME = {"unit": _TEXT, "periods": _NUMBER, "end": _MOMENT, "tz": _TEXT}

#: The questions by method.
QUESTIONS: dict[str, Question] = {
    "get_summary": Question("/metrics/summary", {**_RANGE, "compare": _COMPARE}, "Summary"),
    "get_series": Question(
        "/metrics/series",
        {"metric": _TEXT, "interval": _TEXT, **_RANGE, "tz": _TEXT},
        "Rows[SeriesPoint]",
        required=("metric", "interval", "start", "end"),
    ),
    "get_breakdown": Question(
        "/metrics/breakdown",
        {"dimension": _TEXT, **_RANGE, "metrics": _TEXTS, "limit": _LIMIT},
        "Rows[BreakdownRow]",
        required=("dimension",),
    ),
    "get_active_users": Question("/metrics/active-users", {"end": _MOMENT, "tz": _TEXT}, "ActiveUsers"),
    "get_visits": Question("/metrics/visits", {**_RANGE, "limit": _LIMIT}, "Rows[Visit]"),
    "get_visit": Question(
        "/metrics/visit", {"visit_id": _TEXT}, "Timeline | None", required=("visit_id",), filtered=False
    ),
    "get_journeys": Question(
        "/metrics/journeys",
        {**_RANGE, "start_page": _TEXT, "depth": _NUMBER, "limit": _LIMIT},
        "Rows[JourneyRow]",
    ),
    "get_retention": Question("/metrics/retention", _OVER_TIME, "Rows[RetentionRow]"),
    "get_lifecycle": Question("/metrics/lifecycle", _OVER_TIME, "Rows[LifecycleRow]"),
    "get_funnel": Question(
        "/metrics/funnel", {"steps": _STEPS, **_RANGE, "within": _WITHIN}, "Rows[FunnelRow]", required=("steps",)
    ),
    "get_callback_stats": Question(
        "/metrics/callback-stats", {**_RANGE, "sort": _TEXT, "limit": _LIMIT}, "Rows[CallbackStats]"
    ),
    "get_errors": Question("/metrics/errors", {**_RANGE, "limit": _LIMIT}, "Rows[ErrorRow]"),
    "get_unused": Question("/metrics/unused", {"days": _NUMBER, "end": _MOMENT}, "Rows[UnusedRow]", body=("registry",)),
    "get_adoption": Question("/metrics/adoption", _RANGE, "Adoption", body=("roster",)),
    "export": Question("/export", {**_RANGE, "event": _TEXT}, "events"),
    "export_user": Question("/export-user", {}, "events", body=("user_id",), filtered=False),
    "erase_user": Question("/erase-user", {}, "deleted", body=("user_id",), filtered=False),
    "purge": Question("/purge", {}, "deleted", body=("before",), filtered=False),
}
#: The same by address.
METHODS = {question.address: method for method, question in QUESTIONS.items()}

_FILTERS = tuple(field.name for field in attrs.fields(Filters))
_AUTOMATED = {"true": True, "false": False, "any": None}


def query_of(method: str, arguments: Mapping[str, Any]) -> Query:
    """The request for a call of *method* with *arguments*, which are sound; None is left out, but for a limit."""
    question = QUESTIONS[method]
    params: list[tuple[str, str]] = []
    for name, argument in question.arguments.items():
        if arguments.get(name) is not None or (name == "limit" and name in arguments):
            params += [(name, text) for text in argument.write(arguments[name])]
    filters = arguments.get("filters")
    if filters is not None:
        params += filters.to_params().items()
    body = {name: _written(arguments[name]) for name in question.body} if question.body else None
    return Query(question.address, tuple(params), body)


def arguments_of(method: str, params: Mapping[str, Values], body: bytes | None) -> dict[str, Any]:
    """The arguments of a call of *method* in a request; ValueError where they are none.

    Parameters that are not known are refused: a filter that is misspelt would otherwise
    select everything. Whether the values make sense, the method itself checks.
    """
    question = QUESTIONS[method]
    unknown = set(params) - set(question.arguments) - set(_FILTERS if question.filtered else ())
    if unknown:
        raise ValueError(f"{question.address} has no parameter {', '.join(sorted(unknown))}")
    missing = set(question.required) - set(params)
    if missing:
        raise ValueError(f"{question.address} needs the parameter {', '.join(sorted(missing))}")
    found = {name: question.arguments[name].read(values) for name, values in params.items() if name not in _FILTERS}
    wanted: dict[str, Any] = {name: params[name][0] for name in _FILTERS if name in params}
    if wanted:
        if "automated" in wanted:
            if wanted["automated"] not in _AUTOMATED:
                raise ValueError(f"automated must be true, false or any, got {wanted['automated']!r}")
            wanted["automated"] = _AUTOMATED[wanted["automated"]]
        found["filters"] = Filters(**wanted)
    if question.body:
        document = json.loads(body or b"null")
        if not isinstance(document, dict) or set(document) != set(question.body):
            raise ValueError(f"{question.address} needs a JSON object with {', '.join(question.body)}")
        found.update({name: _read(name, document[name]) for name in question.body})
    return found


def _written(value: Any) -> Any:
    if isinstance(value, Registry):
        return attrs.asdict(value)
    if isinstance(value, datetime):
        return _utc(value)
    return value if isinstance(value, str) else [attrs.asdict(member) for member in members_of(value)]


def _read(name: str, value: Any) -> Any:
    if name == "registry":
        if not isinstance(value, dict) or not all(_are_texts(names) for names in value.values()):
            raise ValueError("registry must be an object of lists of texts: pages, callbacks, controls")
        return Registry(**{part: value.get(part, ()) for part in ("pages", "callbacks", "controls")})
    if name == "roster":
        if not isinstance(value, list) or not all(isinstance(member, dict) for member in value):
            raise ValueError('roster must be a list of objects {"user_id", "group"}')
        return [Member(member.get("user_id", ""), member.get("group")) for member in value]
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a text, got {value!r}")
    return _moment(value) if name == "before" else value


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
