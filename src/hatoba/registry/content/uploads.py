"""Uploads: bytes on their way to becoming a blob.

An upload streams: bytes are hashed while they are written, in constant memory, and never read
back unless the hash cannot be carried over. What was acknowledged (column `byte_count`) is on
disk; a digest is believed only after every byte under it was hashed here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from hatoba.kernel.digests import Digest, Hasher
from hatoba.kernel.ids import new_uuid
from hatoba.kernel.names import RepositoryName
from hatoba.registry.blobs.driver import UploadMissing, UploadWriter
from hatoba.registry.blobs.hashing import StateForeign, new_hasher, resume_hasher, state_of
from hatoba.registry.content import states, store, store_blobs
from hatoba.registry.content.errors import (
    BlobTooLarge,
    RangeNotSatisfiable,
    RepositoryUnknown,
    UploadDigestMismatch,
    UploadUnknown,
)
from hatoba.registry.content.models import BlobRecord, UploadRecord
from hatoba.registry.content.shelf import Shelf

BATCH_BYTES: Final = 1 << 20
"""How much is hashed and written at once: one hop to a thread per MiB."""

UPLOADS_PER_BATCH: Final = 100
"""How many uploads are ended before it is looked for more."""

log = structlog.get_logger()

Chunks = AsyncIterator[bytes]


@dataclass(slots=True, kw_only=True)
class _Progress:
    """An upload while one request writes to it."""

    writer: UploadWriter
    hasher: Hasher
    received: int


@dataclass(slots=True, frozen=True, kw_only=True)
class Uploads:
    """All uploads in progress."""

    shelf: Shelf

    async def start_upload(self, name: RepositoryName) -> str:
        """Begin an upload and return its id.

        Raises:
            RepositoryUnknown, RepositoryTakesNoPushes: none was begun.
        """
        upload_id = new_uuid()
        async with self.shelf.database.begin() as connection:
            repository = await store.find_repository(connection, name)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            states.require_uploads(repository)
            await store_blobs.insert_upload(
                connection,
                repository_id=repository.id,
                upload_id=upload_id,
                location_id=await store_blobs.ensure_location(
                    connection, self.shelf.policy.location
                ),
                now=self.shelf.clock.now(),
            )
        return upload_id

    async def find_upload(self, name: RepositoryName, *, upload_id: str) -> UploadRecord:
        """Return an upload.

        Raises:
            UploadUnknown: there is none in this repository.
        """
        async with self.shelf.database.read() as connection:
            upload = await store_blobs.find_upload(connection, name=name, upload_id=upload_id)
        if upload is None:
            raise UploadUnknown("blob upload unknown to registry")
        return upload

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
        await self.find_upload(name, upload_id=upload_id)
        async with self._opened(name, upload_id=upload_id) as writer:
            upload = await self._current(name, upload_id=upload_id, start=start)
            progress = await self._continue(upload, writer=writer)
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
        await self.find_upload(name, upload_id=upload_id)
        async with self._opened(name, upload_id=upload_id) as writer:
            upload = await self._current(name, upload_id=upload_id, start=start)
            progress = await self._continue(upload, writer=writer)
            await self._receive(progress, chunks=chunks)
            if await self._digest(progress, algorithm=digest.algorithm) != digest:
                await self._forget(upload)
                raise UploadDigestMismatch("the bytes do not have the digest that was given")
            record = await self._publish(name, upload=upload, digest=digest, progress=progress)
        log.info("blob pushed", repository=str(name), digest=str(digest), bytes=record.size)
        return record

    async def cancel_upload(self, name: RepositoryName, *, upload_id: str) -> None:
        """End an upload and drop its bytes.

        Raises:
            UploadUnknown: there is none.
        """
        await self._forget(await self.find_upload(name, upload_id=upload_id))

    async def expire_uploads(self, *, limit: int = UPLOADS_PER_BATCH) -> int:
        """End uploads that took too long, as many as the limit says; return how many."""
        before = self.shelf.clock.now() - self.shelf.policy.upload_lifetime
        async with self.shelf.database.read() as connection:
            rows = await store_blobs.old_uploads(connection, before=before, limit=limit)
        for row in rows:
            async with self.shelf.database.begin() as connection:
                await store_blobs.delete_upload(connection, upload_row_id=row.id)
            await self.shelf.blobs.discard(row.uuid)
        return len(rows)

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

    @asynccontextmanager
    async def _opened(self, name: RepositoryName, *, upload_id: str) -> AsyncIterator[UploadWriter]:
        """Open an upload for writing; one that ended meanwhile is not left open again.

        Opening makes what is not there. Another request may have moved the bytes away already,
        and ends the row a moment later: what was made since then belongs to nobody.
        """
        try:
            async with self.shelf.blobs.upload(upload_id) as writer:
                yield writer
        except UploadUnknown:
            try:
                await self.find_upload(name, upload_id=upload_id)
            except UploadUnknown:
                await self.shelf.blobs.discard(upload_id)
            raise

    async def _current(
        self, name: RepositoryName, *, upload_id: str, start: int | None
    ) -> UploadRecord:
        """Read the upload again, now that nobody else can change it."""
        upload = await self.find_upload(name, upload_id=upload_id)
        if start is not None and start != upload.received:
            raise RangeNotSatisfiable(received=upload.received)
        return upload

    async def _continue(self, upload: UploadRecord, *, writer: UploadWriter) -> _Progress:
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

    async def _receive(self, progress: _Progress, *, chunks: Chunks) -> None:
        batch: list[bytes] = []
        waiting = 0
        async for chunk in chunks:
            batch.append(chunk)
            waiting += len(chunk)
            if waiting >= BATCH_BYTES:
                await self._write(progress, data=b"".join(batch))
                batch, waiting = [], 0
        if batch:
            await self._write(progress, data=b"".join(batch))

    async def _write(self, progress: _Progress, *, data: bytes) -> None:
        if progress.received + len(data) > self.shelf.policy.maximum_blob_bytes:
            raise BlobTooLarge(f"blob is larger than {self.shelf.policy.maximum_blob_bytes} bytes")
        await asyncio.gather(
            progress.writer.write(data), asyncio.to_thread(progress.hasher.update, data)
        )
        progress.received += len(data)

    async def _acknowledge(
        self,
        name: RepositoryName,
        *,
        upload: UploadRecord,
        progress: _Progress,
        storage_state: str | None,
    ) -> None:
        async with self.shelf.database.begin() as connection:
            moved = await store_blobs.advance_upload(
                connection,
                upload,
                received=progress.received,
                hash_state=state_of(progress.hasher),
                storage_state=storage_state,
            )
        if not moved:
            # Somebody else went on with it, or it has ended.
            present = await self.find_upload(name, upload_id=upload.upload_id)
            raise RangeNotSatisfiable(received=present.received)

    @staticmethod
    async def _digest(progress: _Progress, *, algorithm: str) -> Digest:
        if algorithm == "sha256":
            return Digest(algorithm, progress.hasher.hexdigest())
        # The algorithm becomes known only now; for any other than the usual one, read again.
        hasher = new_hasher(algorithm)
        async for data in progress.writer.read():
            await asyncio.to_thread(hasher.update, data)
        return Digest(algorithm, hasher.hexdigest())

    async def _publish(
        self, name: RepositoryName, *, upload: UploadRecord, digest: Digest, progress: _Progress
    ) -> BlobRecord:
        now = self.shelf.clock.now()
        # What takes long happens before the transaction, which others may wait for.
        await progress.writer.prepare(digest)
        async with self.shelf.database.begin() as connection:
            repository = await store.find_repository(connection, name, keep=True)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            if not await store_blobs.delete_upload(
                connection, upload_row_id=upload.id, received=upload.received
            ):
                raise UploadUnknown("another request went on with this upload, or ended it")
            await store_blobs.lock_blob(connection, digest=digest)
            # Under the lock: what collects garbage could remove the bytes before their row is in.
            try:
                await progress.writer.commit(digest)
            except UploadMissing as error:
                raise UploadUnknown("this upload was cancelled") from error
            blob_id = await store_blobs.ensure_blob(
                connection,
                digest=digest,
                size=progress.received,
                location_id=await store_blobs.ensure_location(
                    connection, self.shelf.policy.location
                ),
            )
            await store_blobs.hold_blob(
                connection,
                repository_id=repository.id,
                blob_id=blob_id,
                now=now,
                lifetime=self.shelf.policy.hold_lifetime,
            )
        return BlobRecord(repository=repository, digest=digest, size=progress.received)

    async def _forget(self, upload: UploadRecord) -> None:
        async with self.shelf.database.begin() as connection:
            await store_blobs.delete_upload(connection, upload_row_id=upload.id)
        await self.shelf.blobs.discard(upload.upload_id)
