"""Blobs of repositories: whether a repository holds one, its bytes, and mounting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName
from hatoba.registry.blobs.driver import BlobMissing, BlobReader
from hatoba.registry.content import states, store, store_blobs
from hatoba.registry.content.errors import BlobInUse, BlobUnknown, RepositoryUnknown
from hatoba.registry.content.invalidation import announce
from hatoba.registry.content.models import BlobRecord, RepositoryRecord, RepositoryState
from hatoba.registry.content.shelf import Shelf

HOLDS_PER_BATCH: Final = 1000
"""How many holds one transaction forgets."""

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class Holdings:
    """The blobs that repositories hold."""

    shelf: Shelf

    async def find_blob(self, name: RepositoryName, *, digest: Digest) -> BlobRecord:
        """Return a blob of a repository; from memory where it was asked for lately.

        Raises:
            RepositoryUnknown, BlobUnknown: it is not there.
        """
        cached = self.shelf.caches.blobs.get((name, digest))
        if cached is not None:
            return cached
        async with self.shelf.database.read() as connection:
            row = await store_blobs.find_blob(
                connection, name=name, digest=digest, now=self.shelf.clock.now()
            )
        if row is None:
            # A push asks so for each new layer.
            if await self.shelf.ledger.find_repository(name) is None:
                raise RepositoryUnknown("repository not found")
            raise BlobUnknown("blob unknown to registry")
        record = BlobRecord(
            repository=RepositoryRecord(
                id=row.id,
                namespace_id=row.namespace_user_id,
                name=name,
                state=RepositoryState(row.state),
            ),
            digest=digest,
            size=await self._size(digest, known=row.image_size),
        )
        self.shelf.caches.blobs.put((name, digest), record)
        return record

    @asynccontextmanager
    async def open_blob(self, record: BlobRecord) -> AsyncIterator[BlobReader]:
        """Open the bytes of a blob.

        Raises:
            BlobUnknown: the storage has lost them.
        """
        try:
            async with self.shelf.blobs.open(record.digest) as reader:
                yield reader
        except BlobMissing as error:
            raise BlobUnknown("blob unknown to registry") from error

    async def direct_url(self, record: BlobRecord) -> str | None:
        """Return where the client gets the bytes itself; None where they come from here.

        The URL is a credential for a short while and belongs in no log.
        """
        return await self.shelf.blobs.direct_url(record.digest)

    async def mount_blob(
        self, name: RepositoryName, *, digest: Digest, from_repository: RepositoryName
    ) -> BlobRecord:
        """Let a repository hold a blob of another one. The caller has checked both.

        Raises:
            RepositoryUnknown, RepositoryTakesNoPushes, BlobUnknown: nothing was mounted.
        """
        now = self.shelf.clock.now()
        async with self.shelf.database.begin() as connection:
            repository = await store.find_repository(connection, name, keep=True)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            states.require_uploads(repository)
            row = await store_blobs.find_blob(
                connection, name=from_repository, digest=digest, now=now, keep=True
            )
            if row is None:
                raise BlobUnknown("blob unknown to registry")
            await store_blobs.hold_blob(
                connection,
                repository_id=repository.id,
                blob_id=row.blob_id,
                now=now,
                lifetime=self.shelf.policy.hold_lifetime,
            )
        return BlobRecord(
            repository=repository,
            digest=digest,
            size=await self._size(digest, known=row.image_size),
        )

    async def release_blob(self, name: RepositoryName, *, digest: Digest) -> None:
        """Let a repository no longer hold a blob that none of its manifests names.

        Raises:
            RepositoryUnknown, BlobUnknown: it does not hold it.
            BlobInUse: a manifest names it, one that can be restored included.
        """
        async with self.shelf.database.begin() as connection:
            repository = await store.find_repository(connection, name)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            states.require_uploads(repository)
            row = await store_blobs.find_blob(
                connection, name=name, digest=digest, now=self.shelf.clock.now()
            )
            if row is None:
                raise BlobUnknown("blob unknown to registry")
            if not await store_blobs.release_blob(
                connection, repository_id=repository.id, digest=digest
            ):
                raise BlobInUse("a manifest of this repository names the blob; it goes with it")
            await announce(connection)
        self.shelf.caches.clear()
        log.info("blob released", repository=str(name), digest=str(digest))

    async def expire_holds(self, *, limit: int = HOLDS_PER_BATCH) -> int:
        """Forget holds that have expired, as many as the limit says; return how many."""
        async with self.shelf.database.begin() as connection:
            return await store_blobs.drop_expired_holds(
                connection, before=self.shelf.clock.now(), limit=limit
            )

    async def _size(self, digest: Digest, *, known: int | None) -> int:
        if known is not None:
            return known
        try:
            return (await self.shelf.blobs.stat(digest)).size
        except BlobMissing as error:
            raise BlobUnknown("blob unknown to registry") from error
