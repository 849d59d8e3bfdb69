"""Bare asyncpg connections that are lent and come back.

Far simpler than the driver's own pool, which costs as much as a small question: no proxy, no
reset, no timer for each connection. Whoever came last lends first, so that few connections are
busy and warm; whoever finds none waits his turn.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import asyncpg

from hatoba.sql.engine import ServerConnection

CLOSING_SECONDS: Final = 2.0
"""How long a server may take to hear that a connection ends."""

Connect = Callable[[], Awaitable[ServerConnection]]


class Connections:
    """Up to `limit` connections, opened when they are needed first.

    Of one that was taken nobody else knows until it is given back, or up.
    """

    def __init__(self, connect: Connect, *, limit: int, patience_seconds: float) -> None:
        self._connect = connect
        self._free = limit
        """How many may still be opened."""
        self._patience_seconds = patience_seconds
        self._idle: list[ServerConnection] = []
        self._waiting: deque[asyncio.Future[ServerConnection | None]] = deque()
        """Each is given a connection, or None: that he may open one."""
        self._is_closed = False

    @property
    def has_idle(self) -> bool:
        """Whether whoever asks now finds a connection that nobody has."""
        return bool(self._idle)

    async def take(self) -> ServerConnection:
        """Return a connection that is in no transaction and whose session has not ended.

        Raises:
            TimeoutError: all others are busy, and none came back.
            OSError, asyncpg.PostgresError: the server cannot be reached, or refuses.
        """
        connection = self.take_idle()
        if connection is not None:
            return connection
        if self._free:
            self._free -= 1
            return await self._open()
        return await self._wait() or await self._open()

    def take_idle(self) -> ServerConnection | None:
        """Return a connection as `take` does if there is one that nobody has."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_ended():
                return connection
            self.give_up(connection)
        return None

    def give_back(self, connection: ServerConnection) -> None:
        """Let others have a connection; one that is of no use to them is given up."""
        if self._is_closed or connection.is_closed() or connection.is_in_transaction():
            self.give_up(connection)
        elif (waiting := self._first_waiting()) is not None:
            waiting.set_result(connection)
        else:
            self._idle.append(connection)

    def give_up(self, connection: ServerConnection) -> None:
        """End a connection at once, without a word to its server."""
        connection.terminate()
        self._allow_one()

    def give_up_idle(self) -> None:
        """End all connections that nobody has."""
        idle, self._idle = self._idle, []
        for connection in idle:
            self.give_up(connection)

    async def close(self) -> None:
        """End all connections: idle ones now, others when they come back."""
        self._is_closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            # What does not end in order ends all the same.
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=CLOSING_SECONDS)

    async def _open(self) -> ServerConnection:
        try:
            return await self._connect()
        except BaseException:
            self._allow_one()
            raise

    async def _wait(self) -> ServerConnection | None:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[ServerConnection | None] = loop.create_future()
        self._waiting.append(waiting)
        timer = loop.call_later(self._patience_seconds, _expire, waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            # He may have been given something just before he left.
            if not waiting.cancelled() and waiting.exception() is None:
                self._return(waiting.result())
            raise
        finally:
            timer.cancel()

    def _return(self, given: ServerConnection | None) -> None:
        if given is None:
            self._allow_one()
        else:
            self.give_back(given)

    def _allow_one(self) -> None:
        waiting = self._first_waiting()
        if waiting is None:
            self._free += 1
        else:
            waiting.set_result(None)

    def _first_waiting(self) -> "asyncio.Future[ServerConnection | None] | None":
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                return waiting
        return None


def _expire(waiting: "asyncio.Future[ServerConnection | None]") -> None:
    if not waiting.done():
        waiting.set_exception(TimeoutError("all connections to the database are busy"))
