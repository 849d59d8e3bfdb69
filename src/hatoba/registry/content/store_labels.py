"""Rows of labels."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row, Select, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.db.tables.manifests import label_source_types, labels, manifest_labels

AnyRow: TypeAlias = Row[*tuple[Any, ...]]


async def has_labels(connection: AsyncConnection, *, manifest_id: int) -> bool:
    """Say whether a manifest has labels."""
    statement = select(manifest_labels.c.id).where(manifest_labels.c.manifest_id == manifest_id)
    return (await connection.execute(statement.limit(1))).first() is not None


async def count_labels(connection: AsyncConnection, *, manifest_id: int) -> int:
    """Return how many labels a manifest has."""
    statement = select(func.count()).where(manifest_labels.c.manifest_id == manifest_id)
    return int((await connection.execute(statement)).scalar_one())


def _labels(manifest_id: int) -> Select[Any]:
    """Select id, uuid, key, value, the types, and is_mutable of a manifest's labels."""
    return (
        select(
            labels.c.id,
            labels.c.uuid,
            labels.c.key,
            labels.c.value,
            labels.c.media_type_id,
            labels.c.source_type_id,
            label_source_types.c.mutable.label("is_mutable"),
        )
        .join(manifest_labels, manifest_labels.c.label_id == labels.c.id)
        .join(label_source_types, label_source_types.c.id == labels.c.source_type_id)
        .where(manifest_labels.c.manifest_id == manifest_id)
        .order_by(manifest_labels.c.id)
    )


async def labels_of(
    connection: AsyncConnection, *, manifest_id: int, prefix: str
) -> Sequence[AnyRow]:
    """Return the labels whose keys begin with a prefix, oldest first."""
    statement = _labels(manifest_id)
    if prefix:
        statement = statement.where(labels.c.key.startswith(prefix, autoescape=True))
    found: Sequence[AnyRow] = (await connection.execute(statement)).all()
    return found


async def find_label(connection: AsyncConnection, *, manifest_id: int, uuid: str) -> AnyRow | None:
    """Return a label of a manifest."""
    statement = _labels(manifest_id).where(labels.c.uuid == uuid)
    found: AnyRow | None = (await connection.execute(statement)).one_or_none()
    return found


async def delete_label(connection: AsyncConnection, *, label_row_id: int) -> None:
    """Remove a label from its manifest."""
    await connection.execute(
        delete(manifest_labels).where(manifest_labels.c.label_id == label_row_id)
    )
    await connection.execute(delete(labels).where(labels.c.id == label_row_id))


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
