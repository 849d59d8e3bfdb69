"""A request and a reply of this edge, without a framework between them and the sockets.

Pulls spend most of their time here: a reply is a status, headers and bytes or a stream.
"""

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from hatoba.kernel.errors import InvalidInput, TooLarge
from hatoba.kernel.json import JsonObject
from hatoba.registry.access.tokens import RegistryClaims
from hatoba.serving.asgi import Receive, Scope, Send

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.:]{2,45}")
JSON_TYPE: Final = "application/json"
Headers = Sequence[tuple[str, str]]


class RequestInvalid(InvalidInput):
    """A parameter or header that cannot be understood."""


class BodyTooLarge(TooLarge):
    """A body above the limit of its endpoint."""


class ClientGone(Exception):
    """The client closed the connection before its body was complete; nobody reads an answer."""


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, matched to a route."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    parameters: Mapping[str, str]
    client_ip: str | None
    receive: Receive
    claims: RegistryClaims | None = None

    def header(self, name: str) -> str | None:
        """Return a header by its lower-case name."""
        return self.headers.get(name)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            ClientGone: before its end.
        """
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if body := message.get("body", b""):
                yield body
            if not message.get("more_body", False):
                return

    async def body(self, *, maximum: int) -> bytes:
        """Return the whole body.

        Raises:
            BodyTooLarge: longer than `maximum`; the rest is not read.
        """
        announced = self.header("content-length")
        if announced is not None and announced.isdigit() and int(announced) > maximum:
            raise BodyTooLarge(f"the body is larger than {maximum} bytes")
        content = bytearray()
        async for chunk in self.chunks():
            content += chunk
            if len(content) > maximum:
                raise BodyTooLarge(f"the body is larger than {maximum} bytes")
        return bytes(content)


@dataclass(slots=True, kw_only=True)
class Reply:
    """An answer. `stream`, where given, replaces `body` and must yield `length` bytes."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    content_type: str | None = None
    stream: AsyncGenerator[bytes] | None = None
    length: int | None = None
    media_type: str | None = None
    """Of the manifest that was pushed, for the metric."""

    async def send(self, send: Send, *, head: bool) -> None:
        """Send it; for HEAD the headers alone."""
        length = len(self.body) if self.length is None else self.length
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers]
        if self.status != 204:
            headers.append((b"content-length", str(length).encode()))
        if self.content_type is not None:
            headers.append((b"content-type", self.content_type.encode()))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if head or self.stream is None:
            await send({"type": "http.response.body", "body": b"" if head else self.body})
            return
        async with aclosing(self.stream) as stream:
            async for data in stream:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def json_reply(content: JsonObject, *, status: int = 200, headers: Headers = ()) -> Reply:
    """Return a reply with a JSON body."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Reply(status=status, headers=headers, body=body, content_type=JSON_TYPE)


@dataclass(slots=True, frozen=True, kw_only=True)
class RequestHead:
    """What the scope of a connection says, decoded once."""

    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    client_ip: str | None = None


def read_head(scope: Scope) -> RequestHead:
    """Decode headers (the last of a name wins, except Accept, which is joined) and query."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    query = scope.get("query_string", b"")
    client = scope.get("client")
    # The last address is what the router saw; those before it are the client's own words.
    forwarded = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    if _ADDRESS.fullmatch(forwarded) is None:
        forwarded = ""
    return RequestHead(
        headers=headers,
        query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {},
        client_ip=forwarded or (client[0] if client else None),
    )
