"""Several locations as one: the first is written to, blobs are found in whichever has them.

For a registry whose location was changed, or that Quay kept in several: what lies in a former
location stays readable, and goes with the garbage from all of them.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime

from typing_extensions import override

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import (
    BlobDriver,
    BlobMissing,
    BlobReader,
    BlobStat,
    UploadWriter,
    WholeUpload,
)


class LayeredBlobs(BlobDriver):
    """The locations of a configuration, most wanted first."""

    def __init__(self, layers: Sequence[BlobDriver]) -> None:
        self._layers = layers
        self._written = layers[0]

    @override
    def upload(self, upload: str) -> AbstractAsyncContextManager[UploadWriter]:
        return self._written.upload(upload)

    @override
    def upload_whole(self, upload: str, content: bytes) -> AbstractAsyncContextManager[WholeUpload]:
        return self._written.upload_whole(upload, content)

    @override
    async def discard(self, upload: str) -> None:
        await self._written.discard(upload)

    @override
    async def sweep_uploads(self, *, before: datetime) -> int:
        return sum([await layer.sweep_uploads(before=before) for layer in self._layers])

    @override
    async def stat(self, digest: Digest) -> BlobStat:
        _, found = await self._find(digest)
        return found

    @override
    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        layer, _ = await self._find(digest)
        async with layer.open(digest) as reader:
            yield reader

    @override
    async def list_blobs(self, *, after: Digest | None = None) -> AsyncIterator[BlobStat]:
        listings = [layer.list_blobs(after=after) for layer in self._layers]
        heads = [await anext(listing, None) for listing in listings]
        while present := [head for head in heads if head is not None]:
            least = min(present, key=lambda head: head.digest)
            yield least
            for index, head in enumerate(heads):
                if head is not None and head.digest == least.digest:
                    heads[index] = await anext(listings[index], None)

    @override
    async def direct_url(self, digest: Digest) -> str | None:
        try:
            layer, _ = await self._find(digest)
        except BlobMissing:
            return None
        return await layer.direct_url(digest)

    @override
    async def delete(self, digest: Digest) -> None:
        for layer in self._layers:
            await layer.delete(digest)

    @override
    async def set_aside(self, digest: Digest) -> None:
        # From everywhere: otherwise another copy, which nobody has looked at, would be served.
        missing = 0
        for layer in self._layers:
            try:
                await layer.set_aside(digest)
            except BlobMissing:
                missing += 1
        if missing == len(self._layers):
            raise BlobMissing(f"no bytes of {digest}")

    @override
    async def check(self) -> None:
        for layer in self._layers:
            await layer.check()

    async def _find(self, digest: Digest) -> tuple[BlobDriver, BlobStat]:
        for layer in self._layers:
            try:
                return layer, await layer.stat(digest)
            except BlobMissing:
                continue
        raise BlobMissing(f"no bytes of {digest}")
