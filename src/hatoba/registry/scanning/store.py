"""Rows of `manifestsecuritystatus`, and which manifests are due."""

import json
from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.db.lookups import Lookups
from hatoba.registry.db.tables.manifests import manifests
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.security import manifest_security_statuses
from hatoba.registry.db.tables.users import users
from hatoba.registry.scanning.models import IndexCandidate, IndexRecord, IndexStatus

MARKED_FOR_DELETION = 3
INDEXER_VERSION = 4
_ROWS = manifest_security_statuses


async def bottom_of_page(
    connection: AsyncConnection, *, before_id: int | None, limit: int
) -> int | None:
    """Return the lowest id of a page of manifests, newest first; None where there is none."""
    page = select(manifests.c.id).order_by(manifests.c.id.desc()).limit(limit)
    if before_id is not None:
        page = page.where(manifests.c.id < before_id)
    lowest = select(func.min(page.subquery().c.id))
    found: int | None = (await connection.execute(lowest)).scalar_one()
    return found


async def due_manifests(
    connection: AsyncConnection,
    *,
    first_id: int,
    before_id: int | None,
    scanner_state: str,
    retry_before: datetime,
    reindex_before: datetime,
    limit: int,
    lookups: Lookups,
) -> list[IndexCandidate]:
    """Return manifests that were never indexed, failed, or were indexed by an older scanner.

    Newest first, from `before_id` down to `first_id`: where all of a large registry are indexed
    nothing else ends the search.
    """

    def within(column: ColumnElement[int]) -> list[ColumnElement[bool]]:
        # Told of both tables: PostgreSQL does not conclude it of one from the other.
        return (
            [column >= first_id] if before_id is None else [column.between(first_id, before_id - 1)]
        )

    due = _is_due(
        scanner_state=scanner_state, retry_before=retry_before, reindex_before=reindex_before
    )
    statement = (
        select(
            manifests.c.id,
            manifests.c.repository_id,
            manifests.c.digest,
            manifests.c.media_type_id,
            manifests.c.manifest_bytes,
            repositories.c.name,
            users.c.username,
            _ROWS.c.metadata_json,
        )
        .join(repositories, repositories.c.id == manifests.c.repository_id)
        .join(users, users.c.id == repositories.c.namespace_user_id)
        .outerjoin(_ROWS, and_(_ROWS.c.manifest_id == manifests.c.id, *within(_ROWS.c.manifest_id)))
        .where(*within(manifests.c.id), due, repositories.c.state != MARKED_FOR_DELETION)
        .order_by(manifests.c.id.desc())
        .limit(limit)
    )
    return [
        IndexCandidate(
            manifest_id=row.id,
            repository_id=row.repository_id,
            namespace=row.username,
            repository=row.name,
            digest=row.digest,
            media_type=lookups.name("mediatype", row.media_type_id),
            content=row.manifest_bytes,
            retries=_retries(row.metadata_json),
        )
        for row in await connection.execute(statement)
    ]


def _is_due(
    *, scanner_state: str, retry_before: datetime, reindex_before: datetime
) -> ColumnElement[bool]:
    return or_(
        _ROWS.c.id.is_(None),
        and_(
            _ROWS.c.index_status.in_([IndexStatus.FAILED, IndexStatus.IN_PROGRESS]),
            _ROWS.c.last_indexed < retry_before,
        ),
        and_(
            _ROWS.c.index_status.in_([IndexStatus.COMPLETED, IndexStatus.RETRIES_EXHAUSTED]),
            _ROWS.c.indexer_hash != scanner_state,
            _ROWS.c.last_indexed < reindex_before,
        ),
    )


def _retries(metadata: str | None) -> int:
    decoded = json.loads(metadata) if metadata else {}
    return int(decoded.get("retries", 0)) if isinstance(decoded, dict) else 0


async def write_status(
    connection: AsyncConnection,
    *,
    candidate: IndexCandidate,
    status: IndexStatus,
    indexer_hash: str,
    error: str,
    retries: int,
    at: datetime,
) -> None:
    """Replace what is known about a manifest."""
    await connection.execute(delete(_ROWS).where(_ROWS.c.manifest_id == candidate.manifest_id))
    await connection.execute(
        insert(_ROWS).values(
            manifest_id=candidate.manifest_id,
            repository_id=candidate.repository_id,
            index_status=status.value,
            error_json=json.dumps({"error": error} if error else {}),
            last_indexed=at,
            indexer_hash=indexer_hash,
            indexer_version=INDEXER_VERSION,
            metadata_json=json.dumps({"retries": retries} if retries else {}),
        )
    )


async def find_status(connection: AsyncConnection, *, manifest_id: int) -> IndexRecord | None:
    """Return what is known about a manifest."""
    statement = select(_ROWS).where(_ROWS.c.manifest_id == manifest_id)
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    return IndexRecord(
        status=IndexStatus(row.index_status),
        indexer_hash=row.indexer_hash,
        last_indexed=row.last_indexed,
        retries=_retries(row.metadata_json),
    )
