"""A way to a server that loses what it answers, as a network or a server that ends does."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Detour:
    """Stands between clients and a server. `lose` makes it drop an answer and hang up.

    `lose_question` does so with what is asked, which the server never hears.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._let: int | None = None
        self._let_questions: int | None = None
        self._writers: list[asyncio.StreamWriter] = []
        self._ways: set[asyncio.Task[None]] = set()
        self.lost = 0

    def lose(self, *, after: int) -> None:
        """Let so many answers pass, over all connections, and lose the one behind them."""
        self._let = after

    def lose_question(self, *, after: int) -> None:
        """Let so many questions pass, over all connections, and lose the one behind them."""
        self._let_questions = after

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._server)
        self._writers += [writer, to_server]
        asking = asyncio.create_task(self._ask(reader, to_server))
        self._ways.add(asking)
        with contextlib.suppress(ConnectionError):
            while (data := await from_server.read(1 << 16)) and self._passes():
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
        to_server.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while (data := await reader.read(1 << 16)) and self._is_asked():
                writer.write(data)
                await writer.drain()
        writer.close()

    def _passes(self) -> bool:
        if self._let is None:
            return True
        self._let -= 1
        if self._let >= 0:
            return True
        self._let = None
        self.lost += 1
        return False

    def _is_asked(self) -> bool:
        if self._let_questions is None:
            return True
        self._let_questions -= 1
        if self._let_questions >= 0:
            return True
        self._let_questions = None
        self.lost += 1
        return False

    def close(self) -> None:
        for way in self._ways:
            way.cancel()
        for writer in self._writers:
            writer.transport.abort()


@asynccontextmanager
async def detour_to(host: str, port: int) -> AsyncIterator[tuple[Detour, int]]:
    """Open a detour; yield it and the port at which it is entered."""
    detour = Detour(host, port)
    server = await asyncio.start_server(detour.serve, "127.0.0.1")
    async with server:
        try:
            yield detour, server.sockets[0].getsockname()[1]
        finally:
            detour.close()
