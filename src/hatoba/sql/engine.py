"""Opening a database, and its two ways of use: a transaction or a single read.

`Database.begin()` is a transaction; on SQLite it takes the write lock at once, so that two writers
wait for each other instead of failing half-way. `Database.read()` runs each statement by itself
(AUTOCOMMIT), which saves two round trips on PostgreSQL and never locks SQLite. What a driver
raises when the server does not answer leaves here as `DatabaseUnavailable`.
"""

import contextlib
import errno
import select
import shlex
import socket
import sqlite3
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    InterfaceError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from hatoba.kernel.errors import InvalidInput, Unavailable

POOL_SIZE: Final = 8
POOL_OVERFLOW: Final = 8
POOL_WAIT_SECONDS: Final = 30
SQLITE_WAIT_MILLISECONDS: Final = 30_000
_SWITCHES: Final = 5
_NOT_NOW: Final = frozenset(
    {
        "3D000",  # no such database: one that is being made answers before its databases exist
        "28000",  # no such user
        "28P01",  # wrong password
    }
)
_NOT_NOW_CLASSES: Final = frozenset(
    {
        "08",  # connection
        "40",  # rolled back for the sake of another transaction
        "53",  # no disk, memory or connection left
        "57",  # shutting down, starting up
        "58",  # the server's own disk fails
    }
)
"""States in which PostgreSQL answers, and does nothing. Spec: PostgreSQL, appendix A."""
_NO_WAY: Final = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL}
)
ASKS_DIRECTLY: Final = asyncpg.__version__.startswith("0.32.")
"""Whether the driver is a version whose insides are known (`ServerConnection.ask`)."""
_KEPT: Final = {"sslmode": "ssl", "ssl": "ssl", "sslrootcert": "sslrootcert"}
"""Parameters of libpq that are read, with the names they have here."""


class MalformedDatabaseUri(InvalidInput):
    """A database address that is neither PostgreSQL's nor SQLite's."""


class DatabaseUnavailable(Unavailable):
    """The database does not answer, or has no connection left."""


class ServerConnection(asyncpg.Connection):  # type: ignore[misc]  # the driver has no types
    """A connection that can tell, without asking the server, that the server has ended it."""

    __slots__ = ("_kept", "_unread")

    def __init__(self, protocol: Any, transport: Any, *others: Any) -> None:
        super().__init__(protocol, transport, *others)
        self._kept: dict[str, Any] = {}
        self._unread = select.poll()
        self._unread.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def has_ended(self) -> bool:
        """Return whether an idle connection is over, or has something to say unasked.

        A server that ends a session says so and closes the connection. The driver knows of it
        only after the event loop has read that; whoever takes the connection before fails.
        """
        return self.is_closed() or bool(self._unread.poll(0))

    async def ask(
        self, statement: str, values: Sequence[Any], *, limit: int = 0
    ) -> Sequence[asyncpg.Record]:
        """Return the rows of a statement that changes nothing, at most `limit` unless it is 0.

        Like `fetch`, for a third less: what the driver does around each question is left out.
        For statements that the program is written with, as they stay prepared, and for
        connections that are lent to one who asks at a time.
        """
        if not ASKS_DIRECTLY or self._query_loggers:
            return await self._fetch(statement, values, limit=limit)
        kept = self._kept.get(statement)
        try:
            if kept is None:
                kept = self._kept[statement] = await self.prepare(statement)
            state = kept._state  # noqa: SLF001 -- of a known driver
            rows: Sequence[asyncpg.Record] = await self._protocol.bind_execute(
                state, values, "", limit, False, None
            )
        except (asyncpg.OutdatedSchemaCacheError, asyncpg.InvalidCachedStatementError):
            # A table has changed: `fetch` finds out how.
            self._kept.clear()
            await self.reload_schema_state()
            return await self._fetch(statement, values, limit=limit)
        return rows

    async def _fetch(
        self, statement: str, values: Sequence[Any], *, limit: int
    ) -> Sequence[asyncpg.Record]:
        rows: Sequence[asyncpg.Record] = await self.fetch(statement, *values)
        return rows[:limit] if limit else rows


