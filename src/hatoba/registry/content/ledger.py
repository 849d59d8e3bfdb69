"""The rows of pushes: what uploads and manifests write, one question or change a method.

A push waits for each of its statements, so they are few, and on PostgreSQL they are prepared
(`ledger_prepared`). `SqlLedger` does the same through SQLAlchemy, for SQLite. Both pass the tests
of this room. Services decide; a ledger knows no rule but those that its rows need.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.oci.manifests import Manifest
from hatoba.registry.audit.models import Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content import store, store_blobs, store_labels
from hatoba.registry.content.errors import TagImmutable
from hatoba.registry.content.models import RepositoryRecord, UploadRecord
from hatoba.sql.engine import Database

HeldBlobs: TypeAlias = Mapping[str, tuple[int, int | None]]
"""By digest: the id of a blob's row, and its size where that is known."""


@dataclass(slots=True, frozen=True, kw_only=True)
class ManifestParts:
    """What of a manifest's descriptors a repository holds."""

    blobs: HeldBlobs
    children: Mapping[str, int]
    """By digest: the ids of manifests."""


@dataclass(slots=True, frozen=True, kw_only=True)
class NewTag:
    """A tag row to come. Its life begins no earlier than the last row of its name ended."""

    name: str
    manifest_id: int
    now_ms: int
    lifetime_ms: int | None
    kind_id: int


class PushTransaction(Protocol):
    """Rows that become visible together, or not at all."""

    async def keep_repository(
        self, name: RepositoryName, *, tag: TagName | None = None
    ) -> RepositoryRecord | None:
        """Return a repository, and let nothing of it be collected until the end.

        With a tag, nobody else changes that tag meanwhile.
        """

    async def end_upload(self, upload: UploadRecord, *, digest: Digest) -> bool:
        """Forget an upload and lock the blob that it becomes; False when others went on with it."""

    async def add_blob(
        self, *, repository_id: int, digest: Digest, size: int, now: datetime, lifetime: timedelta
    ) -> None:
        """Add a blob that is in place, if need be, and let the repository hold it for a while."""

    async def find_parts(
        self,
        *,
        repository_id: int,
        blobs: Sequence[Digest],
        children: Sequence[Digest],
        now: datetime,
    ) -> ManifestParts:
        """Return which parts of a manifest are here; none of them is collected until the end."""

    async def insert_manifest(
        self,
        manifest: Manifest,
        *,
        repository_id: int,
        media_type_id: int,
        blob_ids: Sequence[int],
        child_ids: Sequence[int],
    ) -> int:
        """Store a manifest with its references, if it is not there yet; return its id."""

    async def add_labels(
        self, *, repository_id: int, manifest_id: int, rows: Sequence[dict[str, object]]
    ) -> None:
        """Give labels, rows of the table `label`, to a manifest that has none yet."""

    async def move_tag(self, *, repository_id: int, tag: NewTag) -> None:
        """End the living row of a tag and begin another; `keep_repository` has locked it.

        Raises:
            TagImmutable: it may not move.
        """

    async def add_hold(self, *, repository_id: int, tag: NewTag) -> None:
        """Add a hidden tag, which nobody lists."""

    async def record(self, entry: Entry) -> None:
        """Write an audit row."""


class PushLedger(Protocol):
    """The rows of pushes, as one process writes them."""

    async def find_repository(self, name: RepositoryName) -> RepositoryRecord | None:
        """Return a repository that is not being deleted."""

    async def insert_upload(self, *, repository_id: int, upload_id: str, now: datetime) -> None:
        """Begin an upload. It may be forgotten in a crash until `advance_upload` has returned."""

    async def find_upload(self, name: RepositoryName, *, upload_id: str) -> UploadRecord | None:
        """Return an upload of a repository."""

    async def advance_upload(
        self,
        upload: UploadRecord,
        *,
        received: int,
        hash_state: str | None,
        storage_state: str | None,
    ) -> bool:
        """Acknowledge bytes durably; False when the upload has gone or moved meanwhile."""

    def begin(self) -> AbstractAsyncContextManager[PushTransaction]:
        """Run a transaction: durable at the end of the block, nothing when it raises."""


