"""Rows of blobs.

A repository holds a blob while one of its manifests names it (`manifestblob`) or while the hold
that its upload or mount left (`uploadedblob`) has not expired.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, delete, exists, insert, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.digests import Digest
from hatoba.kernel.ids import new_uuid
from hatoba.kernel.names import NamespaceName, RepositoryName
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.content.quarantine import blob_key
from hatoba.registry.content.store import AnyRow, insert_missing, lock
from hatoba.registry.db.tables.blobs import (
    image_storage_locations,
    image_storage_placements,
    image_storages,
    uploaded_blobs,
)
from hatoba.registry.db.tables.hatoba import blob_damages, blob_quarantine
from hatoba.registry.db.tables.manifests import manifest_blobs
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.users import users

HOLDERS: Final = 1000
"""Among how many repositories one is looked for that holds a blob and may be pulled from."""


def _held(repository_id: Any, now: datetime) -> Any:
    """Select blobs that a repository holds and whose bytes are as they should be."""
    is_damaged = exists().where(blob_damages.c.digest == image_storages.c.content_checksum)
    return and_(_is_held(repository_id, now), ~is_damaged)


def _is_held(repository_id: Any, now: datetime) -> Any:
    return or_(
        exists().where(
            manifest_blobs.c.repository_id == repository_id,
            manifest_blobs.c.blob_id == image_storages.c.id,
        ),
        exists().where(
            uploaded_blobs.c.repository_id == repository_id,
            uploaded_blobs.c.blob_id == image_storages.c.id,
            uploaded_blobs.c.expires_at > now,
        ),
    )


async def find_blob(
    connection: AsyncConnection,
    *,
    name: RepositoryName,
    digest: Digest,
    now: datetime,
    keep: bool = False,
) -> AnyRow | None:
    """Return the blob's id and size with its repository, if the repository holds it.

    `keep` lets it not be collected until the end of the transaction.
    """
    statement = (
        select(
            repositories.c.id,
            repositories.c.namespace_user_id,
            repositories.c.state,
            image_storages.c.id.label("blob_id"),
            image_storages.c.image_size,
        )
        .select_from(repositories)
        .join(users, users.c.id == repositories.c.namespace_user_id)
        .join(image_storages, image_storages.c.content_checksum == str(digest))
        .where(
            users.c.username == name.namespace,
            repositories.c.name == name.name,
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
            _held(repositories.c.id, now),
        )
        .limit(1)
    )
    if keep:
        statement = statement.with_for_update(read=True, key_share=True, of=image_storages)
    return (await connection.execute(statement)).one_or_none()


async def find_holder(
    connection: AsyncConnection,
    *,
    digest: Digest,
    namespaces: Sequence[int],
    repository_ids: Sequence[int],
    visibility_id: int,
    now: datetime,
) -> RepositoryName | None:
    """Return a repository that holds a blob, of those that are named in one of three ways.

    A layer that everybody builds upon is named hundreds of thousands of times: of such a one
    `HOLDERS` are looked at, and as many of the namespaces and repositories that are named.
    """
    found = await connection.execute(
        select(image_storages.c.id).where(image_storages.c.content_checksum == str(digest))
    )
    blob_ids = list(found.scalars())
    if not blob_ids:
        return None
    named = or_(
        repositories.c.namespace_user_id.in_(namespaces), repositories.c.id.in_(repository_ids)
    )
    holders = await _some_holders(connection, blob_ids, now=now)
    is_visible = or_(named, repositories.c.visibility_id == visibility_id)
    name = await _first_name(connection, repositories.c.id.in_(set(holders)), is_visible)
    if name is not None or len(holders) < HOLDERS:
        return name
    some = select(repositories.c.id).where(named).limit(HOLDERS)
    candidates = list((await connection.execute(some)).scalars())
    is_holder = _first_hold(blob_ids, now).is_not(None)
    return await _first_name(connection, repositories.c.id.in_(candidates), is_holder)


async def _first_name(connection: AsyncConnection, *conditions: Any) -> RepositoryName | None:
    statement = (
        select(users.c.username, repositories.c.name)
        .join(users, users.c.id == repositories.c.namespace_user_id)
        .where(
            *conditions,
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
            users.c.enabled.is_(True),
        )
        .limit(1)
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else RepositoryName(NamespaceName(row.username), row.name)


async def _some_holders(
    connection: AsyncConnection, blob_ids: Sequence[int], *, now: datetime
) -> list[int]:
    """Return ids of repositories that hold one of the blobs; of each kind no more than HOLDERS."""
    named, held = manifest_blobs.c, uploaded_blobs.c
    holders: list[int] = []
    for statement in (
        select(named.repository_id).where(named.blob_id.in_(blob_ids)),
        select(held.repository_id).where(held.blob_id.in_(blob_ids), held.expires_at > now),
    ):
        holders += (await connection.execute(statement.limit(HOLDERS))).scalars()
    return holders


def _first_hold(blob_ids: Sequence[int], now: datetime) -> Any:
    """Return the id of a blob that the repository in question holds, or NULL.

    A value and no EXISTS: that one PostgreSQL may answer by reading all that hold the blobs.
    """
    named, held = manifest_blobs.c, uploaded_blobs.c
    holds = union_all(
        select(named.blob_id)
        .where(named.repository_id == repositories.c.id, named.blob_id.in_(blob_ids))
        .correlate(repositories),
        select(held.blob_id)
        .where(
            held.repository_id == repositories.c.id,
            held.blob_id.in_(blob_ids),
            held.expires_at > now,
        )
        .correlate(repositories),
    )
    return holds.limit(1).scalar_subquery()


async def held_blobs(
    connection: AsyncConnection, *, repository_id: int, digests: Sequence[Digest], now: datetime
) -> dict[str, tuple[int, int | None]]:
    """Return id and size of those blobs that a repository holds, by digest.

    None of them is collected until the end of the transaction.
    """
    statement = (
        select(image_storages.c.content_checksum, image_storages.c.id, image_storages.c.image_size)
        .where(
            image_storages.c.content_checksum.in_([str(digest) for digest in digests]),
            _held(repository_id, now),
        )
        .with_for_update(read=True, key_share=True)
    )
    rows = await connection.execute(statement)
    return {row.content_checksum: (row.id, row.image_size) for row in rows}


async def ensure_location(connection: AsyncConnection, name: str) -> int:
    """Return the id of a storage location, adding its row if need be."""
    await insert_missing(connection, image_storage_locations, [{"name": name}])
    statement = select(image_storage_locations.c.id).where(image_storage_locations.c.name == name)
    return int((await connection.execute(statement)).scalar_one())


async def lock_blob(connection: AsyncConnection, *, digest: Digest) -> None:
    """Keep others from storing or collecting a blob until the end of the transaction.

    Held before the bytes are put in place: whoever removes bytes holds it, too. It also keeps
    the rows of a digest single, as content_checksum has no unique index in Quay's schema.
    """
    await lock(connection, blob_key(digest))


async def ensure_blob(
    connection: AsyncConnection, *, digest: Digest, size: int, location_id: int
) -> int:
    """Return the id of the row of a blob, adding it if need be; the caller holds `lock_blob`."""
    statement = (
        select(image_storages.c.id)
        .where(
            image_storages.c.content_checksum == str(digest), image_storages.c.cas_path.is_(True)
        )
        .order_by(image_storages.c.id)
        .limit(1)
    )
    found = (await connection.execute(statement)).scalar_one_or_none()
    if found is None:
        inserted = await connection.execute(
            insert(image_storages).values(
                uuid=new_uuid(),
                image_size=size,
                uploading=False,
                cas_path=True,
                content_checksum=str(digest),
            )
        )
        key = inserted.inserted_primary_key
        assert key is not None
        found = key[0]
    else:
        await connection.execute(
            delete(blob_quarantine).where(blob_quarantine.c.storage_id == found)
        )
        # Its bytes were proven and put in place just now, whatever they were before.
        await connection.execute(delete(blob_damages).where(blob_damages.c.digest == str(digest)))
    blob_id = int(found)
    await insert_missing(
        connection,
        image_storage_placements,
        [{"storage_id": blob_id, "location_id": location_id}],
    )
    return blob_id


async def hold_blob(
    connection: AsyncConnection,
    *,
    repository_id: int,
    blob_id: int,
    now: datetime,
    lifetime: timedelta,
) -> None:
    """Let a repository hold a blob until a manifest names it or the hold expires."""
    await connection.execute(
        insert(uploaded_blobs).values(
            repository_id=repository_id,
            blob_id=blob_id,
            uploaded_at=now,
            expires_at=now + lifetime,
        )
    )


async def release_blob(connection: AsyncConnection, *, repository_id: int, digest: Digest) -> bool:
    """Drop a repository's holds of a blob; False when one of its manifests names it.

    The rows are locked against the pushes that refer to them: a manifest that was accepted
    because of a hold is seen here, and one that comes later does not find the hold.
    """
    rows = await connection.execute(
        select(image_storages.c.id)
        .where(image_storages.c.content_checksum == str(digest))
        .order_by(image_storages.c.id)
        .with_for_update()
    )
    ids = list(rows.scalars())
    named = exists().where(
        manifest_blobs.c.repository_id == repository_id, manifest_blobs.c.blob_id.in_(ids)
    )
    if (await connection.execute(select(named))).scalar_one():
        return False
    await connection.execute(
        delete(uploaded_blobs).where(
            uploaded_blobs.c.repository_id == repository_id, uploaded_blobs.c.blob_id.in_(ids)
        )
    )
    return True


async def drop_expired_holds(connection: AsyncConnection, *, before: datetime, limit: int) -> int:
    """Forget expired holds; return how many."""
    expired = select(uploaded_blobs.c.id).where(uploaded_blobs.c.expires_at <= before).limit(limit)
    done = await connection.execute(
        delete(uploaded_blobs).where(uploaded_blobs.c.id.in_(expired.scalar_subquery()))
    )
    return int(done.rowcount)
