"""Blobs as objects of a bucket, under the keys that Quay gives them.

Any storage of `bucket`'s kinds. Clients fetch blobs from it themselves, by URLs that are signed for
a short while; uploads pass through here, since no digest is believed that was not counted by us.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from uuid import uuid4

from typing_extensions import override

from hatoba.kernel.digests import HEX_LENGTH, Digest, MalformedDigest
from hatoba.registry.blobs.bucket import Bucket, ObjectMissing
from hatoba.registry.blobs.driver import (
    BlobDriver,
    BlobMissing,
    BlobReader,
    BlobStat,
    StorageUnavailable,
    UploadBusy,
    UploadMissing,
    UploadWriter,
)
from hatoba.registry.blobs.multipart import Multipart, split
from hatoba.registry.blobs.pieces import Layout, PieceWriter

_PROBE: Final = b"verify"

SignUrl = Callable[[str], Awaitable[str]]
"""Makes a URL of a key."""


class BucketReader(BlobReader):
    """An object whose length is known."""

    def __init__(self, bucket: Bucket, key: str, size: int) -> None:
        self._bucket = bucket
        self._key = key
        self._size = size

    @property
    @override
    def size(self) -> int:
        return self._size

    @override
    async def read(self, *, start: int, end: int) -> AsyncIterator[bytes]:
        try:
            async for data in self._bucket.read(self._key, start=start, end=end):
                yield data
        except ObjectMissing as error:
            raise StorageUnavailable("a blob went away while it was read") from error


class BucketBlobs(BlobDriver):
    """The drivers of all object storages: what lies where, and in which order it comes and goes."""

    def __init__(self, bucket: Bucket, *, layout: Layout, sign_url: SignUrl | None) -> None:
        self._bucket = bucket
        self._layout = layout
        self._sign_url = sign_url
        self._busy: set[str] = set()

    @override
    @asynccontextmanager
    async def upload(self, upload: str) -> AsyncIterator[UploadWriter]:
        _check_id(upload)
        if upload in self._busy:
            raise UploadBusy("another request is writing to this upload")
        self._busy.add(upload)
        writer = PieceWriter(self._bucket, layout=self._layout, upload=upload)
        is_done = False
        try:
            yield writer
            is_done = True
        finally:
            try:
                await writer.close(failed=not is_done)
            finally:
                self._busy.discard(upload)

    @override
    async def discard(self, upload: str) -> None:
        _check_id(upload)
        prefix = self._layout.uploads_prefix(upload)
        async for found in self._bucket.list_objects(prefix):
            await self._bucket.delete(found.key)
        async for begun in self._bucket.list_multiparts(prefix):
            await self._bucket.abort_multipart(begun.key, begun.upload_id)

    @override
    async def sweep_uploads(self, *, before: datetime) -> int:
        swept = 0
        async for begun in self._bucket.list_multiparts(self._layout.prefix):
            if begun.begun_at < before:
                await self._bucket.abort_multipart(begun.key, begun.upload_id)
                swept += 1
        async for found in self._bucket.list_objects(self._layout.uploads_prefix()):
            if found.modified_at < before:
                await self._bucket.delete(found.key)
                swept += 1
        return swept

    @override
    async def stat(self, digest: Digest) -> BlobStat:
        try:
            size = await self._bucket.size(self._layout.blob_key(digest))
        except ObjectMissing as error:
            raise BlobMissing(f"no bytes of {digest}") from error
        return BlobStat(digest=digest, size=size)

    @override
    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        found = await self.stat(digest)
        yield BucketReader(self._bucket, self._layout.blob_key(digest), found.size)

    @override
    async def list_blobs(self, *, after: Digest | None = None) -> AsyncIterator[BlobStat]:
        for algorithm in sorted(HEX_LENGTH):
            if after is not None and algorithm < after.algorithm:
                continue
            begins = self._layout.blob_key(after) if after and after.algorithm == algorithm else ""
            prefix = f"{self._layout.prefix}{algorithm}/"
            async for found in self._bucket.list_objects(prefix, after=begins):
                digest = _digest_of(algorithm, found.key)
                if digest is not None and self._layout.blob_key(digest) == found.key:
                    yield BlobStat(digest=digest, size=found.size)

    @override
    async def direct_url(self, digest: Digest) -> str | None:
        if self._sign_url is None:
            return None
        return await self._sign_url(self._layout.blob_key(digest))

    @override
    async def delete(self, digest: Digest) -> None:
        await self._bucket.delete(self._layout.blob_key(digest))

    @override
    async def set_aside(self, digest: Digest) -> None:
        found = await self.stat(digest)
        source, target = self._layout.blob_key(digest), self._layout.damaged_key(digest)
        try:
            await self._transfer(source, target, size=found.size)
        except ObjectMissing as error:
            raise BlobMissing(f"no bytes of {digest}") from error
        await self._bucket.delete(source)

    @override
    async def check(self) -> None:
        key = f"{self._layout.uploads_prefix()}_verify-{uuid4()}"
        await self._bucket.put(key, _PROBE)
        try:
            read = b"".join(
                [data async for data in self._bucket.read(key, start=0, end=len(_PROBE))]
            )
        except ObjectMissing as error:
            raise StorageUnavailable("the storage does not return what was written") from error
        finally:
            await self._bucket.delete(key)
        if read != _PROBE:
            raise StorageUnavailable("the storage does not return what was written")

    async def _transfer(self, source: str, target: str, *, size: int) -> None:
        """Copy an object of any size, by the storage itself if it can."""
        layout = self._layout
        if layout.copies and (size <= layout.copy_bytes or not layout.joins):
            await self._bucket.copy(source, target)
            return
        if size <= layout.part_bytes:
            parts = [data async for data in self._bucket.read(source, start=0, end=size)]
            await self._bucket.put(target, b"".join(parts))
            return
        whole = await Multipart.begin(self._bucket, target)
        try:
            if layout.joins:
                await whole.copy(split(source, size=size, step=layout.copy_bytes))
            else:
                for part in split(source, size=size, step=layout.part_bytes):
                    data = self._bucket.read(source, start=part.start, end=part.end)
                    await whole.send(b"".join([block async for block in data]))
            await whole.complete()
        except BaseException:
            await whole.abort()
            raise


def _digest_of(algorithm: str, key: str) -> Digest | None:
    try:
        return Digest.parse(f"{algorithm}:{key.rpartition('/')[2]}")
    except MalformedDigest:
        return None


def _check_id(upload: str) -> None:
    # Ids are made by us; whatever could name another upload's prefix is not one of them.
    if not upload.replace("-", "").isalnum():
        raise UploadMissing("no such upload")
