"""One edge's port: TLS, plain HTTP and passed-through TLS told apart by the first byte.

A TLS record begins with 0x16 (RFC 8446 5.1), which no HTTP request does; so a plain request to a
TLS port gets a redirect instead of a broken connection.
"""

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Sequence
from typing import Final, Protocol

import structlog
from aiohttp import web

from hatoba.cluster.router.proxy import CHUNK_BYTES, CONNECT_SECONDS, HEADER_BYTES, Choose
from hatoba.cluster.router.targets import Termination

log = structlog.get_logger()

FIRST_BYTE_SECONDS: Final = 30.0
_TLS_HANDSHAKE: Final = b"\x16"
_ACCEPT_PAUSE_SECONDS: Final = 0.1


class RequestHandler(Protocol):
    """Answers one request."""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the answer."""


class EdgeListener:
    """Accepts connections for one edge until closed."""

    def __init__(
        self,
        *,
        termination: Termination,
        redirects_insecure: bool,
        handler: RequestHandler,
        choose: Choose,
        ssl_context: ssl.SSLContext,
    ) -> None:
        """`choose` names the pods that passed-through connections go to."""
        self._termination = termination
        self._ssl = ssl_context
        self._choose = choose
        limits = {"max_line_size": HEADER_BYTES, "max_field_size": HEADER_BYTES}
        self._server = web.Server(handler, access_log=None, **limits)  # type: ignore[arg-type]  # a callable object
        plain = _redirect if redirects_insecure else handler
        if termination != "none" and not redirects_insecure:
            plain = _refuse
        self._plain = web.Server(plain, access_log=None, **limits)  # type: ignore[arg-type]  # a callable object
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, sockets: Sequence[socket.socket]) -> None:
        """Accept on these listening sockets, which this object closes in the end."""
        for listener in sockets:
            self._spawn(self._accept(listener))

    async def close(self, *, grace_seconds: float) -> None:
        """Stop accepting, let requests in flight end, then cut the rest."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.shutdown(grace_seconds)
        await self._plain.shutdown(grace_seconds)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                try:
                    connection, _ = await loop.sock_accept(listener)
                except OSError as error:
                    # Out of file descriptors, usually: wait for connections to end.
                    log.warning("connection not accepted", error=str(error))
                    await asyncio.sleep(_ACCEPT_PAUSE_SECONDS)
                    continue
                self._spawn(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        """Hand a new connection to who understands it."""
        loop = asyncio.get_running_loop()
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            first = await asyncio.wait_for(_peek(connection), FIRST_BYTE_SECONDS)
            if first != _TLS_HANDSHAKE:
                await loop.connect_accepted_socket(self._plain, sock=connection)
            elif self._termination == "passthrough":
                await self._splice(connection)
            elif self._termination == "edge":
                await loop.connect_accepted_socket(
                    self._server, sock=connection, ssl=self._ssl, ssl_handshake_timeout=30
                )
            else:
                connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise
        except (OSError, TimeoutError) as error:
            connection.close()
            log.debug("connection ended early", error=str(error))

    async def _splice(self, connection: socket.socket) -> None:
        """Pass the bytes of a TLS connection on to a pod that ends it itself."""
        reader, writer = await asyncio.open_connection(sock=connection, limit=CHUNK_BYTES)
        try:
            pod = await self._connect()
            if pod is None:
                log.warning("no pod could be reached")
                return
            pod_reader, pod_writer = pod
            try:
                await asyncio.gather(_pump(reader, pod_writer), _pump(pod_reader, writer))
            finally:
                pod_writer.close()
        finally:
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """Return a connection to the first pod that accepts one."""
        for address, port in self._choose("/"):
            opening = asyncio.open_connection(address, port, limit=CHUNK_BYTES)
            try:
                return await asyncio.wait_for(opening, CONNECT_SECONDS)
            except (OSError, TimeoutError) as error:
                log.debug("pod not reached", address=address, error=str(error))
        return None


async def _peek(connection: socket.socket) -> bytes:
    """Return the first byte without taking it; empty when the client hung up."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            return connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable = asyncio.Event()
            loop.add_reader(connection, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(connection)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until one side ends, then end the other."""
    try:
        while chunk := await reader.read(CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


async def _redirect(request: web.BaseRequest) -> web.StreamResponse:
    location = f"https://{request.host}{request.raw_path}"
    return web.Response(status=302, headers={"Location": location})


async def _refuse(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(status=400, text=f"{request.host} speaks HTTPS on this port\n")
