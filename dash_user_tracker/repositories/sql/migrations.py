"""Versions of the tables, and the way from one to the next.

A step forward keeps every event. A process takes part in a store as long as the store says that it is compatible with
the process's version, so that workers of two versions share it while they are being replaced.

Version 1 had a table ``event`` with everything as JSON. It stays where it is, as an inbox: workers of version 1 go on
writing to it, those of later versions move what they find there, a bounded number of rows in each transaction.

Version 2 counted moments from 1970 and kept its roll-ups otherwise. Its events stay, the roll-ups are made anew.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import attrs
import sqlalchemy as sa

from ...errors import SchemaError
from ...events import ANONYMOUS, Event
from .address import POSTGRESQL, SQLITE
from .driver import driver_rows
from .schema import (
    ANONYMOUS_ID,
    COMPATIBLE_WITH,
    DERIVED,
    SCHEMA_VERSION,
    TABLES,
    WHO,
    event,
    label,
    metadata,
    store,
)
from .texts import EPOCH, ORIGIN, digest_of

log = logging.getLogger(__name__)

#: Rows of version 1 that one transaction moves.
MOVED_AT_ONCE = 2000

_READ = "SELECT version, compatible, token, erased, folded FROM dut_store"
_BEGIN = {True: "BEGIN IMMEDIATE", False: "BEGIN"}
_LOCK = 7_223_411_905_144_307  # of PostgreSQL's advisory locks; any number of ours


@attrs.frozen
class State:
    """The row of `schema.store`."""

    version: int
    compatible: int
    token: str
    erased: int
    folded: int
    inbox: bool = False  # there is a table of version 1

    def same_labels(self, other: State) -> bool:
        """The numbers of labels mean the same."""
        return (self.token, self.erased) == (other.token, other.erased)


class _Unfinished(Exception):
    """Another process is making the tables, or was killed while it did."""


class Migrations:
    """Brings a store to the version of this package."""

    def __init__(self, dialect: str, place: str, busy_timeout: float) -> None:
        self._dialect = dialect
        self._place = place
        self._busy_timeout = busy_timeout

    def begin(self, connection: sa.Connection, *, write: bool, known: State | None) -> State:
        """Begin a transaction on a store with the tables of this version; who writes is alone.

        *known*: what this process saw last.
        """
        try:
            state = self._read(connection, write)
        except (sa.exc.OperationalError, sa.exc.ProgrammingError, _Unfinished) as error:
            if isinstance(error, sa.exc.DBAPIError) and not self._no_table(error):
                raise
            connection.rollback()
            self._create(connection)
            state = self._read(connection, write)
            known = None
        if state.version < SCHEMA_VERSION:
            connection.rollback()
            self._alone(connection, self._upgrade)
            state = self._read(connection, write)
            known = None
        if known is not None and known.token == state.token:
            return attrs.evolve(state, inbox=known.inbox)
        return attrs.evolve(state, inbox=self._has_inbox(connection))

    def _read(self, connection: sa.Connection, write: bool) -> State:
        if self._dialect == SQLITE:
            connection.exec_driver_sql(_BEGIN[write])
            rows = driver_rows(connection, _READ)
        else:
            rows = driver_rows(connection, f"{_READ} FOR UPDATE" if write else _READ)
        if not rows:
            raise _Unfinished
        state = State(*rows[0])
        if state.compatible > SCHEMA_VERSION:
            raise self._too_new(state.version)
        return state

    def _too_new(self, version: int) -> SchemaError:
        return SchemaError(
            f"{self._place} has schema version {version}, this dash-user-tracker knows {SCHEMA_VERSION}: it was "
            "written by a newer one; upgrade this process (pip install -U dash-user-tracker), or give it a store of "
            "its own"
        )

    def _no_table(self, error: sa.exc.DBAPIError) -> bool:
        reason = str(error.orig)
        return "no such table" in reason or "does not exist" in reason or "1146" in reason

    # -- creating ----------------------------------------------------------------

    def _create(self, connection: sa.Connection) -> None:
        if self._dialect == SQLITE:
            self._create_file(connection)
        else:
            self._alone(connection, self._create_tables)

    def _alone(self, connection: sa.Connection, change: Callable[[sa.Connection], None]) -> None:
        """Change tables while no other process does; it commits."""
        if self._dialect == SQLITE:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            change(connection)
            connection.commit()
        elif self._dialect == POSTGRESQL:
            # Else who waits for the lock sees the tables as they were before it waited.
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            change(connection)
            connection.commit()
        else:
            # Changing a table commits, in MySQL: the lock is the session's.
            if connection.exec_driver_sql("SELECT GET_LOCK('dash_user_tracker', 60)").scalar_one() != 1:
                raise SchemaError(f"{self._place}: another process has been changing the tables for 60 s; try again")
            try:
                change(connection)
                connection.commit()
            finally:
                connection.exec_driver_sql("SELECT RELEASE_LOCK('dash_user_tracker')")
                connection.commit()

    def _create_tables(self, connection: sa.Connection) -> None:
        if self._exists(connection):
            return
        metadata.create_all(connection)
        connection.execute(
            label.insert(),
            [{"id": ANONYMOUS_ID, "kind": WHO, "digest": digest_of(WHO, ANONYMOUS), "value": ANONYMOUS}],
        )
        # Last: where a table is committed as it is made, this row says that they are all there.
        connection.execute(
            store.insert().values(
                one=1,
                version=SCHEMA_VERSION,
                compatible=COMPATIBLE_WITH,
                token=uuid.uuid4().hex,
                erased=0,
                folded=0,
            )
        )

    def _exists(self, connection: sa.Connection) -> bool:
        """Another process was faster; half of what one left behind that was killed on the way goes."""
        inspector = sa.inspect(connection)
        there = TABLES & set(inspector.get_table_names())
        if store.name in there and connection.execute(sa.select(store.c.one)).first() is not None:
            return True
        if there:
            metadata.drop_all(connection)
        return False

    def _create_file(self, connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")  # one snapshot: another process may create the tables just now
        version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        tables = set(sa.inspect(connection).get_table_names())
        connection.rollback()
        if store.name in tables:
            return
        if version > SCHEMA_VERSION:
            raise self._too_new(version)
        if tables and not (version == 1 and {"event", "dut_meta"} <= tables):
            raise SchemaError(f"{self._place} is a database with other tables; give the events a file of their own")
        # By a connection of its own: one that began a transaction on the empty file has settled what the file is like.
        with connection.engine.connect() as fresh:
            if not tables:
                fresh.exec_driver_sql("PRAGMA auto_vacuum = INCREMENTAL")  # space can be given back
            self._write_ahead(fresh)
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        if not self._exists(connection):  # no other process was faster
            self._create_tables(connection)
            if not tables:  # else workers of version 1 may go on
                connection.exec_driver_sql(f"PRAGMA user_version = {COMPATIBLE_WITH}")
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

    # -- version 2 ---------------------------------------------------------------

    def _upgrade(self, connection: sa.Connection) -> None:
        """From version 2. Where a change of a table commits, whoever comes next begins again."""
        if connection.execute(sa.select(store.c.version)).scalar_one() >= SCHEMA_VERSION:
            return  # another process was faster
        started = time.monotonic()
        connection.execute(store.update().values(folded=0))
        metadata.drop_all(connection, DERIVED)
        metadata.create_all(connection, DERIVED)
        for index in event.indexes:
            if index.name in ("dut_event_action", "dut_event_actor"):
                index.drop(connection, checkfirst=True)
                index.create(connection)
        if self._dialect not in (SQLITE, POSTGRESQL):
            connection.commit()
        # Others that write wait for this row, and find the new version then.
        connection.execute(store.update().values(version=SCHEMA_VERSION, compatible=COMPATIBLE_WITH))
        moved = connection.execute(
            event.update().values(
                ts=event.c.ts - (ORIGIN - EPOCH) // timedelta(microseconds=1),
                page=sa.func.nullif(event.c.page, event.c.path),
                who=sa.case((event.c.actor > 0, None), else_=event.c.who),
            )
        ).rowcount
        if self._dialect == SQLITE:
            version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
            if version > 1:  # else workers of version 1 may go on
                connection.exec_driver_sql(f"PRAGMA user_version = {COMPATIBLE_WITH}")
        seconds = time.monotonic() - started
        log.info("%s: %d events are of schema version %d now (%.0f s)", self._place, moved, SCHEMA_VERSION, seconds)

    # -- version 1 ---------------------------------------------------------------

    def _has_inbox(self, connection: sa.Connection) -> bool:
        if self._dialect != SQLITE:
            return False
        query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('event', 'dut_meta')"
        return bool(connection.exec_driver_sql(query).scalar_one() == 2)


def waiting(connection: sa.Connection) -> bool:
    """There are events of version 1 to move."""
    return connection.exec_driver_sql("SELECT 1 FROM event LIMIT 1").first() is not None


def take(connection: sa.Connection) -> list[Event]:
    """The oldest events of version 1, taken away."""
    rows = connection.exec_driver_sql(
        f"SELECT seq, id, name, ts, data FROM event ORDER BY seq LIMIT {MOVED_AT_ONCE}"
    ).all()
    if rows:
        connection.exec_driver_sql("DELETE FROM event WHERE seq <= ?", (rows[-1].seq,))
    return [
        Event(id=row.id, event=row.name, timestamp=EPOCH + timedelta(microseconds=row.ts), data=json.loads(row.data))
        for row in rows
    ]
