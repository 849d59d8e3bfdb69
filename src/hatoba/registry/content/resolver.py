"""From a tag to a digest: one indexed SELECT, never a cache.

A tag that an acknowledged push has moved is thereby never served old, by any replica. On
PostgreSQL the statement is prepared and runs on asyncpg directly, which costs a third of the
same through SQLAlchemy.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import asyncpg
from typing_extensions import override

from hatoba.kernel.clock import Clock, milliseconds
from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.registry.content import store
from hatoba.registry.content.models import RepositoryRecord, RepositoryState
from hatoba.sql.engine import Database, translated

_STATEMENT: Final = """
SELECT r.id, r.namespace_user_id, r.state, m.digest
  FROM "user" u
  JOIN repository r ON r.namespace_user_id = u.id
  JOIN tag t ON t.repository_id = r.id
  JOIN manifest m ON m.id = t.manifest_id
 WHERE u.username = $1 AND r.name = $2 AND t.name = $3 AND NOT t.hidden AND r.state <> 3
   AND (t.lifetime_end_ms IS NULL OR t.lifetime_end_ms > $4)
 ORDER BY t.lifetime_start_ms DESC
 LIMIT 1
"""


@dataclass(slots=True, frozen=True, kw_only=True)
class ResolvedTag:
    """What a tag names now."""

    repository: RepositoryRecord
    digest: Digest


class TagResolver(Protocol):
    """The question that every pull by tag asks."""

    async def resolve(self, name: RepositoryName, tag: TagName) -> ResolvedTag | None:
        """Return what a tag names now, or None."""


@dataclass(slots=True, frozen=True, kw_only=True)
class SqlTagResolver(TagResolver):
    """Asks through SQLAlchemy: for SQLite."""

    database: Database
    clock: Clock

    @override
    async def resolve(self, name: RepositoryName, tag: TagName) -> ResolvedTag | None:
        async with self.database.read() as connection:
            row = await store.resolve_tag(
                connection, name=name, tag=tag, now_ms=milliseconds(self.clock.now())
            )
        if row is None:
            return None
        return _resolved(name, row.id, row.namespace_user_id, row.state, row.digest)


@dataclass(slots=True, frozen=True, kw_only=True)
class PreparedTagResolver(TagResolver):
    """Asks asyncpg, whose connections keep the statement prepared."""

    pool: "asyncpg.Pool[Any]"
    clock: Clock

    @override
    async def resolve(self, name: RepositoryName, tag: TagName) -> ResolvedTag | None:
        with translated():
            row = await self.pool.fetchrow(
                _STATEMENT, name.namespace, name.name, tag, milliseconds(self.clock.now())
            )
        return None if row is None else _resolved(name, *row)


def _resolved(
    name: RepositoryName,
    repository_id: int,
    namespace_id: int,
    state: int,
    digest: str,
) -> ResolvedTag:
    repository = RepositoryRecord(
        id=repository_id, namespace_id=namespace_id, name=name, state=RepositoryState(state)
    )
    return ResolvedTag(repository=repository, digest=Digest.parse(digest))
