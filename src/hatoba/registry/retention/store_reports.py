"""Questions for people: what a digest is kept by, and what would go."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Row, and_, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.content.models import RepositoryState
from hatoba.registry.db.tables.blobs import image_storages, uploaded_blobs
from hatoba.registry.db.tables.hatoba import blob_quarantine
from hatoba.registry.db.tables.manifests import manifest_blobs, manifests
from hatoba.registry.db.tables.repositories import deleted_repositories, repositories
from hatoba.registry.db.tables.tags import tags
from hatoba.registry.db.tables.users import users
from hatoba.registry.retention.store import is_addressed, portions

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
_NAME = (
    func.coalesce(users.c.username, "")
    + "/"
    + func.coalesce(deleted_repositories.c.original_name, repositories.c.name)
).label("repository")


async def repository_names(
    connection: AsyncConnection, *, repository_ids: Sequence[int]
) -> dict[int, str]:
    """Return names by id; of deleted repositories the one they had."""
    found: dict[int, str] = {}
    for chunk in portions(set(repository_ids)):
        statement = (
            select(repositories.c.id, _NAME)
            .outerjoin(users, users.c.id == repositories.c.namespace_user_id)
            .outerjoin(
                deleted_repositories, deleted_repositories.c.repository_id == repositories.c.id
            )
            .where(repositories.c.id.in_(chunk))
        )
        found |= {row.id: row.repository for row in await connection.execute(statement)}
    return found


async def manifests_with(connection: AsyncConnection, *, digest: str) -> Sequence[AnyRow]:
    """Return id and repository_id of the manifests with a digest."""
    statement = (
        select(manifests.c.id, manifests.c.repository_id)
        .where(manifests.c.digest == digest)
        .order_by(manifests.c.id)
    )
    return (await connection.execute(statement)).all()


async def manifests_of(connection: AsyncConnection, *, repository_id: int) -> set[int]:
    """Return the ids of a repository's manifests."""
    statement = select(manifests.c.id).where(manifests.c.repository_id == repository_id)
    return set((await connection.execute(statement)).scalars())


async def digests_of(connection: AsyncConnection, *, manifest_ids: set[int]) -> list[AnyRow]:
    """Return id, repository_id and digest of manifests."""
    found: list[AnyRow] = []
    for chunk in portions(manifest_ids):
        statement = (
            select(manifests.c.id, manifests.c.repository_id, manifests.c.digest)
            .where(manifests.c.id.in_(chunk))
            .order_by(manifests.c.id)
        )
        found += (await connection.execute(statement)).all()
    return found


async def tags_of(connection: AsyncConnection, *, manifest_ids: set[int]) -> list[AnyRow]:
    """Return manifest_id, name, hidden, lifetime_end_ms of all rows that name manifests."""
    found: list[AnyRow] = []
    for chunk in portions(manifest_ids):
        statement = (
            select(tags.c.manifest_id, tags.c.name, tags.c.hidden, tags.c.lifetime_end_ms)
            .where(tags.c.manifest_id.in_(chunk))
            .order_by(tags.c.lifetime_start_ms.desc(), tags.c.id.desc())
        )
        found += (await connection.execute(statement)).all()
    return found


async def blobs_with(connection: AsyncConnection, *, digest: str) -> Sequence[AnyRow]:
    """Return id, image_size and since (of the quarantine) of the blobs with a digest."""
    statement = (
        select(image_storages.c.id, image_storages.c.image_size, blob_quarantine.c.since)
        .outerjoin(blob_quarantine, blob_quarantine.c.storage_id == image_storages.c.id)
        .where(image_storages.c.content_checksum == digest)
    )
    return (await connection.execute(statement)).all()


async def manifests_naming(
    connection: AsyncConnection, *, blob_id: int, limit: int
) -> Sequence[AnyRow]:
    """Return id, repository_id and digest of manifests that name a blob."""
    statement = (
        select(manifests.c.id, manifests.c.repository_id, manifests.c.digest)
        .join(manifest_blobs, manifest_blobs.c.manifest_id == manifests.c.id)
        .where(manifest_blobs.c.blob_id == blob_id)
        .order_by(manifests.c.id)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


async def holds_of(connection: AsyncConnection, *, blob_id: int, now: datetime) -> Sequence[AnyRow]:
    """Return repository_id and expires_at of the latest hold of each repository."""
    statement = (
        select(
            uploaded_blobs.c.repository_id,
            func.max(uploaded_blobs.c.expires_at).label("expires_at"),
        )
        .where(uploaded_blobs.c.blob_id == blob_id, uploaded_blobs.c.expires_at > now)
        .group_by(uploaded_blobs.c.repository_id)
    )
    return (await connection.execute(statement)).all()


async def blobs_only_in(
    connection: AsyncConnection, *, manifest_ids: set[int], now: datetime
) -> set[int]:
    """Return the blobs that nothing but these manifests and deleted repositories refers to."""
    candidates: set[int] = set()
    for chunk in portions(manifest_ids):
        named = select(manifest_blobs.c.blob_id).where(manifest_blobs.c.manifest_id.in_(chunk))
        candidates |= set((await connection.execute(named)).scalars())
    kept: set[int] = set()
    for chunk in portions(candidates):
        pairs = select(manifest_blobs.c.blob_id, manifest_blobs.c.manifest_id).where(
            manifest_blobs.c.blob_id.in_(chunk)
        )
        kept |= {
            row.blob_id
            for row in await connection.execute(pairs)
            if row.manifest_id not in manifest_ids
        }
        held = select(uploaded_blobs.c.blob_id).where(
            uploaded_blobs.c.blob_id.in_(chunk), _is_held(now)
        )
        kept |= set((await connection.execute(held)).scalars())
    return candidates - kept


def _is_held(now: datetime) -> Any:
    return and_(
        uploaded_blobs.c.expires_at > now,
        exists().where(
            repositories.c.id == uploaded_blobs.c.repository_id,
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
        ),
    )


async def unnamed_blobs(
    connection: AsyncConnection, *, after_id: int, limit: int, now: datetime
) -> list[int]:
    """Return blobs that no manifest names and nobody holds, in order of ids."""
    statement = (
        select(image_storages.c.id)
        .where(
            image_storages.c.id > after_id,
            is_addressed(),
            ~exists().where(manifest_blobs.c.blob_id == image_storages.c.id),
            ~exists().where(uploaded_blobs.c.blob_id == image_storages.c.id, _is_held(now)),
        )
        .order_by(image_storages.c.id)
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


async def describe_blobs(connection: AsyncConnection, *, blob_ids: set[int]) -> list[AnyRow]:
    """Return id, content_checksum, image_size and since of blobs."""
    found: list[AnyRow] = []
    for chunk in portions(blob_ids):
        statement = (
            select(
                image_storages.c.id,
                image_storages.c.content_checksum,
                image_storages.c.image_size,
                blob_quarantine.c.since,
            )
            .outerjoin(blob_quarantine, blob_quarantine.c.storage_id == image_storages.c.id)
            .where(image_storages.c.id.in_(chunk), is_addressed())
            .order_by(image_storages.c.id)
        )
        found += (await connection.execute(statement)).all()
    return found
