"""Blobs in memory, for tests; passes the same suite as the real drivers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from typing_extensions import override

from hatoba.kernel.clock import Clock, SystemClock
from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import (
    READ_BYTES,
    BlobDriver,
    BlobMissing,
    BlobReader,
    BlobStat,
    UploadBegun,
    UploadBusy,
    UploadMissing,
    UploadWriter,
    WholeUpload,
)


@dataclass(slots=True)
class MemoryWriter(UploadWriter):
    """Appends to a byte array."""

    name: str
    content: bytearray
    store: "MemoryBlobs"

    @override
    async def begin(self, offset: int, state: str | None = None) -> None:
        if len(self.content) < offset:
            raise UploadMissing(f"the upload is shorter than {offset}")
        del self.content[offset:]

    @override
    async def write(self, data: bytes | memoryview) -> None:
        self.content += data
        self.store.touched[self.name] = self.store.clock.now()

    @override
    async def sync(self) -> str | None:
        return None

    @override
    async def read(self) -> AsyncIterator[bytes]:
        yield bytes(self.content)

    @override
    async def prepare(self, digest: Digest) -> None:
        """Nothing takes long."""

    @override
    async def commit(self, digest: Digest) -> None:
        if self.store.uploads.pop(self.name, None) is None:
            raise UploadMissing("the upload was cancelled meanwhile")
        self.store.blobs[digest] = bytes(self.content)


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
    aside: dict[Digest, bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    touched: dict[str, datetime] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    clock: Clock = field(default_factory=SystemClock)

    @override
    @asynccontextmanager
    async def upload(self, upload: str) -> AsyncIterator[UploadWriter]:
        if upload in self.busy:
            raise UploadBusy("another request is writing to this upload")
        self.busy.add(upload)
        self.touched[upload] = self.clock.now()
        try:
            yield MemoryWriter(upload, self.uploads.setdefault(upload, bytearray()), self)
        finally:
            self.busy.discard(upload)

    @override
    @asynccontextmanager
    async def upload_whole(self, upload: str, content: bytes) -> AsyncIterator[WholeUpload]:
        if upload in self.uploads:
            raise UploadBegun("there is something of this upload already")
        async with self.upload(upload) as writer:
            await writer.write(content)
            yield writer

    @override
    async def discard(self, upload: str) -> None:
        self.uploads.pop(upload, None)

    @override
    async def sweep_uploads(self, *, before: datetime) -> int:
        old = [name for name in self.uploads if self.touched[name] < before]
        for name in old:
            del self.uploads[name]
        return len(old)

    @override
    async def list_blobs(self, *, after: Digest | None = None) -> AsyncIterator[BlobStat]:
        for digest in sorted(self.blobs):
            if after is None or digest > after:
                yield BlobStat(digest=digest, size=len(self.blobs[digest]))

    @override
    async def direct_url(self, digest: Digest) -> str | None:
        return None

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
    async def set_aside(self, digest: Digest) -> None:
        if digest not in self.blobs:
            raise BlobMissing(f"no bytes of {digest}")
        self.aside[digest] = self.blobs.pop(digest)

    @override
    async def check(self) -> None:
        """Memory needs no proof."""
