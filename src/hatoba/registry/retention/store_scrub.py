"""Rows of passes over the storage: how far they came, and what they found."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Row, delete, exists, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.blobs.driver import BlobStat
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.db.tables.blobs import image_storages
from hatoba.registry.db.tables.hatoba import blob_damages, blob_orphans, scrubs
from hatoba.registry.db.tables.manifests import manifest_blobs, manifest_children
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.tags import tags
from hatoba.registry.db.tables.users import users
from hatoba.registry.retention.models import Damage, HurtTag, ScrubCounts, ScrubRun
from hatoba.registry.retention.store import is_addressed

AnyRow: TypeAlias = Row[*tuple[Any, ...]]


async def last_run(connection: AsyncConnection) -> ScrubRun | None:
    """Return the latest pass."""
    statement = select(scrubs).order_by(scrubs.c.id.desc()).limit(1)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    return ScrubRun(
        id=row.id,
        started_at=row.started_at,
        finished_at=row.finished_at,
        phase=row.phase,
        after=row.after_digest,
        counts=ScrubCounts(**json.loads(row.counts)),
    )


async def begin_run(connection: AsyncConnection, *, phase: str, now: datetime) -> ScrubRun:
    """Note that a pass begins; of those before it the last one stays."""
    latest = select(func.max(scrubs.c.id)).scalar_subquery()
    await connection.execute(delete(scrubs).where(scrubs.c.id != latest))
    counts = ScrubCounts()
    values = {"started_at": now, "phase": phase, "counts": json.dumps(asdict(counts))}
    added = await connection.execute(insert(scrubs).values(**values).returning(scrubs.c.id))
    return ScrubRun(
        id=added.scalar_one(),
        started_at=now,
        finished_at=None,
        phase=phase,
        after=None,
        counts=counts,
    )


async def save_run(connection: AsyncConnection, run: ScrubRun) -> None:
    """Note how far a pass came."""
    values = {
        "phase": run.phase,
        "after_digest": run.after,
        "counts": json.dumps(asdict(run.counts)),
        "finished_at": run.finished_at,
    }
    await connection.execute(update(scrubs).where(scrubs.c.id == run.id).values(**values))


async def page_of_digests(
    connection: AsyncConnection, *, after: str | None, limit: int
) -> Sequence[AnyRow]:
    """Return digest and is_withdrawn of blobs in the order of digests, behind `after`."""
    page = (
        select(image_storages.c.content_checksum.label("digest"))
        .where(is_addressed(), image_storages.c.content_checksum > (after or ""))
        .distinct()
        .order_by(image_storages.c.content_checksum)
        .limit(limit)
        .subquery()
    )
    statement = (
        select(page.c.digest, blob_damages.c.id.is_not(None).label("is_withdrawn"))
        .outerjoin(blob_damages, blob_damages.c.digest == page.c.digest)
        .order_by(page.c.digest)
    )
    return (await connection.execute(statement)).all()


async def known(connection: AsyncConnection, digests: Iterable[str]) -> set[str]:
    """Return those digests whose blobs have rows."""
    statement = select(image_storages.c.content_checksum).where(
        is_addressed(), image_storages.c.content_checksum.in_(list(digests))
    )
    return set((await connection.execute(statement)).scalars())


async def find_damage(connection: AsyncConnection, *, digest: str) -> Damage | None:
    """Return why a blob is not offered; None where it is."""
    statement = select(blob_damages.c.kind).where(blob_damages.c.digest == digest)
    kind = (await connection.execute(statement)).scalar_one_or_none()
    return None if kind is None else Damage(kind)


async def damages(connection: AsyncConnection) -> Sequence[AnyRow]:
    """Return digest and kind of all blobs that are not offered, oldest first."""
    statement = select(blob_damages.c.digest, blob_damages.c.kind).order_by(blob_damages.c.id)
    return (await connection.execute(statement)).all()


async def withdraw(
    connection: AsyncConnection, *, digest: str, kind: Damage, now: datetime
) -> None:
    """Offer a blob no more."""
    values = {"digest": digest, "kind": str(kind), "found_at": now}
    statement = _insert(connection, blob_damages).values(values)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["digest"], set_={"kind": str(kind)})
    )


async def offer(connection: AsyncConnection, *, digest: str) -> None:
    """Offer a blob again."""
    await connection.execute(delete(blob_damages).where(blob_damages.c.digest == digest))


async def note_orphans(
    connection: AsyncConnection, found: Sequence[BlobStat], *, now: datetime
) -> dict[str, datetime]:
    """Note bytes that no row names; return when each was seen first."""
    if not found:
        return {}
    rows = [
        {
            "digest": str(one.digest),
            "size_bytes": one.size,
            "first_seen": now,
            "last_seen": now,
        }
        for one in found
    ]
    statement = _insert(connection, blob_orphans)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=["digest"],
            set_={
                "size_bytes": statement.excluded.size_bytes,
                "last_seen": statement.excluded.last_seen,
            },
        ),
        rows,
    )
    seen = select(blob_orphans.c.digest, blob_orphans.c.first_seen).where(
        blob_orphans.c.digest.in_([row["digest"] for row in rows])
    )
    return {row.digest: row.first_seen for row in await connection.execute(seen)}


async def forget_orphan(connection: AsyncConnection, *, digest: str) -> None:
    """Note that bytes have gone, or have a row."""
    await connection.execute(delete(blob_orphans).where(blob_orphans.c.digest == digest))


async def forget_orphans_unseen(connection: AsyncConnection, *, since: datetime) -> None:
    """Forget what a whole pass did not see any more."""
    await connection.execute(delete(blob_orphans).where(blob_orphans.c.last_seen < since))


async def needed_by(
    connection: AsyncConnection, *, digest: str, now_ms: int
) -> tuple[int, list[HurtTag]]:
    """Return how many manifests need a blob, and the living tags that reach one of them."""
    reach = (
        select(manifest_blobs.c.manifest_id.label("id"))
        .join(image_storages, image_storages.c.id == manifest_blobs.c.blob_id)
        .where(image_storages.c.content_checksum == digest, is_addressed())
        .cte("reach", recursive=True)
    )
    reach = reach.union(
        select(manifest_children.c.manifest_id).join(
            reach, manifest_children.c.child_manifest_id == reach.c.id
        )
    )
    count = (await connection.execute(select(func.count()).select_from(reach))).scalar_one()
    statement = (
        select(users.c.username, repositories.c.name, tags.c.name)
        .select_from(tags)
        .join(repositories, repositories.c.id == tags.c.repository_id)
        .join(users, users.c.id == repositories.c.namespace_user_id)
        .where(
            tags.c.manifest_id.in_(select(reach.c.id)),
            tags.c.hidden.is_(False),
            or_(tags.c.lifetime_end_ms.is_(None), tags.c.lifetime_end_ms > now_ms),
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
        )
        .order_by(users.c.username, repositories.c.name, tags.c.name)
    )
    rows = await connection.execute(statement)
    return count, [HurtTag(repository=f"{row[0]}/{row[1]}", tag=row[2]) for row in rows]


async def has_row(connection: AsyncConnection, *, digest: str) -> bool:
    """Say whether a blob has a row; ask under its lock."""
    one = exists().where(image_storages.c.content_checksum == digest, is_addressed())
    return bool((await connection.execute(select(one))).scalar_one())


def _insert(connection: AsyncConnection, table: Any) -> Any:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    return dialect.insert(table)
