"""An object written in parts, one behind the other, in constant memory.

`pieces` writes pieces of an upload and finished blobs with it. Nobody sees the object before
`complete`. One part is on its way while the next one fills.
"""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import structlog

from hatoba.registry.blobs.bucket import Bucket, ObjectMissing, Part
from hatoba.registry.blobs.driver import StorageUnavailable, UploadMissing

MAXIMUM_PARTS: Final = 10_000
"""Amazon S3 User Guide, "Multipart upload limits"."""
COPIES_AT_ONCE: Final = 4
_GROWTH_BEGINS: Final = 5_000
_GROWTH_STEP: Final = 1_000

log = structlog.get_logger()


def part_bytes(number: int, *, smallest: int) -> int:
    """Return how large part `number` has to be, so that 10,000 parts hold any blob.

    The first 5,000 are as small as allowed (25 GiB at 5 MiB each); then sizes double every 1,000.
    """
    if number <= _GROWTH_BEGINS:
        return smallest
    return smallest << (1 + (number - _GROWTH_BEGINS - 1) // _GROWTH_STEP)


@dataclass(slots=True, frozen=True, kw_only=True)
class Range:
    """Bytes of another object."""

    source: str
    start: int
    end: int


def split(source: str, *, size: int, step: int) -> list[Range]:
    """Cut an object into ranges of `step` bytes to twice as many; smaller only if it is."""
    count = max(1, size // step)
    bounds = [size * n // count for n in range(count + 1)]
    return [Range(source=source, start=start, end=end) for start, end in pairwise(bounds)]


@dataclass(slots=True, kw_only=True)
class Multipart:
    """A multipart upload of this process."""

    bucket: Bucket
    key: str
    upload_id: str
    size: int = 0
    parts: list[Part] = field(default_factory=list)
    _on_its_way: "asyncio.Task[Part] | None" = None

    @classmethod
    async def begin(cls, bucket: Bucket, key: str) -> "Multipart":
        """Begin one."""
        return cls(bucket=bucket, key=key, upload_id=await bucket.begin_multipart(key))

    @property
    def next_number(self) -> int:
        """The number of the part that comes next, from 1."""
        return len(self.parts) + 1 + (self._on_its_way is not None)

    async def send(self, content: bytes) -> None:
        """Append a part; returns once the one before has arrived."""
        await self._settle()
        self._check(self.next_number)
        self._on_its_way = asyncio.create_task(
            self.bucket.put_part(self.key, self.upload_id, number=self.next_number, content=content)
        )
        self.size += len(content)

    async def copy(self, ranges: list[Range]) -> None:
        """Append ranges of other objects, some at once.

        Raises:
            ObjectMissing: one of the objects is gone.
        """
        await self._settle()
        self._check(len(self.parts) + len(ranges))
        first, gate = self.next_number, asyncio.Semaphore(COPIES_AT_ONCE)

        async def one(number: int, wanted: Range) -> Part:
            async with gate:
                return await self.bucket.copy_part(
                    self.key,
                    self.upload_id,
                    number=number,
                    source=wanted.source,
                    start=wanted.start,
                    end=wanted.end,
                )

        tasks = [asyncio.create_task(one(first + n, wanted)) for n, wanted in enumerate(ranges)]
        try:
            self.parts += await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.size += sum(wanted.end - wanted.start for wanted in ranges)

    async def complete(self) -> None:
        """Make the object appear.

        Raises:
            UploadMissing: the upload was aborted meanwhile.
        """
        await self._settle()
        try:
            await self.bucket.complete_multipart(self.key, self.upload_id, self.parts)
        except ObjectMissing as error:
            # An earlier attempt may have done it, and its answer may have been lost.
            if not await self.bucket.is_joined(self.key, self.upload_id, self.parts):
                raise UploadMissing("the upload was cancelled meanwhile") from error

    async def abort(self) -> None:
        """Drop it; what cannot be dropped now is left to the sweep."""
        if self._on_its_way is not None:
            self._on_its_way.cancel()
            await asyncio.gather(self._on_its_way, return_exceptions=True)
            self._on_its_way = None
        try:
            await self.bucket.abort_multipart(self.key, self.upload_id)
        except StorageUnavailable as error:
            log.warning("parts of an upload are left to the sweep", reason=str(error))

    async def _settle(self) -> None:
        if self._on_its_way is not None:
            task, self._on_its_way = self._on_its_way, None
            try:
                self.parts.append(await task)
            finally:
                task.cancel()

    @staticmethod
    def _check(parts: int) -> None:
        if parts > MAXIMUM_PARTS:
            raise StorageUnavailable(f"an object has at most {MAXIMUM_PARTS} parts")
