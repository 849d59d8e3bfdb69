"""Rows of labels."""

from collections.abc import Sequence

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.db.tables.manifests import labels, manifest_labels


async def has_labels(connection: AsyncConnection, *, manifest_id: int) -> bool:
    """Say whether a manifest has labels."""
    statement = select(manifest_labels.c.id).where(manifest_labels.c.manifest_id == manifest_id)
    return (await connection.execute(statement.limit(1))).first() is not None


async def add_labels(
    connection: AsyncConnection,
    *,
    repository_id: int,
    manifest_id: int,
    rows: Sequence[dict[str, object]],
) -> None:
    """Give a manifest labels; `rows` are those of the table `label`."""
    for row in rows:
        added = await connection.execute(insert(labels).values(**row).returning(labels.c.id))
        await connection.execute(
            insert(manifest_labels).values(
                repository_id=repository_id,
                manifest_id=manifest_id,
                label_id=added.scalar_one(),
            )
        )
