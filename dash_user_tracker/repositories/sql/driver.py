"""What every save says to a database, in the driver's own words.

SQLAlchemy describes each result and prepares each statement, which costs more than SQLite takes to answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any

import attrs
import sqlalchemy as sa

from .address import SQLITE

#: Rows in one statement of SQLite, which opens a table and its indexes for each. Before 3.32 it takes 999 values.
ROWS_AT_ONCE = 20


def driver_insert(
    dialect: sa.Dialect, table: sa.Table, ending: str = "", *, rows: int = 1, start: str = "INSERT"
) -> str:
    """An INSERT that takes rows as tuples, in the driver's own words: half the CPU of Core's dictionaries.

    One of several *rows* takes their values, one after the other.
    """
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    quote = dialect.identifier_preparer.quote
    names = ", ".join(quote(column.name) for column in table.columns if column.name != "seq")
    values = ", ".join(mark for column in table.columns if column.name != "seq")
    return f"{start} INTO {table.name} ({names}) VALUES {', '.join([f'({values})'] * rows)} {ending}"


@attrs.frozen
class Insertion:
    """Inserts rows of a table, by statements that are made once."""

    one: str
    several: str | None  # of `ROWS_AT_ONCE` rows

    @classmethod
    def of(cls, dialect: sa.Dialect, table: sa.Table, ending: str) -> Insertion:
        """*ending*: what becomes of a row that is there already."""
        if dialect.name != SQLITE:
            return cls(driver_insert(dialect, table, ending), None)
        # A row that the table refuses ends the transaction, which the caller would end, too. To undo the statement
        # alone, SQLite keeps a copy of each page that the statement changes.
        one, several = (
            driver_insert(dialect, table, ending, rows=rows, start="INSERT OR ROLLBACK") for rows in (1, ROWS_AT_ONCE)
        )
        return cls(one, several)

    def insert(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert *rows* in a transaction that has begun."""
        if self.several is None:
            connection.exec_driver_sql(self.one, rows)
            return
        driver: Any = connection.connection.driver_connection
        whole = len(rows) - len(rows) % ROWS_AT_ONCE
        try:
            for place in range(0, whole, ROWS_AT_ONCE):
                driver.execute(self.several, list(chain.from_iterable(rows[place : place + ROWS_AT_ONCE])))
            if whole < len(rows):
                driver.executemany(self.one, rows[whole:])
        except sqlite3.Error as error:
            raise _as_usual(self.one, error) from error


def driver_rows(connection: sa.Connection, statement: str) -> Sequence[Any]:
    """The rows that a *statement* finds in a transaction that has begun."""
    if connection.dialect.name != SQLITE:
        return connection.exec_driver_sql(statement).all()
    driver: Any = connection.connection.driver_connection
    try:
        found: list[Any] = driver.execute(statement).fetchall()
    except sqlite3.Error as error:
        raise _as_usual(statement, error) from error
    return found


def _as_usual(statement: str, error: sqlite3.Error) -> sa.exc.DBAPIError:
    """The *error* as SQLAlchemy raises it, without the values: events have no place in messages."""
    kind = sa.exc.OperationalError if isinstance(error, sqlite3.OperationalError) else sa.exc.DatabaseError
    return kind(statement, None, error, hide_parameters=True)
