"""Rows of repositories and namespaces that were deleted: emptied in portions, then removed."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Row, cast, delete, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import String

from hatoba.registry.content.models import RepositoryState
from hatoba.registry.db.tables.blobs import blob_uploads, uploaded_blobs
from hatoba.registry.db.tables.manifests import manifests
from hatoba.registry.db.tables.queue import queue_items
from hatoba.registry.db.tables.repositories import deleted_repositories, repositories
from hatoba.registry.db.tables.tags import tags
from hatoba.registry.db.tables.users import deleted_namespaces, users
from hatoba.registry.retention.dependents import Dependents
from hatoba.registry.retention.store import delete_tags

AnyRow: TypeAlias = Row[*tuple[Any, ...]]


async def deleted_after(connection: AsyncConnection, *, after_id: int, limit: int) -> list[int]:
    """Return ids of repositories that were deleted, in order."""
    statement = (
        select(repositories.c.id)
        .where(
            repositories.c.id > after_id,
            repositories.c.state == RepositoryState.MARKED_FOR_DELETION,
        )
        .order_by(repositories.c.id)
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


async def some_manifests(
    connection: AsyncConnection, *, repository_id: int, limit: int
) -> set[int]:
    """Return ids of manifests that are still there."""
    statement = (
        select(manifests.c.id)
        .where(manifests.c.repository_id == repository_id)
        .order_by(manifests.c.id)
        .limit(limit)
    )
    return set((await connection.execute(statement)).scalars())


async def uploads_of(connection: AsyncConnection, *, repository_id: int) -> Sequence[str]:
    """Return the names of uploads that nobody will finish."""
    statement = select(blob_uploads.c.uuid).where(blob_uploads.c.repository_id == repository_id)
    return (await connection.execute(statement)).scalars().all()


async def purge(
    connection: AsyncConnection, *, repository_id: int, dependents: Dependents
) -> tuple[int, set[int]]:
    """Remove a repository without manifests; return how many tags went, and whose hold ended."""
    removed = await delete_tags(
        connection, tags.c.repository_id == repository_id, dependents=dependents
    )
    held = select(uploaded_blobs.c.blob_id).where(uploaded_blobs.c.repository_id == repository_id)
    blob_ids = set((await connection.execute(held)).scalars())
    for column in (uploaded_blobs.c.repository_id, blob_uploads.c.repository_id):
        await connection.execute(delete(column.table).where(column == repository_id))
    noted = select(deleted_repositories.c.queue_id).where(
        deleted_repositories.c.repository_id == repository_id
    )
    await connection.execute(delete(queue_items).where(cast(queue_items.c.id, String).in_(noted)))
    await dependents.delete_all(connection, "repository", repository_id)
    await connection.execute(delete(repositories).where(repositories.c.id == repository_id))
    return removed, blob_ids


async def deleted_namespace_ids(connection: AsyncConnection) -> Sequence[int]:
    """Return ids of namespaces that were deleted and are still being emptied."""
    statement = select(deleted_namespaces.c.namespace_id).order_by(deleted_namespaces.c.id)
    return (await connection.execute(statement)).scalars().all()


async def mark_repositories(connection: AsyncConnection, *, namespace_ids: Sequence[int]) -> None:
    """Let the repositories of deleted namespaces be deleted, too."""
    await connection.execute(
        update(repositories)
        .where(
            repositories.c.namespace_user_id.in_(namespace_ids),
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
        )
        .values(state=RepositoryState.MARKED_FOR_DELETION)
    )


async def purge_namespace(
    connection: AsyncConnection, *, namespace_id: int, dependents: Dependents
) -> bool:
    """Remove a deleted namespace and its robots, which frees its name; not while it has something.

    Somebody else may be doing it: then nothing happens.
    """
    noted = (
        await connection.execute(
            select(deleted_namespaces.c.original_username, deleted_namespaces.c.queue_id)
            .where(
                deleted_namespaces.c.namespace_id == namespace_id,
                ~exists().where(repositories.c.namespace_user_id == namespace_id),
            )
            .with_for_update(skip_locked=True, of=deleted_namespaces)
        )
    ).one_or_none()
    if noted is None:
        return False
    robots = select(users.c.id).where(
        users.c.robot.is_(True), users.c.username.startswith(f"{noted[0]}+", autoescape=True)
    )
    robot_ids = (await connection.execute(robots)).scalars().all()
    await connection.execute(
        delete(queue_items).where(cast(queue_items.c.id, String) == noted.queue_id)
    )
    for user_id in [*robot_ids, namespace_id]:
        await dependents.delete_all(connection, "user", user_id)
        await connection.execute(delete(users).where(users.c.id == user_id))
    return True
