"""Engines of SQLAlchemy for the two stores, and tables that are up to date.

Everything here is loaded by the first work of a `Database`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import StaticPool

from proxy.store.database import path_of
from proxy.store.tables import HEAD, metadata

if TYPE_CHECKING:
    import psycopg

_BUSY_S = 30.0
_BUSY_PAUSE_S = 0.01
_CONNECT_S = 5
_SILENT_MS = 10_000  # a connection on which nothing is acknowledged for so long is dead
# On a line that only listens nothing is sent which could stay unacknowledged: it is asked whether it lives.
_ALIVE: dict[str, Any] = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
_OUR_LOCK = 0x647261676F  # of PostgreSQL's advisory locks: one process migrates at a time
_VERSION = sa.table("alembic_version", sa.column("version_num"))


class NewerTablesError(RuntimeError):
    """What made the tables is newer than this."""

    def __init__(self, version: str) -> None:
        super().__init__(
            f"the tables are of version {version}, and this Dragoman knows {HEAD} as the newest: start the "
            "version that made them, or restore the backup from before it"
        )


def connect(address: str) -> Engine:
    """Raises `ModuleNotFoundError` when PostgreSQL's driver is not installed."""
    if address.startswith("sqlite:"):
        return _sqlite(address)
    url = sa.make_url(address)
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_size=5,
        max_overflow=0,
        connect_args={"connect_timeout": _CONNECT_S, "tcp_user_timeout": _SILENT_MS},
    )


def listening(address: str, channel: str) -> psycopg.Connection:
    """A connection of its own to PostgreSQL, on which what is told on the channel arrives."""
    import psycopg

    url = sa.make_url(address).set(drivername="postgresql").render_as_string(hide_password=False)
    connection = psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_S, **_ALIVE)
    connection.execute(f"LISTEN {channel}")
    return connection


def _sqlite(address: str) -> Engine:
    path = path_of(address)
    arguments: dict[str, Any] = {"connect_args": {"timeout": _BUSY_S, "check_same_thread": False}}
    if path is None:
        engine = sa.create_engine("sqlite://", poolclass=StaticPool, **arguments)
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine = sa.create_engine(sa.URL.create("sqlite", database=str(path)), **arguments)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: Any, _: Any) -> None:
    """WAL lets readers go on while one writes; NORMAL loses nothing when a process dies."""
    connection.isolation_level = None  # the driver begins too late for our locks
    _keep_log(connection)
    connection.execute("PRAGMA synchronous = NORMAL")


def _keep_log(connection: Any) -> None:
    """SQLite's patience is not for this: where another process writes to the same new file, it is locked."""
    import sqlite3  # PostgreSQL does without

    until = time.monotonic() + _BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(_BUSY_PAUSE_S)
        else:
            return


def _begin(connection: Connection) -> None:
    """The lock of a writer from the first: a transaction that reads and then writes would else meet another
    that has done so, and fail instead of waiting. One that only reads waits for nobody."""
    only_reads = connection.get_execution_options().get("only_reads")
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


def migrate(engine: Engine) -> str | None:
    """Bring the tables to `HEAD`, one process at a time. The version that they had, None where there were
    none. Raises `NewerTablesError`."""
    with engine.connect() as connection:
        if _version(connection) == HEAD:
            return HEAD
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_OUR_LOCK)))
        version = _version(connection)
        if version == HEAD:
            return HEAD
        if version is not None and version > HEAD:
            raise NewerTablesError(version)
        if version is None and not sa.inspect(connection).get_table_names():
            _create(connection)
        else:
            _upgrade(connection)
        return version


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.select(_VERSION.c.version_num)).scalar()


def _create(connection: Connection) -> None:
    """A new database gets what all revisions together come to, without loading alembic for 0.1 s."""
    metadata.create_all(connection)
    number = sa.Column("version_num", sa.String(32), primary_key=True)
    sa.Table("alembic_version", sa.MetaData(), number).create(connection)
    connection.execute(sa.insert(_VERSION).values(version_num=HEAD))


def _upgrade(connection: Connection) -> None:
    from alembic import command

    command.upgrade(configuration(connection), "head")


def configuration(connection: Connection) -> Any:
    """alembic's, working on this connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "proxy:store/migrations")
    config.attributes["connection"] = connection
    return config
