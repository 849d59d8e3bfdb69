"""Outbound HTTP: sessions with a guard against private addresses, and calls with retries.

`open_session` is for whoever streams (the mirror's blobs, the scanner's layers); `HttpClient` is
for small questions and answers between parts. The guard looks at the address that is connected
to, after name resolution and on each redirect, so that neither a name nor a redirect leads past it.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import aiohttp

from hatoba.kernel.errors import Forbidden, TooLarge, Unavailable
from hatoba.net.retries import with_retries

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})
RETRIED_STATUSES: Final = frozenset({429, 502, 503, 504})
ATTEMPTS: Final = 3
MAXIMUM_ANSWER_BYTES: Final = 16 << 20
_AddressInfo: TypeAlias = tuple[Any, Any, int, str, tuple[Any, ...]]


class PrivateAddressRefused(Forbidden):
    """A URL leads to an address that is not on the public internet."""


class PeerUnreachable(Unavailable):
    """A peer does not answer, or not in time."""


class AnswerTooLarge(TooLarge):
    """A peer answers more than the caller is ready to hold."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Answer:
    """A whole answer of a peer, whatever its status."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class _Refused(Exception):
    """An answer that another attempt may better."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the public internet."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast


def _guarded_socket(info: _AddressInfo) -> socket.socket:
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise PrivateAddressRefused(f"connections to the private address {address[0]} are refused")
    return socket.socket(family=family, type=kind, proto=protocol)


@asynccontextmanager
async def open_session(
    *,
    allow_private: bool,
    connections: int = 20,
    tls: ssl.SSLContext | bool = True,
    connect_seconds: float = 10.0,
    idle_seconds: float = 60.0,
) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session for streaming calls; content encodings are left as they come.

    `idle_seconds` bounds the silence between two reads; a bound on a whole call is the caller's.
    Names are resolved anew for each connection, since pods behind a name come and go.
    """
    connector = aiohttp.TCPConnector(
        limit=connections,
        ssl=tls,
        use_dns_cache=False,
        resolver=aiohttp.ThreadedResolver(),
        socket_factory=None if allow_private else _guarded_socket,
        # In sequence, so that a refusal by the guard ends the call instead of losing a race.
        happy_eyeballs_delay=None,
    )
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=aiohttp.ClientTimeout(
            total=None, sock_connect=connect_seconds, sock_read=idle_seconds
        ),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        yield session


@dataclass(slots=True, frozen=True, kw_only=True)
class HttpClient:
    """Small calls: one deadline over all attempts, retries of idempotent methods."""

    session: aiohttp.ClientSession
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        deadline_seconds: float = 30.0,
        attempts: int = ATTEMPTS,
        limit: int = MAXIMUM_ANSWER_BYTES,
    ) -> Answer:
        """Send a request and return the answer, whatever its status.

        A method that is not idempotent is sent once. The status decides nothing here but whether
        to try again; the last attempt's answer is returned as it is.

        Raises:
            PeerUnreachable: no answer before the deadline or in the last attempt.
            PrivateAddressRefused: the session's guard does not let the call out.
            AnswerTooLarge: the answer is longer than `limit` bytes.
        """
        attempts = attempts if method in IDEMPOTENT else 1

        async def once() -> Answer:
            answer = await self._once(method, url, headers, body, limit)
            if answer.status in RETRIED_STATUSES:
                raise _Refused(answer)
            return answer

        try:
            return await with_retries(
                once,
                transient=(PeerUnreachable, _Refused),
                attempts=attempts,
                deadline_seconds=deadline_seconds,
                sleep=self.sleep,
            )
        except _Refused as refused:
            return refused.answer
        except TimeoutError as error:
            raise PeerUnreachable(f"no answer within {deadline_seconds:g} seconds") from error

    async def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        limit: int,
    ) -> Answer:
        try:
            async with self.session.request(method, url, headers=headers, data=body) as response:
                content = await read_bounded(response, limit=limit)
                return Answer(status=response.status, headers=response.headers, body=content)
        except (aiohttp.ClientError, OSError) as error:
            # Not the error's text: it may hold the URL, and a URL may be signed.
            raise PeerUnreachable(f"the call failed: {type(error).__name__}") from error


async def read_bounded(response: aiohttp.ClientResponse, *, limit: int) -> bytes:
    """Read a body of at most `limit` bytes.

    Raises:
        AnswerTooLarge: there is more.
    """
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            raise AnswerTooLarge(f"the answer is longer than {limit} bytes")
    return bytes(content)
