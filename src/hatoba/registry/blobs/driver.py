"""What a blob storage must be able to do, and how it fails.

Bytes enter through an upload and become visible under a digest in one step, `commit`, after
which they are durable. Who may write what, and that the digest is the right one, is decided by
the caller: a driver hashes nothing and trusts nobody but its caller.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import Conflict, NotFound, Unavailable

READ_BYTES: Final = 1 << 20
"""How much a read takes at once: larger gains nothing, smaller costs (measured)."""


class BlobMissing(NotFound):
    """The storage holds no bytes under a digest."""


class UploadMissing(NotFound):
    """The storage holds no such upload, or fewer bytes of it than were acknowledged."""


class StorageUnavailable(Unavailable):
    """The storage does not answer, or has no space left."""


@dataclass(slots=True, frozen=True, kw_only=True)
class BlobStat:
    """What the storage says of a blob."""

    digest: Digest
    size: int


class UploadBusy(Conflict):
    """Another request is writing to the same upload."""


class UploadWriter(Protocol):
    """Writes to one upload, alone."""

    async def begin(self, offset: int) -> None:
        """Go to `offset` and drop what lies behind it: it was never acknowledged.

        Raises:
            UploadMissing: fewer than `offset` bytes are there.
        """

    async def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""

    async def sync(self) -> None:
        """Make what was written durable."""

    def read(self) -> AsyncIterator[bytes]:
        """Yield everything from the start, for hashing it again."""

    async def commit(self, digest: Digest) -> None:
        """Make everything written the blob `digest`, durably.

        Bytes that were there before are replaced: those written now are proven.

        Raises:
            UploadMissing: it was discarded meanwhile.
        """


class BlobReader(Protocol):
    """An open blob; it stays readable while open, even when the blob is deleted."""

    @property
    def size(self) -> int:
        """Length of the whole blob in bytes."""

    def read(self, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""


class BlobDriver(Protocol):
    """A place where blobs are kept. All drivers pass `tests/suites/blobs.py`."""

    def upload(self, upload: str) -> AbstractAsyncContextManager[UploadWriter]:
        """Open an upload for writing, creating it; nobody else can meanwhile.

        Raises:
            UploadBusy: somebody else is writing to it.
        """

    async def discard(self, upload: str) -> None:
        """Forget an upload; idempotent."""

    async def stat(self, digest: Digest) -> BlobStat:
        """Describe a blob.

        Raises:
            BlobMissing: there is none.
        """

    def open(self, digest: Digest) -> AbstractAsyncContextManager[BlobReader]:
        """Open a blob for reading.

        Raises:
            BlobMissing: there is none.
        """

    async def delete(self, digest: Digest) -> None:
        """Remove a blob; idempotent."""

    async def check(self) -> None:
        """Prove that bytes can be written and read back.

        Raises:
            StorageUnavailable: they cannot.
        """