@dataclass(slots=True, frozen=True, kw_only=True)
class Database:
    """An open database."""

    engine: AsyncEngine
    url: URL
    tls: ssl.SSLContext | None = None

    @property
    def is_postgresql(self) -> bool:
        """Whether this is PostgreSQL; else it is SQLite."""
        return self.url.get_backend_name() == "postgresql"

    @contextlib.asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Run a transaction: committed at the end of the block, rolled back when it raises.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        with translated():
            async with self.engine.begin() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Run statements that stand for themselves, without a transaction around them.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        with translated():
            engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            async with engine.connect() as connection:
                yield connection

    def asyncpg_arguments(self) -> dict[str, Any]:
        """Return the keywords with which `asyncpg.connect` reaches the same PostgreSQL."""
        arguments: dict[str, Any] = {
            "host": self.url.host,
            "port": self.url.port,
            "user": self.url.username,
            "password": self.url.password,
            "database": self.url.database,
            "ssl": self.tls,
            **dict(self.url.query),
        }
        return {key: value for key, value in arguments.items() if value is not None}

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn what a silent or refusing server makes drivers raise into `DatabaseUnavailable`."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise DatabaseUnavailable("the database does not answer") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise DatabaseUnavailable("the connection to the database was lost") from error
        if _is_not_now(getattr(error.orig, "sqlstate", None)):
            raise DatabaseUnavailable(f"the database does nothing: {error.orig}") from error
        raise
    except (asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        # The latter, too: a server that ends a session says so unasked, and until the connection
        # is closed the driver is in the middle of an answer that it does not expect.
        raise DatabaseUnavailable("the connection to the database was lost") from error
    except asyncpg.PostgresError as error:
        # What pulls and pushes ask most goes to asyncpg directly.
        if _is_not_now(error.sqlstate):
            raise DatabaseUnavailable(f"the database does nothing: {error}") from error
        raise
    except OSError as error:
        if _is_unreachable(error):
            raise DatabaseUnavailable("the database does not answer") from error
        raise


def _is_unreachable(error: OSError) -> bool:
    # asyncio makes one error without a number of those of a host's several addresses.
    return (
        isinstance(error, (ConnectionError, TimeoutError, socket.gaierror))
        or error.errno is None
        or error.errno in _NO_WAY
    )


def _is_not_now(sqlstate: str | None) -> bool:
    return sqlstate is not None and (sqlstate in _NOT_NOW or sqlstate[:2] in _NOT_NOW_CLASSES)


def parse_uri(uri: str) -> URL:
    """Read Quay's DB_URI, a SQLAlchemy URL, or libpq's `host=... dbname=...`, for async drivers.

    Raises:
        MalformedDatabaseUri: for anything else.
    """
    if "://" not in uri:
        return _parse_keywords(uri)
    try:
        url = make_url(uri)
    except (ArgumentError, ValueError) as error:
        raise MalformedDatabaseUri("the database URI cannot be understood") from error
    backend = url.get_backend_name()
    if backend in {"postgresql", "postgres"}:
        return _for_asyncpg(url.set(drivername="postgresql+asyncpg"))
    if backend == "sqlite":
        return url.set(drivername="sqlite+aiosqlite")
    raise MalformedDatabaseUri(f"databases of kind {backend!r} are not supported")


def _parse_keywords(text: str) -> URL:
    """Read libpq's keyword form. Spec: PostgreSQL documentation 34.1.1.1."""
    try:
        words = dict(word.split("=", 1) for word in shlex.split(text))
        url = URL.create(
            "postgresql+asyncpg",
            username=words.pop("user", None),
            password=words.pop("password", None),
            host=words.pop("host", None),
            port=int(words.pop("port", "5432")),
            database=words.pop("dbname", None),
            query=words,
        )
    except ValueError as error:
        raise MalformedDatabaseUri("the connection string cannot be understood") from error
    if url.database is None:
        raise MalformedDatabaseUri("the connection string names no database")
    return _for_asyncpg(url)


def _for_asyncpg(url: URL) -> URL:
    """Keep of libpq's parameters what asyncpg takes, under its name."""
    kept = {
        new_name: str(value) for name, value in url.query.items() if (new_name := _KEPT.get(name))
    }
    return url.set(query=kept)


def open_database(
    uri: str,
    *,
    pool_size: int = POOL_SIZE,
    overflow: int = POOL_OVERFLOW,
    connection_arguments: Mapping[str, Any] | None = None,
) -> Database:
    """Prepare a database for use; nothing is connected before the first statement.

    Call it after a fork, in the process and event loop that uses it. `pool_size` connections to
    PostgreSQL are kept, `overflow` more are opened for a moment. `connection_arguments` are
    Quay's DB_CONNECTION_ARGS; those of its own driver that ours does not know are left out.
    """
    url = parse_uri(uri)
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, hide_parameters=True)
        _prepare_sqlite(engine)
        return Database(engine=engine, url=url)
    query = {name: str(value) for name, value in url.query.items()}
    for name, value in (connection_arguments or {}).items():
        if name in _KEPT:
            query[_KEPT[name]] = str(value)
    tls = _verifying(query)
    url = url.set(query=query)
    engine = create_async_engine(
        url,
        # An error that is logged names its statement; the values may be secrets.
        hide_parameters=True,
        connect_args={"connection_class": ServerConnection} | ({"ssl": tls} if tls else {}),
        pool_size=pool_size,
        max_overflow=overflow,
        pool_timeout=POOL_WAIT_SECONDS,
        pool_recycle=1800,
    )
    event.listen(engine.sync_engine, "checkout", _refuse_ended)
    return Database(engine=engine, url=url, tls=tls)


