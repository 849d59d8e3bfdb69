"""Writing a manifest within the transaction of its push: rows, labels, and what keeps it.

Called by `manifests`; what the manifest names must be in the repository already.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.digests import Digest
from hatoba.kernel.ids import new_uuid
from hatoba.kernel.names import TagName
from hatoba.oci.manifests import Manifest
from hatoba.registry.blobs.driver import BlobMissing
from hatoba.registry.content import store, store_blobs, store_labels
from hatoba.registry.content.errors import (
    ManifestContentUnknown,
    ManifestSizeMismatch,
    TagImmutable,
)
from hatoba.registry.content.labels import (
    has_readable_config,
    labels_of,
    lifetime_of,
    media_type_of,
)
from hatoba.registry.content.models import Reference, RepositoryRecord
from hatoba.registry.content.shelf import Shelf


@dataclass(slots=True, frozen=True, kw_only=True)
class ManifestWriter:
    """Writes into one repository within one transaction."""

    shelf: Shelf
    connection: AsyncConnection
    repository: RepositoryRecord

    async def write(self, manifest: Manifest, *, reference: Reference) -> None:
        """Store a manifest and let its reference name it.

        Raises:
            ManifestContentUnknown: a blob or child manifest is missing.
            ManifestSizeMismatch: a descriptor contradicts its blob.
            TagImmutable: the tag exists and may not move.
        """
        manifest_id = await self._store(manifest)
        labels = await self._label(manifest, manifest_id=manifest_id)
        if isinstance(reference, Digest):
            await self._hold(manifest, manifest_id=manifest_id)
        else:
            lifetime = lifetime_of(labels)
            await self._tag(reference, manifest_id=manifest_id, lifetime=lifetime)

    async def _store(self, manifest: Manifest) -> int:
        wanted = [blob.digest for blob in manifest.blobs]
        held = await store_blobs.held_blobs(
            self.connection,
            repository_id=self.repository.id,
            digests=wanted,
            now=self.shelf.clock.now(),
        )
        _check_sizes(manifest, held)
        children = await store.manifest_ids(
            self.connection,
            repository_id=self.repository.id,
            digests=[child.digest for child in manifest.children],
        )
        missing = [digest for digest in wanted if str(digest) not in held]
        missing += [one.digest for one in manifest.children if str(one.digest) not in children]
        if missing:
            raise ManifestContentUnknown(*dict.fromkeys(missing))
        return await store.insert_manifest(
            self.connection,
            manifest,
            repository_id=self.repository.id,
            media_type_id=self.shelf.lookups.id("mediatype", manifest.media_type),
            blob_ids=sorted({blob_id for blob_id, _ in held.values()}),
            child_ids=sorted(children.values()),
        )

    async def _label(
        self,
        manifest: Manifest,
        *,
        manifest_id: int,
    ) -> dict[str, str]:
        """Write the labels of a manifest that has none yet; return them."""
        config = b""
        if has_readable_config(manifest):
            assert manifest.config is not None
            config = await self._read(manifest.config.digest)
        labels = labels_of(manifest, config=config)
        if labels and not await store_labels.has_labels(self.connection, manifest_id=manifest_id):
            lookups = self.shelf.lookups
            rows: list[dict[str, object]] = [
                {
                    "uuid": new_uuid(),
                    "key": key,
                    "value": value,
                    "media_type_id": lookups.id("mediatype", media_type_of(value)),
                    "source_type_id": lookups.id("labelsourcetype", "manifest"),
                }
                for key, value in labels.items()
            ]
            await store_labels.add_labels(
                self.connection,
                repository_id=self.repository.id,
                manifest_id=manifest_id,
                rows=rows,
            )
        return labels

    async def _tag(
        self,
        tag: TagName,
        *,
        manifest_id: int,
        lifetime: timedelta | None,
    ) -> None:
        await store.lock(self.connection, f"tag:{self.repository.id}:{tag}")
        now_ms = await store.next_moment_ms(
            self.connection, repository_id=self.repository.id, tag=tag, now_ms=self.shelf.now_ms()
        )
        current = await store.alive_tag(
            self.connection, repository_id=self.repository.id, tag=tag, now_ms=now_ms
        )
        if current is not None:
            if current.immutable:
                raise TagImmutable(f"Tag {tag} is immutable")
            await store.end_tags(self.connection, tag_ids=[current.id], end_ms=now_ms)
        await store.insert_tag(
            self.connection,
            {
                "name": tag,
                "repository_id": self.repository.id,
                "manifest_id": manifest_id,
                "lifetime_start_ms": now_ms,
                "lifetime_end_ms": lifetime and now_ms + round(lifetime.total_seconds() * 1000),
                "tag_kind_id": self.shelf.lookups.id("tagkind", "tag"),
            },
        )

    async def _hold(
        self,
        manifest: Manifest,
        *,
        manifest_id: int,
    ) -> None:
        """Keep what was pushed by digest, as Quay does, by a hidden tag that ends by itself.

        A manifest with a subject has no other tag to wait for: it is kept until it is deleted.
        """
        now_ms = self.shelf.now_ms()
        hold_ms = round(self.shelf.policy.hold_lifetime.total_seconds() * 1000)
        await store.insert_tag(
            self.connection,
            {
                "name": f"$temp-{new_uuid()}",
                "repository_id": self.repository.id,
                "manifest_id": manifest_id,
                "lifetime_start_ms": now_ms,
                "lifetime_end_ms": None if manifest.subject else now_ms + hold_ms,
                "hidden": True,
                "tag_kind_id": self.shelf.lookups.id("tagkind", "tag"),
            },
        )

    async def _read(self, digest: Digest) -> bytes:
        try:
            async with self.shelf.blobs.open(digest) as reader:
                return b"".join([part async for part in reader.read(start=0, end=reader.size)])
        except BlobMissing as error:
            raise ManifestContentUnknown(digest) from error


def _check_sizes(manifest: Manifest, held: Mapping[str, tuple[int, int | None]]) -> None:
    """Refuse a descriptor that tells another size than its blob has, where that is known."""
    for blob in manifest.blobs:
        _, size = held.get(str(blob.digest), (0, None))
        if size is not None and size != blob.size:
            raise ManifestSizeMismatch(
                f"the descriptor of {blob.digest} says {blob.size} bytes; it has {size}"
            )
