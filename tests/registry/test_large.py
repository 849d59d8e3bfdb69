"""Questions about a large registry read what they answer with, not what others have.

Rows are counted, not time: those that PostgreSQL fetched for a question, by whatever plan.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.access import store as access
from hatoba.registry.repositories import store as repositories
from hatoba.sql.engine import Database, open_database

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
T = TypeVar("T")
MANY = 5_000
FEW = 100
"""What a question may read that is answered with a handful of rows."""
BIG, SMALL = 1, 2
"""Repositories of namespace 1."""
FILLED = (
    "SET session_replication_role = replica",
    f"""INSERT INTO repository (id, namespace_user_id, name, visibility_id, badge_token, kind_id,
                                trust_enabled, state)
        SELECT n, 1, 'r' || n, 2, '', 1, false, 0 FROM generate_series(1, {MANY}) AS n""",
    f"""INSERT INTO tag (name, repository_id, manifest_id, lifetime_start_ms, hidden, reversion,
                         tag_kind_id, immutable)
        SELECT 'v' || n, {BIG}, 1, n, false, false, 1, false FROM generate_series(1, {MANY}) AS n
        UNION ALL SELECT 'v1', {SMALL}, 2, 7, false, false, 1, false""",
    # Everybody is in team 1, and everybody and team 1 have a grant in the big repository.
    f"INSERT INTO teammember (user_id, team_id) SELECT n, 1 FROM generate_series(1, {MANY}) AS n",
    f"""INSERT INTO repositorypermission (user_id, team_id, repository_id, role_id)
        SELECT n, NULL, {BIG}, 3 FROM generate_series(1, {MANY}) AS n
        UNION ALL SELECT NULL, 1, {BIG}, 2 UNION ALL SELECT NULL, 1, {SMALL}, 2""",
    "ANALYZE",
)


@pytest.fixture(scope="module")
def large_url(postgres_server, migrated_url):
    """A database in which a few things have very much."""

    async def fill(url: str) -> None:
        connection = await asyncpg.connect(url)
        for statement in FILLED:
            await connection.execute(statement)
        await connection.close()

    with postgres_server.database(template=migrated_url) as url:
        asyncio.run(fill(url))
        yield url


@dataclass(kw_only=True)
class Large:
    database: Database
    read: int = 0
    """How many rows the last question fetched."""

    async def ask(self, question: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Ask in a transaction that changes nothing."""
        async with self.database.begin() as connection:
            before = await _rows_read(connection)
            answer = await question(connection)
            self.read = await _rows_read(connection) - before
            await connection.rollback()
        return answer


async def _rows_read(connection: AsyncConnection) -> int:
    statement = (
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    )
    return int((await connection.execute(text(statement))).scalar_one())


@pytest.fixture
async def large(large_url):
    opened = open_database(large_url)
    yield Large(database=opened)
    await opened.close()


async def test_what_one_account_may_do_reads_no_grants_of_others(large) -> None:
    roles = await large.ask(
        lambda connection: access.granted_roles(connection, account_id=17, repository_id=BIG)
    )
    assert roles == {"read", "write"}
    assert large.read < FEW


async def test_what_one_account_reaches_reads_no_grants_of_others(large) -> None:
    reach = await large.ask(lambda connection: access.reach_of(connection, account_id=17))
    assert reach.repositories == {BIG, SMALL}
    assert large.read < FEW


async def test_when_tags_were_moved_last_reads_no_other_tags(large) -> None:
    ids = [BIG, SMALL, 3]
    moved = await large.ask(
        lambda connection: repositories.last_modified(connection, repository_ids=ids)
    )
    assert moved == {BIG: MANY, SMALL: 7}
    assert large.read < FEW
