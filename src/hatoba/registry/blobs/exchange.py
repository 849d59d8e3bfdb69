"""Questions and answers of a storage whose API is plain HTTP: `azure` and `swift` stand on it.

It sends, tries again and reads bodies. What an answer means, and what proves who asks, is theirs.
"""

import io
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from hatoba.config.schema.storage_options import StorageOptions
from hatoba.net.http import open_session
from hatoba.registry.blobs.bucket import (
    CONTENT_TYPE,
    SLOWEST_BYTES_PER_SECOND,
    TRANSIENT_STATUSES,
    ObjectMissing,
    OperationUnknown,
    Patience,
    StorageInterrupted,
)
from hatoba.registry.blobs.driver import READ_BYTES, StorageUnavailable
from hatoba.registry.blobs.trust import context_of

LARGEST_ANSWER_BYTES: Final = 64 << 20
_UNAUTHORIZED: Final = 401
_MISSING: Final = 404
_NOT_IMPLEMENTED: Final = 501
_INTERRUPTIONS: Final = (aiohttp.ClientError, OSError)


@dataclass(slots=True, frozen=True, kw_only=True)
class Question:
    """A call, before it is signed."""

    operation: str
    method: str
    url: str
    """Scheme, host and path, quoted."""
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)
    moved_bytes: int = 0
    """What the storage itself reads and writes before it answers."""

    @property
    def address(self) -> URL:
        """Where it goes."""
        query = f"?{urlencode(self.query, quote_via=quote)}" if self.query else ""
        return URL(self.url + query, encoded=True)


