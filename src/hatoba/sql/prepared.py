"""Bare asyncpg connections, for the few statements that most requests ask.

SQLAlchemy costs several times what such a statement does. Connections come back as they are:
nothing that is asked here leaves a trace in a session, so the reset between two uses, a round
trip of its own, is left out. What such a reset would also do is done without asking the server: a
connection that failed, or that is still in a transaction, is given up and not lent again
(`connections`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import asyncpg
import structlog

from hatoba.kernel.errors import HatobaError
from hatoba.sql.connections import Connections
from hatoba.sql.engine import Database, ServerConnection, translated

log = structlog.get_logger()
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_Asked: TypeAlias = tuple[str, tuple[Any, ...]]
PATIENCE_SECONDS: Final = 10.0
"""How long a connection or an answer is waited for."""
_SETTINGS: Final = "SET plan_cache_mode = force_generic_plan; SET jit = off;"
"""Planning such a statement costs more than running it, and so would compiling it."""
BY_INDEX: Final = """
SELECT set_config(name, 'off', false) FROM pg_settings
 WHERE name IN ('enable_seqscan', 'enable_bitmapscan', 'enable_sort', 'enable_incremental_sort');
"""
"""A preparation for questions that one index answers, in its order where one is asked for. Without
it a plan that was made when the tables were small reads them whole until their statistics are
renewed, and afterwards still does so for a value that is not there, where few others fill the
table; or it asks two indexes, or sorts what one tells of a whole repository. (Incremental sorts
are of PostgreSQL 13: what a server does not know is not set.)"""
_LOST: Final = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
)
"""What a connection raises whose session has ended, before or after it was asked."""


def ranged(column: str, value: str) -> str:
    """Return the condition that a column has a value, as the range that holds nothing else.

    With `ORDER BY` behind it, and prepared with `BY_INDEX`, such a row is found by the one index
    that has this order, whenever the plan was made. A connection keeps its plans, and the first
    ones are made for tables that are all but empty: there every index that knows a column of the
    question seems to cost the same, also one that will read a whole repository for one tag once it
    is large. Of what equals a constant PostgreSQL would not think that it needs an order.
    """
    return f"{column} >= {value} AND {column} <= {value}"


class Change(Protocol[_T_co]):
    """Asks a connection for a change."""

    def __call__(self, connection: ServerConnection, *, is_again: bool) -> Awaitable[_T_co]:
        """Do it; `is_again`: unless it was done the first time."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Questions:
    """Asks prepared statements; as many at once as there are connections, the others wait."""

    connections: Connections
    _waiting: dict[_Asked, "asyncio.Task[Sequence[asyncpg.Record]]"] = field(default_factory=dict)
    """Questions that wait for a connection."""

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[ServerConnection]:
        """Lend a connection; what it raises when the server does not answer is translated.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        with translated():
            async with self._lent() as connection:
                yield connection

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[ServerConnection]:
        connection = await self.connections.take()
        try:
            yield connection
        except HatobaError:
            # What we refuse ourselves says nothing against the connection.
            self.connections.give_back(connection)
            raise
        except BaseException:
            self.connections.give_up(connection)
            raise
        self.connections.give_back(connection)

    async def read(self, put: Callable[[ServerConnection], Awaitable[_T]]) -> _T:
        """Put a question that changes nothing; once more where its connection proves lost.

        Whoever asks first after a server has ended its sessions is not to suffer for it. His
        second connection is new: those that were idle beside the first one have ended with it.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """

        async def put_again(connection: ServerConnection, **_: bool) -> _T:
            return await put(connection)

        return await self.change(put_again)

    async def change(self, put: Change[_T]) -> _T:
        """Put a change; once more where its connection proves lost.

        `put` is told when it comes again: then it is not known whether the first one was
        done, and `put` has to find out before it changes anything.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        with translated():
            try:
                return await self._put(lambda connection: put(connection, is_again=False))
            except _LOST as error:
                log.debug("a question is put again", reason=str(error))
            self.connections.give_up_idle()
            return await self._put(lambda connection: put(connection, is_again=True))

    async def _put(self, put: Callable[[ServerConnection], Awaitable[_T]]) -> _T:
        connection = await self.connections.take()
        try:
            answer = await put(connection)
        except BaseException:
            self.connections.give_up(connection)
            raise
        self.connections.give_back(connection)
        return answer

    async def ask(self, statement: str, *values: Any) -> Sequence["asyncpg.Record"]:
        """Return the rows of a statement that changes nothing.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        return await self._ask(statement, values, limit=0)

    async def ask_one(self, statement: str, *values: Any) -> "asyncpg.Record | None":
        """Return the first row of a statement that changes nothing, or None.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        rows = await self._ask(statement, values, limit=1)
        return rows[0] if rows else None

    async def _ask(
        self, statement: str, values: tuple[Any, ...], *, limit: int
    ) -> Sequence["asyncpg.Record"]:
        """Do what `read` does, with less around it where a connection is free and works."""

        def put(given: ServerConnection) -> Awaitable[Sequence["asyncpg.Record"]]:
            return given.ask(statement, values, limit=limit)

        connection = self.connections.take_idle()
        if connection is None:
            return await self.read(put)
        try:
            rows = await connection.ask(statement, values, limit=limit)
        except BaseException as error:
            self.connections.give_up(connection)
            with translated():
                if not isinstance(error, _LOST):
                    raise
                log.debug("a question is put again", reason=str(error))
                self.connections.give_up_idle()
                return await self._put(put)
        self.connections.give_back(connection)
        return rows

    @asynccontextmanager
    async def transact(self, put: Callable[[ServerConnection], Awaitable[_T]]) -> AsyncIterator[_T]:
        """Begin a transaction by what is put first; commit it at the end of the block.

        Where its connection proves lost before the block begins, nothing of it was done: it is
        begun once more.

        Raises:
            DatabaseUnavailable: the server does not answer; from the end of the block on nobody
                knows whether it was done.
        """
        with translated():
            try:
                begun, answer = await self._begin(put)
            except _LOST as error:
                log.debug("a transaction is begun again", reason=str(error))
                self.connections.give_up_idle()
                begun, answer = await self._begin(put)
            async with begun:
                yield answer

    async def _begin(
        self, put: Callable[[ServerConnection], Awaitable[_T]]
    ) -> tuple[AsyncExitStack, _T]:
        async with AsyncExitStack() as begun:
            connection = await begun.enter_async_context(self._lent())
            await begun.enter_async_context(connection.transaction())
            answer = await put(connection)
            return begun.pop_all(), answer

    async def ask_together(self, statement: str, *values: Any) -> Sequence["asyncpg.Record"]:
        """Return the rows of a statement, asked once for all who wait to ask the same.

        Whoever comes once the question is under way asks anew: an answer is never older than
        the call. The values must be hashable.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        asked = (statement, values)
        task = self._waiting.get(asked)
        if task is None and self.connections.has_idle:
            # Nobody waits, so that nothing can be shared: a task would only cost.
            return await self.ask(statement, *values)
        if task is None:
            task = asyncio.create_task(self._ask_waiting(asked))
            task.add_done_callback(_seen)
            self._waiting[asked] = task
        # Who leaves takes nobody along.
        return await asyncio.shield(task)

    async def _ask_waiting(self, asked: _Asked) -> Sequence["asyncpg.Record"]:
        statement, values = asked

        async def put(connection: ServerConnection) -> Sequence["asyncpg.Record"]:
            self._close(asked)
            return await connection.ask(statement, values)

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


@asynccontextmanager
async def open_questions(
    database: Database, *, connections: int, preparation: str = ""
) -> AsyncIterator[Questions]:
    """Connect to a PostgreSQL database; each connection begins by running `preparation`.

    Raises:
        DatabaseUnavailable: the server does not answer.
    """

    async def connect() -> ServerConnection:
        connection: ServerConnection = await asyncpg.connect(
            **database.asyncpg_arguments(),
            timeout=PATIENCE_SECONDS,
            command_timeout=PATIENCE_SECONDS,
            connection_class=ServerConnection,
        )
        try:
            await connection.execute(_SETTINGS + preparation)
        except BaseException:
            connection.terminate()
            raise
        return connection

    opened = Connections(connect, limit=connections, patience_seconds=PATIENCE_SECONDS)
    with translated():
        opened.give_back(await opened.take())
    try:
        yield Questions(connections=opened)
    finally:
        await opened.close()
