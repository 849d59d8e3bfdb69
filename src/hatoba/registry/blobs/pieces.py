"""An upload on its way into a bucket.

Each request leaves one object behind, a *piece*, and the upload is the list of its pieces, which
the caller keeps. So nothing that was acknowledged is ever written to again, and two processes
that go on with the same upload do not touch each other's bytes. Storages join objects that have at
least 5 MiB; a last piece that is smaller is taken into the next one. Why: docs/adr/0007.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import structlog
from typing_extensions import override

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.bucket import Bucket, ObjectMissing
from hatoba.registry.blobs.driver import StorageUnavailable, UploadMissing, UploadWriter
from hatoba.registry.blobs.multipart import Multipart, Range, part_bytes, split

_VERSION: Final = "hatoba1"

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class Layout:
    """Where things lie in a bucket, and in what sizes they are written."""

    prefix: str
    """Empty, or ends with a slash."""
    part_bytes: int
    copy_bytes: int
    copies: bool = True
    """Whether the storage copies by itself."""
    joins: bool = True
    """Whether it also copies ranges of objects into parts of another one."""

    def blob_key(self, digest: Digest) -> str:
        """Return where the bytes of a digest lie, as in Quay."""
        return f"{self.prefix}{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"

    def damaged_key(self, digest: Digest) -> str:
        """Return where bytes lie that turned out not to be what they are called."""
        return f"{self.prefix}damaged/{digest.algorithm}/{digest.hex}"

    def uploads_prefix(self, upload: str = "") -> str:
        """Return what the keys of an upload, or of all, begin with."""
        return f"{self.prefix}uploads/{upload}/" if upload else f"{self.prefix}uploads/"


@dataclass(slots=True, frozen=True, kw_only=True)
class Piece:
    """Bytes of an upload that are durable."""

    name: str
    size: int


class PieceWriter(UploadWriter):
    """Writes one request's piece; joins all of them in the end."""

    def __init__(self, bucket: Bucket, *, layout: Layout, upload: str) -> None:
        self._bucket = bucket
        self._layout = layout
        self._prefix = layout.uploads_prefix(upload)
        self._pieces: list[Piece] = []
        self._dropped: list[str] = []
        self._buffer = bytearray()
        self._open: Multipart | None = None
        self._whole: Multipart | None = None
        self._is_committed = False

    @override
    async def begin(self, offset: int, state: str | None = None) -> None:
        pieces, dropped = _parse(state)
        if sum(piece.size for piece in pieces) != offset:
            raise UploadMissing(f"the upload does not stand at {offset}")
        self._pieces = pieces
        # The offset is stored, so nobody needs what its pieces replaced.
        for name in dropped:
            await self._bucket.delete(self._prefix + name)

    @override
    async def write(self, data: bytes | memoryview) -> None:
        if not self._buffer and self._open is None and data:
            await self._take_in_tail()
        await self._append(data)

    @override
    async def sync(self) -> str | None:
        if self._open is not None:
            if self._buffer:
                await self._open.send(self._take())
            await self._seal()
        elif self._buffer:
            name, content = self._new_name(), self._take()
            await self._bucket.put(self._prefix + name, content)
            self._pieces.append(Piece(name=name, size=len(content)))
        return _render(self._pieces, self._dropped)

    @override
    async def read(self) -> AsyncIterator[bytes]:
        await self._seal()
        async for data in self._read_pieces():
            yield data
        if self._buffer:
            yield bytes(self._buffer)

    @override
    async def prepare(self, digest: Digest) -> None:
        if self._layout.copies and not self._layout.joins:
            await self._gather()
            return
        await self._seal()
        if not self._pieces or self._is_one_small_piece():
            return
        self._whole = await Multipart.begin(self._bucket, self._layout.blob_key(digest))
        if self._layout.joins:
            await self._copy_pieces(self._whole)
        else:
            await self._rewrite_pieces(self._whole)
        if self._buffer:
            await self._whole.send(self._take())

    @override
    async def commit(self, digest: Digest) -> None:
        if self._whole is None:
            await self.prepare(digest)
        key = self._layout.blob_key(digest)
        if self._whole is not None:
            await self._whole.complete()
            self._whole = None
        elif self._layout.copies and self._is_one_piece():
            await self._copy_piece(key)
        else:
            await self._bucket.put(key, b"".join([data async for data in self.read()]))
        self._is_committed = True

    async def close(self, *, failed: bool) -> None:
        """Drop what nobody will look for: parts without an object, and pieces of a blob.

        After a failure pieces stay: their offset may have been stored all the same.
        """
        for multipart in (self._open, self._whole):
            if multipart is not None:
                await multipart.abort()
        self._open = self._whole = None
        if self._is_committed and not failed:
            try:
                for name in [*(piece.name for piece in self._pieces), *self._dropped]:
                    await self._bucket.delete(self._prefix + name)
            except StorageUnavailable as error:
                log.warning("pieces of an upload are left to the sweep", reason=str(error))

    async def _append(self, data: bytes | memoryview) -> None:
        self._buffer += data
        while len(self._buffer) >= self._wanted():
            if self._open is None:
                self._open = await Multipart.begin(self._bucket, self._prefix + self._new_name())
            await self._open.send(self._take(self._wanted()))

    async def _copy_pieces(self, whole: Multipart) -> None:
        try:
            await whole.copy(self._ranges())
        except ObjectMissing as error:
            raise UploadMissing("bytes of the upload are gone") from error

    async def _gather(self) -> None:
        """Make everything one piece, for a storage that copies objects and joins none.

        So a blob appears by one copy, which two pushes of the same digest do not disturb.
        """
        if self._open is not None and not self._pieces and self._buffer:
            await self._open.send(self._take())
        await self._seal()
        size = sum(piece.size for piece in self._pieces) + len(self._buffer)
        if self._is_one_piece() or size <= self._layout.part_bytes:
            return
        self._whole = whole = await Multipart.begin(self._bucket, self._prefix + self._new_name())
        await self._rewrite_pieces(whole)
        if self._buffer:
            await whole.send(self._take())
        await whole.complete()
        self._whole = None
        self._dropped += [piece.name for piece in self._pieces]
        self._pieces = [Piece(name=whole.key.removeprefix(self._prefix), size=whole.size)]

    async def _rewrite_pieces(self, whole: Multipart) -> None:
        rest = self._take()
        async for data in self._read_pieces():
            await self._append_whole(whole, data)
        await self._append_whole(whole, rest)

    async def _append_whole(self, whole: Multipart, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= (wanted := self._part_bytes(whole.next_number)):
            await whole.send(self._take(wanted))

    def _wanted(self) -> int:
        """Return the size of the next part."""
        return self._part_bytes(1 if self._open is None else self._open.next_number)

    def _part_bytes(self, number: int) -> int:
        return part_bytes(number, smallest=self._layout.part_bytes)

    def _take(self, size: int | None = None) -> bytes:
        """Take bytes out of the buffer; all of them without a size."""
        if size is None or size == len(self._buffer):
            content, self._buffer = bytes(self._buffer), bytearray()
            return content
        content = bytes(memoryview(self._buffer)[:size])
        del self._buffer[:size]
        return content

    async def _take_in_tail(self) -> None:
        """Begin with the last piece where it is too small to be joined with what follows."""
        if not self._pieces or self._pieces[-1].size >= self._part_bytes(len(self._pieces)):
            return
        tail = self._pieces.pop()
        async for data in self._read_piece(tail):
            await self._append(data)
        self._dropped.append(tail.name)

    async def _seal(self) -> None:
        """Make the open piece an object."""
        if self._open is None:
            return
        await self._open.complete()
        name = self._open.key.removeprefix(self._prefix)
        self._pieces.append(Piece(name=name, size=self._open.size))
        self._open = None

    async def _read_pieces(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            async for data in self._read_piece(piece):
                yield data

    async def _read_piece(self, piece: Piece) -> AsyncIterator[bytes]:
        try:
            async for data in self._bucket.read(self._prefix + piece.name, start=0, end=piece.size):
                yield data
        except ObjectMissing as error:
            raise UploadMissing("bytes of the upload are gone") from error

    async def _copy_piece(self, key: str) -> None:
        try:
            await self._bucket.copy(self._prefix + self._pieces[0].name, key)
        except ObjectMissing as error:
            raise UploadMissing("bytes of the upload are gone") from error

    def _is_one_piece(self) -> bool:
        return len(self._pieces) == 1 and not self._buffer

    def _is_one_small_piece(self) -> bool:
        return self._is_one_piece() and self._pieces[0].size <= self._layout.part_bytes

    def _ranges(self) -> list[Range]:
        """Return what to copy: no part is smaller than S3 allows, but the very last."""
        return [
            part
            for piece in self._pieces
            for part in split(
                self._prefix + piece.name, size=piece.size, step=self._layout.copy_bytes
            )
        ]

    def _new_name(self) -> str:
        """Return a name that sorts by its place and that no other process chooses."""
        return f"{sum(piece.size for piece in self._pieces):012x}-{uuid4().hex[:12]}"


def _render(pieces: list[Piece], dropped: list[str]) -> str:
    return json.dumps(
        {
            "format": _VERSION,
            "pieces": [[piece.name, piece.size] for piece in pieces],
            "dropped": dropped,
        },
        separators=(",", ":"),
    )


def _parse(state: str | None) -> tuple[list[Piece], list[str]]:
    """Read a state of ours; another registry's is as good as none."""
    try:
        content = json.loads(state or "{}")
    except ValueError:
        return [], []
    if not isinstance(content, dict) or content.get("format") != _VERSION:
        return [], []
    pieces = [Piece(name=name, size=size) for name, size in content["pieces"]]
    return pieces, content["dropped"]
