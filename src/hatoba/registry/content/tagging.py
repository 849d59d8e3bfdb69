"""Tags as people handle them over the REST API: history, moving, expiring, restoring.

Image clients do not come here: `manifests` pushes, resolves and deletes for them. Both keep the
same rules: a tag has one living row, and its rows never end at the same moment.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock, milliseconds
from hatoba.kernel.json import JsonObject
from hatoba.kernel.names import TagName
from hatoba.registry.audit.models import Actor, Entry
from hatoba.registry.audit.service import AuditLog
from hatoba.registry.content import store, store_tags
from hatoba.registry.content.errors import ManifestUnknown, TagImmutable, TagUnknown
from hatoba.registry.content.invalidation import announce
from hatoba.registry.db.lookups import Lookups
from hatoba.sql.engine import Database

INDEX_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)


@dataclass(slots=True, frozen=True, kw_only=True)
class TagPlace:
    """The repository whose tags are handled."""

    repository_id: int
    namespace_id: int
    namespace: str
    name: str


@dataclass(slots=True, frozen=True, kw_only=True)
class TagView:
    """One row of a tag's history.

    `children` maps the digests that an index names to whether they are here; None where the
    manifest is no index.
    """

    name: str
    digest: str
    start_ms: int
    end_ms: int | None
    is_reversion: bool
    is_immutable: bool
    size_bytes: int | None
    children: Mapping[str, bool] | None = None


@dataclass(slots=True, frozen=True, kw_only=True)
class ManifestView:
    """A manifest with its text."""

    id: int
    digest: str
    media_type: str
    content: str
    config_media_type: str | None
    layers_size_bytes: int

    @property
    def is_index(self) -> bool:
        """Whether it names other manifests."""
        return self.media_type in INDEX_TYPES

    @property
    def parsed(self) -> JsonObject:
        """The manifest as JSON."""
        parsed: JsonObject = json.loads(self.content)
        return parsed


@dataclass(slots=True, frozen=True, kw_only=True)
class TagFilter:
    """Which rows of a history to return, by pages of `limit`."""

    only_alive: bool = False
    name: str | None = None
    containing: str | None = None
    page: int = 1
    limit: int = 50


@dataclass(slots=True, frozen=True, kw_only=True)
class TagChange:
    """What shall be different about a tag; what is not said stays as it is."""

    digest: str | None = None
    """The manifest that it shall name."""
    is_reversion: bool = False
    """The manifest is one that it named before."""
    sets_end: bool = False
    end_ms: int | None = None
    """When it shall end, where `sets_end`; None for never."""


ConfigReader = Callable[[str], Awaitable[bytes | None]]
"""Returns the bytes of an image's configuration; None where they are not here or too many."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Tagging:
    """Tags and manifests for the REST API."""

    database: Database
    clock: Clock
    lookups: Lookups
    audit: AuditLog
    read_config: ConfigReader | None = None

    async def history(self, place: TagPlace, wanted: TagFilter) -> tuple[list[TagView], bool]:
        """Return a page of the history, newest first, and whether there is more."""
        async with self.database.read() as connection:
            rows = await store_tags.tag_history(
                connection,
                repository_id=place.repository_id,
                now_ms=self._now_ms(),
                only_alive=wanted.only_alive,
                name=wanted.name,
                containing=wanted.containing,
                offset=(wanted.page - 1) * wanted.limit,
                limit=wanted.limit + 1,
            )
            shown = rows[: wanted.limit]
            children = await self._children(connection, shown)
        views = [self._view(row, children.get(row.manifest_id)) for row in shown]
        return views, len(rows) > wanted.limit

    async def alive(self, place: TagPlace, *, limit: int) -> list[TagView]:
        """Return living tags, newest first."""
        async with self.database.read() as connection:
            rows = await store_tags.tag_history(
                connection,
                repository_id=place.repository_id,
                now_ms=self._now_ms(),
                only_alive=True,
                limit=limit,
            )
        return [self._view(row, None) for row in rows]

    async def manifest(self, place: TagPlace, *, digest: str) -> ManifestView:
        """Return a manifest of a repository.

        Raises:
            ManifestUnknown: there is none.
        """
        async with self.database.read() as connection:
            row = await store_tags.find_manifest_row(
                connection, repository_id=place.repository_id, digest=digest
            )
        if row is None:
            raise ManifestUnknown("manifest unknown")
        return ManifestView(
            id=row.id,
            digest=row.digest,
            media_type=self.lookups.name("mediatype", row.media_type_id),
            content=row.manifest_bytes,
            config_media_type=row.config_media_type,
            layers_size_bytes=row.layers_compressed_size or 0,
        )

    async def history_of(self, manifest: ManifestView) -> list[JsonObject]:
        """Return what an image's configuration tells of its making, base first; or nothing."""
        digest = (manifest.parsed.get("config") or {}).get("digest")
        if self.read_config is None or manifest.is_index or not isinstance(digest, str):
            return []
        content = await self.read_config(digest)
        try:
            decoded = json.loads(content or b"{}")
        except ValueError:
            return []
        history = decoded.get("history") if isinstance(decoded, dict) else None
        return [entry for entry in history or [] if isinstance(entry, dict)]

    async def point(
        self,
        place: TagPlace,
        *,
        tag: TagName,
        digest: str,
        actor: Actor,
        is_reversion: bool = False,
    ) -> None:
        """Let a tag name a manifest of the repository; to the one it names already is no change.

        Raises:
            ManifestUnknown: there is no such manifest.
            TagImmutable: the tag cannot be moved.
        """
        change = TagChange(digest=digest, is_reversion=is_reversion)
        await self.change(place, tag=tag, change=change, actor=actor)

    async def expire(
        self, place: TagPlace, *, tag: TagName, end_ms: int | None, actor: Actor
    ) -> None:
        """Let a tag end at a moment to come, or not at all.

        Raises:
            TagUnknown, TagImmutable: nothing was changed.
        """
        change = TagChange(sets_end=True, end_ms=end_ms)
        await self.change(place, tag=tag, change=change, actor=actor)

    async def change(
        self, place: TagPlace, *, tag: TagName, change: TagChange, actor: Actor
    ) -> None:
        """Move a tag, or let it end, or both: all of it or nothing.

        Raises:
            ManifestUnknown, TagUnknown, TagImmutable: nothing was changed.
        """
        async with self.database.begin() as connection:
            now_ms, current = await self._locked(connection, place, tag)
            if change.sets_end:
                if current is None:
                    raise TagUnknown(f"There is no tag {tag}")
                if current.immutable:
                    raise TagImmutable(f"Cannot set expiration on immutable tag '{tag}'")
            is_new = change.digest is not None and await self._move(
                connection, place, tag, change, current=current, now_ms=now_ms, actor=actor
            )
            if change.sets_end:
                if not is_new:
                    await store.set_end(connection, tag_id=current.id, end_ms=change.end_ms)
                end_ms = change.end_ms
                await self._record(
                    connection,
                    "change_tag_expiration",
                    place,
                    actor,
                    tag=tag,
                    expiration_date=None if end_ms is None else end_ms // 1000,
                )
                await announce(connection)

    async def _move(
        self,
        connection: AsyncConnection,
        place: TagPlace,
        tag: TagName,
        change: TagChange,
        *,
        current: Any,
        now_ms: int,
        actor: Actor,
    ) -> bool:
        """Begin a new row of a tag; False where the living one names the manifest already."""
        manifest = await store_tags.find_manifest_row(
            connection, repository_id=place.repository_id, digest=str(change.digest)
        )
        if manifest is None:
            raise ManifestUnknown("manifest unknown")
        if current is not None:
            if current.manifest_id == manifest.id and not change.is_reversion:
                return False
            if current.immutable:
                raise TagImmutable(f"Cannot overwrite immutable tag '{tag}'")
            await store.end_tags(connection, tag_ids=[current.id], end_ms=now_ms)
        await store.insert_tag(
            connection,
            {
                "name": tag,
                "repository_id": place.repository_id,
                "manifest_id": manifest.id,
                "lifetime_start_ms": now_ms,
                "lifetime_end_ms": change.end_ms,
                "reversion": change.is_reversion,
                "tag_kind_id": self.lookups.id("tagkind", "tag"),
            },
        )
        kind = "create_tag" if current is None else "move_tag"
        await self._record(
            connection,
            "revert_tag" if change.is_reversion else kind,
            place,
            actor,
            tag=tag,
            manifest_digest=change.digest,
        )
        return True

    async def delete(self, place: TagPlace, *, tag: TagName, actor: Actor) -> None:
        """End a tag; it stays restorable for the namespace's time.

        Raises:
            TagUnknown, TagImmutable: nothing was changed.
        """
        async with self.database.begin() as connection:
            now_ms, current = await self._locked(connection, place, tag)
            if current is None:
                raise TagUnknown(f"There is no tag {tag}")
            if current.immutable:
                raise TagImmutable(f"Cannot delete immutable tag '{tag}'")
            await store.end_tags(connection, tag_ids=[current.id], end_ms=now_ms)
            await self._record(connection, "delete_tag", place, actor, tag=tag)
            await announce(connection)

    async def _locked(
        self, connection: AsyncConnection, place: TagPlace, tag: TagName
    ) -> tuple[int, Any]:
        """Keep others from changing a tag; return the moment of change and its living row."""
        await store.keep_repository(connection, repository_id=place.repository_id)
        await store.lock(connection, store.tag_key(place.repository_id, tag))
        now_ms = await store.next_moment_ms(
            connection, repository_id=place.repository_id, tag=tag, now_ms=self._now_ms()
        )
        current = await store.alive_tag(
            connection, repository_id=place.repository_id, tag=tag, now_ms=now_ms
        )
        return now_ms, current

    async def _children(
        self, connection: AsyncConnection, rows: list[Any]
    ) -> dict[int, dict[str, bool]]:
        """Return, by index, which of the digests that it names are here."""
        ids = [row.manifest_id for row in rows if self._is_index(row)]
        if not ids:
            return {}
        present: dict[int, set[str]] = {}
        for index_id, digest in await store_tags.children_of(connection, manifest_ids=ids):
            present.setdefault(index_id, set()).add(digest)
        texts = await store_tags.contents_of(connection, manifest_ids=ids)
        return {
            index_id: {
                str(child["digest"]): child["digest"] in present.get(index_id, ())
                for child in json.loads(text).get("manifests") or []
            }
            for index_id, text in texts.items()
        }

    def _is_index(self, row: Any) -> bool:
        return self.lookups.name("mediatype", row.media_type_id) in INDEX_TYPES

    def _view(self, row: Any, children: Mapping[str, bool] | None) -> TagView:
        is_index = self._is_index(row)
        return TagView(
            name=row.name,
            digest=row.digest,
            start_ms=row.lifetime_start_ms,
            end_ms=row.lifetime_end_ms,
            is_reversion=row.reversion,
            is_immutable=row.immutable,
            size_bytes=None if is_index else row.layers_compressed_size,
            children=children if is_index else None,
        )

    async def _record(
        self,
        connection: AsyncConnection,
        kind: str,
        place: TagPlace,
        actor: Actor,
        **metadata: Any,
    ) -> None:
        entry = Entry(
            kind=kind,
            actor=actor,
            namespace_id=place.namespace_id,
            repository_id=place.repository_id,
            metadata={"namespace": place.namespace, "repo": place.name, **metadata},
        )
        await self.audit.record(connection, entry)

    def _now_ms(self) -> int:
        return milliseconds(self.clock.now())
