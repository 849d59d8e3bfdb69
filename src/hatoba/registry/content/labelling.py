"""Labels of manifests as people handle them over the REST API.

Those that a push brought along (`writing`) are shown here and never changed. Whoever calls has
checked that the repository may be read or written.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.ids import new_uuid
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content import store, store_labels, store_tags
from hatoba.registry.content.errors import (
    LabelImmutable,
    LabelInvalid,
    LabelUnknown,
    ManifestUnknown,
)
from hatoba.registry.content.labels import MAXIMUM_KEY_LENGTH, MAXIMUM_LABELS, media_type_of
from hatoba.registry.content.tagging import TagPlace
from hatoba.registry.db.lookups import Lookups
from hatoba.sql.engine import Database

KEY_PATTERN: Final = "^[a-z0-9](([a-z0-9]|[-.](?![.-]))*[a-z0-9])?$"
"""Quay's rule for the keys that people may give."""


@dataclass(slots=True, frozen=True, kw_only=True)
class LabelView:
    """A label of a manifest."""

    id: str
    key: str
    value: str
    source: str
    """`manifest` where a push brought it, `api` where somebody added it, `internal`."""
    media_type: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Labelling:
    """The labels of all manifests."""

    database: Database
    lookups: Lookups
    audit: AuditLog
    reserved_prefixes: Sequence[str]
    """Keys that begin so are not for people: LABEL_KEY_RESERVED_PREFIXES."""
    maximum: int = MAXIMUM_LABELS
    """How many labels a manifest can have."""

    async def list_labels(self, place: TagPlace, *, digest: str, prefix: str) -> list[LabelView]:
        """Return the labels whose keys begin with a prefix, oldest first.

        Raises:
            ManifestUnknown: there is no such manifest.
        """
        async with self.database.read() as connection:
            manifest_id = await self._manifest_id(connection, place, digest)
            rows = await store_labels.labels_of(connection, manifest_id=manifest_id, prefix=prefix)
        return [self._view(row) for row in rows]

    async def find_label(self, place: TagPlace, *, digest: str, label_id: str) -> LabelView:
        """Return one label.

        Raises:
            ManifestUnknown, LabelUnknown: it is not there.
        """
        async with self.database.read() as connection:
            manifest_id = await self._manifest_id(connection, place, digest)
            return self._view(await self._row(connection, manifest_id, label_id))

    async def add_label(
        self,
        place: TagPlace,
        *,
        digest: str,
        key: str,
        value: str,
        media_type: str | None,
        actor: Actor,
    ) -> LabelView:
        """Add a label; the same key may be given again. Without a media type it is guessed.

        Raises:
            ManifestUnknown, LabelInvalid: nothing was added.
        """
        self._check_key(key)
        async with self.database.begin() as connection:
            await store.keep_repository(connection, repository_id=place.repository_id)
            manifest_id = await self._manifest_id(connection, place, digest)
            await store.lock(connection, f"labels:{manifest_id}")
            count = await store_labels.count_labels(connection, manifest_id=manifest_id)
            if count >= self.maximum:
                raise LabelInvalid(f"A manifest can have {self.maximum} labels")
            row: dict[str, object] = {
                "uuid": new_uuid(),
                "key": key,
                "value": value,
                "media_type_id": self.lookups.id("mediatype", media_type or media_type_of(value)),
                "source_type_id": self.lookups.id("labelsourcetype", "api"),
            }
            await store_labels.add_labels(
                connection, repository_id=place.repository_id, manifest_id=manifest_id, rows=[row]
            )
            added = self._view(await self._row(connection, manifest_id, str(row["uuid"])))
            await self._record(connection, "manifest_label_add", place, digest, added, actor)
        return added

    async def delete_label(
        self, place: TagPlace, *, digest: str, label_id: str, actor: Actor
    ) -> None:
        """Remove a label that came over the API.

        Raises:
            ManifestUnknown, LabelUnknown, LabelImmutable: nothing was changed.
        """
        async with self.database.begin() as connection:
            await store.keep_repository(connection, repository_id=place.repository_id)
            manifest_id = await self._manifest_id(connection, place, digest)
            await store.lock(connection, f"labels:{manifest_id}")
            row = await self._row(connection, manifest_id, label_id)
            if not row.is_mutable:
                raise LabelImmutable("Cannot delete immutable label")
            await store_labels.delete_label(connection, label_row_id=row.id)
            label = self._view(row)
            await self._record(connection, "manifest_label_delete", place, digest, label, actor)

    def _check_key(self, key: str) -> None:
        if any(key.startswith(prefix) for prefix in self.reserved_prefixes):
            raise LabelInvalid("Label has a reserved prefix")
        if len(key) > MAXIMUM_KEY_LENGTH or re.fullmatch(KEY_PATTERN, key) is None:
            raise LabelInvalid(
                "Label is of an invalid format or missing please use"
                f" {KEY_PATTERN} format for labels"
            )

    @staticmethod
    async def _manifest_id(connection: AsyncConnection, place: TagPlace, digest: str) -> int:
        row = await store_tags.find_manifest_row(
            connection, repository_id=place.repository_id, digest=digest
        )
        if row is None:
            raise ManifestUnknown("manifest unknown")
        return int(row.id)

    @staticmethod
    async def _row(connection: AsyncConnection, manifest_id: int, label_id: str) -> Any:
        row = await store_labels.find_label(connection, manifest_id=manifest_id, uuid=label_id)
        if row is None:
            raise LabelUnknown("label unknown")
        return row

    def _view(self, row: Any) -> LabelView:
        return LabelView(
            id=row.uuid,
            key=row.key,
            value=row.value,
            source=self.lookups.name("labelsourcetype", row.source_type_id),
            media_type=self.lookups.name("mediatype", row.media_type_id),
        )

    async def _record(
        self,
        connection: AsyncConnection,
        kind: str,
        place: TagPlace,
        digest: str,
        label: LabelView,
        actor: Actor,
    ) -> None:
        metadata = {
            "id": label.id,
            "key": label.key,
            "value": label.value,
            "manifest_digest": digest,
            "media_type": label.media_type,
            "source_type": label.source,
            "namespace": place.namespace,
            "repo": place.name,
        }
        entry = Entry(
            kind=kind,
            actor=actor,
            namespace_id=place.namespace_id,
            repository_id=place.repository_id,
            metadata=metadata,
        )
        await self.audit.record(connection, entry)
