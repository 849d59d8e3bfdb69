"""What a push of a manifest writes: tag, labels and audit row, made from its bytes.

Called by `manifests`. Nothing is written here: what needs no transaction is done before it.
"""

from dataclasses import dataclass

from hatoba.kernel.digests import Digest
from hatoba.kernel.ids import new_uuid
from hatoba.kernel.names import RepositoryName
from hatoba.oci.manifests import Manifest
from hatoba.registry.audit.models import Entry
from hatoba.registry.blobs.driver import BlobMissing
from hatoba.registry.content import states
from hatoba.registry.content.labels import (
    has_readable_config,
    labels_of,
    lifetime_of,
    media_type_of,
)
from hatoba.registry.content.ledger import ManifestPush, NewTag
from hatoba.registry.content.models import Caller, Reference
from hatoba.registry.content.shelf import Shelf, audit_metadata


@dataclass(slots=True, frozen=True, kw_only=True)
class ManifestWriter:
    """Prepares pushes."""

    shelf: Shelf

    async def prepare(
        self, name: RepositoryName, *, reference: Reference, manifest: Manifest, caller: Caller
    ) -> ManifestPush:
        """Return what is to be written."""
        config = await self._config(manifest)
        labels = labels_of(manifest, config=config or b"")
        metadata = {**named(reference), "mediaType": manifest.media_type}
        return ManifestPush(
            name=name,
            states=states.WRITABLE,
            manifest=manifest,
            absent=() if config is not None else (_config_digest(manifest),),
            media_type_id=self.shelf.lookups.id("mediatype", manifest.media_type),
            labels=self._rows(labels),
            tag=self._tag(manifest, reference=reference, labels=labels),
            now=self.shelf.clock.now(),
            entry=Entry(
                kind="push_repo",
                actor=caller.actor,
                metadata=audit_metadata(name, caller=caller, metadata=metadata),
            ),
        )

    def _tag(self, manifest: Manifest, *, reference: Reference, labels: dict[str, str]) -> NewTag:
        """Return the tag that was pushed.

        What was pushed by digest is kept, as Quay does, by a hidden tag that ends by itself. A
        manifest with a subject has no other tag to wait for: it is kept until it is deleted.
        """
        is_hidden = isinstance(reference, Digest)
        if is_hidden:
            lifetime = None if manifest.subject else self.shelf.policy.hold_lifetime
        else:
            lifetime = lifetime_of(labels)
        return NewTag(
            name=f"$temp-{new_uuid()}" if is_hidden else str(reference),
            is_hidden=is_hidden,
            now_ms=self.shelf.now_ms(),
            lifetime_ms=None if lifetime is None else round(lifetime.total_seconds() * 1000),
            kind_id=self.shelf.lookups.id("tagkind", "tag"),
        )

    def _rows(self, labels: dict[str, str]) -> list[dict[str, object]]:
        lookups = self.shelf.lookups
        return [
            {
                "uuid": new_uuid(),
                "key": key,
                "value": value,
                "media_type_id": lookups.id("mediatype", media_type_of(value)),
                "source_type_id": lookups.id("labelsourcetype", "manifest"),
            }
            for key, value in labels.items()
        ]

    async def _config(self, manifest: Manifest) -> bytes | None:
        """Return the config where labels are read from it; None when it has no bytes.

        Whether the repository holds it is looked at when the manifest is stored; without that,
        nothing of what was read here is kept.
        """
        if not has_readable_config(manifest):
            return b""
        assert manifest.config is not None
        try:
            async with self.shelf.blobs.open(manifest.config.digest) as reader:
                if reader.size != manifest.config.size:
                    # Refused for that in a moment; it may be larger than fits in memory.
                    return b""
                return b"".join([part async for part in reader.read(start=0, end=reader.size)])
        except BlobMissing:
            return None


def _config_digest(manifest: Manifest) -> Digest:
    assert manifest.config is not None
    return manifest.config.digest


def named(reference: Reference) -> dict[str, str]:
    """Return how an audit row tells what was asked for."""
    if isinstance(reference, Digest):
        return {"manifest_digest": str(reference)}
    return {"tag": str(reference)}