def _verifying(query: dict[str, str]) -> ssl.SSLContext | None:
    """Take `sslrootcert` with its mode out of a query; return what trusts that certificate alone.

    Spec: PostgreSQL documentation 34.19.1: with a root certificate, `require` verifies like
    `verify-ca`; `verify-full` demands the host's name, too.

    Raises:
        MalformedDatabaseUri: the certificate cannot be read.
    """
    root = query.pop("sslrootcert", None)
    if root is None or query.get("ssl") in {None, "disable", "allow", "prefer"}:
        return None
    mode = query.pop("ssl")
    try:
        context = ssl.create_default_context(cafile=root)
    except (OSError, ssl.SSLError) as error:
        raise MalformedDatabaseUri(f"sslrootcert {root} cannot be read") from error
    context.check_hostname = mode == "verify-full"
    return context


def _refuse_ended(
    connection: DBAPIConnection, _entry: ConnectionPoolEntry, _proxy: PoolProxiedConnection
) -> None:
    """Let the pool replace a connection that its server has ended.

    Asking the server instead would cost three round trips before each use.
    """
    driver = getattr(connection, "driver_connection", None)
    if isinstance(driver, ServerConnection) and driver.has_ended():
        raise DisconnectionError


def _write_ahead(cursor: DBAPICursor) -> None:
    """Switch a file to a write-ahead log, which is one for all.

    Of several that do so at once on a new file SQLite lets one succeed, and does not always make
    the others wait as it does elsewhere: they take a lock that is waited for, and find it done.
    """
    for attempt in range(1, _SWITCHES + 1):
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if attempt == _SWITCHES:
                raise
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("ROLLBACK")
        else:
            return


def _prepare_sqlite(engine: AsyncEngine) -> None:
    def on_connect(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={SQLITE_WAIT_MILLISECONDS}")
        _write_ahead(cursor)
        # An answered request must survive a power cut: WAL alone would lose the last commits.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    def on_begin(connection: Connection) -> None:
        if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
