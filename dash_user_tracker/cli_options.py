"""Options that several commands have, and what they mean."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Callable, TypeVar

import click

from .codec import parse_timestamp
from .metrics.filters import Filters
from .metrics.periods import zone_of

F = TypeVar("F", bound=Callable[..., Any])

#: Days that a report covers unless asked otherwise.
DEFAULT_DAYS = 30

_AUTOMATED = {"false": False, "true": True, "any": None}


def store_option(function: F) -> F:
    """``db`` and ``api_key``."""
    function = click.option(
        "--api-key",
        envvar="DASH_USER_TRACKER_API_KEY",
        metavar="KEY",
        help="For an endpoint; better given as DASH_USER_TRACKER_API_KEY, out of the sight of `ps`.",
    )(function)
    return click.option(
        "--db",
        required=True,
        envvar="DASH_USER_TRACKER_DB",
        metavar="URL",
        help="sqlite:///usage.db, postgresql://..., mysql://... or the http(s):// address of an endpoint. "
        "Also DASH_USER_TRACKER_DB, for a URL with a password.",
    )(function)


def range_options(function: F) -> F:
    """``start`` and ``end`` as typed, and ``tz``; see `moment_of`."""
    function = click.option(
        "--tz", default="UTC", show_default=True, metavar="ZONE", callback=_zone, help="Time zone, e.g. Europe/Berlin."
    )(function)
    function = click.option(
        "--end", metavar="TIME", callback=_moment, help="First moment no longer covered, e.g. 2025-02-01."
    )(function)
    return click.option(
        "--start",
        metavar="TIME",
        callback=_moment,
        help="First moment covered, e.g. 2025-01-30; in --tz unless it has an offset.",
    )(function)


def filter_options(*, automated: str) -> Callable[[F], F]:
    """An option for each of `Filters`; *automated* is the default of that one. See `filters_of`."""

    def decorate(function: F) -> F:
        function = click.option(
            "--automated",
            type=click.Choice(list(_AUTOMATED)),
            default=automated,
            show_default=True,
            help="Robots, probes and test clients: without them, only them, or both.",
        )(function)
        for name, what in reversed(_FILTERS):
            function = click.option(f"--{name}", metavar="NAME", help=f"Only {what}.")(function)
        return function

    return decorate


_FILTERS = (
    ("app", "the app of this app_name"),
    ("page", "this page: its route, or its path where it has none"),
    ("path", "this path"),
    ("route", "this route, e.g. '/orders/<id>'"),
    ("user", "this user_id; 'anonymous' is everybody without a log-in"),
    ("group", "people of this group"),
    ("release", "this release of the app"),
    ("environment", "this environment"),
    ("browser", "this browser, e.g. Firefox"),
)


def filters_of(options: dict[str, Any]) -> Filters:
    """The `Filters` among the *options* of a command, which loses them."""
    automated = _AUTOMATED[options.pop("automated")]
    given = {name: options.pop(name) for name, _ in _FILTERS}
    for name, value in given.items():
        if value == "":  # an unset variable of a script must not select everybody
            raise click.BadParameter("must not be empty; leave it out for all", param_hint=f"--{name}")
    return Filters(automated=automated, **given)


def format_option(*names: str) -> Callable[[F], F]:
    return click.option(
        "--format",
        "file_format",
        type=click.Choice(names),
        help="By default what the name of the file ends in (also with .gz behind it), else jsonl.",
    )


def moment_of(naive_or_aware: datetime | None, tz: str) -> datetime | None:
    """A moment as it was typed, in UTC; one without an offset is on the wall clock of *tz*."""
    if naive_or_aware is None:
        return None
    if naive_or_aware.tzinfo is None:
        naive_or_aware = naive_or_aware.replace(tzinfo=zone_of(tz))
    try:
        return naive_or_aware.astimezone(timezone.utc)
    except OverflowError:
        raise click.UsageError(f"{naive_or_aware.isoformat()} is too far away to be counted with") from None


def check_order(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and end < start:
        raise click.UsageError(f"--end must not be before --start, got {start.isoformat()} to {end.isoformat()}")


def range_of(
    start: datetime | None, end: datetime | None, days: int | None, tz: str, now: datetime
) -> tuple[datetime, datetime]:
    """The range that the options mean, in UTC: *days* local days, of which the last may be under way."""
    since, until = moment_of(start, tz), moment_of(end, tz)
    check_order(since, until)
    if since is not None and until is not None:
        if days is not None:
            raise click.UsageError("--start, --end and --days are one too many: give two of them")
        return since, until
    zone = zone_of(tz)
    if since is not None:
        if days is None:
            return since, max(now, since)
        return since, (since.astimezone(zone) + timedelta(days=days)).astimezone(timezone.utc)
    until = until or now
    last = (until - timedelta(microseconds=1)).astimezone(zone)
    first = last.date() - timedelta(days=(days or DEFAULT_DAYS) - 1)
    return datetime(first.year, first.month, first.day, tzinfo=zone).astimezone(timezone.utc), until


def parse_moment(text: str) -> datetime:
    """A date or a time in ISO 8601, aware where it has an offset; `click.BadParameter` for anything else."""
    try:
        return parse_timestamp(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date or time; write 2025-01-30 or 2025-01-30T20:29+01:00") from None


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    return None if value is None else parse_moment(value)


def _zone(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        zone_of(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time zone; write a name such as Europe/Berlin, or UTC") from None
    return value
