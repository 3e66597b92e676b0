"""Events in an SQL database: a file of SQLite, or a server of PostgreSQL, MySQL or MariaDB."""

from __future__ import annotations

try:
    # What NumPy and SQLAlchemy import when it is needed is named, so that it is not imported first on a worker thread:
    # see repositories/http.py.
    import numpy.ma  # noqa: F401 - by numpy.unique
    import sqlalchemy.dialects.sqlite.pysqlite  # noqa: F401
    from sqlalchemy import URL  # noqa: F401 - 1.4 has none
except ImportError as error:
    raise ImportError(
        'SqlTrackerRepository needs SQLAlchemy 2 and NumPy: pip install "dash-user-tracker[sql]"'
    ) from error

from .repository import SqlTrackerRepository as SqlTrackerRepository
