"""Bare asyncpg connections, for the few statements that most requests ask.

SQLAlchemy costs several times what such a statement does. Connections come back as they are:
nothing that is asked here leaves a trace in a session, so the reset between two uses, a round
trip of its own, is left out. What such a reset would also do is done without asking the server: a
connection that failed, or that is still in a transaction, is given up and not lent again.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

import asyncpg

from hatoba.kernel.errors import HatobaError
from hatoba.sql.engine import Database, translated

_T = TypeVar("_T")
_Asked: TypeAlias = tuple[str, tuple[Any, ...]]
BareConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any]"
PATIENCE_SECONDS: Final = 10.0
"""How long a connection or an answer is waited for."""
_SETTINGS: Final = "SET plan_cache_mode = force_generic_plan; SET jit = off;"
"""Planning such a statement costs more than running it, and so would compiling it."""
_LOST: Final = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
)
"""What a connection raises whose session has ended, before or after it was asked."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Questions:
    """Asks prepared statements; as many at once as there are connections, the others wait."""

    pool: "asyncpg.Pool[Any]"
    _waiting: dict[_Asked, "asyncio.Task[Sequence[asyncpg.Record]]"] = field(default_factory=dict)
    """Questions that wait for a connection."""

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[BareConnection]:
        """Lend a connection; what it raises when the server does not answer is translated.

        A server that ends a session says so before it closes the connection. Until then the
        driver takes it for usable: whoever got it next would fail by that, or, worse, go on in a
        transaction that another has left open.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        with translated():
            async with self._connection() as connection:
                yield connection

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[BareConnection]:
        async with self.pool.acquire() as connection:
            try:
                yield connection
            except HatobaError:
                # What we refuse ourselves says nothing against the connection.
                _give_up_unfinished(connection)
                raise
            except BaseException:
                _terminate(connection)
                raise
            _give_up_unfinished(connection)

    async def read(self, put: Callable[[BareConnection], Awaitable[_T]]) -> _T:
        """Put a question that changes nothing; once more where its connection proves lost.

        Whoever asks first after a server has ended its sessions is not to suffer for it. His
        second connection is new: those that were idle beside the first one have ended with it.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        with translated():
            with suppress(*_LOST):
                async with self._connection() as connection:
                    return await put(connection)
            await self.pool.expire_connections()
            async with self._connection() as connection:
                return await put(connection)

    async def ask(self, statement: str, *values: Any) -> Sequence["asyncpg.Record"]:
        """Return the rows of a statement that changes nothing.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        rows: Sequence[asyncpg.Record] = await self.read(
            lambda connection: connection.fetch(statement, *values)
        )
        return rows

    async def ask_one(self, statement: str, *values: Any) -> "asyncpg.Record | None":
        """Return the first row of a statement that changes nothing, or None.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        return await self.read(lambda connection: connection.fetchrow(statement, *values))

    async def change_one(self, statement: str, *values: Any) -> "asyncpg.Record | None":
        """Run a statement that changes something, once; return its first row, or None.

        Raises:
            DatabaseUnavailable: the server does not answer; nobody knows whether it was done.
        """
        async with self.lend() as connection:
            return await connection.fetchrow(statement, *values)

    async def ask_together(self, statement: str, *values: Any) -> Sequence["asyncpg.Record"]:
        """Return the rows of a statement, asked once for all who wait to ask the same.

        Whoever comes once the question is under way asks anew: an answer is never older than
        the call. The values must be hashable.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        asked = (statement, values)
        task = self._waiting.get(asked)
        if task is None:
            task = asyncio.create_task(self._ask_waiting(asked))
            task.add_done_callback(_seen)
            self._waiting[asked] = task
        # Who leaves takes nobody along.
        return await asyncio.shield(task)

    async def _ask_waiting(self, asked: _Asked) -> Sequence["asyncpg.Record"]:
        statement, values = asked

        async def put(connection: BareConnection) -> Sequence["asyncpg.Record"]:
            self._close(asked)
            rows: Sequence[asyncpg.Record] = await connection.fetch(statement, *values)
            return rows

        try:
            return await self.read(put)
        finally:
            # Where there was no connection.
            self._close(asked)

    def _close(self, asked: _Asked) -> None:
        """Let whoever comes from now on ask anew."""
        if self._waiting.get(asked) is asyncio.current_task():
            del self._waiting[asked]


def _seen(task: "asyncio.Task[Any]") -> None:
    """Take note of how a question ended, as all who asked may have left."""
    if not task.cancelled():
        task.exception()


def _terminate(connection: BareConnection) -> None:
    # The pool takes one back by itself whose end the driver has noticed.
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


def _give_up_unfinished(connection: BareConnection) -> None:
    if not connection.is_closed() and connection.is_in_transaction():
        connection.terminate()


@asynccontextmanager
async def open_questions(
    database: Database, *, connections: int, preparation: str = ""
) -> AsyncIterator[Questions]:
    """Connect to a PostgreSQL database; each connection begins by running `preparation`.

    Raises:
        DatabaseUnavailable: the server does not answer.
    """

    async def prepare(connection: "asyncpg.Connection[Any]") -> None:
        await connection.execute(_SETTINGS + preparation)

    pool = asyncpg.create_pool(
        **database.asyncpg_arguments(),
        # No connection is kept for its own sake: a database that is away is asked for by those
        # who need it, and not in the background.
        min_size=0,
        init_size=1,
        max_size=connections,
        timeout=PATIENCE_SECONDS,
        command_timeout=PATIENCE_SECONDS,
        init=prepare,
        reset=_keep,
    )
    with translated():
        await pool
    try:
        yield Questions(pool=pool)
    finally:
        await pool.close()


async def _keep(_connection: "asyncpg.Connection[Any]") -> None:
    """Leave a connection as it is."""
