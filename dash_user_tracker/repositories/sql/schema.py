"""The tables of a store.

Every text that comes again and again is a number in `event` and a row in `label`. Tables begin with ``dut_``, so that
a store may live beside the tables of others in a database server.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

#: Version of the tables below.
SCHEMA_VERSION = 3
#: The oldest version of this package's tables whose code may still use a store of `SCHEMA_VERSION`. A step that only
#: adds leaves it as it is, so that workers of both versions share a store during a rolling update.
COMPATIBLE_WITH = 3

# -- kinds of events -------------------------------------------------------------------------
RUN, VIEW, CUSTOM = 0, 1, 2  # in this order: SQLite keeps 0 and 1 in no bytes at all

# -- kinds of labels -------------------------------------------------------------------------
CONTEXT = 1  # JSON: what few values combine to, see `rows.CONTEXT_KEYS`
PAGE = 2  # a path or a route
WHO = 3  # a user_id
PERSON = 4  # JSON: [email, full_name, group]
CLIENT = 5  # JSON: [ip, user_agent]
VISITOR = 6
REFERRER = 7
CALLBACK = 8  # JSON: [callback, output]
CONTROL = 9
ERROR = 10  # JSON: {"type", "where"}
SEGMENT = 11  # JSON: [app, automated]

#: The label of ``anonymous``, which indexes and queries name.
ANONYMOUS_ID = 1

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BYTES = sa.LargeBinary().with_variant(mysql.VARBINARY(240), "mysql", "mariadb")
_BLOB = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")

_MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}
_MARIADB = {"mariadb_engine": "InnoDB", "mariadb_charset": "utf8mb4", "mariadb_collate": "utf8mb4_bin"}

metadata = sa.MetaData()


def _table(name: str, *columns: Any) -> sa.Table:
    # Of the others each is found by its key alone.
    options: dict[str, Any] = {"sqlite_with_rowid": name in ("dut_event", "dut_rollup"), **_MYSQL, **_MARIADB}
    return sa.Table(name, metadata, *columns, **options)


def _index(name: str, *columns: str, where: str | None = None) -> sa.Index:
    # MySQL has no partial indexes and takes the whole one.
    condition = sa.text(where) if where else None
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


#: One row: what all processes must agree upon. Who writes holds its lock until the commit, so that on every engine
#: rows become visible in the order of `event.seq`.
store = _table(
    "dut_store",
    sa.Column("one", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("compatible", sa.Integer, nullable=False),
    sa.Column("token", sa.String(32), nullable=False),  # of this store; numbers of labels mean nothing in another
    sa.Column("erased", sa.Integer, nullable=False),  # counts erasures of labels, after which kept numbers are void
    sa.Column("folded", _BIG, nullable=False),  # the watermark: rows up to this seq are in the roll-ups
)

label = _table(
    "dut_label",
    sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("id", _BIG, primary_key=True, autoincrement=False),  # 1, 2, 3 ... of each kind
    sa.Column("digest", _BIG, nullable=False),  # of kind and value, 64 bits
    sa.Column("value", _TEXT, nullable=False),
    _index("dut_label_digest", "digest"),
)

event = _table(
    "dut_event",
    sa.Column("seq", _BIG, primary_key=True),  # order of arrival
    sa.Column("id", _BYTES, nullable=False),
    sa.Column("ts", _BIG, nullable=False),  # microseconds since `texts.ORIGIN`
    sa.Column("kind", sa.SmallInteger, nullable=False),
    sa.Column("automated", sa.SmallInteger, nullable=False),
    sa.Column("active", sa.SmallInteger, nullable=False),  # it counts as an activity, see `repositories.metrics`
    sa.Column("actor", _BIG),  # the label `who` where it is a person, else the label `visitor`, negative
    # labels
    sa.Column("context", _BIG, nullable=False),
    sa.Column("page", _BIG),  # the route, null where it is the path or there is none
    sa.Column("path", _BIG),
    sa.Column("who", _BIG),  # null where it is the actor
    sa.Column("person", _BIG),
    sa.Column("client", _BIG),
    sa.Column("visitor", _BIG),
    sa.Column("referrer", _BIG),
    sa.Column("callback", _BIG),
    sa.Column("control", _BIG),
    sa.Column("error", _BIG),
    # values
    sa.Column("query", _TEXT),
    sa.Column("page_load", _BYTES),
    sa.Column("action", _BIG),
    sa.Column("duration", _BIG),  # microseconds
    sa.Column("request_bytes", _BIG),
    sa.Column("response_bytes", _BIG),
    sa.Column("rest", _TEXT),  # JSON: what has no column, or does not fit in its own
    sa.Index("dut_event_id", "id", unique=True),
    _index("dut_event_ts", "ts"),
    _index("dut_event_path", "path", "ts", "actor", "who", "automated", where="kind = 1"),
    _index("dut_event_actor", "actor", "ts", "kind"),
    _index("dut_event_action", "page_load", where="active = 1 AND kind = 0 AND action IS NOT NULL"),
    _index("dut_event_anonymous", "ts", where=f"kind = 1 AND who = {ANONYMOUS_ID}"),
    _index("dut_event_error", "error", "ts", where="error IS NOT NULL"),
)

#: The visits that the events up to `store.folded` make, see `folding`.
visit = _table(
    "dut_visit",
    sa.Column("t0", _BIG, primary_key=True, autoincrement=False),  # microseconds: the first activity, the last
    sa.Column("first", _BIG, primary_key=True, autoincrement=False),  # the first activity, by `event.seq`
    sa.Column("t1", _BIG, nullable=False),
    sa.Column("actor", _BIG, nullable=False),  # 0: nobody
    sa.Column("segment", _BIG, nullable=False),
    sa.Column("views", _BIG, nullable=False),
    sa.Column("busy", sa.SmallInteger, nullable=False),  # something was done but looking
    sa.Column("entry", _BIG),
    sa.Column("exit", _BIG),
    sa.Column("trail", _BYTES, nullable=False),  # the first pages, the same one in a row once
    _index("dut_visit_actor", "actor", "t0"),
)

#: Days whose hours changed since they were added up.
day = _table("dut_day", sa.Column("day", sa.Integer, primary_key=True, autoincrement=False))

#: Quarters of a day (since 1970) that lost events: what was counted of them is void until it is counted again.
void = _table("dut_void", sa.Column("quarter", sa.Integer, primary_key=True, autoincrement=False))

#: What was counted up to `store.folded`: for each *period* (hours or days since 1970) and segment one packed table of
#: each section, see `rollups`.
rollup = _table(
    "dut_rollup",
    sa.Column("section", sa.SmallInteger, primary_key=True, autoincrement=False),  # of `cells`, by hours or days
    sa.Column("period", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("segment", _BIG, primary_key=True, autoincrement=False),
    sa.Column("packed", _BLOB, nullable=False),
)

TABLES = frozenset(metadata.tables)
#: Those that are made from events, and can be made again.
DERIVED = (visit, day, void, rollup)
