"""Uploads: bytes on their way to becoming a blob.

An upload streams: bytes are hashed while they are written, in constant memory, and never read
back unless the hash cannot be carried over. What was acknowledged (column `byte_count`) is on
disk; a digest is believed only after every byte under it was hashed here.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

import structlog

from hatoba.kernel.digests import Digest, Hasher
from hatoba.kernel.names import RepositoryName
from hatoba.registry.blobs.driver import UploadBegun, UploadMissing, UploadWriter, WholeUpload
from hatoba.registry.blobs.hashing import StateForeign, new_hasher, resume_hasher, state_of
from hatoba.registry.content import states, store_uploads
from hatoba.registry.content.errors import (
    BlobTooLarge,
    RangeNotSatisfiable,
    RepositoryUnknown,
    UploadDigestMismatch,
    UploadUnknown,
)
from hatoba.registry.content.ledger import BlobPush
from hatoba.registry.content.models import BlobRecord, UploadRecord
from hatoba.registry.content.shelf import Shelf
from hatoba.registry.content.upload_ids import UploadId

BATCH_BYTES: Final = 512 << 10
"""How much is hashed and written at once, by one visit of a thread, while as much is received."""

UPLOADS_PER_BATCH: Final = 100
"""How many uploads are ended before it is looked for more."""

CLAIMS_PER_BATCH: Final = 5000
"""How many claims are forgotten in one transaction."""

WHOLE_BYTES: Final = 64 << 10
"""A blob up to this size that comes at once is looked at and written at once."""

log = structlog.get_logger()

Chunks = AsyncIterator[bytes]


@dataclass(slots=True, kw_only=True)
class _Progress:
    """An upload while one request writes to it."""

    writer: UploadWriter
    hasher: Hasher
    received: int


class _InTurn:
    """Runs one thing after another beside its caller, and has ended when the block has."""

    def __init__(self) -> None:
        self._running: asyncio.Task[None] | None = None

    async def begin(self, work: Coroutine[None, None, None]) -> None:
        """Wait for what was begun before, then begin this."""
        try:
            await self._end()
        except BaseException:
            work.close()
            raise
        self._running = asyncio.ensure_future(work)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self._end()
        elif self._running is not None:
            # Nobody may give the file back under it; why the block failed says more than this.
            await asyncio.wait([self._running])
            if not self._running.cancelled():
                self._running.exception()

    async def _end(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running


@dataclass(slots=True, frozen=True, kw_only=True)
class Uploads:
    """All uploads in progress."""

    shelf: Shelf

    async def start_upload(self, name: RepositoryName) -> str:
        """Begin an upload and return its id; nothing is written before it is gone on with.

        Raises:
            RepositoryUnknown, RepositoryTakesNoPushes: none was begun.
        """
        repository = await self.shelf.ledger.find_repository(name)
        if repository is None:
            raise RepositoryUnknown("repository not found")
        states.require_uploads(repository)
        return self.shelf.upload_ids.new(name, now=self.shelf.clock.now()).text

    async def find_upload(self, name: RepositoryName, *, upload_id: str) -> UploadRecord:
        """Return an upload.

        Raises:
            UploadUnknown: there is none in this repository.
        """
        return await self._find(name, self._read(name, upload_id))

    async def append_chunk(
        self,
        name: RepositoryName,
        *,
        upload_id: str,
        chunks: Chunks,
        start: int | None = None,
        length: int | None = None,
    ) -> int:
        """Append bytes durably and return how many there are now.

        Args:
            name: the repository that the upload was begun in.
            upload_id: the upload.
            chunks: the bytes as they come.
            start: where the client believes the upload stands, if it says so.
            length: how many bytes the client announced, if it did.

        Raises:
            UploadUnknown, UploadBusy, RangeNotSatisfiable, BlobTooLarge: nothing was appended.
        """
        known = await self._known(name, upload_id)
        async with self._opened(known) as writer:
            upload = await self._current(name, known, start=start)
            progress = await _continue(upload, writer=writer)
            await self._receive(progress, chunks=chunks)
            if length is not None and progress.received - upload.received != length:
                raise RangeNotSatisfiable(received=upload.received)
            await self._acknowledge(
                name, upload=upload, progress=progress, storage_state=await writer.sync()
            )
            return progress.received

    async def finish_upload(
        self,
        name: RepositoryName,
        *,
        upload_id: str,
        digest: Digest,
        chunks: Chunks,
        start: int | None = None,
    ) -> BlobRecord:
        """Append the last bytes, prove the digest and make the blob durable and visible.

        A wrong digest ends the upload: its bytes are not what the client meant to send.

        Raises:
            UploadUnknown, UploadBusy, RangeNotSatisfiable, BlobTooLarge: nothing was changed.
            UploadDigestMismatch: the upload is gone.
        """
        known = await self._known(name, upload_id)
        head, is_whole = await _head_of(chunks)
        fits = is_whole and len(head) <= self.shelf.policy.maximum_blob_bytes
        if fits and not start and Digest.of(head, digest.algorithm) == digest:
            record = await self._push_whole(name, known, digest=digest, content=head)
            if record is not None:
                return record
        async with self._opened(known) as writer:
            upload = await self._current(name, known, start=start)
            progress = await _continue(upload, writer=writer)
            await self._receive(progress, chunks=_behind(head, chunks, is_whole=is_whole))
            if await _digest(progress, algorithm=digest.algorithm) != digest:
                await self._forget(upload)
                raise UploadDigestMismatch("the bytes do not have the digest that was given")
            # What takes long happens before the transaction, which others may wait for.
            await writer.prepare(digest)
            return await self._publish(
                writer,
                name=name,
                upload_id=known,
                digest=digest,
                size=progress.received,
                received=upload.received,
            )

    async def cancel_upload(self, name: RepositoryName, *, upload_id: str) -> None:
        """End an upload and drop its bytes.

        Raises:
            UploadUnknown: there is none, or it ended meanwhile.
        """
        if not await self._forget(await self.find_upload(name, upload_id=upload_id)):
            raise _unknown()

    async def expire_uploads(self, *, limit: int = UPLOADS_PER_BATCH) -> int:
        """End uploads that took too long, as many as the limit says; return how many."""
        before = self.shelf.clock.now() - self.shelf.policy.upload_lifetime
        async with self.shelf.database.read() as connection:
            rows = await store_uploads.old_uploads(connection, before=before, limit=limit)
        for row in rows:
            async with self.shelf.database.begin() as connection:
                await store_uploads.forget_upload(connection, upload_row_id=row.id)
            await self.shelf.blobs.discard(row.uuid)
        return len(rows)

    async def forget_claims(self, *, limit: int = CLAIMS_PER_BATCH) -> int:
        """Forget ids of uploads that no clock takes for valid any more; return how many."""
        policy = self.shelf.policy
        before = self.shelf.clock.now() - policy.upload_lifetime - policy.sweep_margin
        async with self.shelf.database.begin() as connection:
            return await store_uploads.forget_claims(connection, before=before, limit=limit)

    async def sweep_uploads(self) -> int:
        """Drop what killed processes left in the storage; return how many things went.

        A row is forgotten after the lifetime of an upload, so bytes that are older than that by
        a margin for clocks that differ have none.
        """
        policy = self.shelf.policy
        before = self.shelf.clock.now() - policy.upload_lifetime - policy.sweep_margin
        swept = await self.shelf.blobs.sweep_uploads(before=before)
        if swept:
            log.info("left-over uploads swept", count=swept)
        return swept

    async def _push_whole(
        self, name: RepositoryName, upload_id: UploadId, *, digest: Digest, content: bytes
    ) -> BlobRecord | None:
        """Write proven bytes and their rows side by side; None when the upload has others already.

        That nothing was acknowledged of the upload is seen as it is claimed, or its row ends.

        Raises:
            RepositoryUnknown, UploadUnknown, UploadBusy: nothing was changed.
        """
        try:
            async with self.shelf.blobs.upload_whole(upload_id.text, content) as whole:
                return await self._publish(
                    whole, name=name, upload_id=upload_id, digest=digest, size=len(content)
                )
        except UploadBegun:
            return None
        except UploadUnknown:
            await self._discard_unknown(upload_id)
            raise

    @asynccontextmanager
    async def _opened(self, upload_id: UploadId) -> AsyncIterator[UploadWriter]:
        """Open an upload for writing; one that has ended is not left open again.

        Opening makes what is not there. The upload may have ended, or another request has moved
        the bytes away already and ends it a moment later: what was made since then belongs to
        nobody.
        """
        try:
            async with self.shelf.blobs.upload(upload_id.text) as writer:
                yield writer
        except UploadUnknown:
            await self._discard_unknown(upload_id)
            raise

    async def _discard_unknown(self, upload_id: UploadId) -> None:
        if not await self.shelf.ledger.has_upload(upload_id.text):
            await self.shelf.blobs.discard(upload_id.text)

    def _read(self, name: RepositoryName, upload_id: str) -> UploadId:
        """Read an id; one that is too old for an upload that is only begun stands for a row alone.

        What was acknowledged is not given up here, whatever a clock says: `expire_uploads` does.
        """
        read = self.shelf.upload_ids.read(upload_id, name=name)
        if read.claim is not None:
            age = self.shelf.clock.now() - read.begun_at
            if age > self.shelf.policy.upload_lifetime:
                return UploadId(text=upload_id)
        return read

    async def _known(self, name: RepositoryName, upload_id: str) -> UploadId:
        """Read an id before anything is stored under it.

        One that was signed for this repository is believed until it is looked at anyway; for any
        other there must be a row. So nobody touches bytes of another repository's upload.
        """
        read = self._read(name, upload_id)
        if read.claim is None:
            await self._find(name, read)
        return read

    async def _find(self, name: RepositoryName, upload_id: UploadId) -> UploadRecord:
        upload = await self.shelf.ledger.find_upload(name, upload_id=upload_id)
        if upload is None:
            raise _unknown()
        return upload

    async def _current(
        self, name: RepositoryName, upload_id: UploadId, *, start: int | None
    ) -> UploadRecord:
        """Read the upload again, now that nobody else can change it."""
        upload = await self._find(name, upload_id)
        if start is not None and start != upload.received:
            raise RangeNotSatisfiable(received=upload.received)
        return upload

    async def _receive(self, progress: _Progress, *, chunks: Chunks) -> None:
        """Write what comes; while one batch is written, the next one is received."""
        maximum = self.shelf.policy.maximum_blob_bytes
        batch: list[bytes] = []
        waiting = 0
        async with _InTurn() as turn:
            async for chunk in chunks:
                batch.append(chunk)
                waiting += len(chunk)
                progress.received += len(chunk)
                if progress.received > maximum:
                    raise BlobTooLarge(f"blob is larger than {maximum} bytes")
                if waiting >= BATCH_BYTES:
                    await turn.begin(progress.writer.take(batch, progress.hasher))
                    batch, waiting = [], 0
            if batch:
                await turn.begin(progress.writer.take(batch, progress.hasher))

    async def _acknowledge(
        self,
        name: RepositoryName,
        *,
        upload: UploadRecord,
        progress: _Progress,
        storage_state: str | None,
    ) -> None:
        moved = await self.shelf.ledger.advance_upload(
            upload,
            received=progress.received,
            hash_state=state_of(progress.hasher),
            storage_state=storage_state,
        )
        if not moved:
            # Somebody else went on with it, or it has ended.
            present = await self._find(name, upload.upload_id)
            raise RangeNotSatisfiable(received=present.received)

    async def _publish(
        self,
        writer: WholeUpload,
        *,
        name: RepositoryName,
        upload_id: UploadId,
        digest: Digest,
        size: int,
        received: int = 0,
    ) -> BlobRecord:
        push = BlobPush(
            name=name,
            upload_id=upload_id,
            received=received,
            digest=digest,
            size=size,
            now=self.shelf.clock.now(),
            lifetime=self.shelf.policy.hold_lifetime,
        )
        # Within the block: what collects garbage could remove the bytes before their row is in.
        async with self.shelf.ledger.publish_blob(push) as repository:
            try:
                await writer.commit(digest)
            except UploadMissing as error:
                raise UploadUnknown("this upload was cancelled") from error
        log.info("blob pushed", repository=str(name), digest=str(digest), bytes=size)
        return BlobRecord(repository=repository, digest=digest, size=size)

    async def _forget(self, upload: UploadRecord) -> bool:
        """End an upload and drop its bytes; False when it had ended, whose bytes are not ours."""
        if not await self.shelf.ledger.end_upload(upload):
            return False
        await self.shelf.blobs.discard(upload.upload_id.text)
        return True


def _unknown() -> UploadUnknown:
    return UploadUnknown("blob upload unknown to registry")


async def _continue(upload: UploadRecord, *, writer: UploadWriter) -> _Progress:
    try:
        await writer.begin(upload.received, upload.storage_state)
    except UploadMissing as error:
        raise UploadUnknown("the bytes of this upload are lost") from error
    if upload.received == 0:
        return _Progress(writer=writer, hasher=new_hasher(), received=0)
    try:
        hasher = resume_hasher(upload.hash_state)
    except StateForeign:
        hasher = new_hasher()
        async for data in writer.read():
            await asyncio.to_thread(hasher.update, data)
    return _Progress(writer=writer, hasher=hasher, received=upload.received)


async def _digest(progress: _Progress, *, algorithm: str) -> Digest:
    if algorithm == "sha256":
        return Digest(algorithm, progress.hasher.hexdigest())
    # The algorithm becomes known only now; for any other than the usual one, read again.
    hasher = new_hasher(algorithm)
    async for data in progress.writer.read():
        await asyncio.to_thread(hasher.update, data)
    return Digest(algorithm, hasher.hexdigest())


async def _head_of(chunks: Chunks) -> tuple[bytes, bool]:
    """Take what comes first, and say whether it is all; of no bytes at all nothing is known."""
    head: list[bytes] = []
    size = 0
    async for chunk in chunks:
        head.append(chunk)
        size += len(chunk)
        if size > WHOLE_BYTES:
            return b"".join(head), False
    return b"".join(head), size > 0


async def _behind(head: bytes, chunks: Chunks, *, is_whole: bool) -> Chunks:
    """Yield what was taken first, then the rest."""
    if head:
        yield head
    if not is_whole:
        async for chunk in chunks:
            yield chunk
