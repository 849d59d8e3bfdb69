"""Rows of manifests and tags. Each function is one question or one change.

Column meanings are Quay's: a tag row lives while `lifetime_end_ms` is null or in the future;
hidden rows named `$temp-<uuid>` keep what was pushed by digest.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import (
    Row,
    Select,
    and_,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.schema import Table

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.oci.manifests import Manifest
from hatoba.registry.content.models import RepositoryRecord, RepositoryState
from hatoba.registry.db.tables.manifests import manifest_blobs, manifest_children, manifests
from hatoba.registry.db.tables.mirrors import repo_mirror_configs
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.tags import tags
from hatoba.registry.db.tables.users import users

AnyRow: TypeAlias = Row[*tuple[Any, ...]]


async def find_repository(
    connection: AsyncConnection, name: RepositoryName, *, keep: bool = False
) -> RepositoryRecord | None:
    """Return a repository that is not being deleted.

    `keep` lets nothing of it be collected until the end of the transaction: what a push finds
    is still there when it refers to it.
    """
    statement = (
        select(repositories.c.id, repositories.c.namespace_user_id, repositories.c.state)
        .join(users, users.c.id == repositories.c.namespace_user_id)
        .where(
            users.c.username == name.namespace,
            repositories.c.name == name.name,
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
        )
    )
    if keep:
        statement = statement.with_for_update(read=True, key_share=True, of=repositories)
    row = (await connection.execute(statement)).one_or_none()
    if row is None:
        return None
    return RepositoryRecord(
        id=row.id,
        namespace_id=row.namespace_user_id,
        name=name,
        state=RepositoryState(row.state),
    )


async def mirror_robot_id(connection: AsyncConnection, *, repository_id: int) -> int | None:
    """Return the account that a mirror is written by."""
    statement = select(repo_mirror_configs.c.internal_robot_id).where(
        repo_mirror_configs.c.repository_id == repository_id
    )
    return (await connection.execute(statement)).scalar_one_or_none()


async def keep_repository(connection: AsyncConnection, *, repository_id: int) -> None:
    """Let nothing of a repository be collected until the end of the transaction."""
    await connection.execute(
        select(repositories.c.id)
        .where(repositories.c.id == repository_id)
        .with_for_update(read=True, key_share=True)
    )


def _alive(now_ms: int) -> Any:
    return or_(tags.c.lifetime_end_ms.is_(None), tags.c.lifetime_end_ms > now_ms)


async def resolve_tag(
    connection: AsyncConnection, *, name: RepositoryName, tag: TagName, now_ms: int
) -> AnyRow | None:
    """Return the digest that a tag names now, with its repository, in one statement."""
    statement = (
        select(
            repositories.c.id,
            repositories.c.namespace_user_id,
            repositories.c.state,
            manifests.c.digest,
        )
        .join(users, users.c.id == repositories.c.namespace_user_id)
        .join(
            tags,
            and_(
                tags.c.repository_id == repositories.c.id,
                tags.c.name == tag,
                tags.c.hidden.is_(False),
                _alive(now_ms),
            ),
        )
        .join(manifests, manifests.c.id == tags.c.manifest_id)
        .where(
            users.c.username == name.namespace,
            repositories.c.name == name.name,
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
        )
        .order_by(tags.c.lifetime_start_ms.desc())
        .limit(1)
    )
    return (await connection.execute(statement)).one_or_none()


async def was_tagged(connection: AsyncConnection, *, repository_id: int, tag: TagName) -> bool:
    """Say whether a tag of that name ever existed."""
    statement = select(
        exists().where(
            tags.c.repository_id == repository_id, tags.c.name == tag, tags.c.hidden.is_(False)
        )
    )
    return bool((await connection.execute(statement)).scalar_one())


async def find_manifest(
    connection: AsyncConnection, *, repository_id: int, digest: Digest
) -> AnyRow | None:
    """Return id, media_type_id and manifest_bytes."""
    statement = select(manifests.c.id, manifests.c.media_type_id, manifests.c.manifest_bytes).where(
        manifests.c.repository_id == repository_id, manifests.c.digest == str(digest)
    )
    return (await connection.execute(statement)).one_or_none()


async def is_available(connection: AsyncConnection, *, manifest_id: int, now_ms: int) -> bool:
    """Say whether a living tag, hidden ones included, reaches a manifest, through indexes too."""
    if await _is_tagged(connection, select(literal(manifest_id)), now_ms=now_ms):
        return True
    return await is_part_of_index(connection, manifest_id=manifest_id, now_ms=now_ms)


async def is_part_of_index(connection: AsyncConnection, *, manifest_id: int, now_ms: int) -> bool:
    """Say whether a living tag, hidden ones included, reaches a manifest through an index."""
    holders = (
        select(manifest_children.c.manifest_id.label("id"))
        .where(manifest_children.c.child_manifest_id == manifest_id)
        .cte("holders", recursive=True)
    )
    holders = holders.union(
        select(manifest_children.c.manifest_id).join(
            holders, manifest_children.c.child_manifest_id == holders.c.id
        )
    )
    return await _is_tagged(connection, select(holders.c.id), now_ms=now_ms)


async def _is_tagged(
    connection: AsyncConnection, manifest_ids: Select[tuple[int]], *, now_ms: int
) -> bool:
    statement = select(exists().where(tags.c.manifest_id.in_(manifest_ids), _alive(now_ms)))
    return bool((await connection.execute(statement)).scalar_one())


async def manifest_ids(
    connection: AsyncConnection, *, repository_id: int, digests: Sequence[Digest]
) -> dict[str, int]:
    """Return the ids of those manifests that the repository holds, by digest."""
    statement = select(manifests.c.digest, manifests.c.id).where(
        manifests.c.repository_id == repository_id,
        manifests.c.digest.in_([str(digest) for digest in digests]),
    )
    return {row.digest: row.id for row in await connection.execute(statement)}


async def insert_manifest(
    connection: AsyncConnection,
    manifest: Manifest,
    *,
    repository_id: int,
    media_type_id: int,
    blob_ids: Sequence[int],
    child_ids: Sequence[int],
) -> int:
    """Store a manifest with its references, if it is not there yet; return its id."""
    row = {
        "repository_id": repository_id,
        "digest": str(manifest.digest),
        "media_type_id": media_type_id,
        "manifest_bytes": manifest.content.decode("utf-8"),
        "config_media_type": manifest.config.media_type if manifest.config else None,
        "layers_compressed_size": None if manifest.is_index else manifest.layers_size,
        "subject": str(manifest.subject.digest) if manifest.subject else None,
        "subject_backfilled": True,
        "artifact_type": manifest.artifact_type,
        "artifact_type_backfilled": True,
    }
    await insert_missing(connection, manifests, [row])
    found = await find_manifest(connection, repository_id=repository_id, digest=manifest.digest)
    assert found is not None
    manifest_id: int = found.id
    await insert_missing(
        connection,
        manifest_blobs,
        [
            {"repository_id": repository_id, "manifest_id": manifest_id, "blob_id": blob_id}
            for blob_id in blob_ids
        ],
    )
    await insert_missing(
        connection,
        manifest_children,
        [
            {
                "repository_id": repository_id,
                "manifest_id": manifest_id,
                "child_manifest_id": child_id,
            }
            for child_id in child_ids
        ],
    )
    return manifest_id


async def insert_missing(
    connection: AsyncConnection, table: Table, rows: Sequence[dict[str, Any]]
) -> int:
    """Insert those rows that no unique index has already; return how many."""
    if not rows:
        return 0
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    done = await connection.execute(dialect.insert(table).on_conflict_do_nothing(), rows)
    return int(done.rowcount)


async def lock(connection: AsyncConnection, key: str) -> None:
    """Hold a named lock until the end of the transaction.

    SQLite needs none: its transactions hold the write lock from their start.
    """
    if connection.dialect.name == "postgresql":
        await connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": key}
        )


def tag_key(repository_id: int, tag: str) -> str:
    """Return the name of the lock under which a tag changes."""
    return f"tag:{repository_id}:{tag}"


async def alive_tag(
    connection: AsyncConnection, *, repository_id: int, tag: TagName, now_ms: int
) -> AnyRow | None:
    """Return id, manifest_id and immutable of the living row of a tag."""
    statement = (
        select(tags.c.id, tags.c.manifest_id, tags.c.immutable)
        .where(
            tags.c.repository_id == repository_id,
            tags.c.name == tag,
            tags.c.hidden.is_(False),
            _alive(now_ms),
        )
        .order_by(tags.c.lifetime_start_ms.desc())
        .limit(1)
    )
    return (await connection.execute(statement)).one_or_none()


async def next_moment_ms(
    connection: AsyncConnection, *, repository_id: int, tag: str, now_ms: int
) -> int:
    """Return a moment at which a row of this tag can end.

    No two rows of a name may end at once (unique index), and pushes can be faster than clocks.
    """
    mine, ends = (tags.c.repository_id == repository_id, tags.c.name == tag), tags.c.lifetime_end_ms
    statement = select(
        select(func.max(ends)).where(*mine, ends <= now_ms + 1000).scalar_subquery(),
        exists().where(*mine, ends > now_ms),
    )
    latest, ends_later = (await connection.execute(statement)).one()
    if ends_later:
        await _end_overtaken(connection, repository_id=repository_id, tag=tag, now_ms=now_ms)
    return now_ms if latest is None else max(now_ms, int(latest) + 1)


async def _end_overtaken(
    connection: AsyncConnection, *, repository_id: int, tag: str, now_ms: int
) -> None:
    """End what a clock that was ahead, and then put back, has left living beside the newest row.

    Such a row ended "later than now": it would live again beside, or instead of, its successor.
    """
    mine = (tags.c.repository_id == repository_id, tags.c.name == tag)
    living = select(tags.c.id).where(*mine, _alive(now_ms))
    newest_first = living.order_by(tags.c.lifetime_start_ms.desc(), tags.c.id.desc())
    _, *overtaken = (await connection.execute(newest_first)).scalars()
    if not overtaken:
        return
    past = select(tags.c.lifetime_end_ms).where(*mine, tags.c.lifetime_end_ms <= now_ms)
    taken = set((await connection.execute(past)).scalars())
    end_ms = now_ms - 1  # the newest row may have to end now
    for tag_id in overtaken:
        while end_ms in taken:
            end_ms -= 1
        taken.add(end_ms)
        await end_tags(connection, tag_ids=[tag_id], end_ms=end_ms)


async def end_tags(connection: AsyncConnection, *, tag_ids: Sequence[int], end_ms: int) -> None:
    """Let tag rows end."""
    await connection.execute(
        update(tags).where(tags.c.id.in_(tag_ids)).values(lifetime_end_ms=end_ms)
    )


async def set_end(connection: AsyncConnection, *, tag_id: int, end_ms: int | None) -> None:
    """Let a tag row end at a moment to come, or not at all."""
    await connection.execute(update(tags).where(tags.c.id == tag_id).values(lifetime_end_ms=end_ms))


async def insert_tag(connection: AsyncConnection, values: dict[str, Any]) -> None:
    """Add a tag row."""
    await connection.execute(insert(tags).values(**values))


async def alive_tags_of(
    connection: AsyncConnection, *, manifest_id: int, now_ms: int
) -> Sequence[AnyRow]:
    """Return id, name, hidden and immutable of the living rows that name a manifest."""
    statement = select(tags.c.id, tags.c.name, tags.c.hidden, tags.c.immutable).where(
        tags.c.manifest_id == manifest_id, _alive(now_ms)
    )
    return (await connection.execute(statement)).all()


async def tag_names(
    connection: AsyncConnection, *, repository_id: int, after: str | None, limit: int, now_ms: int
) -> list[str]:
    """Return names of living tags in order, beginning after `after`."""
    statement = (
        select(tags.c.name)
        .where(
            tags.c.repository_id == repository_id,
            tags.c.hidden.is_(False),
            tags.c.manifest_id.is_not(None),
            _alive(now_ms),
        )
        .distinct()
        .order_by(tags.c.name)
        .limit(limit)
    )
    if after is not None:
        statement = statement.where(tags.c.name > after)
    return list((await connection.execute(statement)).scalars())


async def referrers(
    connection: AsyncConnection,
    *,
    repository_id: int,
    subject: str,
    artifact_type: str | None,
    after: str | None,
    now_ms: int,
    limit: int,
) -> Sequence[AnyRow]:
    """Return id and size in characters of referrers in order of digests, beginning after one."""
    statement = (
        select(manifests.c.id, func.length(manifests.c.manifest_bytes).label("size"))
        .where(
            manifests.c.repository_id == repository_id,
            manifests.c.subject == subject,
            exists().where(tags.c.manifest_id == manifests.c.id, _alive(now_ms)),
        )
        .order_by(manifests.c.digest)
        .limit(limit)
    )
    if artifact_type is not None:
        statement = statement.where(manifests.c.artifact_type == artifact_type)
    if after is not None:
        statement = statement.where(manifests.c.digest > after)
    return (await connection.execute(statement)).all()


async def manifests_by_id(
    connection: AsyncConnection, *, manifest_ids: Sequence[int]
) -> Sequence[AnyRow]:
    """Return digest, media_type_id, artifact_type and manifest_bytes in order of digests."""
    statement = (
        select(
            manifests.c.digest,
            manifests.c.media_type_id,
            manifests.c.artifact_type,
            manifests.c.manifest_bytes,
        )
        .where(manifests.c.id.in_(manifest_ids))
        .order_by(manifests.c.digest)
    )
    return (await connection.execute(statement)).all()


async def repository_names(
    connection: AsyncConnection,
    *,
    namespaces: Sequence[int],
    repository_ids: Sequence[int],
    visibility_id: int | None,
    after: str | None,
    limit: int,
) -> list[str]:
    """Return `namespace/name` in order, beginning after `after`.

    A repository is listed when its namespace, the repository itself or its visibility is named.
    """
    visible = or_(
        repositories.c.namespace_user_id.in_(namespaces),
        repositories.c.id.in_(repository_ids),
        repositories.c.visibility_id == visibility_id,
    )
    statement = (
        select(users.c.username, repositories.c.name)
        .join(users, users.c.id == repositories.c.namespace_user_id)
        .where(
            repositories.c.state != RepositoryState.MARKED_FOR_DELETION,
            users.c.enabled.is_(True),
            visible,
        )
        .order_by(users.c.username, repositories.c.name)
        .limit(limit)
    )
    if after is not None:
        namespace, _, name = after.partition("/")
        statement = statement.where(
            tuple_(users.c.username, repositories.c.name) > tuple_(namespace, name)
        )
    return [f"{row.username}/{row.name}" for row in await connection.execute(statement)]
