"""Pushing, resolving and deleting manifests.

A push is one transaction: manifest, references, tag and audit row become visible together, and
are durable before the caller is told. What the manifest names must be in the repository already.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.digests import Digest
from hatoba.kernel.ids import new_uuid
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.oci.manifests import Manifest, parse_manifest
from hatoba.registry.content import store, store_blobs
from hatoba.registry.content.errors import (
    ManifestContentUnknown,
    ManifestDigestMismatch,
    ManifestUnknown,
    RepositoryUnknown,
    TagExpired,
    TagImmutable,
)
from hatoba.registry.content.invalidation import announce
from hatoba.registry.content.models import (
    Caller,
    ManifestRecord,
    PushedManifest,
    Reference,
    RepositoryRecord,
)
from hatoba.registry.content.resolver import TagResolver
from hatoba.registry.content.shelf import Shelf, audit_entry

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class Manifests:
    """The manifests of all repositories."""

    shelf: Shelf
    resolver: TagResolver

    async def push_manifest(
        self,
        name: RepositoryName,
        *,
        reference: Reference,
        content: bytes,
        content_type: str,
        caller: Caller,
    ) -> PushedManifest:
        """Store a manifest under a tag or its digest.

        Raises:
            MalformedManifest, UnknownManifestType, ManifestTooLarge: not acceptable as such.
            ManifestDigestMismatch: pushed under a digest that is not its own.
            ManifestContentUnknown: a blob or child manifest is missing.
            TagImmutable: the tag exists and may not move.
            RepositoryUnknown: no such repository.
        """
        by_digest = isinstance(reference, Digest)
        manifest = parse_manifest(
            content,
            content_type=content_type,
            algorithm=reference.algorithm if isinstance(reference, Digest) else "sha256",
            maximum_bytes=self.shelf.policy.maximum_manifest_bytes,
        )
        if by_digest and manifest.digest != reference:
            raise ManifestDigestMismatch("manifest digest mismatch")
        async with self.shelf.database.begin() as connection:
            repository = await store.find_repository(connection, name)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            manifest_id = await self._store(connection, manifest, repository=repository)
            if isinstance(reference, Digest):
                await self._hold(connection, manifest, repository, manifest_id=manifest_id)
                named = {"manifest_digest": str(manifest.digest)}
            else:
                await self._tag(connection, repository, tag=reference, manifest_id=manifest_id)
                named = {"tag": str(reference)}
            entry = audit_entry(
                "push_repo",
                repository=repository,
                caller=caller,
                metadata={**named, "mediaType": manifest.media_type},
            )
            await self.shelf.audit.record(connection, entry)
        log.info(
            "manifest pushed",
            repository=str(name),
            reference=str(reference),
            digest=str(manifest.digest),
        )
        return PushedManifest(
            digest=manifest.digest,
            media_type=manifest.media_type,
            subject=manifest.subject.digest if manifest.subject else None,
        )

    async def resolve_reference(
        self, name: RepositoryName, *, reference: Reference, caller: Caller | None
    ) -> ManifestRecord:
        """Return the manifest that a tag or digest names; a pull is audited for its caller.

        Raises:
            RepositoryUnknown, ManifestUnknown, TagExpired: there is none.
        """
        if isinstance(reference, Digest):
            record = await self._by_digest(name, digest=reference)
            named = {"manifest_digest": str(reference)}
        else:
            record = await self._by_tag(name, tag=reference)
            named = {"tag": str(reference)}
        if caller is not None:
            self.shelf.audit.remember(
                audit_entry(
                    "pull_repo",
                    repository=record.repository,
                    caller=caller,
                    metadata={**named, "mediaType": record.media_type},
                )
            )
        return record

    async def delete_manifest(
        self, name: RepositoryName, *, reference: Reference, caller: Caller
    ) -> None:
        """Delete a tag, or all tags of a manifest; they stay restorable for their time.

        Raises:
            RepositoryUnknown, ManifestUnknown, TagImmutable: nothing was changed.
        """
        async with self.shelf.database.begin() as connection:
            repository = await store.find_repository(connection, name)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            if isinstance(reference, Digest):
                names = await self._delete_by_digest(connection, repository, digest=reference)
            else:
                names = await self._delete_tag(connection, repository, tag=reference)
            for tag in names:
                entry = audit_entry(
                    "delete_tag", repository=repository, caller=caller, metadata={"tag": tag}
                )
                await self.shelf.audit.record(connection, entry)
            await announce(connection)
        self.shelf.caches.clear()
        log.info("manifest deleted", repository=str(name), reference=str(reference), tags=names)

    async def _store(
        self, connection: AsyncConnection, manifest: Manifest, *, repository: RepositoryRecord
    ) -> int:
        wanted = [blob.digest for blob in manifest.blobs]
        held = await store_blobs.held_blobs(
            connection, repository_id=repository.id, digests=wanted, now=self.shelf.clock.now()
        )
        for blob in manifest.blobs:
            if str(blob.digest) not in held:
                what = "config" if blob is manifest.config else "layer"
                raise ManifestContentUnknown(
                    f"Could not load {what} blob for manifest"
                    if what == "config"
                    else f"Unknown blob `{blob.digest}`"
                )
            _, size = held[str(blob.digest)]
            if size is not None and size != blob.size:
                raise ManifestContentUnknown(
                    f"the descriptor of {blob.digest} says {blob.size} bytes; it has {size}"
                )
        children = await store.manifest_ids(
            connection,
            repository_id=repository.id,
            digests=[child.digest for child in manifest.children],
        )
        for child in manifest.children:
            if str(child.digest) not in children:
                raise ManifestContentUnknown(f"Could not load child manifest `{child.digest}`")
        return await store.insert_manifest(
            connection,
            manifest,
            repository_id=repository.id,
            media_type_id=self.shelf.lookups.id("mediatype", manifest.media_type),
            blob_ids=sorted({blob_id for blob_id, _ in held.values()}),
            child_ids=sorted(children.values()),
        )

    async def _tag(
        self,
        connection: AsyncConnection,
        repository: RepositoryRecord,
        *,
        tag: TagName,
        manifest_id: int,
    ) -> None:
        await store.lock(connection, f"tag:{repository.id}:{tag}")
        now_ms = await store.next_moment_ms(
            connection, repository_id=repository.id, tag=tag, now_ms=self.shelf.now_ms()
        )
        current = await store.alive_tag(
            connection, repository_id=repository.id, tag=tag, now_ms=now_ms
        )
        if current is not None:
            if current.immutable:
                raise TagImmutable(f"Tag {tag} is immutable")
            await store.end_tags(connection, tag_ids=[current.id], end_ms=now_ms)
        await store.insert_tag(
            connection,
            {
                "name": tag,
                "repository_id": repository.id,
                "manifest_id": manifest_id,
                "lifetime_start_ms": now_ms,
                "tag_kind_id": self.shelf.lookups.id("tagkind", "tag"),
            },
        )

    async def _hold(
        self,
        connection: AsyncConnection,
        manifest: Manifest,
        repository: RepositoryRecord,
        *,
        manifest_id: int,
    ) -> None:
        """Keep what was pushed by digest, as Quay does, by a hidden tag that ends by itself.

        A manifest with a subject has no other tag to wait for: it is kept until it is deleted.
        """
        now_ms = self.shelf.now_ms()
        hold_ms = round(self.shelf.policy.hold_lifetime.total_seconds() * 1000)
        await store.insert_tag(
            connection,
            {
                "name": f"$temp-{new_uuid()}",
                "repository_id": repository.id,
                "manifest_id": manifest_id,
                "lifetime_start_ms": now_ms,
                "lifetime_end_ms": None if manifest.subject else now_ms + hold_ms,
                "hidden": True,
                "tag_kind_id": self.shelf.lookups.id("tagkind", "tag"),
            },
        )

    async def _by_tag(self, name: RepositoryName, *, tag: TagName) -> ManifestRecord:
        resolved = await self.resolver.resolve(name, tag)
        if resolved is None:
            await self._explain_missing_tag(name, tag=tag)
        assert resolved is not None
        key = (name, resolved.digest)
        cached = self.shelf.caches.manifests.get(key)
        if cached is not None and cached.repository.id == resolved.repository.id:
            return cached
        record = await self._load(resolved.repository, digest=resolved.digest)
        self.shelf.caches.manifests.put(key, record)
        return record

    async def _by_digest(self, name: RepositoryName, *, digest: Digest) -> ManifestRecord:
        cached = self.shelf.caches.manifests.get((name, digest))
        if cached is not None:
            return cached
        async with self.shelf.database.read() as connection:
            repository = await store.find_repository(connection, name)
        if repository is None:
            raise RepositoryUnknown("repository not found")
        record = await self._load(repository, digest=digest)
        async with self.shelf.database.read() as connection:
            if not await store.is_available(
                connection, manifest_id=record.id, now_ms=self.shelf.now_ms()
            ):
                raise ManifestUnknown("manifest unknown")
        self.shelf.caches.manifests.put((name, digest), record)
        return record

    async def _load(self, repository: RepositoryRecord, *, digest: Digest) -> ManifestRecord:
        async with self.shelf.database.read() as connection:
            row = await store.find_manifest(connection, repository_id=repository.id, digest=digest)
        if row is None:
            raise ManifestUnknown("manifest unknown")
        return ManifestRecord(
            id=row.id,
            repository=repository,
            digest=digest,
            media_type=self.shelf.lookups.name("mediatype", row.media_type_id),
            content=row.manifest_bytes.encode("utf-8"),
        )

    async def _explain_missing_tag(self, name: RepositoryName, *, tag: TagName) -> None:
        async with self.shelf.database.read() as connection:
            repository = await store.find_repository(connection, name)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            if await store.was_tagged(connection, repository_id=repository.id, tag=tag):
                raise TagExpired(tag)
        raise ManifestUnknown("manifest unknown")

    async def _delete_tag(
        self, connection: AsyncConnection, repository: RepositoryRecord, *, tag: TagName
    ) -> list[str]:
        await store.lock(connection, f"tag:{repository.id}:{tag}")
        now_ms = await store.next_moment_ms(
            connection, repository_id=repository.id, tag=tag, now_ms=self.shelf.now_ms()
        )
        current = await store.alive_tag(
            connection, repository_id=repository.id, tag=tag, now_ms=now_ms
        )
        if current is None:
            raise ManifestUnknown("manifest unknown")
        if current.immutable:
            raise TagImmutable(f"Tag {tag} is immutable")
        await store.end_tags(connection, tag_ids=[current.id], end_ms=now_ms)
        return [tag]

    async def _delete_by_digest(
        self, connection: AsyncConnection, repository: RepositoryRecord, *, digest: Digest
    ) -> list[str]:
        found = await store.manifest_ids(connection, repository_id=repository.id, digests=[digest])
        if not found:
            raise ManifestUnknown("manifest unknown")
        alive = await store.alive_tags_of(
            connection, manifest_id=found[str(digest)], now_ms=self.shelf.now_ms()
        )
        if not alive:
            raise ManifestUnknown("manifest unknown")
        if any(row.immutable for row in alive):
            raise TagImmutable("a tag of this manifest is immutable")
        for row in sorted(alive, key=lambda row: str(row.name)):
            await store.lock(connection, f"tag:{repository.id}:{row.name}")
            end_ms = await store.next_moment_ms(
                connection, repository_id=repository.id, tag=row.name, now_ms=self.shelf.now_ms()
            )
            await store.end_tags(connection, tag_ids=[row.id], end_ms=end_ms)
        return sorted(row.name for row in alive if not row.hidden)
