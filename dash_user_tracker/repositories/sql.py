"""Events in an SQL database: SQLite in this version."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs

from ..codec import to_json
from ..errors import ConfigurationError, RejectedError, SchemaError, TrackerError, UnavailableError
from ..events import PAGE_VIEW, Event
from .base import DEFAULT_LIMIT, TrackerRepository, check_limit, check_range

try:
    import sqlalchemy as sa

    # Named, so that it is not imported first on a worker thread: see repositories/http.py.
    import sqlalchemy.dialects.sqlite.pysqlite
    from sqlalchemy import URL  # 1.4 has none
    from sqlalchemy.pool import NullPool, StaticPool
except ImportError as error:
    raise ImportError('SqlTrackerRepository needs SQLAlchemy 2: pip install "dash-user-tracker[sql]"') from error

#: Version of the tables below, kept in ``PRAGMA user_version``.
SCHEMA_VERSION = 1

_IS_VIEW = sa.text(f"name = '{PAGE_VIEW}'")  # a literal: SQLite does not use a partial index for a bound value

_schema = sa.MetaData()
_event = sa.Table(
    "event",
    _schema,
    sa.Column("seq", sa.Integer, primary_key=True),  # order of arrival
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("ts", sa.Integer, nullable=False),  # microseconds since 1970, UTC
    sa.Column("name", sa.Text, nullable=False),
    # What is asked for, copied out of data; null where it is not text there.
    sa.Column("app_name", sa.Text),
    sa.Column("path", sa.Text),
    sa.Column("route", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("automated", sa.Integer, nullable=False),
    sa.Column("data", sa.Text, nullable=False),  # JSON, complete
    sa.Index("event_ts", "ts"),
    sa.Index("event_view", "ts", sqlite_where=_IS_VIEW),
    sa.Index("event_path", "path", "ts", sqlite_where=_IS_VIEW),
    sa.Index("event_user", "user_id", "ts", sqlite_where=_IS_VIEW),
)
_meta = sa.Table("dut_meta", _schema, sa.Column("version", sa.Integer, nullable=False))

# As driver SQL with tuples: half the CPU of Core's dictionaries, and inserting is what this does all day.
_INSERT = (
    "INSERT INTO event (id, ts, name, app_name, path, route, user_id, automated, data) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
)

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)

#: File systems that other hosts share, on which WAL corrupts (https://www.sqlite.org/wal.html, "same host").
_NETWORK = re.compile(
    r"nfs\d?|cifs|smb\w*|ncpfs|9p|afs|ceph|gfs2?|ocfs2|lustre|gpfs|beegfs|glusterfs|davfs"
    r"|fuse\.(sshfs|s3fs|s3ql|rclone|gcsfuse|goofys|geesefs|mount-s3|blobfuse2?|juicefs|glusterfs|ceph\S*|davfs2?"
    r"|curlftpfs|smbnetfs|gvfsd-fuse|mfs|moosefs|seaweedfs|weed|lizardfs|nfs\S*|afp\S*)"
)


@attrs.frozen
class _Store:
    """The engine of one process, and what a thread holds while it uses it."""

    engine: sa.Engine
    turn: AbstractContextManager[Any]


class SqlTrackerRepository(TrackerRepository):
    """Keeps events in the SQLite file that *url* names (``sqlite:///usage.db``); several apps may share it.

    Safe for many threads and processes of one host, also when they create the file at the
    same moment; idempotent by event id. A call returns when its events are committed: they
    survive a killed process, and all but the last moments before a power cut
    (``synchronous=NORMAL``). *busy_timeout* is how many seconds to wait while another
    process writes. Only text counts as a user or a path: null is neither.

    A relative path means the working directory of the moment of construction. Nothing is
    opened before the first call, and between two calls no file is open, so that a process
    may fork then. ``sqlite://`` is a store in the memory of this process; a forked child
    starts with an empty one, and `close` forgets it.
    """

    # A child that is forked while SQLite writes inherits SQLite's own note that this process holds the write lock, and
    # can never get it (https://www.sqlite.org/howtocorrupt.html, 2.6). A save takes milliseconds.
    wait_before_fork = 1.0

    def __init__(self, url: str | URL, *, busy_timeout: float = 30.0) -> None:
        if isinstance(busy_timeout, bool) or not isinstance(busy_timeout, (int, float)) or not 0 <= busy_timeout < 1e6:
            raise ConfigurationError(f"busy_timeout must be a number of seconds of at least 0, got {busy_timeout!r}")
        self._busy_timeout = busy_timeout
        self._url = _parsed(url)
        self._file = _file_of(self._url)
        if self._file is not None:
            _check_folder(self._file)
            self._url = self._url.set(database=self._file)
        self._stores: dict[int, _Store] = {}  # by pid

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url.render_as_string()!r})"

    @property
    def destination(self) -> str:
        return self._url.render_as_string()

    def close(self) -> None:
        store = self._stores.pop(os.getpid(), None)
        if store is not None:
            with store.turn:
                store.engine.dispose()

    # -- writing -----------------------------------------------------------------

    def save_event(self, event: Event) -> None:
        self.save_events([event])

    def save_events(self, events: Sequence[Event]) -> None:
        """Store *events* in one transaction; an error says how many of them, from the front, were taken."""
        rows, unencodable = _rows_of(events)
        if rows:
            with self._transaction("BEGIN IMMEDIATE") as connection:
                connection.exec_driver_sql(_INSERT, rows)
        if unencodable is not None:
            message = f"an event is not JSON: {type(unencodable).__name__}: {unencodable}"
            raise RejectedError(message, taken=len(rows), refused=1) from unencodable

    # -- reading -----------------------------------------------------------------

    def get_page_views(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return self._rows(_views(start, end, automated), limit)

    def get_page_views_by_user(
        self,
        user_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return self._rows([*_views(start, end, automated), _event.c.user_id == _text(user_id)], limit)

    def get_page_views_by_path(
        self,
        path: str,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        automated: bool | None = None,
    ) -> dict[str, Any]:
        return self._rows([*_views(start, end, automated), _event.c.path == _text(path)], limit)

    def get_user_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._distinct(_event.c.user_id, _views(start, end, automated))

    def get_user_count_by_path(
        self, path: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._distinct(_event.c.user_id, [*_views(start, end, automated), _event.c.path == _text(path)])

    def get_page_count(
        self, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._distinct(_event.c.path, _views(start, end, automated))

    def get_page_count_by_user(
        self, user_id: str, start: datetime | None = None, end: datetime | None = None, *, automated: bool | None = None
    ) -> int:
        return self._distinct(_event.c.path, [*_views(start, end, automated), _event.c.user_id == _text(user_id)])

    def get_events(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int | None = DEFAULT_LIMIT,
        *,
        event: str | None = None,
    ) -> list[Event]:
        conditions = _between(start, end)
        if event is not None:
            conditions.append(_event.c.name == _text(event))
        columns = (_event.c.id, _event.c.name, _event.c.ts, _event.c.data)
        with self._transaction("BEGIN") as connection:
            rows = connection.execute(_newest(columns, conditions, limit)).all()
        return [
            Event(id=row.id, event=row.name, timestamp=_timestamp(row.ts), data=json.loads(row.data)) for row in rows
        ]

    def _rows(self, conditions: Sequence[sa.ColumnElement[bool]], limit: int | None) -> dict[str, Any]:
        page = _newest((_event.c.ts, _event.c.data), conditions, limit)
        with self._transaction("BEGIN") as connection:  # one snapshot for both
            count = connection.execute(sa.select(sa.func.count()).select_from(_event).where(*conditions)).scalar_one()
            rows = connection.execute(page).all()
        return {
            "count": count,
            "data": [{**json.loads(row.data), "timestamp": _timestamp(row.ts).isoformat()} for row in rows],
        }

    def _distinct(self, column: sa.Column[Any], conditions: Sequence[sa.ColumnElement[bool]]) -> int:
        query = sa.select(sa.func.count(sa.distinct(column))).where(*conditions)
        with self._transaction("BEGIN") as connection:
            return int(connection.execute(query).scalar_one())

    # -- both --------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, begin: str) -> Iterator[sa.Connection]:
        """A connection to a store with our tables, inside a transaction that *begin* starts."""
        store = self._store()
        try:
            with store.turn, store.engine.connect() as connection:
                self._prepare(connection)
                connection.exec_driver_sql(begin)
                yield connection
                connection.commit()
        except sa.exc.DBAPIError as error:
            raise self._explained(error) from error

    def _store(self) -> _Store:
        # No lock: a fork may leave it locked. An engine that loses this race was never connected.
        pid = os.getpid()
        return self._stores.get(pid) or self._stores.setdefault(pid, self._new_store())

    def _new_store(self) -> _Store:
        options: dict[str, Any] = {"timeout": self._busy_timeout}
        if self._file is None:
            options["check_same_thread"] = False
        # No pool for files. SQLite counts the locks of a file per process in its own memory: a child that opens a file
        # which its parent had open at the fork believes to hold locks that it does not, and when the parent closes, the
        # log is deleted under the child (https://www.sqlite.org/howtocorrupt.html, 2.6). Costs 1 ms a call.
        engine = sa.create_engine(
            self._url,
            poolclass=StaticPool if self._file is None else NullPool,
            connect_args=options,
            hide_parameters=True,  # events have no place in error messages
        )
        sa.event.listen(engine, "connect", _configure)
        return _Store(engine, threading.Lock() if self._file is None else contextlib.nullcontext())

    def _prepare(self, connection: sa.Connection) -> None:
        """The store has the tables of this version, or gets them."""
        if connection.exec_driver_sql("PRAGMA user_version").scalar_one() == SCHEMA_VERSION:
            return
        connection.exec_driver_sql("BEGIN")  # one snapshot: another process may create the tables just now
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        tables = [] if version else sa.inspect(connection).get_table_names()
        connection.commit()
        if version == SCHEMA_VERSION:
            return
        if version > SCHEMA_VERSION:
            raise SchemaError(
                f"{self._place} has schema version {version}, this dash-user-tracker knows {SCHEMA_VERSION}: it was "
                "written by a newer one; upgrade this process (pip install -U dash-user-tracker), or give it a file of "
                "its own"
            )
        if tables:
            raise SchemaError(f"{self._place} is a database with other tables; give the events a file of their own")
        self._write_ahead(connection)
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if connection.exec_driver_sql("PRAGMA user_version").scalar_one() == 0:  # no other process was faster
            _schema.create_all(connection)
            connection.execute(_meta.insert().values(version=SCHEMA_VERSION))
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.commit()

    def _write_ahead(self, connection: sa.Connection) -> None:
        """The file is in WAL mode, for good: readers and writers do not wait for one another."""
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                return
            except sa.exc.OperationalError as error:
                # busy_timeout does not hold for this statement, and all workers start at the same moment.
                if "locked" not in str(error.orig) or time.monotonic() >= deadline:
                    raise
            time.sleep(0.01)

    def _explained(self, error: sa.exc.DBAPIError) -> TrackerError:
        reason = str(error.orig)
        if "not a database" in reason or "no such" in reason:
            return SchemaError(f"{self._place} is not a store of ours ({reason}); give the events a file of their own")
        for symptom, way_out in (
            ("locked", f"another process has been writing for more than busy_timeout={self._busy_timeout:g} s"),
            ("readonly", "let this user write the file and its folder"),
            ("unable to open", "the folder must exist, and this user must be able to write in it"),
            ("full", "free some disk space"),
        ):
            if symptom in reason:
                reason = f"{reason}; {way_out}"
        return UnavailableError(f"{self._place}: {reason}")

    @property
    def _place(self) -> str:
        return self._file or "the store in memory"


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say so, and as we say
    connection.execute("PRAGMA synchronous = NORMAL")


def _rows_of(events: Sequence[Event]) -> tuple[list[tuple[Any, ...]], Exception | None]:
    """The events as rows, up to the first that is not JSON, and why it is not."""
    rows: list[tuple[Any, ...]] = []
    try:
        for event in events:
            data = event.data
            rows.append(
                (
                    _text(event.id),
                    _microseconds(event.timestamp),
                    _text(event.event),
                    _text(data.get("app_name")),
                    _text(data.get("path")),
                    _text(data.get("route")),
                    _text(data.get("user_id")),
                    int(bool(data.get("automated"))),
                    to_json(dict(data)),
                )
            )
    except (TypeError, ValueError, RecursionError) as error:
        return rows, error
    return rows, None


def _between(start: datetime | None, end: datetime | None) -> list[sa.ColumnElement[bool]]:
    check_range(start, end)
    conditions: list[sa.ColumnElement[bool]] = []
    if start is not None:
        conditions.append(_event.c.ts >= _microseconds(start))
    if end is not None:
        conditions.append(_event.c.ts < _microseconds(end))
    return conditions


def _views(start: datetime | None, end: datetime | None, automated: bool | None) -> list[sa.ColumnElement[bool]]:
    conditions = [sa.literal_column(f"'{PAGE_VIEW}'") == _event.c.name, *_between(start, end)]
    if automated is not None:
        conditions.append(_event.c.automated == int(automated))
    return conditions


def _newest(
    columns: Sequence[sa.Column[Any]], conditions: Sequence[sa.ColumnElement[bool]], limit: int | None
) -> sa.Select[Any]:
    check_limit(limit)
    return sa.select(*columns).where(*conditions).order_by(_event.c.ts.desc(), _event.c.seq.desc()).limit(limit)


def _text(value: object) -> str | None:
    """*value* as a column can hold it: half a surrogate pair is text in Python and JSON, but not in UTF-8."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else None


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _timestamp(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def _parsed(url: str | URL) -> URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, TypeError, ValueError) as error:
        shown = repr(url) if isinstance(url, str) and "@" not in url else type(url).__name__
        raise ConfigurationError(f"url must be a database address such as 'sqlite:///usage.db', got {shown}") from error
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise ConfigurationError(
            f"url must name SQLite ('sqlite:///usage.db'), all that is supported by now, got {parsed.drivername!r}"
        )
    if parsed.host:
        raise ConfigurationError(
            f"url must have three slashes before a relative path ('sqlite:///usage.db') and four before an absolute "
            f"one, got {parsed.render_as_string()!r}"
        )
    return parsed


def _file_of(url: URL) -> str | None:
    """The absolute path of the file; None for a store in memory."""
    if url.database in (None, "", ":memory:"):
        return None
    if url.database.startswith("file:") or "uri" in url.query:
        raise ConfigurationError(
            f"url must name the file by its path ('sqlite:///usage.db'), not by an SQLite URI, got {url.database!r}"
        )
    return os.path.abspath(url.database)


def _check_folder(file: str) -> None:
    folder = os.path.dirname(file)
    if not os.path.isdir(folder):
        raise ConfigurationError(f"url must name a file in an existing folder, got {file!r}: create {folder!r} first")
    if os.path.isdir(file):
        raise ConfigurationError(f"url must name a file, got the folder {file!r}")
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            kind = file_system_of(os.path.realpath(folder), mounts.read())
    except OSError:  # not Linux: nothing is known
        return
    if _NETWORK.fullmatch(kind):
        raise ConfigurationError(
            f"url must name a file on a local disk, got {file!r} on a network file system ({kind}), where SQLite's log "
            "corrupts; use a local folder, or send the events to one host with HttpTrackerRepository"
        )


def file_system_of(path: str, mountinfo: str) -> str:
    """The type of the file system that *path*, absolute and real, is on, by ``/proc/self/mountinfo`` (proc(5))."""
    kind, longest = "", -1
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = point == "/" or path == point or path.startswith(f"{point}/")
        if inside and len(point) >= longest:  # of two on one point the later hides the earlier
            kind, longest = after.split(" ")[0], len(point)
    return kind
