"""What a blob storage must be able to do, and how it fails.

Bytes enter through an upload and become visible under a digest in one step, `commit`, after
which they are durable. Who may write what, and that the digest is the right one, is decided by
the caller: a driver hashes nothing and trusts nobody but its caller.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from hatoba.kernel.digests import Digest, Hasher
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


class UploadBegun(Conflict):
    """There is something of an upload already, or the storage wants it to be opened first."""


class WholeUpload(Protocol):
    """All bytes of an upload, on their way to the storage."""

    async def commit(self, digest: Digest) -> None:
        """Make them the blob `digest`, durably, as `UploadWriter.commit` does.

        Raises:
            UploadBegun: nothing was written; open the upload instead.
            UploadMissing: it was discarded meanwhile.
        """


class UploadWriter(Protocol):
    """Writes to one upload.

    The order of a request is `begin`, any number of `write`, then either `sync`, whose answer the
    caller stores together with the offset, or `prepare` and `commit`.
    """

    async def begin(self, offset: int, state: str | None = None) -> None:
        """Go to `offset` and drop what lies behind it: it was never acknowledged.

        `state` is what the `sync` at this offset returned, maybe in another process.

        Raises:
            UploadMissing: fewer than `offset` bytes are there.
        """

    async def write(self, data: bytes | memoryview) -> None:
        """Append bytes."""

    async def take(self, parts: Sequence[bytes], hasher: Hasher) -> None:
        """Append parts and hash them; a storage that writes in a thread hashes there, too."""
        data = b"".join(parts)
        await asyncio.gather(self.write(data), asyncio.to_thread(hasher.update, data))

    async def sync(self) -> str | None:
        """Make what was written durable; return what another `begin` needs to go on (JSON)."""

    def read(self) -> AsyncIterator[bytes]:
        """Yield everything from the start, for hashing it again."""

    async def prepare(self, digest: Digest) -> None:
        """Do what takes long about the `commit` to come; nothing becomes visible yet.

        Called once the digest is proven and nothing more will be written, outside of any
        transaction, so that `commit` is short.
        """

    async def commit(self, digest: Digest) -> None:
        """Make everything written the blob `digest`, durably.

        Bytes that were there before are replaced: those written now are proven. The upload is
        used up; where the caller's transaction fails afterwards, it may be missing.

        Raises:
            UploadMissing: it was discarded meanwhile.
        """


class BlobReader(Protocol):
    """An open blob; a read that has begun goes on to its end, even when the blob is deleted."""

    @property
    def size(self) -> int:
        """Length of the whole blob in bytes."""

    def read(self, *, start: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`."""

    async def parts(self, *, start: int, end: int) -> AsyncIterator["bytes | FilePart"]:
        """Yield the same, where it saves reading as parts of a file that is open meanwhile."""
        async for data in self.read(start=start, end=end):
            yield data


@dataclass(slots=True, frozen=True, kw_only=True)
class FilePart:
    """Bytes of an open file, which the kernel may send by itself; else `read` gives them."""

    reader: BlobReader
    handle: int
    start: int
    end: int

    def fileno(self) -> int:
        """Return the number of the open file."""
        return self.handle

    def read(self) -> AsyncIterator[bytes]:
        """Yield the bytes."""
        return self.reader.read(start=self.start, end=self.end)


class BlobDriver(Protocol):
    """A place where blobs are kept. All drivers pass `tests/suites/blobs.py`."""

    def upload(self, upload: str) -> AbstractAsyncContextManager[UploadWriter]:
        """Open an upload for writing, creating it.

        Nobody else in this process can meanwhile. Where other processes can, what they write
        harms nothing that was acknowledged: whose offset is stored first goes on.

        Raises:
            UploadBusy: somebody else is writing to it.
        """

    def upload_whole(
        self,
        upload: str,
        content: bytes,
    ) -> AbstractAsyncContextManager[WholeUpload]:
        """Begin to write a small upload of which the storage has nothing yet.

        The caller does something else meanwhile. What was written is left where the caller does
        not commit it.

        Raises:
            UploadBegun: the storage has something of it, or cannot do better than `upload`.
            UploadBusy: somebody else is writing to it.
        """
        raise UploadBegun(f"{len(content)} bytes of {upload} have to come by `upload`")

    async def discard(self, upload: str) -> None:
        """Forget an upload; idempotent."""

    async def sweep_uploads(self, *, before: datetime) -> int:
        """Drop what uploads left behind before a moment; return how many things went.

        For what no `discard` reaches: bytes of a process that was killed.
        """

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

    def list_blobs(self, *, after: Digest | None = None) -> AsyncIterator[BlobStat]:
        """Yield every blob in the order of digests, beginning behind `after`.

        Blobs that come or go meanwhile may or may not be among them.
        """

    async def direct_url(self, digest: Digest) -> str | None:
        """Return a URL at which anybody may GET the blob for a short while.

        None where there is none to have and bytes go through the registry. The URL is a
        credential: it goes to the client and nowhere else. Whether the blob is there is not
        looked at.
        """

    async def delete(self, digest: Digest) -> None:
        """Remove a blob; idempotent."""

    async def set_aside(self, digest: Digest) -> None:
        """Move a blob's bytes out of the way, where people can look at them.

        For bytes that turned out not to be what they are called: afterwards the blob is missing
        until somebody pushes it again. What was set aside before under the digest is replaced.

        Raises:
            BlobMissing: there is none.
        """

    async def check(self) -> None:
        """Prove that bytes can be written and read back.

        Raises:
            StorageUnavailable: they cannot.
        """
