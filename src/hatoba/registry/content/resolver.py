"""From a tag to a digest: one indexed SELECT, never a cache.

A tag that an acknowledged push has moved is thereby never served old, by any replica. On
PostgreSQL the statement is prepared and runs on asyncpg directly, which costs a third of the
same through SQLAlchemy.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol, TypeAlias

from typing_extensions import override

from hatoba.kernel.clock import Clock, milliseconds
from hatoba.kernel.digests import Digest
from hatoba.kernel.names import REMEMBERED_NAMES, RepositoryName, TagName
from hatoba.registry.content import store
from hatoba.registry.content.models import RepositoryRecord, RepositoryState
from hatoba.registry.content.sql_fragments import repository_named
from hatoba.sql.engine import Database, ServerConnection
from hatoba.sql.prepared import Questions, ranged


def _found(namespace: str, name: str, tag: str, now_ms: str) -> str:
    """Return the question for what a tag names, put together from SQL expressions.

    It reads an index from its end: of one name the living row is the last to end, and no other row
    of its history is looked at. Of two rows that are living, as clocks differ, the younger ends
    later.
    """
    return f"""
       SELECT r.id, r.namespace_user_id, r.state, m.digest
         FROM {repository_named(namespace, name)} r
        CROSS JOIN LATERAL (
              SELECT t.manifest_id
                FROM tag t
               WHERE t.repository_id = r.id AND {ranged("t.name", tag)}
                 AND NOT t.hidden AND t.manifest_id IS NOT NULL
                 AND (t.lifetime_end_ms IS NULL OR t.lifetime_end_ms > {now_ms})
               ORDER BY t.name DESC, t.lifetime_end_ms DESC
               LIMIT 1) living
         JOIN manifest m ON m.id = living.manifest_id
        WHERE r.state <> 3
"""  # noqa: S608 -- made of constants


ONE: Final = _found("$1", "$2", "$3", "$4")
SEVERAL: Final = f"""
SELECT asked.number, found.*
  FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY
       AS asked(namespace, name, tag, number)
 CROSS JOIN LATERAL ({_found("asked.namespace", "asked.name", "asked.tag", "$4")} LIMIT 1) found
"""  # noqa: S608 -- made of constants

Wanted: TypeAlias = tuple[RepositoryName, TagName]
_Rows: TypeAlias = list[Any]


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


@dataclass(slots=True, kw_only=True)
class _Question:
    """Tags that are asked for together, each with those who wait for it.

    Who waits has a future of his own, so that one who leaves takes nobody along.
    """

    waiting: dict[Wanted, list["asyncio.Future[ResolvedTag | None]"]] = field(default_factory=dict)
    asking: "asyncio.Task[_Rows] | None" = None
    """Kept, as the event loop alone would not keep it."""

    def settle(self, asked: "asyncio.Task[_Rows]") -> None:
        """Tell each what was found, or why there is no answer."""
        error = None if asked.cancelled() else asked.exception()
        if asked.cancelled() or error is not None:
            for future in self._unanswered():
                if error is None:
                    future.cancel()
                else:
                    future.set_exception(error)
            return
        found = {number: row for number, *row in asked.result()}
        for number, ((name, _), futures) in enumerate(self.waiting.items(), start=1):
            row = found.get(number)
            resolved = None if row is None else _resolved(name, *row)
            for future in futures:
                if not future.done():
                    future.set_result(resolved)

    def _unanswered(self) -> Iterator["asyncio.Future[ResolvedTag | None]"]:
        return (one for futures in self.waiting.values() for one in futures if not one.done())


@dataclass(slots=True, kw_only=True)
class PreparedTagResolver(TagResolver):
    """Asks asyncpg, on one connection that keeps the statement prepared.

    Whoever comes while that connection is busy is asked for together with all others who wait:
    the busier the registry is, the less a tag costs. Nobody is told an answer to a question that
    was put before he came.
    """

    questions: Questions
    clock: Clock
    _next: _Question | None = None

    @override
    async def resolve(self, name: RepositoryName, tag: TagName) -> ResolvedTag | None:
        question = self._next
        if question is None and self.questions.connections.has_idle:
            # Nobody waits, so that nothing can be shared: a task would only cost.
            row = await self.questions.ask_one(ONE, name.namespace, name.name, tag, self._now_ms())
            return None if row is None else _resolved(name, *row)
        if question is None:
            question = self._next = _Question()
            question.asking = asyncio.create_task(self._ask(question))
            question.asking.add_done_callback(question.settle)
        future: asyncio.Future[ResolvedTag | None] = asyncio.get_running_loop().create_future()
        question.waiting.setdefault((name, tag), []).append(future)
        return await future

    async def _ask(self, question: _Question) -> _Rows:
        async def put(connection: ServerConnection) -> _Rows:
            self._close(question)
            return await self._fetch(connection, list(question.waiting))

        try:
            return await self.questions.read(put)
        finally:
            self._close(question)

    async def _fetch(self, connection: ServerConnection, wanted: Sequence[Wanted]) -> _Rows:
        values = (
            [name.namespace for name, _ in wanted],
            [name.name for name, _ in wanted],
            [tag for _, tag in wanted],
            self._now_ms(),
        )
        return list(await connection.ask(SEVERAL, values))

    def _now_ms(self) -> int:
        return round(self.clock.timestamp() * 1000)

    def _close(self, question: _Question) -> None:
        """Let whoever comes from now on ask anew."""
        if self._next is question:
            self._next = None


def _resolved(
    name: RepositoryName,
    repository_id: int,
    namespace_id: int,
    state: int,
    digest: str,
) -> ResolvedTag:
    repository = _repository(name, repository_id, namespace_id, state)
    return ResolvedTag(repository=repository, digest=Digest.parse(digest))


@lru_cache(maxsize=REMEMBERED_NAMES)
def _repository(
    name: RepositoryName, repository_id: int, namespace_id: int, state: int
) -> RepositoryRecord:
    """Return a repository as it was read; one that was read the same before is not made anew."""
    return RepositoryRecord(
        id=repository_id, namespace_id=namespace_id, name=name, state=RepositoryState(state)
    )
