"""Database servers on this host, and a database of the tests' own on each.

``DASH_USER_TRACKER_POSTGRESQL`` and ``DASH_USER_TRACKER_MYSQL`` name others: a URL of a user that may create databases.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from dash_user_tracker.repositories.sql import schema
from dash_user_tracker.repositories.sql.address import parse_address
from dash_user_tracker.repositories.sql.schema import metadata

SERVERS = {
    "postgresql": os.environ.get("DASH_USER_TRACKER_POSTGRESQL", "postgresql://postgres@127.0.0.1:5432/postgres"),
    "mysql": os.environ.get("DASH_USER_TRACKER_MYSQL", "mysql://root@127.0.0.1:3306/mysql"),
}


@contextmanager
def database(server: str) -> Iterator[str]:
    """The URL of a new database on *server*, which is dropped after. Skips where no server answers."""
    address, _ = parse_address(SERVERS[server])
    name = f"dut_test_{uuid.uuid4().hex[:12]}"
    try:
        engine = sa.create_engine(address, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
    except ImportError as error:
        pytest.skip(f"no driver for {server}: {error}")
    except sa.exc.OperationalError as error:
        pytest.skip(f"no {server} server answers: {error.orig}")
    try:
        yield address.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            force = " WITH (FORCE)" if server == "postgresql" else ""
            connection.exec_driver_sql(f"DROP DATABASE {name}{force}")
        engine.dispose()


def empty(url: str) -> None:
    """Forget all events: much quicker than to make the tables again."""
    engine = sa.create_engine(url)
    there = set(sa.inspect(engine).get_table_names())
    with engine.begin() as connection:
        if {table.name for table in metadata.sorted_tables} - there:
            metadata.drop_all(connection)
        else:
            for table in metadata.sorted_tables:
                if table is schema.label:
                    connection.execute(table.delete().where(~((table.c.kind == schema.WHO) & (table.c.id == 1))))
                elif table is schema.store:
                    values = {"folded": 0, "erased": table.c.erased + 1, "version": schema.SCHEMA_VERSION}
                    connection.execute(table.update().values(**values, compatible=schema.COMPATIBLE_WITH))
                else:
                    connection.execute(table.delete())
    engine.dispose()
