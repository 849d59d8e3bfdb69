"""Rows of uploads, and the claims of their ids.

An upload that is only begun has neither. Whoever goes on with it, finishes or cancels it adds its
claim, which one alone can: a claim without a row is an upload that has ended. Uploads that Quay
began have a row and no claim.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, delete, exists, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.ids import first_uuid
from hatoba.kernel.names import RepositoryName
from hatoba.registry.content.models import RepositoryState, UploadRecord
from hatoba.registry.content.store import AnyRow, insert_missing
from hatoba.registry.content.upload_ids import UploadId
from hatoba.registry.db.tables.blobs import blob_uploads
from hatoba.registry.db.tables.hatoba import upload_claims
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.users import users


@dataclass(slots=True, frozen=True, kw_only=True)
class UploadProgress:
    """How far an upload came, and what is needed to go on there."""

    received: int
    hash_state: str | None
    storage_state: str | None

    def values(self) -> dict[str, object]:
        """Return the columns that tell it."""
        return {
            "byte_count": self.received,
            "sha_state": self.hash_state,
            "storage_metadata": self.storage_state or "{}",
        }


async def find_upload(
    connection: AsyncConnection, *, name: RepositoryName, upload_id: UploadId
) -> UploadRecord | None:
    """Return an upload of a repository; without a row, one that is only begun."""
    rows = and_(
        blob_uploads.c.repository_id == repositories.c.id, blob_uploads.c.uuid == upload_id.text
    )
    is_claimed = exists().where(upload_claims.c.id == upload_id.claim).label("is_claimed")
    row = (
        await connection.execute(
            select(blob_uploads, repositories.c.id.label("found_repository"), is_claimed)
            .select_from(repositories)
            .join(users, users.c.id == repositories.c.namespace_user_id)
            .outerjoin(blob_uploads, rows)
            .where(
                users.c.username == name.namespace,
                repositories.c.name == name.name,
                or_(
                    blob_uploads.c.id.is_not(None),
                    repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
                ),
            )
        )
    ).one_or_none()
    if row is None or (row.id is None and (upload_id.claim is None or row.is_claimed)):
        return None
    return UploadRecord(
        id=row.id,
        upload_id=upload_id,
        repository_id=row.found_repository,
        received=row.byte_count or 0,
        hash_state=row.sha_state,
        storage_state=row.storage_metadata,
        chunks=row.chunk_count or 0,
    )


async def has_upload(connection: AsyncConnection, *, upload_id: str) -> bool:
    """Say whether an upload in any repository has a row."""
    statement = select(exists().where(blob_uploads.c.uuid == upload_id))
    return bool((await connection.execute(statement)).scalar_one())


async def claim_upload(connection: AsyncConnection, upload_id: UploadId) -> bool:
    """Take an upload that is only begun; False when somebody has, or when it has no claim."""
    if upload_id.claim is None:
        return False
    # Whoever is first holds the row until the end of his transaction.
    return await insert_missing(connection, upload_claims, [{"id": upload_id.claim}]) == 1


async def insert_upload(
    connection: AsyncConnection,
    upload: UploadRecord,
    *,
    location_id: int,
    progress: UploadProgress,
) -> bool:
    """Acknowledge the first bytes; False when the upload was claimed meanwhile."""
    if not await claim_upload(connection, upload.upload_id):
        return False
    await connection.execute(
        insert(blob_uploads).values(
            repository_id=upload.repository_id,
            uuid=upload.upload_id.text,
            location_id=location_id,
            chunk_count=1,
            created=upload.upload_id.begun_at,
            **progress.values(),
        )
    )
    return True


async def advance_upload(
    connection: AsyncConnection, upload: UploadRecord, *, progress: UploadProgress
) -> bool:
    """Acknowledge more bytes; False when the upload has gone or moved meanwhile."""
    done = await connection.execute(
        update(blob_uploads)
        .where(blob_uploads.c.id == upload.id, blob_uploads.c.byte_count == upload.received)
        .values(chunk_count=upload.chunks + 1, **progress.values())
    )
    return done.rowcount == 1


async def delete_upload(
    connection: AsyncConnection,
    *,
    repository_id: int,
    upload_id: UploadId,
    received: int | None = None,
) -> bool:
    """Drop the row of an upload; False when it was gone, or stands at other than `received`."""
    statement = delete(blob_uploads).where(
        blob_uploads.c.repository_id == repository_id, blob_uploads.c.uuid == upload_id.text
    )
    if received is not None:
        statement = statement.where(blob_uploads.c.byte_count == received)
    return (await connection.execute(statement)).rowcount == 1


async def old_uploads(
    connection: AsyncConnection, *, before: datetime, limit: int
) -> Sequence[AnyRow]:
    """Return id and uuid of uploads begun before a moment, oldest first."""
    statement = (
        select(blob_uploads.c.id, blob_uploads.c.uuid)
        .where(blob_uploads.c.created < before)
        .order_by(blob_uploads.c.created)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


async def forget_upload(connection: AsyncConnection, *, upload_row_id: int) -> None:
    """Drop the row of an upload whose time is over."""
    await connection.execute(delete(blob_uploads).where(blob_uploads.c.id == upload_row_id))


async def forget_claims(connection: AsyncConnection, *, before: datetime, limit: int) -> int:
    """Drop claims of uploads that were begun before a moment; return how many."""
    oldest = (
        select(upload_claims.c.id)
        .where(upload_claims.c.id < first_uuid(before))
        .order_by(upload_claims.c.id)
        .limit(limit)
    )
    done = await connection.execute(
        delete(upload_claims).where(upload_claims.c.id.in_(oldest.scalar_subquery()))
    )
    return int(done.rowcount)
