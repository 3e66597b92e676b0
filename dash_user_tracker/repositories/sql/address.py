"""The address of a store: which engine, which driver, which file."""

from __future__ import annotations

import os

import sqlalchemy as sa
from sqlalchemy import URL

from ...errors import ConfigurationError

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
MYSQL = "mysql"

#: The drivers that are tested, by the names an address may have, and the dialect each belongs to.
_DRIVERS = {
    "sqlite": ("sqlite", SQLITE),
    "sqlite+pysqlite": ("sqlite", SQLITE),
    "postgresql": ("postgresql+psycopg", POSTGRESQL),
    "postgres": ("postgresql+psycopg", POSTGRESQL),
    "postgresql+psycopg": ("postgresql+psycopg", POSTGRESQL),
    "mysql": ("mysql+pymysql", MYSQL),
    "mysql+pymysql": ("mysql+pymysql", MYSQL),
    "mariadb": ("mysql+pymysql", MYSQL),
    "mariadb+pymysql": ("mysql+pymysql", MYSQL),
}


def parse_address(url: str | URL) -> tuple[URL, str]:
    """*url* with the driver to use, and its dialect; ConfigurationError where it is no address of a store.

    The file of an SQLite store becomes absolute: a relative path means the working directory of this moment.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, TypeError, ValueError) as error:
        shown = repr(url) if isinstance(url, str) and "@" not in url else type(url).__name__
        raise ConfigurationError(f"url must be a database address such as 'sqlite:///usage.db', got {shown}") from error
    if parsed.drivername not in _DRIVERS:
        raise ConfigurationError(
            "url must name SQLite ('sqlite:///usage.db'), PostgreSQL ('postgresql://user@host/usage') or MySQL or "
            f"MariaDB ('mysql://user@host/usage'), with the default driver of each; got {parsed.drivername!r}"
        )
    drivername, dialect = _DRIVERS[parsed.drivername]
    parsed = parsed.set(drivername=drivername)
    if dialect != SQLITE:
        if not parsed.database:
            raise ConfigurationError(f"url must name a database, got {parsed.render_as_string()!r}")
        if dialect == MYSQL:  # text of every language, whatever the server's default
            parsed = parsed.update_query_dict({"charset": "utf8mb4"})
        return parsed, dialect
    if parsed.host:
        raise ConfigurationError(
            "url must have three slashes before a relative path ('sqlite:///usage.db') and four before an absolute "
            f"one, got {parsed.render_as_string()!r}"
        )
    file = _file_of(parsed)
    return (parsed if file is None else parsed.set(database=file)), dialect


def _file_of(url: URL) -> str | None:
    """The absolute path of the file; None for a store in memory."""
    if url.database in (None, "", ":memory:"):
        return None
    if url.database.startswith("file:") or "uri" in url.query:
        raise ConfigurationError(
            f"url must name the file by its path ('sqlite:///usage.db'), not by an SQLite URI, got {url.database!r}"
        )
    return os.path.abspath(url.database)
