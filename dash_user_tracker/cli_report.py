"""The command that tells who used what."""

from __future__ import annotations

import csv
import json
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click

from .cli_options import DEFAULT_DAYS, filter_options, filters_of, range_of, range_options, store_option
from .cli_work import Store, opened
from .metrics.filters import Filters

if TYPE_CHECKING:
    from .report import Report

_TABLES = ("summary", "series", "pages", "users", "groups", "callbacks", "errors", "events", "visits", "active")


@click.command(
    short_help="Print who used what, what was slow and what failed.",
    epilog="""\b
    Examples:
      dash-user-tracker report --db sqlite:///usage.db
      dash-user-tracker report --db sqlite:///usage.db --days 7 --tz Europe/Berlin --group Sales
      dash-user-tracker report --db sqlite:///usage.db --start 2025-01-01 --end 2025-02-01 --json
      dash-user-tracker report --db sqlite:///usage.db --csv pages --limit 0 > pages.csv""",
)
@store_option
@range_options
@click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    metavar="N",
    help=f"So many days, the last of them under way.  [default: {DEFAULT_DAYS}, where there is no --start]",
)
@click.option("--all", "everything", is_flag=True, help="From the first event on.")
@filter_options(automated="false")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=0), help="Rows per table; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
@click.option("--csv", "as_csv", type=click.Choice(_TABLES), help="Print one of the tables as CSV.")
def report(
    db: str,
    api_key: str | None,
    start: datetime | None,
    end: datetime | None,
    tz: str,
    days: int | None,
    everything: bool,
    limit: int,
    as_json: bool,
    as_csv: str | None,
    **options: Any,
) -> None:
    """Print who used which pages and callbacks, what was slow and what failed.

    Compared with the time of the same length before. People are those with a log-in;
    visitors, those without one, have another name each day.
    """
    filters = filters_of(options)
    if as_json and as_csv:
        raise click.UsageError("--json and --csv are two formats: choose one")
    if everything and (start is not None or days is not None):
        raise click.UsageError("--all begins with the first event: leave --start and --days out")
    with opened(db, api_key, extra="demo") as store:
        from .report import build_report

        if not (as_json or as_csv):
            from . import terminal
        now = datetime.now(timezone.utc)
        if everything:
            first = next(iter(store.repository.export()), None)
            start = first.timestamp if first is not None else now
        since, until = range_of(start, end, days, tz, now)
        until = max(since, until)
        try:
            found = build_report(store.repository, start=since, end=until, tz=tz, filters=filters, limit=limit or None)
        except ValueError as error:  # no calendar goes so far
            raise click.UsageError(f"from {since.isoformat()} to {until.isoformat()}: {error}") from error
        if as_json:
            click.echo(json.dumps(found.to_dict(), indent=2))
        elif as_csv:
            _print_csv(found, as_csv)
        elif found.is_empty and not found.automated_views:
            click.echo(_nothing(store, db, found))
        else:
            terminal.print_report(terminal.console(), found)


def _print_csv(found: Report, table: str) -> None:
    from .tabular import cell_text

    rows = found.table(table)
    if not rows:
        return
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(rows[0])
    writer.writerows([cell_text(value) for value in row.values()] for row in rows)


def _nothing(store: Store, db: str, found: Report) -> str:
    """Why there is nothing to show, and what to do."""
    first = next(iter(store.repository.export()), None)
    if first is None:
        return (
            f"No events in {store.name} yet. Open a page of an app with\n"
            f"    Tracker(app, repository=SqlTrackerRepository({db if '@' not in db else 'url'!r}))\n"
            "or see one at work: dash-user-tracker demo --fill"
        )
    chosen = "" if found.filters == Filters() else " that the filters select"
    start, end, begin = (moment.isoformat(timespec="minutes") for moment in (found.start, found.end, first.timestamp))
    return f"No events{chosen} in {store.name} from {start} to {end}; its first one is of {begin}: --all begins there."
