"""Rows of tags and manifests, as the collection of garbage sees them.

A repository is claimed by a lock on its row: pushes hold the same row (FOR KEY SHARE) from
before they look until they commit, so that nothing is found by one and removed by the other.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from sqlalchemy import (
    Row,
    Select,
    and_,
    case,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.content.models import RepositoryState
from hatoba.registry.db.tables.blobs import image_storages, uploaded_blobs
from hatoba.registry.db.tables.columns import Moment
from hatoba.registry.db.tables.hatoba import blob_quarantine
from hatoba.registry.db.tables.manifests import (
    labels,
    manifest_blobs,
    manifest_children,
    manifest_labels,
    manifests,
)
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.security import manifest_security_statuses
from hatoba.registry.db.tables.tags import manifest_pull_statistics, tags
from hatoba.registry.db.tables.users import users
from hatoba.registry.retention.dependents import Dependents
from hatoba.registry.retention.models import Family, Node, Times

AnyRow: TypeAlias = Row[*tuple[Any, ...]]
PORTION: Final = 1000
"""How many values one IN takes."""


def portions(values: Iterable[int]) -> Iterable[list[int]]:
    """Cut ids into what one statement takes."""
    ordered = sorted(values)
    return [ordered[start : start + PORTION] for start in range(0, len(ordered), PORTION)]


def with_ids(ids: Sequence[int]) -> Any:
    """Select tag rows."""
    return tags.c.id.in_(ids)


def _has_ended(now_ms: int, restorable_after_ms: Any) -> Any:
    """Select rows that neither live nor can be restored."""
    return or_(
        and_(tags.c.hidden.is_(False), tags.c.lifetime_end_ms <= restorable_after_ms),
        and_(tags.c.hidden.is_(True), tags.c.lifetime_end_ms <= now_ms),
    )


async def repositories_with_expired_tags(
    connection: AsyncConnection, *, after_id: int, now_ms: int, limit: int
) -> list[int]:
    """Return ids of repositories with tags that can go, in order."""
    window_ms = func.coalesce(users.c.removed_tag_expiration_s, 0) * 1000
    statement = (
        select(repositories.c.id)
        .outerjoin(users, users.c.id == repositories.c.namespace_user_id)
        .where(
            repositories.c.id > after_id,
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
            exists().where(
                tags.c.repository_id == repositories.c.id,
                # For the index: no row that ends later can be among them.
                tags.c.lifetime_end_ms <= now_ms,
                _has_ended(now_ms, literal(now_ms) - window_ms),
            ),
        )
        .order_by(repositories.c.id)
        .limit(limit)
    )
    return list((await connection.execute(statement)).scalars())


def _repository(repository_id: int) -> Select[Any]:
    return (
        select(
            repositories.c.id,
            repositories.c.state,
            func.coalesce(users.c.removed_tag_expiration_s, 0).label("window_s"),
        )
        .outerjoin(users, users.c.id == repositories.c.namespace_user_id)
        .where(repositories.c.id == repository_id)
    )


async def find_repository(connection: AsyncConnection, repository_id: int) -> AnyRow | None:
    """Return state and window_s of a repository."""
    found: AnyRow | None = (await connection.execute(_repository(repository_id))).one_or_none()
    return found


async def claim_repository(connection: AsyncConnection, repository_id: int) -> AnyRow | None:
    """Lock a repository and return its state and window_s; None while somebody pushes to it."""
    statement = _repository(repository_id).with_for_update(skip_locked=True, of=repositories)
    found: AnyRow | None = (await connection.execute(statement)).one_or_none()
    return found


async def expired_tags(
    connection: AsyncConnection, *, repository_id: int, times: Times, limit: int | None
) -> Sequence[AnyRow]:
    """Return id and manifest_id of tags that neither live nor can be restored."""
    statement = (
        select(tags.c.id, tags.c.manifest_id)
        .where(
            tags.c.repository_id == repository_id,
            tags.c.lifetime_end_ms <= times.now_ms,
            _has_ended(times.now_ms, times.restorable_after_ms),
        )
        .order_by(tags.c.lifetime_end_ms)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


async def page_of_manifests(
    connection: AsyncConnection, *, after_id: int, limit: int
) -> Sequence[AnyRow]:
    """Return id, repository_id and is_loose (no tag, no index names it) in order of ids."""
    statement = (
        select(
            manifests.c.id,
            manifests.c.repository_id,
            and_(
                ~_names_manifest(tags.c.manifest_id),
                ~_names_manifest(manifest_children.c.child_manifest_id),
            ).label("is_loose"),
        )
        .where(manifests.c.id > after_id)
        .order_by(manifests.c.id)
        .limit(limit)
    )
    return (await connection.execute(statement)).all()


def _names_manifest(column: Any) -> Any:
    """Say whether a row names the manifest that is looked at.

    As the first row in the order of the column's index, of a range of one id: for a mere EXISTS
    PostgreSQL may read the whole table for each page, or even for each manifest.
    """
    same = column.between(manifests.c.id, manifests.c.id)
    first = select(column).where(same).order_by(column).limit(1).correlate(manifests)
    return first.scalar_subquery().is_not(None)


async def load_family(
    connection: AsyncConnection, *, repository_id: int, seeds: Iterable[int], times: Times
) -> Family:
    """Return manifests with everything that is connected with them."""
    nodes: dict[int, Node] = {}
    children: set[tuple[int, int]] = set()
    frontier = set(seeds)
    while frontier:
        found = await _nodes(connection, manifests.c.id, portions(frontier), times=times)
        nodes |= found
        pairs = await _pairs(connection, frontier)
        children |= pairs
        related = await _related(connection, found.values(), repository_id=repository_id)
        frontier = ({one for pair in pairs for one in pair} | related) - set(nodes) - frontier
    return Family(nodes=nodes, children=sorted(children))


async def _nodes(
    connection: AsyncConnection, column: Any, chunks: Iterable[list[int]], *, times: Times
) -> dict[int, Node]:
    found: dict[int, Node] = {}
    endless = and_(tags.c.hidden.is_(True), tags.c.lifetime_end_ms.is_(None))
    keeps = or_(
        and_(
            tags.c.hidden.is_(False),
            or_(
                tags.c.lifetime_end_ms.is_(None),
                tags.c.lifetime_end_ms > times.restorable_after_ms,
            ),
        ),
        and_(tags.c.hidden.is_(True), tags.c.lifetime_end_ms > times.now_ms),
        and_(endless, tags.c.lifetime_start_ms > times.held_after_ms),
    )
    for chunk in chunks:
        statement = (
            select(
                manifests.c.id,
                manifests.c.digest,
                manifests.c.subject,
                func.max(case((keeps, 1), else_=0)).label("is_tagged"),
                func.max(case((endless, 1), else_=0)).label("is_held"),
            )
            .outerjoin(tags, tags.c.manifest_id == manifests.c.id)
            .where(column.in_(chunk))
            .group_by(manifests.c.id, manifests.c.digest, manifests.c.subject)
        )
        for row in await connection.execute(statement):
            is_held = bool(row.is_held)
            found[row.id] = Node(
                id=row.id,
                digest=row.digest,
                subject=row.subject,
                is_tagged=bool(row.is_tagged) or (is_held and row.subject is None),
                is_held=is_held,
            )
    return found


async def _pairs(connection: AsyncConnection, ids: set[int]) -> set[tuple[int, int]]:
    pairs: set[tuple[int, int]] = set()
    for chunk in portions(ids):
        statement = select(
            manifest_children.c.manifest_id, manifest_children.c.child_manifest_id
        ).where(
            or_(
                manifest_children.c.manifest_id.in_(chunk),
                manifest_children.c.child_manifest_id.in_(chunk),
            )
        )
        pairs |= {(row[0], row[1]) for row in await connection.execute(statement)}
    return pairs


async def _related(
    connection: AsyncConnection, nodes: Iterable[Node], *, repository_id: int
) -> set[int]:
    """Return ids of the subjects and referrers of manifests."""
    known = list(nodes)
    related: set[int] = set()
    for column, values in (
        (manifests.c.digest, sorted({node.subject for node in known if node.subject})),
        (manifests.c.subject, sorted({node.digest for node in known})),
    ):
        for start in range(0, len(values), PORTION):
            statement = select(manifests.c.id).where(
                manifests.c.repository_id == repository_id,
                column.in_(values[start : start + PORTION]),
            )
            related |= set((await connection.execute(statement)).scalars())
    return related


async def delete_tags(
    connection: AsyncConnection, condition: Any, *, dependents: Dependents
) -> int:
    """Delete tag rows with what hangs on them; return how many."""
    ids = list((await connection.execute(select(tags.c.id).where(condition))).scalars())
    for chunk in portions(ids):
        await connection.execute(
            update(tags).where(tags.c.linked_tag_id.in_(chunk)).values(linked_tag_id=None)
        )
        await dependents.delete(connection, "tag", chunk)
        await connection.execute(delete(tags).where(tags.c.id.in_(chunk)))
    return len(ids)


async def delete_manifests(
    connection: AsyncConnection, ids: set[int], *, dependents: Dependents
) -> tuple[int, set[int]]:
    """Delete manifests with all rows that hang on them; return how many tags, and their blobs."""
    removed_tags = 0
    blob_ids: set[int] = set()
    for chunk in portions(ids):
        removed_tags += await delete_tags(
            connection, tags.c.manifest_id.in_(chunk), dependents=dependents
        )
        await _delete_labels(connection, chunk)
        named = select(manifest_blobs.c.blob_id).where(manifest_blobs.c.manifest_id.in_(chunk))
        blob_ids |= set((await connection.execute(named)).scalars())
        for column in (
            manifest_security_statuses.c.manifest_id,
            manifest_blobs.c.manifest_id,
            manifest_children.c.manifest_id,
            manifest_children.c.child_manifest_id,
        ):
            await connection.execute(delete(column.table).where(column.in_(chunk)))
        await connection.execute(
            delete(manifest_pull_statistics).where(
                exists().where(
                    manifests.c.id.in_(chunk),
                    manifests.c.repository_id == manifest_pull_statistics.c.repository_id,
                    manifests.c.digest == manifest_pull_statistics.c.manifest_digest,
                )
            )
        )
    for chunk in portions(ids):
        await dependents.delete(connection, "manifest", chunk)
        await connection.execute(delete(manifests).where(manifests.c.id.in_(chunk)))
    return removed_tags, blob_ids


async def _delete_labels(connection: AsyncConnection, manifest_ids: list[int]) -> None:
    condition = manifest_labels.c.manifest_id.in_(manifest_ids)
    found = await connection.execute(select(manifest_labels.c.label_id).where(condition))
    label_ids = list(found.scalars())
    await connection.execute(delete(manifest_labels).where(condition))
    for chunk in portions(label_ids):
        is_used = exists().where(manifest_labels.c.label_id == labels.c.id)
        await connection.execute(delete(labels).where(labels.c.id.in_(chunk), ~is_used))


def references(now: datetime) -> tuple[Any, Any]:
    """Select blobs that a manifest names; and those that a repository holds."""
    return (
        exists().where(manifest_blobs.c.blob_id == image_storages.c.id),
        exists().where(
            uploaded_blobs.c.blob_id == image_storages.c.id, uploaded_blobs.c.expires_at > now
        ),
    )


async def prefer_indexes(connection: AsyncConnection) -> None:
    """Keep PostgreSQL from reading whole tables until the transaction ends.

    Where a few blobs are named by very many manifests it expects to meet any blob among the first
    rows of their table, and reads all of it for each one that is not there: the very ones that are
    looked for here.
    """
    if connection.dialect.name == "postgresql":
        # Compiling what costs as much as a forbidden plan would take longer than to run it.
        await connection.execute(
            text("SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true)")
        )


def is_addressed() -> Any:
    """Select blobs whose bytes lie under their digest; Quay's oldest ones do not."""
    return and_(image_storages.c.cas_path.is_(True), image_storages.c.content_checksum.is_not(None))


async def quarantine_blobs(connection: AsyncConnection, condition: Any, *, now: datetime) -> int:
    """Put blobs that nothing refers to into quarantine; return how many were not there yet."""
    await prefer_indexes(connection)
    named, held = references(now)
    # Each denied by itself: PostgreSQL joins these, and asks for an OR of both row by row.
    source = select(image_storages.c.id, literal(now, Moment())).where(
        condition, is_addressed(), ~named, ~held
    )
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(blob_quarantine).from_select(["storage_id", "since"], source)
    return int((await connection.execute(statement.on_conflict_do_nothing())).rowcount)
