"""The rows of pushes through SQLAlchemy, on any database.

For SQLite, and for a PostgreSQL whose role may not make temporary functions.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection
from typing_extensions import override

from hatoba.kernel.names import RepositoryName, TagName
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content import store, store_blobs, store_labels, store_uploads
from hatoba.registry.content.errors import RepositoryUnknown, TagImmutable, UploadUnknown
from hatoba.registry.content.ledger import (
    BlobPush,
    ManifestPush,
    NewTag,
    PushLedger,
    require_parts,
)
from hatoba.registry.content.models import RepositoryRecord, UploadRecord
from hatoba.registry.content.store_uploads import UploadProgress
from hatoba.registry.content.upload_ids import UploadId
from hatoba.sql.engine import Database


@dataclass(slots=True, frozen=True, kw_only=True)
class SqlLedger(PushLedger):
    """Asks one statement after another, within one transaction a step."""

    database: Database
    audit: AuditLog
    location: str
    """Name of the storage location that blobs are pushed to."""

    @override
    async def find_repository(self, name: RepositoryName) -> RepositoryRecord | None:
        async with self.database.read() as connection:
            return await store.find_repository(connection, name)

    @override
    async def find_upload(
        self, name: RepositoryName, *, upload_id: UploadId
    ) -> UploadRecord | None:
        async with self.database.read() as connection:
            return await store_uploads.find_upload(connection, name=name, upload_id=upload_id)

    @override
    async def has_upload(self, upload_id: str) -> bool:
        async with self.database.read() as connection:
            return await store_uploads.has_upload(connection, upload_id=upload_id)

    @override
    async def advance_upload(
        self,
        upload: UploadRecord,
        *,
        received: int,
        hash_state: str | None,
        storage_state: str | None,
    ) -> bool:
        progress = UploadProgress(
            received=received, hash_state=hash_state, storage_state=storage_state
        )
        async with self.database.begin() as connection:
            if upload.id is not None:
                return await store_uploads.advance_upload(connection, upload, progress=progress)
            return await store_uploads.insert_upload(
                connection,
                upload,
                location_id=await store_blobs.ensure_location(connection, self.location),
                progress=progress,
            )

    @override
    async def end_upload(self, upload: UploadRecord) -> bool:
        async with self.database.begin() as connection:
            is_only_begun = upload.id is None and await store_uploads.claim_upload(
                connection, upload.upload_id
            )
            return is_only_begun or await store_uploads.delete_upload(
                connection,
                repository_id=upload.repository_id,
                upload_id=upload.upload_id,
            )

    @override
    @asynccontextmanager
    async def publish_blob(self, push: BlobPush) -> AsyncIterator[RepositoryRecord]:
        async with self.database.begin() as connection:
            repository = await store.find_repository(connection, push.name, keep=True)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            is_only_begun = push.received == 0 and await store_uploads.claim_upload(
                connection, push.upload_id
            )
            if not is_only_begun and not await store_uploads.delete_upload(
                connection,
                repository_id=repository.id,
                upload_id=push.upload_id,
                received=push.received,
            ):
                raise UploadUnknown("another request went on with this upload, or ended it")
            await store_blobs.lock_blob(connection, digest=push.digest)
            blob_id = await store_blobs.ensure_blob(
                connection,
                digest=push.digest,
                size=push.size,
                location_id=await store_blobs.ensure_location(connection, self.location),
            )
            await store_blobs.hold_blob(
                connection,
                repository_id=repository.id,
                blob_id=blob_id,
                now=push.now,
                lifetime=push.lifetime,
            )
            yield repository

    @override
    async def push_manifest(self, push: ManifestPush) -> RepositoryRecord:
        async with self.database.begin() as connection:
            repository = await store.find_repository(connection, push.name, keep=True)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            if repository.state not in push.states:
                return repository
            if not push.tag.is_hidden:
                await store.lock(connection, store.tag_key(repository.id, push.tag.name))
            manifest_id = await _store_manifest(connection, push, repository_id=repository.id)
            if push.tag.is_hidden:
                now_ms = push.tag.now_ms
            else:
                now_ms = await _end_tag(connection, push.tag, repository_id=repository.id)
            await store.insert_tag(
                connection,
                _row(push.tag, repository_id=repository.id, manifest_id=manifest_id, at_ms=now_ms),
            )
            entry = replace(
                push.entry, namespace_id=repository.namespace_id, repository_id=repository.id
            )
            await self.audit.record(connection, entry)
            return repository


async def _store_manifest(
    connection: AsyncConnection, push: ManifestPush, *, repository_id: int
) -> int:
    """Insert a manifest whose parts are here, with its labels; return its id."""
    manifest = push.manifest
    wanted = [blob.digest for blob in manifest.blobs if blob.digest not in push.absent]
    blobs = await store_blobs.held_blobs(
        connection,
        repository_id=repository_id,
        digests=wanted,
        now=push.now,
    )
    children = await store.manifest_ids(
        connection,
        repository_id=repository_id,
        digests=[child.digest for child in manifest.children],
    )
    require_parts(manifest, blobs=blobs, children=children)
    manifest_id = await store.insert_manifest(
        connection,
        manifest,
        repository_id=repository_id,
        media_type_id=push.media_type_id,
        blob_ids=sorted({blob_id for blob_id, _ in blobs.values()}),
        child_ids=sorted(children.values()),
    )
    if push.labels and not await store_labels.has_labels(connection, manifest_id=manifest_id):
        await store_labels.add_labels(
            connection, repository_id=repository_id, manifest_id=manifest_id, rows=push.labels
        )
    return manifest_id


async def _end_tag(connection: AsyncConnection, tag: NewTag, *, repository_id: int) -> int:
    """End the living row of a tag, if it has one; return the moment at which the next begins."""
    now_ms = await store.next_moment_ms(
        connection, repository_id=repository_id, tag=tag.name, now_ms=tag.now_ms
    )
    current = await store.alive_tag(
        connection, repository_id=repository_id, tag=TagName(tag.name), now_ms=now_ms
    )
    if current is not None:
        if current.immutable:
            raise TagImmutable(f"Tag {tag.name} is immutable")
        await store.end_tags(connection, tag_ids=[current.id], end_ms=now_ms)
    return now_ms


def _row(tag: NewTag, *, repository_id: int, manifest_id: int, at_ms: int) -> dict[str, object]:
    return {
        "name": tag.name,
        "repository_id": repository_id,
        "manifest_id": manifest_id,
        "lifetime_start_ms": at_ms,
        "lifetime_end_ms": None if tag.lifetime_ms is None else at_ms + tag.lifetime_ms,
        "hidden": tag.is_hidden,
        "tag_kind_id": tag.kind_id,
    }
