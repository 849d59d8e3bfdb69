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

from hatoba.kernel.errors import InvalidInput, TooLarge, Unauthenticated
from hatoba.kernel.json import JsonObject
from hatoba.kernel.names import RepositoryName
from hatoba.registry.access.tokens import RegistryClaims
from hatoba.registry.audit.models import Entry
from hatoba.registry.blobs.driver import FilePart
from hatoba.registry.content.models import ManifestRecord, Reference
from hatoba.serving.asgi import Receive, Scope, Send
from hatoba.serving.protocol import ZERO_COPY

_ADDRESS: Final = re.compile(r"[0-9A-Fa-f.:]{2,45}")
JSON_TYPE: Final = "application/json"
_API_VERSION: Final = (b"docker-distribution-api-version", b"registry/2.0")
_BEARER: Final = "bearer "
Headers = Sequence[tuple[str, str]]


class RequestInvalid(InvalidInput):
    """A parameter or header that cannot be understood."""


class BodyTooLarge(TooLarge):
    """A body above the limit of its endpoint."""


class TokenInvalid(Unauthenticated):
    """A credential that is no valid registry token."""


class ClientGone(Exception):
    """The client closed the connection before its body was complete; nobody reads an answer."""


@dataclass(slots=True, kw_only=True)
class Request:
    """One request, matched to a route."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    query: Mapping[str, str]
    parameters: Mapping[str, str]
    client_ip: str | None
    receive: Receive
    claims: RegistryClaims | None = None
    pulled: "Pulled | None" = None
    """How it was answered before, where it came before (`remembered`)."""
    _token: str | None = None

    def token(self) -> str | None:
        """Return the bearer token, or None without any credential.

        Raises:
            TokenInvalid: another kind of credential.
        """
        if self._token is None:
            header = self.header("authorization")
            if header is None:
                return None
            if header[: len(_BEARER)].lower() != _BEARER:
                raise TokenInvalid("Invalid bearer token format")
            self._token = header[len(_BEARER) :].strip()
        return self._token

    def header(self, name: str) -> str | None:
        """Return a header by its lower-case name."""
        value = self.headers.get(name.encode())
        return None if value is None else value.decode("latin-1")

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
    """An answer. `stream`, where given, replaces `body` and must yield `length` bytes.

    A stream yields bytes, or parts of files that may go to the client without being read here.
    """

    status: int
    headers: Headers = ()
    body: bytes = b""
    content_type: str | None = None
    stream: AsyncGenerator[bytes | FilePart] | None = None
    length: int | None = None
    media_type: str | None = None
    """Of the manifest that was pushed, for the metric."""
    _head: tuple[tuple[bytes, bytes], ...] | None = None
    """The headers as they are sent: made once, since an answer may be given several times."""

    async def send(self, send: Send, *, head: bool, sends_files: bool = False) -> None:
        """Send it; for HEAD the headers alone. `sends_files`: the server offers zero copy."""
        headers = self._head
        if headers is None:
            headers = self._head = self._encoded()
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        if head or self.stream is None:
            await send({"type": "http.response.body", "body": b"" if head else self.body})
            return
        async with aclosing(self.stream) as stream:
            async for part in stream:
                await _send_part(send, part, sends_files=sends_files)
        await send({"type": "http.response.body", "body": b""})

    def _encoded(self) -> tuple[tuple[bytes, bytes], ...]:
        length = len(self.body) if self.length is None else self.length
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers]
        headers.append(_API_VERSION)
        if self.status != 204:
            headers.append((b"content-length", str(length).encode()))
        if self.content_type is not None:
            headers.append((b"content-type", self.content_type.encode()))
        return tuple(headers)


@dataclass(slots=True, frozen=True, kw_only=True)
class Pulled:
    """A pull of a manifest and its answer, which holds as long as `record` and `claims` do."""

    name: RepositoryName
    reference: Reference
    claims: RegistryClaims | None
    record: ManifestRecord
    entry: Entry | None
    """Its audit row; a HEAD has none."""
    reply: Reply


async def _send_part(send: Send, part: bytes | FilePart, *, sends_files: bool) -> None:
    if isinstance(part, bytes):
        await send({"type": "http.response.body", "body": part, "more_body": True})
    elif sends_files:
        await send(
            {
                "type": ZERO_COPY,
                "file": part,
                "offset": part.start,
                "count": part.end - part.start,
                "more_body": True,
            }
        )
    else:
        async for data in part.read():
            await send({"type": "http.response.body", "body": data, "more_body": True})


def json_reply(content: JsonObject, *, status: int = 200, headers: Headers = ()) -> Reply:
    """Return a reply with a JSON body."""
    body = json.dumps(content, separators=(",", ":")).encode()
    return Reply(status=status, headers=headers, body=body, content_type=JSON_TYPE)


@dataclass(slots=True, frozen=True, kw_only=True)
class RequestHead:
    """What the scope of a connection says."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    client_ip: str | None = None


def read_head(scope: Scope) -> RequestHead:
    """Read headers (several of one name are one, joined) and query. Spec: RFC 9110 5.3."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        headers = _joined(scope["headers"])
    query = scope.get("query_string", b"")
    return RequestHead(
        headers=headers,
        query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {},
        client_ip=_client_ip(scope, headers.get(b"x-forwarded-for")),
    )


def _joined(given: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in given:
        headers[name] = b"%b, %b" % (headers[name], value) if name in headers else value
    return headers


def _client_ip(scope: Scope, forwarded: bytes | None) -> str | None:
    """Return who calls: the last address is what the router saw; others are the client's words."""
    if forwarded is not None:
        address = forwarded.rpartition(b",")[2].strip().decode("latin-1")
        if _ADDRESS.fullmatch(address):
            return address
    client = scope.get("client")
    return client[0] if client else None
