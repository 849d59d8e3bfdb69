"""What an object storage must be able to do for blobs, and how it fails.

`bucket_blobs`, `pieces` and `multipart` are made of these calls; a file for each kind of storage
makes them. Each call is tried again here where its failure passes by itself. What a library raises
stops in the kind's file. Nothing of a call but its name and the kind of its failure is logged or
told: parameters hold keys, URLs may be signed.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Final, Protocol, TypeVar

from prometheus_client import Histogram

from hatoba.kernel.errors import HatobaError, NotFound
from hatoba.net.retries import pause_before, with_retries
from hatoba.registry.blobs.driver import StorageUnavailable

CALL_SECONDS: Final = 90.0
"""How long a call may take with all its attempts, besides the time of the bytes it carries."""
SLOWEST_BYTES_PER_SECOND: Final = 128 << 10
CALL_DURATION: Final = Histogram(
    "hatoba_blobs_call_seconds",
    "Seconds until the object storage answered a call.",
    labelnames=("operation", "outcome"),
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60),
)
CONTENT_TYPE: Final = "application/octet-stream"
TRANSIENT_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})

Sleep = Callable[[float], Awaitable[None]]
Body = Callable[[int], AbstractAsyncContextManager[AsyncIterator[bytes]]]
"""Opens the bytes of an object from a position on."""
T = TypeVar("T")


class ObjectMissing(NotFound):
    """The bucket has no such object, or no such multipart upload."""


class StorageInterrupted(StorageUnavailable):
    """The storage does not answer, or asks to come back later."""


class OperationUnknown(StorageUnavailable):
    """The storage does not know an operation."""


@dataclass(slots=True, frozen=True, kw_only=True)
class FoundObject:
    """An object as a listing shows it."""

    key: str
    size: int
    modified_at: datetime


@dataclass(slots=True, frozen=True, kw_only=True)
class FoundMultipart:
    """A multipart upload that was not ended, as a listing shows it."""

    key: str
    upload_id: str
    begun_at: datetime


@dataclass(slots=True, frozen=True, kw_only=True)
class Part:
    """A part of a multipart upload."""

    number: int
    etag: str
    size: int = 0


class ObjectStore(Protocol):
    """Single objects of one bucket, or container."""

    async def put(self, key: str, content: bytes) -> None:
        """Write an object."""

    async def size(self, key: str) -> int:
        """Return the length of an object.

        Raises:
            ObjectMissing: there is none.
        """

    def read(self, key: str, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield bytes of an object; where the connection breaks, go on behind the last byte.

        Raises:
            ObjectMissing: there is none.
        """

    async def copy(self, source: str, target: str) -> None:
        """Copy an object of at most 5 GiB, more where the storage joins nothing by itself.

        Raises:
            ObjectMissing: there is no source.
        """

    async def delete(self, key: str) -> None:
        """Remove an object; idempotent."""

    def list_objects(self, prefix: str, *, after: str = "") -> AsyncIterator[FoundObject]:
        """Yield the objects whose key begins with `prefix`, in order, behind the key `after`."""


class Bucket(ObjectStore, Protocol):
    """... and objects that are written in parts."""

    def list_multiparts(self, prefix: str) -> AsyncIterator[FoundMultipart]:
        """Yield the multipart uploads under way whose key begins with `prefix`.

        Nothing where the storage does not tell: it then has rules of its own to end them.
        """

    async def begin_multipart(self, key: str) -> str:
        """Begin a multipart upload and return its id."""

    async def put_part(self, key: str, upload_id: str, *, number: int, content: bytes) -> Part:
        """Write a part."""

    async def copy_part(
        self, key: str, upload_id: str, *, number: int, source: str, start: int, end: int
    ) -> Part:
        """Let the storage copy the bytes from `start` up to `end` of another object.

        Raises:
            ObjectMissing: there is no source.
            OperationUnknown: the storage joins nothing by itself.
        """

    async def complete_multipart(self, key: str, upload_id: str, parts: list[Part]) -> None:
        """Make the parts one object.

        Raises:
            ObjectMissing: the upload was ended, maybe by an attempt whose answer was lost.
        """

    async def is_joined(self, key: str, upload_id: str, parts: list[Part]) -> bool:
        """Tell whether the object is the one that these parts make; no where it cannot be told."""

    async def abort_multipart(self, key: str, upload_id: str) -> None:
        """Drop a multipart upload with its parts; idempotent."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Patience:
    """How calls are tried again."""

    attempts: int
    sleep: Sleep = asyncio.sleep

    async def call(
        self, operation: str, ask: Callable[[], Awaitable[T]], *, carried_bytes: int = 0
    ) -> T:
        """Make a call until it is done, fails for good or has no attempts left."""

        async def once() -> T:
            return await measured(operation, ask)

        deadline = CALL_SECONDS + carried_bytes / SLOWEST_BYTES_PER_SECOND
        try:
            return await with_retries(
                once,
                transient=StorageInterrupted,
                attempts=self.attempts,
                deadline_seconds=deadline,
                sleep=self.sleep,
            )
        except TimeoutError as error:
            raise StorageUnavailable(
                f"the object storage did not do {operation} within {deadline:.0f} seconds"
            ) from error

    async def read(self, open_body: Body, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield bytes; where the connection breaks, go on behind the last one."""
        failures = 0
        while start < end:
            before = start
            try:
                async with open_body(start) as chunks:
                    async for data in chunks:
                        start += len(data)
                        yield data
            except StorageInterrupted:
                failures = failures + 1 if start == before else 1
                if failures >= self.attempts:
                    raise
                await self.sleep(pause_before(failures))


async def measured(operation: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Make a call once and count how it went."""
    begun, outcome = monotonic(), "cancelled"
    try:
        answer = await ask()
        outcome = "done"
    except HatobaError as error:
        outcome = type(error).__name__
        raise
    finally:
        CALL_DURATION.labels(operation, outcome).observe(monotonic() - begun)
    return answer
