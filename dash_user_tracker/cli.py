"""The ``dash-user-tracker`` command: a demo to try, a report to read."""

from __future__ import annotations

import json
import logging
import signal
import socket
import sys
import threading
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import click

from . import __version__
from .codec import parse_timestamp
from .errors import ConfigurationError, TrackerError
from .report import Coverage, Totals, build_report

if TYPE_CHECKING:
    from .repositories.sql import SqlTrackerRepository

DEMO_DB = "sqlite:///dash-user-tracker-demo.db"
STOP_TIMEOUT = 5.0  # seconds that Ctrl-C waits for what is still queued
REFRESH = 0.5  # seconds between two looks at the store
MAX_EVENTS = 100_000  # in memory at once, about 300 MB; a report of more covers the newest and says so


def _moment(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """A date or a time in ISO 8601; UTC where it names no offset."""
    if value is None:
        return None
    try:
        moment = parse_timestamp(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is no date or time; write 2025-01-30 or 2025-01-30T20:29+01:00") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
    Examples:
      dash-user-tracker demo
      dash-user-tracker report --db sqlite:///usage.db --start 2025-01-01
      dash-user-tracker report --db sqlite:///usage.db --json""",
)
@click.version_option(__version__, prog_name="dash-user-tracker")
def main() -> None:
    """Usage analytics for Plotly Dash apps."""


@main.command(epilog="Example: dash-user-tracker demo --port 8051")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8050, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--db", default=DEMO_DB, show_default=True, metavar="URL", help="Database; a SQLite file is created.")
@click.option("--open/--no-open", "open_browser", default=False, show_default=True, help="Open it in a browser.")
def demo(host: str, port: int, db: str, open_browser: bool) -> None:
    """Serve a small Dash app with the tracker on, and count along."""
    with _extra():
        from waitress.server import create_server

        from . import terminal
        from .demo import create_app
        from .repositories.sql import SqlTrackerRepository
    file = _file_of(db)
    with ExitStack() as stack:
        # Before anything else: a port in use must leave no database file behind.
        listening = stack.enter_context(_listen(host, port))
        stack.enter_context(_store_errors())
        started = datetime.now(timezone.utc)
        app, tracker = create_app(db)
        store = SqlTrackerRepository(db)
        _totals(store, started)  # a file of something else is told now
        app.server.logger.addFilter(_one_line)
        server = create_server(app.server, sockets=[listening], threads=8)
        # Both, explicitly: a shell starts background jobs with SIGINT ignored; `docker stop` sends SIGTERM.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
        click.echo(
            f"  Open   {address}\n"
            "  Click  Regions, one of the regions, Orders and its Export; sign in at the top right; reload, go Back.\n"
            f"  Data   {file}\n"
            f"  Read   dash-user-tracker report --db {db}\n"
            "  Stop   Ctrl-C\n"
        )
        if open_browser:
            webbrowser.open(address)
        with _watching(store, started):
            server.run()  # until _stop; ends after the requests in progress
            server.close()
            saved = tracker.flush(STOP_TIMEOUT)
        tracker.close()
        recorded = terminal.describe_totals(_totals(store, started))
        click.echo(f"\nStopped. Recorded in this run: {recorded}.")
        if not saved:
            raise click.ClickException(f"some events could not be stored within {STOP_TIMEOUT:g} s: {tracker.stats()}")


@main.command(epilog="Example: dash-user-tracker report --db sqlite:///usage.db --start 2025-01-01 --limit 20")
@click.option("--db", required=True, metavar="URL", help="Database to read, e.g. sqlite:///usage.db.")
@click.option(
    "--start",
    metavar="TIME",
    callback=_moment,
    help="First moment covered, e.g. 2025-01-30; UTC unless it has an offset.",
)
@click.option("--end", metavar="TIME", callback=_moment, help="First moment no longer covered.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=0), help="Rows per table.")
@click.option("--app", metavar="NAME", help="Only the app of this app_name.")
@click.option("--automated/--no-automated", default=False, show_default=True, help="Count robots and probes too.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def report(
    db: str, start: datetime | None, end: datetime | None, limit: int, app: str | None, automated: bool, as_json: bool
) -> None:
    """Print who used which pages and callbacks."""
    if start is not None and end is not None and end < start:
        raise click.UsageError(f"--end must not be before --start, got {start.isoformat()} to {end.isoformat()}")
    with _extra():
        from .repositories.sql import SqlTrackerRepository

        if not as_json:
            from . import terminal
    file = _file_of(db)
    if not file.exists():
        raise click.ClickException(f"{file} does not exist; `dash-user-tracker demo` makes one to read")
    with _store_errors():
        events = SqlTrackerRepository(db).get_events(start, end, MAX_EVENTS + 1)
    complete = len(events) <= MAX_EVENTS
    result = build_report(events[:MAX_EVENTS], app=app, automated=automated, limit=limit)
    covers = Coverage(start if complete else events[MAX_EVENTS - 1].timestamp, end, automated, complete)
    if as_json:
        click.echo(json.dumps(_document(covers, result), indent=2))
    elif result.apps:
        terminal.print_report(terminal.console(), covers, result)
    elif (start, end, app) != (None, None, None):
        click.echo(f"No events in {file} match --start, --end and --app; leave them out to see all there are.")
    else:
        click.echo(
            f"No events in {file} yet. Open a page of an app with\n"
            f"    Tracker(app, repository=SqlTrackerRepository({db!r}))\n"
            "or see one at work: dash-user-tracker demo"
        )


@main.command(epilog="Example: dash-user-tracker doctor app:app --path /orders")
@click.argument("app", metavar="MODULE:APP")
@click.option("--path", metavar="PATH", help="Page to open; the app's front page by default.")
@click.option("--header", "headers", multiple=True, metavar="NAME:VALUE", help="Sent along, e.g. for a log-in.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(app: str, path: str | None, headers: tuple[str, ...], as_json: bool) -> None:
    """Drive an app and tell what would be counted, and what is set up wrong.

    No callback is run, and nothing reaches the app's repository. The exit code is 1 where
    something has to be mended.
    """
    from .doctor import FAILURE, examine, find_app

    sent = dict(_header(each) for each in headers)
    try:
        found = examine(find_app(app), path=path, headers=sent)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([attrs.asdict(finding) for finding in found], indent=2))
    else:
        for finding in found:
            click.echo(f"{finding.level:<8} {finding.what}")
    if any(finding.level == FAILURE for finding in found):
        sys.exit(1)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.BadParameter(f"{text!r} is no header; write 'Cookie: session=...'", param_hint="--header")
    return name.strip(), value.strip()


def _document(*parts: Any) -> dict[str, Any]:
    """The fields of *parts* side by side, ready for JSON."""
    fields: dict[str, Any] = {}
    for part in parts:
        fields.update(attrs.asdict(part, value_serializer=lambda _, __, value: _plain(value)))
    return fields


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _totals(store: SqlTrackerRepository, started: datetime) -> Totals:
    return build_report(store.get_events(started, None, None), automated=True).totals


@contextmanager
def _watching(store: SqlTrackerRepository, started: datetime) -> Iterator[None]:
    """Shows the counts since *started* while the block runs."""
    from . import terminal

    stopped = threading.Event()

    def watch() -> None:
        with terminal.LiveSummary(terminal.console()) as summary:
            while not stopped.wait(REFRESH):
                with suppress(TrackerError):  # busy now; there is another look to come
                    summary.show(_totals(store, started))

    watcher = threading.Thread(target=watch, name="dash-user-tracker-demo", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stopped.set()
        watcher.join(STOP_TIMEOUT)


# -- what can go wrong -------------------------------------------------------------------


@contextmanager
def _extra() -> Iterator[None]:
    """Turns the absence of an optional package into the command that installs it."""
    try:
        yield
    except ImportError as error:
        # Our own modules chain the error that names the package.
        name = error.name or getattr(error.__cause__, "name", None) or error
        raise click.ClickException(f'this needs {name}: pip install "dash-user-tracker[demo]"') from error


@contextmanager
def _store_errors() -> Iterator[None]:
    """Turns what the store says into one line; whoever reads it needs no traceback."""
    try:
        yield
    except TrackerError as error:
        raise click.ClickException(" ".join(str(error).splitlines())) from error


def _file_of(db: str) -> Path:
    """The SQLite file that the URL *db* names."""
    from .repositories.sql import SqlTrackerRepository

    try:
        SqlTrackerRepository(db)  # opens nothing, and knows which URLs it takes
    except ConfigurationError as error:
        raise click.BadParameter(str(error), param_hint="--db") from error
    name = db.partition(":///")[2].partition("?")[0]
    if not name or name == ":memory:":
        raise click.BadParameter(
            "a database in memory ends with its program; name a file: sqlite:///usage.db", param_hint="--db"
        )
    return Path(name).resolve()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --port"
        ) from error


def _stop(*_: object) -> NoReturn:
    sys.exit(0)


def _one_line(record: logging.LogRecord) -> bool:
    """Shortens the failure that the demo makes on purpose: its traceback would tear the display apart."""
    if record.exc_info:
        error = record.exc_info[1]
        record.msg, record.args = "%s: %s: %s", (record.getMessage(), type(error).__name__, error)
        record.exc_info = record.exc_text = None
    return True
