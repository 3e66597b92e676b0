"""The repository in an SQL database."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import attrs
import numpy as np
import sqlalchemy as sa
from sqlalchemy import URL

from ...errors import ConfigurationError, RejectedError, UnavailableError
from ...events import Event
from ...metrics.checks import check_moment, check_person
from ...metrics.filters import Filters
from ...metrics.records import is_selected, records_of
from ..base import DEFAULT_LIMIT, check_limit, check_range
from . import deleting, primitives, schema
from .address import MYSQL, SQLITE, parse_address
from .cells import add_up_days
from .connections import Connections, Memory, empty_log
from .driver import Insertion
from .files import check_file
from .folding import Folding, is_due
from .metrics import SqlMetrics
from .migrations import take, waiting
from .recounting import recount, void_quarters
from .rollups import Rollups
from .rows import Row
from .sections import PAGE_VIEWS, PATHS, VIEWERS
from .texts import to_microseconds

#: Rows of an index that are counted before the roll-ups are asked instead.
MANY = 5_000


class SqlTrackerRepository(SqlMetrics):
    """Keeps events in the database that *url* names; several apps may share it.

    ``sqlite:///usage.db`` is a file on a local disk, ``postgresql://user@host/usage`` and
    ``mysql://user@host/usage`` are servers, whose driver comes with the extras of the same
    name. Tables are made at the first call.

    Safe for many threads and processes, also when they create the tables at the same
    moment; idempotent by event id. A call returns when its events are committed: they
    survive a killed process, and in a file all but the last moments before a power cut
    (``synchronous=NORMAL``). *busy_timeout* is how many seconds to wait while another
    process writes. Only text counts as a user or a path: null is neither.

    A relative path means the working directory of the moment of construction. Nothing is
    opened before the first call, and between two calls no file is open, so that a process
    may fork then; see `keep_open`. ``sqlite://`` is a store in the memory of this process;
    a forked child starts with an empty one, and `close` forgets it.
    """

    # A child that is forked while SQLite writes inherits SQLite's own note that this process holds the write lock, and
    # can never get it (https://www.sqlite.org/howtocorrupt.html, 2.6). A save takes milliseconds.
    wait_before_fork = 1.0

    def __init__(self, url: str | URL, *, busy_timeout: float = 30.0) -> None:
        if isinstance(busy_timeout, bool) or not isinstance(busy_timeout, (int, float)) or not 0 <= busy_timeout < 1e6:
            raise ConfigurationError(f"busy_timeout must be a number of seconds of at least 0, got {busy_timeout!r}")
        address, dialect = parse_address(url)
        self._connections = Connections(address, dialect, busy_timeout)
        if self._connections.file is not None:
            check_file(self._connections.file)
        self._insertion: Insertion | None = None

    @property
    def destination(self) -> str:
        return self._connections.url.render_as_string()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._connections.url.render_as_string()!r})"

    def close(self) -> None:
        self._connections.close()

    def keep_open(self) -> None:
        """Keep the connection that saves open between two calls, which spares opening the file each time.

        Only for a caller that has `before_fork` called before each fork of the process.
        """
        self._connections.keep = True

    def before_fork(self) -> None:
        """Close what is open between two calls. The next call opens it again."""
        self._connections.release()

    # -- writing -----------------------------------------------------------------

    def save_event(self, event: Event) -> None:
        self.save_events([event])

    def save_events(self, events: Sequence[Event]) -> None:
        """Store *events* in one transaction; an error says how many of them, from the front, were taken."""
        if not events:
            return
        with self._connections.writer() as process:
            # Encoded before the transaction, so that other writers wait for the insertion alone.
            encoder = process.seen.known.encoder
            rows, unencodable = encoder.rows(events)
            with self._connections.write(process) as (connection, memory):
                if memory.encoder is not encoder:  # what was remembered is void
                    rows, unencodable = memory.encoder.rows(events)
                self._complete(connection, memory, rows, events)
                self._insert(connection, rows)
                if memory.state.inbox:
                    self._move(connection, memory)
                waiting = is_due(connection, memory)
        if waiting:
            self._fold()
        if unencodable is not None:
            message = f"an event is not JSON: {type(unencodable).__name__}: {unencodable}"
            raise RejectedError(message, taken=len(rows), refused=1) from unencodable

    @staticmethod
    def _complete(connection: sa.Connection, memory: Memory, rows: list[Row], events: Sequence[Event]) -> None:
        """The *rows* of events have labels that are in the store."""
        while memory.encoder.missing:
            memory.labels.resolve(connection, memory.encoder.missing)
            memory.encoder.complete(rows, events)

    def _insert(self, connection: sa.Connection, rows: list[Row]) -> None:
        if self._insertion is None:
            mysql = self._connections.dialect == MYSQL
            once = "ON DUPLICATE KEY UPDATE seq = seq" if mysql else "ON CONFLICT (id) DO NOTHING"
            self._insertion = Insertion.of(connection.dialect, schema.event, once)
        if rows:
            self._insertion.insert(connection, rows)

    def _move(self, connection: sa.Connection, memory: Memory) -> int:
        """Some events of version 1 are in the tables of this version; how many."""
        events = take(connection)
        rows, unencodable = memory.encoder.rows(events)
        if unencodable is not None:  # all were read from JSON
            raise unencodable
        self._complete(connection, memory, rows, events)
        self._insert(connection, rows)
        return len(rows)

    # -- reading -----------------------------------------------------------------

    def get_page_views(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        check_range(start, end)
        check_limit(limit)
        conditions = primitives.views(start, end, automated)
        with self._counts(Filters(automated=automated)) as rollups:  # one snapshot for both
            if rollups is None:
                return self._rows(conditions, limit)
            count = rollups.views(rollups.range_of(start, end))
            conditions.append(schema.event.c.seq <= rollups.folded)
            query = primitives.newest(conditions, limit)
            return _listed(count, primitives.events_of(rollups.connection, rollups.memory, query))

    def get_page_views_by_user(
        self,
        user_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return self._rows(primitives.views(start, end, automated), limit, user_id=user_id)

    def get_page_views_by_path(
        self,
        path: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        check_limit(limit)
        conditions = primitives.views(start, end, automated)
        with self._read() as (connection, memory):  # one snapshot for both
            conditions += _wanted(connection, memory, {"path": path})
            count = connection.execute(primitives.count(conditions, MANY + 1)).scalar_one()
            if count > MANY:
                count = Rollups(connection, memory, Filters(automated=automated)).views_of(path, start, end, conditions)
            events = primitives.events_of(connection, memory, primitives.newest(conditions, limit))
        return _listed(count, events)

    def get_user_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        conditions = primitives.views(start, end, automated)
        with self._counts(Filters(automated=automated)) as rollups:
            if rollups is None:
                return self._distinct(primitives.USER, conditions)
            return int(rollups.hours([rollups.range_of(start, end)]).counts(VIEWERS)[0])

    def get_user_count_by_path(
        self, path: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._distinct(primitives.USER, primitives.views(start, end, automated), path=path)

    def get_page_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        conditions = primitives.views(start, end, automated)
        with self._counts(Filters(automated=automated)) as rollups:
            if rollups is None:
                return self._distinct(schema.event.c.path, conditions)
            keys, (views,) = rollups.detail(rollups.range_of(start, end)).table(PATHS, (PAGE_VIEWS,))
            return len(np.unique(keys[(keys > 0) & (views > 0)]))

    def get_page_count_by_user(
        self, user_id: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._distinct(schema.event.c.path, primitives.views(start, end, automated), user_id=user_id)

    def get_events(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        event: str | None = None,
    ) -> list[Event]:
        conditions = primitives.between(start, end)
        with self._read() as (connection, memory):
            if event is not None:
                conditions += primitives.by_name(event, memory.contexts_named(connection, event))
            return primitives.events_of(connection, memory, primitives.newest(conditions, limit))

    def _rows(self, conditions: list[sa.ColumnElement[bool]], limit: int | None, **wanted: str) -> dict[str, Any]:
        check_limit(limit)
        with self._read() as (connection, memory):  # one snapshot for both
            conditions += _wanted(connection, memory, wanted)
            count = connection.execute(primitives.count(conditions)).scalar_one()
            events = primitives.events_of(connection, memory, primitives.newest(conditions, limit))
        return _listed(count, events)

    def _distinct(self, value: sa.ColumnElement[Any], conditions: list[sa.ColumnElement[bool]], **wanted: str) -> int:
        with self._read() as (connection, memory):
            conditions += _wanted(connection, memory, wanted)
            return int(connection.execute(primitives.distinct(value, conditions)).scalar_one())

    # -- data out ----------------------------------------------------------------

    def export(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        event: str | None = None,
        filters: Filters | None = None,
    ) -> Iterator[Event]:
        conditions = primitives.between(start, end)
        found = self._stream(conditions, event)
        return found if filters is None else (one for one in found if is_selected(records_of([one])[0], filters))

    def export_user(self, user_id: str) -> Iterator[Event]:
        check_person(user_id)
        return self._stream([], None, user_id=user_id)

    def _stream(self, conditions: list[sa.ColumnElement[bool]], name: str | None, **wanted: str) -> Iterator[Event]:
        """The events, oldest first, in pages: no transaction is open while the caller looks at one."""
        after: tuple[int, int] | None = None
        last: int | None = None
        while True:
            with self._read() as (connection, memory):
                own = [*conditions, *_wanted(connection, memory, wanted)]
                if name is not None:
                    own += primitives.by_name(name, memory.contexts_named(connection, name))
                if last is None:  # what comes in the meantime is not there
                    last = connection.execute(sa.select(sa.func.max(schema.event.c.seq))).scalar_one() or 0
                page = primitives.page_after(connection, memory, own, after, last)
            for _, found in page:
                yield found
            if len(page) < primitives.PAGE:
                return
            after = page[-1][0]

    def purge(self, before: datetime) -> int:
        return sum(self.purge_in_steps(before))

    def purge_in_steps(self, before: datetime) -> Iterator[int]:
        """`purge`, telling how many events each transaction has deleted; whoever stops listening stops it."""
        check_moment("before", before)
        return self._purged(to_microseconds(before))

    def _purged(self, moment: int) -> Iterator[int]:
        with self._read():  # version 1's, too
            pass
        deleted, more = 0, True
        while more:
            with self._connections.writer() as process, self._connections.write(process) as (connection, memory):
                count, more = deleting.delete_before(connection, memory, moment)
            if count:
                deleted += count
                yield count
        if deleted:
            self._clean_up()

    def erase_user(self, user_id: str) -> int:
        check_person(user_id)
        key = (schema.WHO, user_id)
        deleted, count = 0, deleting.AT_ONCE
        with self._read():  # version 1's, too
            pass
        while count == deleting.AT_ONCE:
            with self._connections.writer() as process, self._connections.write(process) as (connection, memory):
                number = memory.labels.look_up(connection, [key]).get(key)
                count = 0 if number is None else deleting.delete_user(connection, memory, number)
            deleted += count
        if number is not None:  # also where an erasure was killed after the last event
            self._clean_up()
        return deleted

    def _clean_up(self) -> None:
        """Nothing is left of events that were deleted: no counts, no texts, and in a file no free space with them."""
        self.maintain()
        self._forget()
        if self._connections.dialect == SQLITE:  # a server gives space back itself
            self._give_back()

    def _forget(self) -> None:
        """Delete the texts that no event has any more."""
        while True:
            with self._connections.read() as (connection, _):
                unused = deleting.unused_labels(connection)
            for place in range(0, len(unused.labels), deleting.LABELS_AT_ONCE):
                some = attrs.evolve(unused, labels=unused.labels[place : place + deleting.LABELS_AT_ONCE])
                with self._connections.writer() as process, self._connections.write(process) as (connection, _):
                    if not deleting.delete_labels(connection, some):
                        break
            else:
                return

    def _give_back(self) -> None:
        """Free pages go back to the disk, some at a time, and what was written into the log goes into the file."""
        with self._connections.alone() as connection:
            while connection.exec_driver_sql("PRAGMA freelist_count").scalar_one() > 0:
                before = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
                freed = connection.exec_driver_sql("PRAGMA incremental_vacuum(2000)")
                if freed.returns_rows:  # each page that is read from it is given back
                    freed.all()
                if connection.exec_driver_sql("PRAGMA page_count").scalar_one() >= before:
                    break  # a file that was not made for it
            empty_log(connection)

    def backup(self, file: str | os.PathLike[str]) -> None:
        """Copy the store, as it is at one moment, to a new *file*, while others write. SQLite only.

        ConfigurationError where *file* exists, or for a server: it has tools of its own.
        """
        if self._connections.dialect != SQLITE:
            raise ConfigurationError("backup is for SQLite files; use the server's own tool (pg_dump, mariadb-dump)")
        target = os.path.abspath(file)
        check_file(target)
        source = self._connections.file
        mode = 0o666 if source is None or not os.path.exists(source) else os.stat(source).st_mode & 0o777
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL, mode))  # as readable as the store, and no more
        except FileExistsError:
            raise ConfigurationError(f"file must not exist, got {target!r}") from None
        try:
            with self._connections.alone() as connection, contextlib.closing(sqlite3.connect(target)) as copy:
                # In one step: a backup in several begins anew whenever another process writes.
                connection.connection.driver_connection.backup(copy)  # type: ignore[union-attr]
                with copy:  # put in the place of the store, it has other labels than those that processes remember
                    copy.execute("UPDATE dut_store SET token = ?", (uuid.uuid4().hex,))
        except BaseException as error:
            for name in (target, f"{target}-wal", f"{target}-shm", f"{target}-journal"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)
            if isinstance(error, sqlite3.Error):
                raise UnavailableError(f"no copy at {target}: {error}") from error
            raise

    def maintain(self) -> None:
        """Bring the roll-ups up to date. Whoever asks does it, and whoever saves now and then."""
        while self._fold():
            pass

    def _fold(self) -> bool:
        """Some events are folded, or some days added up; false where nothing is left to do."""
        with self._connections.writer() as process, self._connections.write(process) as (connection, memory):
            return Folding(connection, memory).run() or recount(connection, memory) or add_up_days(connection)

    def _catch_up(self, last: int) -> None:
        """The events up to seq *last* are folded. What comes meanwhile is not waited for: others may write for ever."""
        more = True
        while more:
            with self._connections.writer() as process, self._connections.write(process) as (connection, memory):
                if memory.state.folded < last:
                    more = Folding(connection, memory).run()
                else:
                    more = recount(connection, memory) or add_up_days(connection)

    @contextlib.contextmanager
    def _rollups(self, filters: Filters) -> Iterator[Rollups]:
        with self._read() as (connection, memory):  # moves version 1's events, too
            last = self._behind(connection, memory)
            if last is None:
                yield Rollups(connection, memory, filters)
                return
        self._catch_up(last)
        with self._connections.read() as (connection, memory):
            yield Rollups(connection, memory, filters)

    @contextlib.contextmanager
    def _counts(self, filters: Filters) -> Iterator[Rollups | None]:
        """`_rollups`, or None while they cannot be brought up to date: somebody writes for long."""
        with self._read() as (connection, memory):
            last = self._behind(connection, memory)
            if last is None:
                yield Rollups(connection, memory, filters)
                return
        try:
            self._catch_up(last)
        except UnavailableError:
            yield None
            return
        with self._connections.read() as (connection, memory):
            yield Rollups(connection, memory, filters)

    @staticmethod
    def _behind(connection: sa.Connection, memory: Memory) -> int | None:
        """The last event by seq, where there is something to fold or to count again; None where there is not."""
        last: int = connection.exec_driver_sql("SELECT max(seq) FROM dut_event").scalar_one() or 0
        return last if last > memory.state.folded or void_quarters(connection) else None

    @contextlib.contextmanager
    def _read(self) -> Iterator[tuple[sa.Connection, Memory]]:
        with self._connections.read() as (connection, memory):
            if not memory.state.inbox or not waiting(connection):
                yield connection, memory
                return
        while True:
            with self._connections.writer() as process, self._connections.write(process) as (connection, memory):
                if not self._move(connection, memory):
                    break
        with self._connections.read() as found:
            yield found


def _listed(count: int, events: Sequence[Event]) -> dict[str, Any]:
    return {"count": count, "data": [{**event.data, "timestamp": event.timestamp.isoformat()} for event in events]}


def _wanted(connection: sa.Connection, memory: Memory, wanted: dict[str, str]) -> list[sa.ColumnElement[bool]]:
    """Conditions for a user, a path, or neither."""
    conditions: list[sa.ColumnElement[bool]] = []
    for name, value in wanted.items():
        key = (schema.WHO if name == "user_id" else schema.PAGE, value)
        number = memory.labels.look_up(connection, [key]).get(key) if isinstance(value, str) else None
        conditions += primitives.by_user(value, number) if name == "user_id" else primitives.by_path(number)
    return conditions