@dataclass(slots=True, frozen=True, kw_only=True)
class Reply:
    """A whole answer."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


Explain = Callable[[Question, Reply], Exception]
"""Makes the error of an answer that is no success."""


class Credentials(Protocol):
    """What proves who asks."""

    async def signed(self, question: Question) -> Question:
        """Return the question with its proof."""

    def renews(self) -> bool:
        """Drop a proof that was refused; tell whether there can be a new one."""


def open_storage_session(
    options: StorageOptions, *, directory: Path
) -> AbstractAsyncContextManager[aiohttp.ClientSession]:
    """Open a session as a storage's options ask for; nothing is sent yet.

    Raises:
        AuthorityUnusable: a file of authorities cannot be read.
    """
    return open_session(
        allow_private=True,
        connections=options.connections,
        tls=context_of(options, directory=directory),
        connect_seconds=options.connect_timeout_seconds,
        idle_seconds=options.read_timeout_seconds,
    )


class Exchange:
    """Calls with one storage."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        credentials: Credentials,
        patience: Patience,
        explain: Explain,
    ) -> None:
        self._session = session
        self._credentials = credentials
        self._explain = explain
        self.patience = patience

    async def call(
        self,
        operation: str,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        moved_bytes: int = 0,
    ) -> Reply:
        """Ask, again where it helps; return an answer that is a success."""
        question = Question(
            operation=operation,
            method=method,
            url=url,
            query=query or {},
            headers=headers or {},
            body=body,
            moved_bytes=moved_bytes,
        )
        return await self.patience.call(
            operation,
            partial(self._once, question),
            carried_bytes=len(body or b"") + moved_bytes,
        )

    def read(self, operation: str, url: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield a range of an object; where the answer breaks off, go on behind the last byte."""
        question = Question(operation=operation, method="GET", url=url)
        return self.patience.read(partial(self._body, question, end), start=start, end=end)

    async def _once(self, question: Question) -> Reply:
        async with self._answered(question) as answer:
            return await _whole(answer, question)

    @asynccontextmanager
    async def _body(
        self, question: Question, end: int, start: int
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        wanted = replace(question, headers={"Range": f"bytes={start}-{end - 1}"})
        async with self._answered(wanted) as answer:
            yield _chunks(answer, length=end - start)

    @asynccontextmanager
    async def _answered(self, question: Question) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send once, or twice where the first proof had run out."""
        answer = await self._send(question)
        if answer.status == _UNAUTHORIZED and self._credentials.renews():
            answer.release()
            answer = await self._send(question)
        async with _succeeding(answer, question, self._explain):
            yield answer

    async def _send(self, question: Question) -> aiohttp.ClientResponse:
        signed = await self._credentials.signed(question)
        return await send(self._session, signed)


async def ask_once(session: aiohttp.ClientSession, question: Question, explain: Explain) -> Reply:
    """Send a question as it is, once, and return an answer that is a success."""
    async with _succeeding(await send(session, question), question, explain) as answer:
        return await _whole(answer, question)


@asynccontextmanager
async def _succeeding(
    answer: aiohttp.ClientResponse, question: Question, explain: Explain
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Hold an answer open whose status is a success; raise what any other means."""
    async with answer:
        if not answer.ok:
            reply = await _whole(answer, question)
            raise explain(question, reply)
        yield answer


async def _whole(answer: aiohttp.ClientResponse, question: Question) -> Reply:
    body = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > LARGEST_ANSWER_BYTES:
                raise StorageUnavailable(f"the answer to {question.operation} is too long")
    except _INTERRUPTIONS as error:
        raise _interrupted(question.operation, error) from _told(error)
    return Reply(status=answer.status, headers=answer.headers, body=bytes(body))


async def send(session: aiohttp.ClientSession, question: Question) -> aiohttp.ClientResponse:
    """Send a question as it is and return the answer, which is to be released.

    Raises:
        StorageInterrupted: there is none.
    """
    try:
        return await session.request(
            question.method,
            question.address,
            headers={"User-Agent": "hatoba", **question.headers},
            # The library warns of large bodies that are not read piece by piece.
            data=io.BytesIO(question.body) if question.body else question.body,
            allow_redirects=False,
            timeout=_patient(session.timeout, question.moved_bytes),
            skip_auto_headers=("Accept-Encoding", "Content-Type"),
        )
    except _INTERRUPTIONS as error:
        raise _interrupted(question.operation, error) from _told(error)


def _patient(usual: aiohttp.ClientTimeout, moved_bytes: int) -> aiohttp.ClientTimeout:
    """Return for how long a storage may be silent that has something to do."""
    if not moved_bytes or usual.sock_read is None:
        return usual
    silence = usual.sock_read + moved_bytes / SLOWEST_BYTES_PER_SECOND
    return aiohttp.ClientTimeout(
        total=usual.total, sock_connect=usual.sock_connect, sock_read=silence
    )


def refusal(question: Question, status: int, reason: str) -> Exception:
    """Return what an answer means that every storage means by its status."""
    message = f"the object storage refuses {question.operation}: {reason}"
    if status == _MISSING:
        return ObjectMissing(f"the object storage has no such thing ({reason})")
    if status == _NOT_IMPLEMENTED:
        return OperationUnknown(message)
    if status in TRANSIENT_STATUSES:
        return StorageInterrupted(message)
    return StorageUnavailable(message)


def binary(headers: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the headers of a body that is bytes and nothing else."""
    return {"Content-Type": CONTENT_TYPE, **(headers or {})}


async def _chunks(answer: aiohttp.ClientResponse, *, length: int) -> AsyncIterator[bytes]:
    while length > 0:
        try:
            data = await answer.content.read(min(READ_BYTES, length))
        except _INTERRUPTIONS as error:
            raise _interrupted("a read", error) from _told(error)
        if not data:
            raise StorageInterrupted("the object storage ended an answer too early")
        length -= len(data)
        yield data


def _told(error: Exception) -> Exception:
    """Return an error with the library's words, without what a URL holds behind its path.

    A token may stand there, and what is told of a failure reaches status and logs.
    """
    return ConnectionError(re.sub(r"\?\S*", "", str(error)))


def _interrupted(operation: str, error: Exception) -> StorageInterrupted:
    kind = type(error).__name__
    return StorageInterrupted(f"the object storage does not answer {operation}: {kind}")
