"""Rows of blobs on their way out: quarantine, then gone."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Row, delete, exists, func, or_, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.content.quarantine import blob_key
from hatoba.registry.db.tables.blobs import (
    image_storage_placements,
    image_storages,
    uploaded_blobs,
)
from hatoba.registry.db.tables.hatoba import blob_damages, blob_quarantine
from hatoba.registry.retention.dependents import Dependents
from hatoba.registry.retention.store import prefer_indexes, references

AnyRow: TypeAlias = Row[*tuple[Any, ...]]


async def last_of_page(connection: AsyncConnection, *, after_id: int, limit: int) -> int | None:
    """Return the last id of a page of blobs; None behind the last page."""
    page = (
        select(image_storages.c.id)
        .where(image_storages.c.id > after_id)
        .order_by(image_storages.c.id)
        .limit(limit)
        .subquery()
    )
    found: int | None = (await connection.execute(select(func.max(page.c.id)))).scalar_one()
    return found


def page_condition(*, after_id: int, last_id: int) -> Any:
    """Select the blobs of a page."""
    return image_storages.c.id.between(after_id + 1, last_id)


async def claim_quarantined(
    connection: AsyncConnection, *, after_id: int, before: datetime
) -> AnyRow | None:
    """Lock the next row that was quarantined before a moment; return id and storage_id."""
    statement = (
        select(blob_quarantine.c.id, blob_quarantine.c.storage_id)
        .where(blob_quarantine.c.id > after_id, blob_quarantine.c.since <= before)
        .order_by(blob_quarantine.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    return (await connection.execute(statement)).one_or_none()


async def find_checksum(connection: AsyncConnection, *, storage_id: int) -> str | None:
    """Return the digest of a blob."""
    statement = select(image_storages.c.content_checksum).where(image_storages.c.id == storage_id)
    return (await connection.execute(statement)).scalar_one_or_none()


async def try_lock_blob(connection: AsyncConnection, *, digest: str) -> bool:
    """Take the lock of a blob's bytes unless somebody pushes it right now."""
    if connection.dialect.name != "postgresql":
        return True
    taken = await connection.execute(
        text("SELECT pg_try_advisory_xact_lock(hashtextextended(:key, 0))"),
        {"key": blob_key(digest)},
    )
    return bool(taken.scalar_one())


async def lock_row(connection: AsyncConnection, *, storage_id: int) -> AnyRow | None:
    """Lock a blob's row and return its size; None while a push refers to it."""
    statement = (
        select(image_storages.c.image_size)
        .where(image_storages.c.id == storage_id)
        .with_for_update(skip_locked=True)
    )
    return (await connection.execute(statement)).one_or_none()


async def is_in_use(connection: AsyncConnection, *, storage_id: int, now: datetime) -> bool:
    """Say whether something refers to a blob; ask once its row is locked."""
    await prefer_indexes(connection)
    used = select(image_storages.c.id).where(
        image_storages.c.id == storage_id, or_(*references(now))
    )
    statement = select(exists(used))
    return bool((await connection.execute(statement)).scalar_one())


async def release(connection: AsyncConnection, *, quarantine_ids: Sequence[int]) -> None:
    """Take blobs out of quarantine."""
    await connection.execute(
        delete(blob_quarantine).where(blob_quarantine.c.id.in_(quarantine_ids))
    )


async def delete_blob(
    connection: AsyncConnection, *, storage_id: int, digest: str, dependents: Dependents
) -> bool:
    """Delete a blob's rows; return whether no other row has the same bytes."""
    await dependents.delete(connection, "imagestorage", [storage_id])
    for column in (uploaded_blobs.c.blob_id, image_storage_placements.c.storage_id):
        await connection.execute(delete(column.table).where(column == storage_id))
    await connection.execute(delete(image_storages).where(image_storages.c.id == storage_id))
    others = exists().where(
        image_storages.c.content_checksum == digest, image_storages.c.cas_path.is_(True)
    )
    is_last = not (await connection.execute(select(others))).scalar_one()
    if is_last:
        await connection.execute(delete(blob_damages).where(blob_damages.c.digest == digest))
    return is_last
