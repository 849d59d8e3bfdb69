"""Where to listen, and a server inside a loop that already runs.

`supervisor.serve` is for processes whose job is serving; `listening` is for a part that has a
small endpoint beside its main work (the operator's health and reconfigure listeners) and for tests.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import uvicorn
from typing_extensions import override

from hatoba.config.tls import TlsRules
from hatoba.kernel.errors import Unavailable
from hatoba.serving.asgi import Application
from hatoba.serving.limits import Limits
from hatoba.serving.protocol import ServingProtocol

BACKLOG: Final = 2048
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the idle time after which routers and clients drop their pooled connections."""

LOOK_SECONDS: Final = 1.0


class ListenFailed(Unavailable):
    """An address cannot be listened on."""


@dataclass(slots=True, frozen=True, kw_only=True)
class TlsFiles:
    """A PEM certificate chain and its key, and what may be spoken with them."""

    certificate: Path
    key: Path
    rules: TlsRules = field(default_factory=TlsRules)


@dataclass(slots=True, frozen=True, kw_only=True)
class Listener:
    """An address to serve on; port 0 picks a free one."""

    host: str
    port: int
    tls: TlsFiles | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class RunningServer:
    """A server that accepts connections."""

    host: str
    port: int
    scheme: str

    @property
    def url(self) -> str:
        """Return `scheme://host:port`, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


class LoopServer(uvicorn.Server):
    """A uvicorn server that leaves signals alone, and looks at its connections now and then."""

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    @override
    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        looking = asyncio.create_task(self._look())
        try:
            await super().serve(sockets)
        finally:
            looking.cancel()

    async def _look(self) -> None:
        """Also while the server ends: who stands still would keep it from ending."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for connection in list(self.server_state.connections):
                if isinstance(connection, ServingProtocol):
                    connection.look(loop.time())


def bind(listener: Listener) -> socket.socket:
    """Open a listening socket that forked children can share.

    Raises:
        ListenFailed: the address is taken, not ours or not permitted.
    """
    family = socket.AF_INET6 if ":" in listener.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family is socket.AF_INET6:
            # "::" means every address, IPv4 included, as container ports are reached by both.
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind((listener.host, listener.port))
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        raise ListenFailed(
            f"cannot listen on {listener.host}:{listener.port}: {error.strerror or error}"
        ) from error
    return opened


def make_server(
    application: Application, *, tls: TlsFiles | None, grace_seconds: float, limits: Limits
) -> LoopServer:
    """Configure a server for one listener; `serve(sockets=...)` runs it until `should_exit`.

    Raises:
        ListenFailed: the certificate or key cannot be read or do not fit together, or OpenSSL
            knows none of the ciphers.
    """
    config = uvicorn.Config(
        application,
        interface="asgi3",
        http=partial(ServingProtocol, limits=limits),  # type: ignore[arg-type]  # a class to call
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, round(grace_seconds)),
        ssl_certfile=str(tls.certificate) if tls else None,
        ssl_keyfile=str(tls.key) if tls else None,
    )
    # Clients that try TLS first on a plain port would fill the log with warnings.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    try:
        config.load()
        if tls is not None and config.ssl is not None:
            tls.rules.apply(config.ssl)
    except (OSError, ssl.SSLError) as error:
        raise ListenFailed(f"cannot use the TLS certificate, key and ciphers: {error}") from error
    return LoopServer(config)


@asynccontextmanager
async def listening(
    application: Application,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: TlsFiles | None = None,
    grace_seconds: float = 5.0,
    limits: Limits = Limits(),
) -> AsyncIterator[RunningServer]:
    """Serve inside the running loop while the block runs.

    Leaving the block closes the listener, finishes requests in flight for `grace_seconds`, then
    cancels them.

    Raises:
        ListenFailed: the address or the TLS files cannot be used.
    """
    server = make_server(application, tls=tls, grace_seconds=grace_seconds, limits=limits)
    opened = bind(Listener(host=host, port=port, tls=tls))
    task = asyncio.create_task(server.serve(sockets=[opened]))
    try:
        yield RunningServer(
            host=host, port=opened.getsockname()[1], scheme="https" if tls else "http"
        )
    finally:
        server.should_exit = True
        await task
        opened.close()
