"""Commands to try the package with: an app to click through, and an invented company's events."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NoReturn

import click

from .cli_options import parse_moment
from .cli_work import Interruptions, Store, count_of, missing_extra, opened, progress, told_in_a_line
from .errors import TrackerError

if TYPE_CHECKING:
    from .demo_data import Plan
    from .events import Event
    from .live import Totals
    from .repositories.metrics import MetricsReader

DEMO_DB = "sqlite:///dash-user-tracker-demo.db"
STOP_TIMEOUT = 5.0  # seconds that Ctrl-C waits for what is still queued
REFRESH = 0.5  # seconds between two looks at the store
FILL_DAYS, FILL_USERS = 30, 60
_BATCH = 1000


@click.command(epilog="Example: dash-user-tracker demo --port 8051 --fill")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8050, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--db", default=DEMO_DB, show_default=True, metavar="URL", help="Database; a SQLite file is created.")
@click.option("--fill", is_flag=True, help="First put a month of an invented company's events into it.")
@click.option("--open/--no-open", "open_browser", default=False, show_default=True, help="Open it in a browser.")
def demo(host: str, port: int, db: str, fill: bool, open_browser: bool) -> None:
    """Serve a small Dash app with the tracker on, and count along."""
    with missing_extra("demo"):
        from waitress.server import create_server

        from . import live, terminal  # noqa: F401 - told before anything is opened
        from .demo import create_app
        from .demo_data import Plan
    with ExitStack() as stack:
        # Before anything else: a port in use must leave no database file behind.
        listening = stack.enter_context(_listen(host, port))
        store = stack.enter_context(opened(db, create=True, extra="demo"))
        started = datetime.now(timezone.utc)
        _totals(store.repository, started)  # a file of something else is told now
        if fill:
            _fill(store, Plan.of(days=FILL_DAYS, users=FILL_USERS, end=started))
        app, tracker = create_app(db)
        app.server.logger.addFilter(_one_line)
        server = create_server(app.server, sockets=[listening], threads=8)
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/"
        guide = (
            f"  Open   {address}\n"
            "  Click  Regions, one of the regions, Orders and its Export; sign in at the top right; reload, go Back.\n"
            f"  Data   {store.name}\n"
            f"  Read   dash-user-tracker report --db {db}\n"
            "  Stop   Ctrl-C\n"
        )
        with _until_told_to_stop():
            click.echo(guide)
            if open_browser:
                import webbrowser

                webbrowser.open(address)
            with _watching(store.repository, started):
                server.run()  # ends after the requests in progress
        server.close()
        saved = tracker.flush(STOP_TIMEOUT)
        tracker.close()
        recorded = live.describe_totals(_totals(store.repository, started))
        click.echo(f"\nStopped. Recorded in this run: {recorded}.")
        if not saved:
            raise click.ClickException(f"some events could not be stored within {STOP_TIMEOUT:g} s: {tracker.stats()}")


@click.command(
    "demo-data",
    epilog="""\b
    Examples:
      dash-user-tracker demo-data --to sqlite:///usage.db
      dash-user-tracker demo-data --to sqlite:///usage.db --days 365 --users 3000
      dash-user-tracker demo-data --to - --events 1000 --end 2025-01-30 > events.jsonl""",
)
@click.option(
    "--to",
    "--db",
    "db",
    required=True,
    metavar="URL",
    help='Store to write to, e.g. sqlite:///usage.db; a file is created. "-" writes JSON lines to standard output.',
)
@click.option("--api-key", envvar="DASH_USER_TRACKER_API_KEY", metavar="KEY", help="For an endpoint.")
@click.option(
    "--events", type=click.IntRange(1), metavar="N", help="Exactly so many events.  [default: 4 a user and day]"
)
@click.option("--days", default=90, show_default=True, type=click.IntRange(1, 3660), help="Days before --end.")
@click.option(
    "--users", type=click.IntRange(1), metavar="N", help="People.  [default: 1000, or as many as --events need]"
)
@click.option("--seed", default=1, show_default=True, type=int, help="Another company for each.")
@click.option("--end", metavar="TIME", help="When it ends, UTC unless it has an offset.  [default: now]")
def demo_data(
    db: str, api_key: str | None, events: int | None, days: int, users: int | None, seed: int, end: str | None
) -> None:
    """Invent a company, and write what its people did in its apps.

    Thousands of people in several time zones, few of whom do most; pages and callbacks, slow
    ones and failing ones, releases, robots. The same options, --end among them, make the same
    events: running it again stores nothing twice.
    """
    from .demo_data import Plan, demo_events

    moment = None if end is None else parse_moment(end)
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    try:
        plan = Plan.of(events=events, days=days, users=users, seed=seed, end=moment)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if db == "-":
        from .codec import encode_event

        with told_in_a_line():
            for event in demo_events(plan):
                click.echo(encode_event(event))
        return
    with opened(db, api_key, create=True) as store:
        _fill(store, plan)


def _fill(store: Store, plan: Plan) -> None:
    from .demo_data import demo_events

    interruptions = Interruptions()
    stored = 0
    watched = interruptions.watched(lambda: f"{count_of(stored, 'event')} are stored.")
    with watched, progress("Inventing a company", plan.events) as advance:
        batch: list[Event] = []
        for event in demo_events(plan):
            batch.append(event)
            if len(batch) == _BATCH or stored + len(batch) == plan.events:
                with interruptions.step():
                    store.repository.save_events(batch)
                stored += len(batch)
                advance(len(batch))
                batch = []
    click.echo(
        f"{count_of(stored, 'event')} of {count_of(plan.days, 'day')} and {count_of(plan.users, 'user')}, until "
        f"{plan.end.isoformat(timespec='seconds')}, in {store.name}."
    )


def _totals(store: MetricsReader, started: datetime) -> Totals:
    from .live import totals_of

    return totals_of(store.get_events(started, None, None))


@contextmanager
def _watching(store: MetricsReader, started: datetime) -> Iterator[None]:
    """Shows the counts since *started* while the block runs."""
    from . import live, terminal

    stopped = threading.Event()

    def watch() -> None:
        with live.LiveSummary(terminal.console()) as summary:
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


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --port"
        ) from error


@contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end the block, wherever in it they come; waitress ends by SystemExit as well."""
    # Both, explicitly: a shell starts background jobs with SIGINT ignored; `docker stop` sends SIGTERM.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    with suppress(SystemExit):
        yield


def _stop(*_: object) -> NoReturn:
    sys.exit(0)


def _one_line(record: logging.LogRecord) -> bool:
    """Shortens the failure that the demo makes on purpose: its traceback would tear the display apart."""
    if record.exc_info:
        error = record.exc_info[1]
        record.msg, record.args = "%s: %s: %s", (record.getMessage(), type(error).__name__, error)
        record.exc_info = record.exc_text = None
    return True