@dataclass(slots=True, frozen=True, kw_only=True)
class SqlLedger(PushLedger):
    """Writes through SQLAlchemy, on any database."""

    database: Database
    audit: AuditLog
    location: str
    """Name of the storage location that blobs are pushed to."""

    @override
    async def find_repository(self, name: RepositoryName) -> RepositoryRecord | None:
        async with self.database.read() as connection:
            return await store.find_repository(connection, name)

    @override
    async def insert_upload(self, *, repository_id: int, upload_id: str, now: datetime) -> None:
        async with self.database.begin() as connection:
            await store_blobs.insert_upload(
                connection,
                repository_id=repository_id,
                upload_id=upload_id,
                location_id=await store_blobs.ensure_location(connection, self.location),
                now=now,
            )

    @override
    async def find_upload(self, name: RepositoryName, *, upload_id: str) -> UploadRecord | None:
        async with self.database.read() as connection:
            return await store_blobs.find_upload(connection, name=name, upload_id=upload_id)

    @override
    async def advance_upload(
        self,
        upload: UploadRecord,
        *,
        received: int,
        hash_state: str | None,
        storage_state: str | None,
    ) -> bool:
        async with self.database.begin() as connection:
            return await store_blobs.advance_upload(
                connection,
                upload,
                received=received,
                hash_state=hash_state,
                storage_state=storage_state,
            )

    @override
    @asynccontextmanager
    async def begin(self) -> AsyncIterator[PushTransaction]:
        async with self.database.begin() as connection:
            yield _SqlTransaction(connection=connection, audit=self.audit, location=self.location)


@dataclass(slots=True, frozen=True, kw_only=True)
class _SqlTransaction(PushTransaction):
    connection: AsyncConnection
    audit: AuditLog
    location: str

    @override
    async def keep_repository(
        self, name: RepositoryName, *, tag: TagName | None = None
    ) -> RepositoryRecord | None:
        repository = await store.find_repository(self.connection, name, keep=True)
        if repository is not None and tag is not None:
            await store.lock(self.connection, store.tag_key(repository.id, tag))
        return repository

    @override
    async def end_upload(self, upload: UploadRecord, *, digest: Digest) -> bool:
        gone = await store_blobs.delete_upload(
            self.connection, upload_row_id=upload.id, received=upload.received
        )
        await store_blobs.lock_blob(self.connection, digest=digest)
        return gone

    @override
    async def add_blob(
        self, *, repository_id: int, digest: Digest, size: int, now: datetime, lifetime: timedelta
    ) -> None:
        blob_id = await store_blobs.ensure_blob(
            self.connection,
            digest=digest,
            size=size,
            location_id=await store_blobs.ensure_location(self.connection, self.location),
        )
        await store_blobs.hold_blob(
            self.connection,
            repository_id=repository_id,
            blob_id=blob_id,
            now=now,
            lifetime=lifetime,
        )

    @override
    async def find_parts(
        self,
        *,
        repository_id: int,
        blobs: Sequence[Digest],
        children: Sequence[Digest],
        now: datetime,
    ) -> ManifestParts:
        return ManifestParts(
            blobs=await store_blobs.held_blobs(
                self.connection, repository_id=repository_id, digests=blobs, now=now
            ),
            children=await store.manifest_ids(
                self.connection, repository_id=repository_id, digests=children
            ),
        )

    @override
    async def insert_manifest(
        self,
        manifest: Manifest,
        *,
        repository_id: int,
        media_type_id: int,
        blob_ids: Sequence[int],
        child_ids: Sequence[int],
    ) -> int:
        return await store.insert_manifest(
            self.connection,
            manifest,
            repository_id=repository_id,
            media_type_id=media_type_id,
            blob_ids=blob_ids,
            child_ids=child_ids,
        )

    @override
    async def add_labels(
        self, *, repository_id: int, manifest_id: int, rows: Sequence[dict[str, object]]
    ) -> None:
        if not await store_labels.has_labels(self.connection, manifest_id=manifest_id):
            await store_labels.add_labels(
                self.connection, repository_id=repository_id, manifest_id=manifest_id, rows=rows
            )

    @override
    async def move_tag(self, *, repository_id: int, tag: NewTag) -> None:
        now_ms = await store.next_moment_ms(
            self.connection, repository_id=repository_id, tag=tag.name, now_ms=tag.now_ms
        )
        current = await store.alive_tag(
            self.connection, repository_id=repository_id, tag=TagName(tag.name), now_ms=now_ms
        )
        if current is not None:
            if current.immutable:
                raise TagImmutable(f"Tag {tag.name} is immutable")
            await store.end_tags(self.connection, tag_ids=[current.id], end_ms=now_ms)
        await self._insert_tag(repository_id, tag=tag, now_ms=now_ms, hidden=False)

    @override
    async def add_hold(self, *, repository_id: int, tag: NewTag) -> None:
        await self._insert_tag(repository_id, tag=tag, now_ms=tag.now_ms, hidden=True)

    @override
    async def record(self, entry: Entry) -> None:
        await self.audit.record(self.connection, entry)

    async def _insert_tag(
        self, repository_id: int, *, tag: NewTag, now_ms: int, hidden: bool
    ) -> None:
        await store.insert_tag(
            self.connection,
            {
                "name": tag.name,
                "repository_id": repository_id,
                "manifest_id": tag.manifest_id,
                "lifetime_start_ms": now_ms,
                "lifetime_end_ms": None if tag.lifetime_ms is None else now_ms + tag.lifetime_ms,
                "hidden": hidden,
                "tag_kind_id": tag.kind_id,
            },
        )
