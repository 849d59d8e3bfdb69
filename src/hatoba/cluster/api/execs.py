"""`pods/<name>/exec` over WebSocket.

Spec: Kubernetes remotecommand subprotocols `v5.channel.k8s.io` and `v4.channel.k8s.io`: each
message begins with the number of its channel; 0 is standard input, 1 output, 2 error output, 3 the
final Status, 4 terminal sizes, and in version 5 channel 255 closes another one.
"""

import asyncio
from typing import Final

import msgspec
import structlog
from aiohttp import WSMsgType, web

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.exchange import Exchange
from hatoba.cluster.api.logs import choose_container
from hatoba.cluster.api.queries import is_true
from hatoba.cluster.api.reading import Reader
from hatoba.cluster.api.status import BadRequest
from hatoba.cluster.api.writing import key_of
from hatoba.cluster.node import ExecSession, Node
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

PROTOCOLS: Final = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_INPUT, _OUTPUT, _STATUS, _CLOSE = 0, 1, 3, 255


class Execs:
    """Runs programs in containers for remote clients."""

    def __init__(self, reader: Reader, *, node: Node) -> None:
        self._reader = reader
        self._node = node

    async def handle(self, exchange: Exchange) -> web.StreamResponse:
        """Start a program and connect its streams.

        Raises:
            BadRequest: no such container, the pod has no node, or this is no WebSocket.
        """
        target, request = exchange.target, exchange.request
        key = key_of(exchange.resource, target.name, target.namespace)
        pod = self._reader.get(exchange.resource, key)
        container = choose_container(pod, request.query.get("container", ""))
        if not reach(pod, "spec", "nodeName"):
            raise BadRequest(f"pod {target.name} does not have a host assigned")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise BadRequest("Upgrade request required")
        command = request.query.getall("command", [])
        if not command:
            raise BadRequest("you must specify at least 1 command for the container")
        socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0)
        await socket.prepare(request)
        stdin = is_true(request.query.get("stdin"))
        await socket.send_bytes(bytes([_OUTPUT]))
        try:
            session = await self._node.execute(
                target.namespace or "", target.name, container, command, stdin=stdin
            )
        except (HatobaError, OSError) as error:
            await _finish(socket, _failed(str(error)))
            return socket
        try:
            await self._connect(socket, session, stdin=stdin)
        finally:
            await session.close()
        return socket

    @staticmethod
    async def _connect(socket: web.WebSocketResponse, session: ExecSession, *, stdin: bool) -> None:
        reader = asyncio.create_task(_feed(socket, session, stdin=stdin))
        try:
            async for channel, data in session.output():
                await socket.send_bytes(bytes([channel]) + data)
            code = await session.wait()
            await _finish(socket, _ended(code))
        except ConnectionError:
            log.info("exec client went away")
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


async def _feed(socket: web.WebSocketResponse, session: ExecSession, *, stdin: bool) -> None:
    """Pass what the client sends to the program until the client closes its side."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == _INPUT and stdin and data:
            await session.write(data)
        elif channel == _CLOSE and data[:1] == bytes([_INPUT]):
            await session.write(b"")
    # The client is gone: nobody waits for the program any more.
    await session.close()


def _ended(code: int) -> JsonObject:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": "command terminated with non-zero exit code: command terminated with exit code"
        f" {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _failed(why: str) -> JsonObject:
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"Internal error occurred: error executing command in container: {why}",
        "reason": "InternalError",
        "details": {"causes": [{"message": f"error executing command in container: {why}"}]},
        "code": 500,
    }


async def _finish(socket: web.WebSocketResponse, status: JsonObject) -> None:
    await socket.send_bytes(bytes([_STATUS]) + msgspec.json.encode(status))
    await socket.close()
