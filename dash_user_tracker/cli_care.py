"""Commands that look after a store: delete, back up, bring up to date."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .cli_options import moment_of, parse_moment, store_option
from .cli_work import Interruptions, Store, count_of, opened, progress
from .metrics.filters import EVERYTHING, Filters
from .metrics.periods import zone_of

if TYPE_CHECKING:
    from .repositories.base import TrackerRepository

#: A purge over HTTP is done in so many requests at most, each of a day at least: it can be watched and interrupted.
STEPS = 50

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def _before(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    return None if value is None else parse_moment(value)


@click.command(
    epilog="""\b
    Examples:
      dash-user-tracker purge --db sqlite:///usage.db --before 2024-01-01
      dash-user-tracker purge --db sqlite:///usage.db --keep-days 400 --yes"""
)
@store_option
@click.option("--before", metavar="TIME", callback=_before, help="Delete what is older, e.g. 2024-01-01.")
@click.option("--keep-days", type=click.IntRange(1, 36_500), metavar="DAYS", help="Delete what is older than this.")
@click.option("--tz", default="UTC", show_default=True, metavar="ZONE", help="Time zone of --before.")
@yes_option
def purge(db: str, api_key: str | None, before: datetime | None, keep_days: int | None, tz: str, yes: bool) -> None:
    """Delete old events, for good. Asks first.

    An interrupted purge has deleted the oldest events; running it again deletes the rest.
    """
    if (before is None) == (keep_days is None):
        raise click.UsageError("say what is old: either --before or --keep-days")
    try:
        zone_of(tz)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--tz") from error
    limit = moment_of(before, tz) or datetime.now(timezone.utc) - timedelta(days=keep_days or 0)
    with opened(db, api_key) as store:
        oldest = next(iter(store.repository.export(None, limit)), None)
        if oldest is None:
            click.echo(f"{store.name} has no events before {limit.isoformat()}.")
            return
        summary = store.repository.get_summary(None, limit, filters=EVERYTHING)
        expected = summary.views + summary.runs + summary.custom_events
        since = oldest.timestamp.isoformat()
        _ask(f"Delete {count_of(expected, 'event')} from {since} until {limit.isoformat()} in {store.name}?", yes)
        interruptions = Interruptions()
        deleted = 0
        steps = iter(_steps(store.repository, oldest.timestamp, limit))
        advice = "What is deleted stays deleted; run the same command again for the rest."
        watched = interruptions.watched(lambda: f"{count_of(deleted, 'event')} deleted. {advice}")
        with watched, progress("Deleting", expected) as advance:
            gone: int | None = 0
            while gone is not None:
                with interruptions.step():
                    gone = next(steps, None)
                    deleted += gone or 0
                advance(gone or 0)
    click.echo(f"{count_of(deleted, 'event')} before {limit.isoformat()} deleted from {store.name}.")


@click.command("erase-user", epilog="Example: dash-user-tracker erase-user ada --db sqlite:///usage.db")
@click.argument("user_id")
@store_option
@yes_option
def erase_user(user_id: str, db: str, api_key: str | None, yes: bool) -> None:
    """Delete all events of one person, for good. Asks first.

    What USER_ID did without a log-in is under a visitor that changes daily, and stays.
    `export-user` writes what there is.
    """
    with opened(db, api_key) as store:
        try:
            filters = Filters(user=user_id, automated=None)
            summary = store.repository.get_summary(filters=filters)
            count = summary.views + summary.runs + summary.custom_events
            if not count:
                store.repository.erase_user(user_id)  # what an erasure left that was killed after the last event
                click.echo(f"{store.name} has no events of {user_id!r}.")
                return
            _ask(f"Delete {count_of(count, 'event')} of {user_id!r} in {store.name}?", yes)
            interruptions = Interruptions()
            with interruptions.watched(lambda: "Nothing, or a part, is deleted; run the same command again."):
                deleted = store.repository.erase_user(user_id)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    click.echo(f"{count_of(deleted, 'event')} of {user_id!r} deleted from {store.name}.")


@click.command(epilog="Example: dash-user-tracker backup --db sqlite:///usage.db --to usage-2025-01-30.db")
@store_option
@click.option("--to", required=True, metavar="FILE", help="File to write; it must not exist.")
def backup(db: str, api_key: str | None, to: str) -> None:
    """Copy a store into a file while apps go on writing to it.

    The file is a store itself: `--db sqlite:///FILE` reads it. It gets its name when it is
    complete. Database servers have tools of their own for this (pg_dump, mysqldump).
    """
    path = Path(to)
    if not path.absolute().parent.is_dir():
        raise click.UsageError(f"{path.parent} is not a folder; create it first")
    if path.exists():
        raise click.ClickException(f"{path} exists; name another file, or remove it first")
    with opened(db, api_key) as store:
        copy = _method(store, "backup", "backup", "use the backup of the database server (pg_dump, mysqldump)")
        with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=f".{path.name}.") as folder:
            part = Path(folder) / path.name
            with Interruptions().watched(lambda: "Nothing was written."):
                copy(str(part))
            os.replace(part, path)
    click.echo(f"{store.name} copied to {path}, {path.stat().st_size:,} bytes.")


@click.command(
    short_help="Bring a store of an earlier version up to date.",
    epilog="Example: dash-user-tracker migrate --db sqlite:///usage.db",
)
@store_option
def migrate(db: str, api_key: str | None) -> None:
    """Bring a store that an earlier version wrote up to date, at a time of your choice.

    Opening it does so, too, in small steps. Nothing is lost where it is interrupted, and
    running it again goes on.
    """
    with opened(db, api_key) as store:
        add_up = _method(store, "maintain", "migrate", "it is up to the receiver to bring its store up to date")
        with Interruptions().watched(lambda: "Nothing is lost; run the same command again for the rest."):
            store.repository.get_events(limit=1)  # the first look moves what an earlier version wrote
            add_up()
    click.echo(f"{store.name} is up to date.")


def _method(store: Store, name: str, command: str, way_out: str) -> Callable[..., Any]:
    found = getattr(store.repository, name, None)
    if found is None:
        raise click.ClickException(f"{store.name} cannot be used with `{command}`: {way_out}")
    method: Callable[..., Any] = found
    return method


def _ask(question: str, yes: bool) -> None:
    if yes:
        return
    try:
        click.confirm(f"{question} This cannot be undone.", abort=True, err=True)
    except click.Abort:
        raise click.ClickException("not confirmed, so nothing is deleted; --yes does not ask") from None


def _steps(repository: TrackerRepository, start: datetime, end: datetime) -> Iterator[int]:
    """Delete everything until *end*, step by step; how many events each of them deleted."""
    in_steps = getattr(repository, "purge_in_steps", None)
    if in_steps is not None:
        yield from in_steps(end)
        return
    for edge in _edges(start, end):
        yield repository.purge(edge)


def _edges(start: datetime, end: datetime) -> list[datetime]:
    """The ends of the steps that delete everything until *end*."""
    count = max(1, min(STEPS, (end - start) // timedelta(days=1)))
    return [start + (end - start) * number / count for number in range(1, count)] + [end]
