"""Pushing, resolving and deleting manifests.

A push is one transaction: manifest, references, tag and audit row become visible together, and
are durable before the caller is told. What the manifest names must be in the repository already.
"""

import asyncio
from dataclasses import dataclass, replace
from functools import partial

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.oci.manifests import parse_manifest
from hatoba.registry.audit.models import Entry
from hatoba.registry.content import states, store
from hatoba.registry.content.errors import (
    ManifestDigestMismatch,
    ManifestInUse,
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
from hatoba.registry.content.writing import ManifestWriter, named

log = structlog.get_logger()


def pull_entry(record: ManifestRecord, *, reference: Reference, caller: Caller) -> Entry:
    """Return the audit row of a pull."""
    return audit_entry(
        "pull_repo",
        repository=record.repository,
        caller=caller,
        metadata={**named(reference), "mediaType": record.media_type},
    )


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
            RepositoryTakesNoPushes: its state forbids it.
        """
        manifest = parse_manifest(
            content,
            content_type=content_type,
            algorithm=reference.algorithm if isinstance(reference, Digest) else "sha256",
            maximum_bytes=self.shelf.policy.maximum_manifest_bytes,
        )
        if isinstance(reference, Digest) and manifest.digest != reference:
            raise ManifestDigestMismatch("manifest digest mismatch")
        writer = ManifestWriter(shelf=self.shelf)
        push = await writer.prepare(name, reference=reference, manifest=manifest, caller=caller)
        repository = await self.shelf.ledger.push_manifest(push)
        while repository.state not in push.states:
            # It is asked again, as the state may be another one by now.
            await self._require_writable(repository, caller=caller)
            push = replace(push, states=push.states | {repository.state})
            repository = await self.shelf.ledger.push_manifest(push)
        # Told once the answer is on its way: nobody is to wait for a log.
        asyncio.get_running_loop().call_soon(
            partial(
                log.info,
                "manifest pushed",
                repository=str(name),
                reference=str(reference),
                digest=str(manifest.digest),
            )
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
        record = await self.find_manifest(name, reference=reference)
        if caller is not None:
            self.audit_pull(pull_entry(record, reference=reference, caller=caller))
        return record

    async def find_manifest(self, name: RepositoryName, *, reference: Reference) -> ManifestRecord:
        """Return what `resolve_reference` returns; whose pull it is, is told by `audit_pull`.

        While a manifest is known it is the same record.

        Raises:
            RepositoryUnknown, ManifestUnknown, TagExpired: there is none.
        """
        if isinstance(reference, Digest):
            return await self._by_digest(name, digest=reference)
        return await self._by_tag(name, tag=reference)

    def audit_pull(self, entry: Entry) -> None:
        """Keep a pull for the audit log; whoever tells of the same one again may share an entry."""
        self.shelf.audit.remember(entry)

    async def delete_manifest(
        self, name: RepositoryName, *, reference: Reference, caller: Caller
    ) -> None:
        """Delete a tag, or all tags of a manifest; they stay restorable for their time.

        Raises:
            RepositoryUnknown, ManifestUnknown, TagImmutable, RepositoryTakesNoPushes: nothing was
                changed.
            ManifestInUse: it has no tag, and is part of an index that has one.
        """
        async with self.shelf.database.begin() as connection:
            repository = await store.find_repository(connection, name)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            await states.require_writable(connection, repository, caller=caller)
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

    async def _require_writable(self, repository: RepositoryRecord, *, caller: Caller) -> None:
        async with self.shelf.database.read() as connection:
            await states.require_writable(connection, repository, caller=caller)

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
        await store.lock(connection, store.tag_key(repository.id, tag))
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
        manifest_id, now_ms = found[str(digest)], self.shelf.now_ms()
        alive = await store.alive_tags_of(connection, manifest_id=manifest_id, now_ms=now_ms)
        if all(row.hidden for row in alive) and await store.is_part_of_index(
            connection, manifest_id=manifest_id, now_ms=now_ms
        ):
            raise ManifestInUse("an index needs this manifest; it goes with the index")
        if not alive:
            raise ManifestUnknown("manifest unknown")
        if any(row.immutable for row in alive):
            raise TagImmutable("a tag of this manifest is immutable")
        for row in sorted(alive, key=lambda row: str(row.name)):
            await store.lock(connection, store.tag_key(repository.id, row.name))
            end_ms = await store.next_moment_ms(
                connection, repository_id=repository.id, tag=row.name, now_ms=self.shelf.now_ms()
            )
            await store.end_tags(connection, tag_ids=[row.id], end_ms=end_ms)
        return sorted(row.name for row in alive if not row.hidden)
