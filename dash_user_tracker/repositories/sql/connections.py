"""Connections of one process to a store, and the transactions on them.

No connection crosses a fork. SQLite counts the locks of a file per process in its own memory: a child that opens a
file which its parent had open at the fork believes to hold locks that it does not, and when the parent closes, the
log is deleted under the child (https://www.sqlite.org/howtocorrupt.html, 2.6). So a file is open during a call only;
but for the one of who writes all day, if somebody has promised to say before each fork (`Connections.keep`).
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

import attrs
import sqlalchemy as sa
from sqlalchemy import URL
from sqlalchemy.pool import NullPool, StaticPool

from ...errors import SchemaError, TrackerError, UnavailableError
from .address import POSTGRESQL, SQLITE
from .decoding import Decoder
from .encoding import OTHER_MARKS, SQLITE_MARKS, Encoder
from .labels import Labels
from .migrations import Migrations, State
from .rows import Context
from .schema import CONTEXT, label
from .texts import from_column

#: How long, and how often, to try to empty a log that others use.
_LOG_WAIT_MS = 200
_LOG_ATTEMPTS = 25


class Known:
    """What a process remembers of the labels of one store, until some of them are erased; its threads share it."""

    def __init__(self, dialect: str) -> None:
        self.labels = Labels()
        self.encoder = Encoder(self.labels, SQLITE_MARKS if dialect == SQLITE else OTHER_MARKS)
        self.decoder = Decoder()
        self.contexts: dict[int, Context] = {}


class Memory:
    """What is known in one transaction: the labels, and what the store says of itself at that moment.

    The *state* is the transaction's own: threads of one process see the store at different moments.
    """

    def __init__(self, state: State, known: Known) -> None:
        self.state = state
        self._known = known

    @property
    def labels(self) -> Labels:
        return self._known.labels

    @property
    def encoder(self) -> Encoder:
        return self._known.encoder

    @property
    def decoder(self) -> Decoder:
        return self._known.decoder

    def contexts(self, connection: sa.Connection) -> dict[int, Context]:
        """Every context there is, by its number."""
        known = self._known.contexts
        query = sa.select(label.c.id, label.c.value).where(label.c.kind == CONTEXT, label.c.id > max(known, default=0))
        # A new dictionary: other threads may go through the old one.
        fresh = {number: Context.of(from_column(value)) for number, value in connection.execute(query)}
        if fresh:
            known = self._known.contexts = {**known, **fresh}
        return known

    def contexts_named(self, connection: sa.Connection, name: str) -> list[int]:
        """The numbers of the contexts of the events called *name*."""
        return [number for number, context in self.contexts(connection).items() if context.name == name]


@attrs.frozen(eq=False)
class Seen:
    """What the store said last, of which file, and its labels, whose numbers mean nothing in another."""

    known: Known
    state: State | None = None
    file: tuple[int, int] | None = None  # device and inode


class Process:
    """What one process has of a store: engines, and what it remembers."""

    def __init__(self, url: URL, dialect: str, busy_timeout: float) -> None:
        memory = dialect == SQLITE and url.database in (None, "", ":memory:")
        #: Held while the one connection of a store in memory is used.
        self.turn: contextlib.AbstractContextManager[Any] = threading.Lock() if memory else contextlib.nullcontext()
        self.writing = threading.Lock()
        self.reading = _engine(url, dialect, busy_timeout, "REPEATABLE READ")
        self.saving = self.reading if dialect == SQLITE else _engine(url, dialect, busy_timeout, "READ COMMITTED")
        self.kept: sa.Connection | None = None
        self.kept_file: tuple[int, int] | None = None
        self.seen = Seen(Known(dialect))

    def dispose(self) -> None:
        kept, self.kept = self.kept, None
        if kept is not None:
            kept.close()
        self.reading.dispose()
        self.saving.dispose()


class Connections:
    """Opens what is needed, checks the schema, explains what fails."""

    def __init__(self, url: URL, dialect: str, busy_timeout: float) -> None:
        self.url = url
        self.dialect = dialect
        self.busy_timeout = busy_timeout
        self.file = None if dialect != SQLITE or url.database in (None, "", ":memory:") else url.database
        #: Keep the writer's connection open between two calls: whoever sets it calls `release` before each fork.
        self.keep = False
        self._migrations = Migrations(dialect, self.place, busy_timeout)
        self._processes: dict[int, Process] = {}  # by pid

    @property
    def place(self) -> str:
        """What messages call the store."""
        if self.dialect == SQLITE:
            return self.file or "the store in memory"
        return f"{self.dialect} database {self.url.database!r} at {self.url.host or 'this host'}"

    def process(self) -> Process:
        """What this process has."""
        # No lock: a fork may leave it locked. Engines that lose this race were never connected. Those of a parent stay
        # here, untouched, for letting go of a connection may close it.
        pid = os.getpid()
        return self._processes.get(pid) or self._processes.setdefault(pid, self._new())

    def close(self) -> None:
        """Give connections back; a store in memory is forgotten."""
        process = self._processes.pop(os.getpid(), None)
        if process is not None:
            with process.writing, process.turn:
                process.dispose()

    def release(self) -> None:
        """Close what is kept open between two calls, but a store in memory."""
        process = self._processes.get(os.getpid())
        if process is not None and (self.file is not None or self.dialect != SQLITE):
            with process.writing:
                process.dispose()

    @contextlib.contextmanager
    def read(self) -> Iterator[tuple[sa.Connection, Memory]]:
        """A connection in a transaction that sees one moment of the store, which has our tables."""
        process = self.process()
        with self._explained(), process.turn, process.reading.connect() as connection:
            yield connection, self._begun(connection, process, write=False)
            connection.rollback()

    @contextlib.contextmanager
    def writer(self) -> Iterator[Process]:
        """The turn to write, among the threads of this process."""
        process = self.process()
        with process.writing:
            yield process

    @contextlib.contextmanager
    def write(self, process: Process) -> Iterator[tuple[sa.Connection, Memory]]:
        """A connection in a transaction that no other writer shares; it commits at the end of the block.

        Whoever calls it has the turn of *process*, see `writer`.
        """
        with self._explained(), process.turn:
            connection = self._writer(process)
            labels: Labels | None = None
            try:
                memory = self._begun(connection, process, write=True)
                labels = memory.labels
                yield connection, memory
                connection.commit()
                labels.commit()
            except BaseException:
                if labels is not None:
                    labels.rollback()
                self._drop(process, connection)
                raise
            if connection is not process.kept:
                connection.close()

    @contextlib.contextmanager
    def alone(self) -> Iterator[sa.Connection]:
        """A connection outside of any transaction, for what cannot run in one."""
        process = self.process()
        with self._explained(), process.turn, process.saving.connect() as connection:
            self._begun(connection, process, write=False)
            connection.rollback()
            yield connection.execution_options(isolation_level="AUTOCOMMIT") if self.dialect != SQLITE else connection

    # -- inside ------------------------------------------------------------------

    def _new(self) -> Process:
        return Process(self.url, self.dialect, self.busy_timeout)

    def _writer(self, process: Process) -> sa.Connection:
        if not self.keep or self.file is None:
            return process.saving.connect()
        file = _identity(self.file)
        if process.kept is not None and process.kept_file != file:  # deleted, or another one in its place
            kept, process.kept = process.kept, None
            kept.close()
        if process.kept is None:
            process.kept = process.saving.connect()
            process.kept_file = _identity(self.file)
        return process.kept

    def _drop(self, process: Process, connection: sa.Connection) -> None:
        if connection is process.kept:
            process.kept = None
        with contextlib.suppress(sa.exc.DBAPIError):  # would mask what happened
            connection.rollback()
        with contextlib.suppress(sa.exc.DBAPIError):
            connection.close()

    def _begun(self, connection: sa.Connection, process: Process, *, write: bool) -> Memory:
        last, file = process.seen, None if self.file is None else _identity(self.file)
        state = self._migrations.begin(connection, write=write, known=last.state)
        same = last.state is None or (state.same_labels(last.state) and file == last.file)
        seen = process.seen = Seen(last.known if same else Known(self.dialect), state, file)
        return Memory(state, seen.known)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise self._explanation(error) from error
        except sa.exc.TimeoutError as error:
            raise UnavailableError(f"{self.place}: too many questions at once, no connection got free") from error

    def _explanation(self, error: sa.exc.DBAPIError) -> TrackerError:
        reason = str(error.orig).strip() or type(error.orig).__name__
        if self.dialect != SQLITE:
            return UnavailableError(f"{self.place}: {reason.splitlines()[0]}")
        if "not a database" in reason or "no such" in reason:
            return SchemaError(f"{self.place} is not a store of ours ({reason}); give the events a file of their own")
        for symptom, way_out in (
            ("locked", f"another process has been writing for more than busy_timeout={self.busy_timeout:g} s"),
            ("readonly", "let this user write the file and its folder"),
            ("unable to open", "the folder must exist, and this user must be able to write in it"),
            ("full", "free some disk space"),
        ):
            if symptom in reason:
                reason = f"{reason}; {way_out}"
        return UnavailableError(f"{self.place}: {reason}")


def _engine(url: URL, dialect: str, busy_timeout: float, isolation_level: str) -> sa.Engine:
    # hide_parameters: events have no place in error messages.
    if dialect == SQLITE:
        memory = url.database in (None, "", ":memory:")
        options: dict[str, Any] = {"timeout": busy_timeout, "check_same_thread": False}
        engine = sa.create_engine(
            url, poolclass=StaticPool if memory else NullPool, connect_args=options, hide_parameters=True
        )
        sa.event.listen(engine, "connect", _configure_sqlite)
        return engine
    seconds = max(1, round(busy_timeout))
    if dialect == POSTGRESQL:
        options = {"connect_timeout": 10, "options": f"-c lock_timeout={seconds}s -c timezone=UTC"}
    else:
        options = {
            "connect_timeout": 10,
            "init_command": f"SET SESSION innodb_lock_wait_timeout = {seconds}, time_zone = '+00:00'",
        }
    return sa.create_engine(
        url,
        pool_size=2,
        max_overflow=20,
        pool_pre_ping=True,
        isolation_level=isolation_level,
        connect_args=options,
        hide_parameters=True,
    )


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, and as we say
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")  # as some builds do unasked; what is deleted is overwritten
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -32768")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA journal_size_limit = 16777216")  # the 4,000 pages; more goes back to the disk


def empty_log(connection: sa.Connection) -> bool:
    """Move a file's log into the file and cut it to nothing: what was deleted stays in either until then.

    False where others read all the time, or write: the log is written over by and by then.
    """
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_LOG_WAIT_MS}")  # writers wait meanwhile
    for _ in range(_LOG_ATTEMPTS):
        if connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").first()[0] == 0:  # type: ignore[index]  # a row
            return True
        time.sleep(_LOG_WAIT_MS / 1000)
    return False


def _identity(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
