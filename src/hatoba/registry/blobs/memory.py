"""Blobs in memory, for tests; passes the same suite as the real drivers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from typing_extensions import override

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import (
    READ_BYTES,
    BlobDriver,
    BlobMissing,
    BlobReader,
    BlobStat,
    UploadMissing,
    UploadWriter,
)


@dataclass(slots=True)
class MemoryWriter(UploadWriter):
    """Appends to a byte array."""

    content: bytearray

    @override
    async def write(self, data: bytes | memoryview) -> None:
        self.content += data


@dataclass(slots=True, frozen=True)
class MemoryReader(BlobReader):
    """Reads bytes."""

    content: bytes

    @property
    @override
    def size(self) -> int:
        return len(self.content)

    @override
    async def read(self, *, start: int, end: int) -> AsyncIterator[bytes]:
        for position in range(start, end, READ_BYTES):
            yield self.content[position : min(position + READ_BYTES, end)]


@dataclass(slots=True)
class MemoryBlobs(BlobDriver):
    """Dictionaries of bytes."""

    blobs: dict[Digest, bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)

    @override
    @asynccontextmanager
    async def append(self, upload: str, *, offset: int) -> AsyncIterator[UploadWriter]:
        if offset == 0:
            self.uploads[upload] = bytearray()
        if upload not in self.uploads or len(self.uploads[upload]) < offset:
            raise UploadMissing(f"upload {upload} is shorter than {offset}")
        del self.uploads[upload][offset:]
        yield MemoryWriter(self.uploads[upload])

    @override
    async def read_upload(self, upload: str) -> AsyncIterator[bytes]:
        if upload not in self.uploads:
            raise UploadMissing(f"no upload {upload}")
        yield bytes(self.uploads[upload])

    @override
    async def commit(self, upload: str, *, digest: Digest, size: int) -> None:
        if len(self.uploads.get(upload, b"")) != size or upload not in self.uploads:
            raise UploadMissing(f"upload {upload} does not have {size} bytes")
        self.blobs.setdefault(digest, bytes(self.uploads.pop(upload)))

    @override
    async def discard(self, upload: str) -> None:
        self.uploads.pop(upload, None)

    @override
    async def stat(self, digest: Digest) -> BlobStat:
        if digest not in self.blobs:
            raise BlobMissing(f"no bytes of {digest}")
        return BlobStat(digest=digest, size=len(self.blobs[digest]))

    @override
    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        if digest not in self.blobs:
            raise BlobMissing(f"no bytes of {digest}")
        yield MemoryReader(self.blobs[digest])

    @override
    async def delete(self, digest: Digest) -> None:
        self.blobs.pop(digest, None)

    @override
    async def check(self) -> None:
        """Memory needs no proof."""
