"""Rows of tags with their history, as people look at them: living, ended, restorable."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.db.tables.manifests import manifest_children, manifests
from hatoba.registry.db.tables.tags import tags

AnyRow = Any


def _alive(now_ms: int) -> Any:
    return tags.c.lifetime_end_ms.is_(None) | (tags.c.lifetime_end_ms > now_ms)


async def tag_history(
    connection: AsyncConnection,
    *,
    repository_id: int,
    now_ms: int,
    only_alive: bool,
    name: str | None = None,
    containing: str | None = None,
    offset: int = 0,
    limit: int,
) -> list[AnyRow]:
    """Return rows of tags with what their manifest is, newest first."""
    newest_first = [tags.c.lifetime_start_ms.desc(), tags.c.name, tags.c.id.desc()]
    if name is not None:
        # Of one name by its index: in the order of time the whole repository is read for a name
        # that is not there. Only that index has this order.
        newest_first.insert(0, tags.c.name)
    page = (
        select(tags)
        .where(
            tags.c.repository_id == repository_id,
            tags.c.hidden.is_(False),
            tags.c.manifest_id.is_not(None),
        )
        .order_by(*newest_first)
        .offset(offset)
        .limit(limit)
    )
    if only_alive:
        page = page.where(_alive(now_ms))
    if name is not None:
        page = page.where(tags.c.name.between(name, name))
    if containing is not None:
        page = page.where(tags.c.name.contains(containing, autoescape=True))
    # Manifests of the page alone, not of all that comes before it.
    shown = page.subquery()
    statement = (
        select(
            shown.c.name,
            shown.c.lifetime_start_ms,
            shown.c.lifetime_end_ms,
            shown.c.reversion,
            shown.c.immutable,
            manifests.c.id.label("manifest_id"),
            manifests.c.digest,
            manifests.c.media_type_id,
            manifests.c.layers_compressed_size,
        )
        .join(manifests, manifests.c.id == shown.c.manifest_id)
        .order_by(shown.c.lifetime_start_ms.desc(), shown.c.name, shown.c.id.desc())
    )
    return list((await connection.execute(statement)).all())


async def children_of(
    connection: AsyncConnection, *, manifest_ids: list[int]
) -> list[tuple[int, str]]:
    """Return (index id, digest of a manifest it names that is here)."""
    statement = (
        select(manifest_children.c.manifest_id, manifests.c.digest)
        .join(manifests, manifests.c.id == manifest_children.c.child_manifest_id)
        .where(manifest_children.c.manifest_id.in_(manifest_ids))
        .order_by(manifest_children.c.id)
    )
    return [(row[0], row[1]) for row in await connection.execute(statement)]


async def contents_of(connection: AsyncConnection, *, manifest_ids: list[int]) -> dict[int, str]:
    """Return the text of manifests by id."""
    statement = select(manifests.c.id, manifests.c.manifest_bytes).where(
        manifests.c.id.in_(manifest_ids)
    )
    return {row[0]: row[1] for row in await connection.execute(statement)}


async def find_manifest_row(
    connection: AsyncConnection, *, repository_id: int, digest: str
) -> AnyRow | None:
    """Return a manifest's row."""
    statement = select(manifests).where(
        manifests.c.repository_id == repository_id, manifests.c.digest == digest
    )
    return (await connection.execute(statement)).first()
