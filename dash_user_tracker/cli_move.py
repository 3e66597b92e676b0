"""Commands that carry events out of a store and into one."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs
import click

from .cli_options import (
    check_order,
    filter_options,
    filters_of,
    format_option,
    moment_of,
    range_options,
    store_option,
)
from .cli_work import Interruptions, Store, count_of, missing_extra, opened, progress
from .errors import DecodeError, RejectedError
from .events import Event
from .interchange import FORMATS, JSON_LINES, PARQUET, BadLine, format_of, read_events, whole_file, writer_of
from .metrics.filters import EVERYTHING

if TYPE_CHECKING:
    from .metrics.filters import Filters

#: Events between two moments at which Ctrl-C is heard; also those of one transaction of an import.
BATCH = 500
#: Bad lines that are told one by one.
TOLD = 20
STANDARD = "-"


def to_option(function: Any) -> Any:
    """``to`` and ``overwrite``."""
    function = click.option("--overwrite", is_flag=True, help="Replace a file that is there already.")(function)
    return click.option(
        "--to",
        default=STANDARD,
        metavar="FILE",
        help="File to write; standard output by default.  [.jsonl, .csv, .parquet, and .gz behind it]",
    )(function)


@click.command(
    short_help="Write events to a file.",
    epilog="Example: dash-user-tracker export --db sqlite:///usage.db --start 2025-01-01 --to january.csv",
)
@store_option
@to_option
@format_option(*FORMATS)
@range_options
@click.option("--event", "name", metavar="NAME", help="Only events of this name: page_view, callback, or your own.")
@filter_options(automated="any")
def export(
    db: str,
    api_key: str | None,
    to: str,
    overwrite: bool,
    file_format: str | None,
    start: datetime | None,
    end: datetime | None,
    tz: str,
    name: str | None,
    **options: Any,
) -> None:
    """Write events to a file, oldest first: all there are, unless you say which.

    A file gets its name when it is complete; an export that is interrupted leaves nothing
    behind. `dash-user-tracker import` reads JSON lines and CSV.
    """
    filters: Filters | None = filters_of(options)
    since, until = moment_of(start, tz), moment_of(end, tz)
    check_order(since, until)
    with opened(db, api_key) as store:
        if filters == EVERYTHING:
            filters = None
        events = store.repository.export(since, until, event=name, filters=filters)
        expected = _count(store, since, until, filters) if name is None and sys.stderr.isatty() else None
        _write(events, to, overwrite, file_format, store, expected)


@click.command(
    "export-user",
    short_help="Write all events of one person.",
    epilog="Example: dash-user-tracker export-user ada --db sqlite:///usage.db --to ada.jsonl",
)
@click.argument("user_id")
@store_option
@to_option
@format_option(*FORMATS)
def export_user(user_id: str, db: str, api_key: str | None, to: str, overwrite: bool, file_format: str | None) -> None:
    """Write all events of one person: what is known about USER_ID."""
    with opened(db, api_key) as store:
        try:
            events = store.repository.export_user(user_id)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        _write(events, to, overwrite, file_format, store, None)


@click.command(
    "import",
    short_help="Store the events of files.",
    epilog="Example: dash-user-tracker import january.csv --db sqlite:///usage.db",
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@store_option
@click.option("--strict", is_flag=True, help="Stop at the first line that is no event.")
def import_events(files: tuple[str, ...], db: str, api_key: str | None, strict: bool) -> None:
    """Store the events of files: JSON lines, or CSV as `export` writes it, also compressed (gzip).

    "-" is standard input. Events of version 1 of this package are taken over, but for the
    values of inputs that they hold; those without an id get one that follows from their
    content.

    Events that are in the store already stay as they are, so an import that was interrupted
    is finished by running it again. Lines that are no event are told and left out.
    """
    work = _Import(Interruptions(), strict)
    for name in files:
        if name != STANDARD and not Path(name).is_file():
            raise click.UsageError(f"{name} is not a file")
    with opened(db, api_key, create=True) as store, work.interruptions.watched(work.advice):
        for name in files:
            work.read(name, store)
    click.echo(work.told(), err=True)


# -- export --------------------------------------------------------------------------------


def _count(store: Store, start: datetime | None, end: datetime | None, filters: Filters | None) -> int | None:
    """How many events there are, where that is quickly known."""
    summary = store.repository.get_summary(start, end, filters=filters or EVERYTHING)
    return summary.views + summary.runs + summary.custom_events


def _write(
    events: Iterable[Event], to: str, overwrite: bool, file_format: str | None, store: Store, expected: int | None
) -> None:
    path = None if to == STANDARD else Path(to)
    chosen = file_format or (format_of(path) if path is not None else None) or JSON_LINES
    _check_target(path, overwrite, chosen)
    interruptions = Interruptions()
    written = 0
    left = "Nothing was written." if path is not None else "What was written is not complete."
    with interruptions.watched(lambda: left), missing_extra("parquet"), _target(path) as stream:
        writer = writer_of(chosen, stream)
        with progress("Exporting", expected) as advance:
            for batch in _batches(events):
                with interruptions.step():
                    writer.write(batch)
                written += len(batch)
                advance(len(batch))
        writer.close()
    click.echo(f"{count_of(written, 'event')} of {store.name} in {path or 'standard output'}.", err=True)


def _check_target(path: Path | None, overwrite: bool, file_format: str) -> None:
    if path is None:
        if file_format == PARQUET and sys.stdout.isatty():
            raise click.UsageError("Parquet is not for a terminal; name a file with --to, or redirect the output")
        return
    if not path.parent.is_dir():
        raise click.UsageError(f"{path.parent} is not a folder; create it first")
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder; name a file")
    if path.is_file() and not overwrite:  # a pipe, or /dev/null, is not replaced
        raise click.ClickException(f"{path} exists; name another file, or replace it with --overwrite")


@contextlib.contextmanager
def _target(path: Path | None) -> Iterator[IO[bytes]]:
    if path is None:
        stream = sys.stdout.buffer
        yield stream
        stream.flush()
    elif path.exists() and not stat.S_ISREG(os.stat(path).st_mode):  # a pipe, /dev/null
        with path.open("wb") as stream:
            yield stream
    else:
        with whole_file(path) as stream:
            yield stream


def _batches(events: Iterable[Any]) -> Iterator[list[Any]]:
    source = iter(events)
    while True:
        batch = list(itertools.islice(source, BATCH))
        if not batch:
            return
        yield batch


# -- import --------------------------------------------------------------------------------


@attrs.define
class _Import:
    """Reads files into a store, and keeps count."""

    interruptions: Interruptions
    strict: bool
    stored: int = 0
    bad: int = 0
    _first: datetime | None = None
    _last: datetime | None = None

    def read(self, name: str, store: Store) -> None:
        with contextlib.ExitStack() as stack:
            if name == STANDARD:
                stream: IO[bytes] = sys.stdin.buffer
                size = None
            else:
                stream = stack.enter_context(open(name, "rb"))
                size = os.fstat(stream.fileno()).st_size
            advance = stack.enter_context(progress(f"Importing {name}", size))
            done = 0
            try:
                for batch in _batches(self._events(name, stream)):
                    with self.interruptions.step():
                        self._save(name, batch, store)
                    if size:
                        at = stream.tell()
                        advance(at - done)
                        done = at
            except DecodeError as error:
                raise click.ClickException(f"{name}: {error}") from error
            except EOFError as error:  # a compressed file that was cut off
                raise click.ClickException(f"{name}: {error}; {self.advice()}") from error

    def told(self) -> str:
        """What was done, in one line."""
        text = f"{count_of(self.stored, 'event')} read and stored"
        if self._first is not None and self._last is not None:
            text += f", from {_moment(self._first)} to {_moment(self._last)} (UTC)"
        return text + (f"; {count_of(self.bad, 'line')} left out." if self.bad else ".")

    def advice(self) -> str:
        return f"{count_of(self.stored, 'event')} are stored. Run the same command again for the rest."

    def _events(self, name: str, stream: IO[bytes]) -> Iterator[Event]:
        for found in read_events(stream):
            if isinstance(found, BadLine):
                self._refuse(f"{name}, line {found.number}: {found.reason}")
            else:
                yield found

    def _save(self, name: str, events: Sequence[Event], store: Store) -> None:
        waiting = list(events)
        while waiting:
            try:
                store.repository.save_events(waiting)
            except RejectedError as error:
                self._count(waiting[: error.taken])
                refused = len(waiting) - error.taken if error.refused is None else error.refused
                for event in waiting[error.taken : error.taken + refused]:
                    self._refuse(f"{name}, event {event.id}: {error}")
                waiting = waiting[error.taken + refused :]
            else:
                self._count(waiting)
                return

    def _count(self, events: Sequence[Event]) -> None:
        self.stored += len(events)
        for event in events:
            self._first = event.timestamp if self._first is None else min(self._first, event.timestamp)
            self._last = event.timestamp if self._last is None else max(self._last, event.timestamp)

    def _refuse(self, what: str) -> None:
        self.bad += 1
        if self.strict:
            raise click.ClickException(f"{what}. {self.advice()}")
        if self.bad <= TOLD:
            click.echo(what, err=True)
        elif self.bad == TOLD + 1:
            click.echo("... and more; they are counted at the end", err=True)


def _moment(value: datetime) -> str:
    return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M")
