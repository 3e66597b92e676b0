"""What commands share: stores to open, failures in one line, work that can be watched and interrupted."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Callable

import attrs
import click

from .errors import ConfigurationError, TrackerError

if TYPE_CHECKING:
    from .repositories.base import TrackerRepository

_HTTP = ("http://", "https://")


# -- stores ------------------------------------------------------------------------------


@attrs.frozen
class Store:
    """An opened repository; *name* is what to call it, without a password; *file* is that of SQLite."""

    repository: TrackerRepository
    name: str
    file: Path | None = None


@contextlib.contextmanager
def opened(db: str, api_key: str | None = None, *, create: bool = False, extra: str = "sql") -> Iterator[Store]:
    """The store at the address *db*, closed after the block; its errors become one line each.

    A file that is not there is an error, unless *create* says to make one. *extra* is what to
    install where a package is missing.
    """
    with missing_extra(extra), told_in_a_line():
        store = _store(db, api_key)
        if store.file is not None and not create and not store.file.exists():
            raise click.ClickException(
                f"{store.file} does not exist; `dash-user-tracker demo-data --to {db}` makes one to try with"
            )
        try:
            yield store
        finally:
            store.repository.close()


def _store(db: str, api_key: str | None) -> Store:
    try:
        if db.startswith(_HTTP):
            from urllib.parse import urlsplit

            from .repositories.http import HttpTrackerRepository

            parts = urlsplit(db)
            return Store(HttpTrackerRepository(db, api_key), f"{parts.scheme}://{parts.hostname}")
        from .repositories.sql import SqlTrackerRepository
        from .repositories.sql.address import SQLITE, parse_address

        url, dialect = parse_address(db)
        if dialect != SQLITE:
            shown = url.set(drivername=dialect, query={}).render_as_string()  # its password is ***
            return Store(SqlTrackerRepository(db), shown)
        if url.database in (None, "", ":memory:"):
            raise ConfigurationError("a database in memory ends with its program; name a file: sqlite:///usage.db")
        file = Path(str(url.database))
        return Store(SqlTrackerRepository(db), str(file), file)
    except ConfigurationError as error:
        raise click.BadParameter(str(error), param_hint="--db") from error


# -- failures ----------------------------------------------------------------------------


@contextlib.contextmanager
def missing_extra(extra: str) -> Iterator[None]:
    """Turns the absence of an optional package into the command that installs it."""
    try:
        yield
    except ImportError as error:
        # Our own modules say it all themselves, but for what a command needs beyond the store.
        if "pip install" in str(error) and not (extra == "demo" and "[sql]" in str(error)):
            raise click.ClickException(str(error)) from error
        name = error.name or getattr(error.__cause__, "name", None) or error
        raise click.ClickException(f'this needs {name}: pip install "dash-user-tracker[{extra}]"') from error


@contextlib.contextmanager
def told_in_a_line() -> Iterator[None]:
    """Turns what the store says, or the disk, into one line; whoever reads it needs no traceback."""
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has had enough; click ends quietly
    except (TrackerError, OSError) as error:
        raise click.ClickException(" ".join(str(error).splitlines())) from error


# -- interruptions -------------------------------------------------------------------------


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, or SIGTERM (*number*), at a moment at which the work can stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Interruptions:
    """Lets a signal end the work between two steps, never within one.

    While a `step` is going on a signal waits for its end; a second one does not wait. An
    interrupted command ends with the code 128 + the signal's number, as shells expect.
    """

    def __init__(self) -> None:
        self._number = 0
        self._busy = False

    @contextlib.contextmanager
    def watched(self, advice: Callable[[], str]) -> Iterator[None]:
        """Ends the program where the block is interrupted, with a line of *advice* on what was done."""
        before = {number: signal.signal(number, self._told) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        except Interrupted as error:
            click.echo(f"\nInterrupted. {advice()}", err=True)
            sys.exit(128 + error.number)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False
        if self._number:
            raise Interrupted(self._number)

    def _told(self, number: int, _: FrameType | None) -> None:
        if self._busy and not self._number:
            self._number = number
            return
        raise Interrupted(number)


# -- progress -------------------------------------------------------------------------------


@contextlib.contextmanager
def progress(label: str, length: int | None) -> Iterator[Callable[[int], Any]]:
    """Tells how much of *length* is done: call it with what was done since. Nothing is shown but on a terminal.

    On standard error, so that it does not get into what is written to standard output.
    """
    if not sys.stderr.isatty() or not length:
        yield lambda _: None
        return
    with click.progressbar(length=length, label=label, file=sys.stderr) as bar:
        yield bar.update


def count_of(number: int, what: str) -> str:
    """``1 event``, ``2,000 events``."""
    return f"{number:,} {what if number == 1 else what + 's'}"
