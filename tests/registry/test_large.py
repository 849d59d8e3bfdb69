"""Questions about a large registry read what they answer with, not what others have.

Rows are counted, not time: those that PostgreSQL fetched for a question, by whatever plan.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.digests import Digest
from hatoba.registry.access import store as access
from hatoba.registry.content import pages, store_blobs, store_tags
from hatoba.registry.db.lookups import load_lookups
from hatoba.registry.repositories import store as repositories
from hatoba.registry.repositories import store_permissions
from hatoba.registry.scanning import store as scanning
from hatoba.registry.scanning.models import IndexCandidate
from hatoba.sql.engine import Database, open_database

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
T = TypeVar("T")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MANY = 5_000
FEW = 100
"""What a question may read that is answered with a handful of rows."""
BIG, SMALL = 1, 2
"""Repositories of namespace 1 in which account 17 may do something; there are many others."""
BASE = Digest.of(b"a layer that everybody builds upon")
FILLED = (
    "SET session_replication_role = replica",
    # A person, and an organization with all repositories and robots.
    f"""INSERT INTO "user" (id, uuid, username, email, verified, organization, robot, invoice_email,
                            last_invalid_login, removed_tag_expiration_s, enabled)
        SELECT n, '', CASE n WHEN 1 THEN 'group' WHEN 17 THEN 'person' ELSE 'group+' || n END,
               n, true, n = 1, n NOT IN (1, 17), false, '2026-01-01', 0, true
          FROM generate_series(1, {MANY}) AS n""",
    f"""INSERT INTO imagestorage (id, uuid, image_size, uploading, cas_path, content_checksum)
        VALUES (1, '', 1, false, true, '{BASE}')""",
    f"""INSERT INTO manifestblob (repository_id, manifest_id, blob_id)
        SELECT n, n, 1 FROM generate_series(3, {MANY}) AS n""",
    f"""INSERT INTO manifest (id, repository_id, digest, media_type_id, manifest_bytes)
        SELECT n, n, n, 1, '' FROM generate_series(1, {MANY}) AS n""",
    f"""INSERT INTO repository (id, namespace_user_id, name, visibility_id, badge_token, kind_id,
                                trust_enabled, state)
        SELECT n, 1, 'r' || n, 2, '', 1, false, 0 FROM generate_series(1, {MANY}) AS n""",
    f"""INSERT INTO tag (name, repository_id, manifest_id, lifetime_start_ms, hidden, reversion,
                         tag_kind_id, immutable)
        SELECT 'v' || n, {BIG}, n, n, false, false, 1, false FROM generate_series(1, {MANY}) AS n
        UNION ALL SELECT 'v1', {SMALL}, 2, 7, false, false, 1, false
        UNION ALL SELECT 'latest', n, n, 1, false, false, 1, false
          FROM generate_series(101, 600) AS n""",
    # Everybody is in team 1, and everybody and team 1 have a grant in the big repository.
    f"""INSERT INTO manifestsecuritystatus (manifest_id, repository_id, index_status, error_json,
                                            last_indexed, indexer_hash, indexer_version,
                                            metadata_json)
        SELECT n, n, 2, '', '2026-01-01', 'state', 4, '' FROM generate_series(1, {MANY}) AS n""",
    "INSERT INTO team (id, name, organization_id, role_id, description) VALUES (1, 't', 1, 3, '')",
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

    async def ask(self, question: Callable[[AsyncConnection], Awaitable[T]], *, of: str = "%") -> T:
        """Ask in a transaction that changes nothing; count rows of all tables, or `of` one."""
        async with self.database.begin() as connection:
            before = await _rows_read(connection, of)
            answer = await question(connection)
            self.read = await _rows_read(connection, of) - before
            await connection.rollback()
        return answer


async def _rows_read(connection: AsyncConnection, of: str) -> int:
    statement = text(
        "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0))"
        "  FROM pg_stat_xact_user_tables WHERE relname LIKE :of"
    )
    return int((await connection.execute(statement, {"of": of})).scalar_one())


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


@pytest.mark.parametrize(("name", "names"), [("latest", []), ("v7", ["v7"])])
async def test_the_history_of_a_tag_reads_no_other_tags(large, name, names) -> None:
    rows = await large.ask(
        lambda connection: store_tags.tag_history(
            connection, repository_id=BIG, now_ms=1, only_alive=True, limit=5, name=name
        ),
        of="tag",
    )
    assert [row.name for row in rows] == names
    assert large.read < FEW


async def test_a_later_page_of_tags_reads_the_manifests_of_that_page_alone(large) -> None:
    rows = await large.ask(
        lambda connection: store_tags.tag_history(
            connection, repository_id=BIG, now_ms=1, only_alive=True, offset=4000, limit=10
        ),
        of="manifest",
    )
    assert [row.name for row in rows] == [f"v{MANY - 4000 - number}" for number in range(10)]
    assert large.read <= FEW


@pytest.mark.parametrize(("own", "found"), [(SMALL, None), (MANY, f"group/r{MANY}")])
async def test_a_repository_to_mount_from_is_looked_for_among_few_of_many(
    large, own, found
) -> None:
    name = await large.ask(
        lambda connection: store_blobs.find_holder(
            connection,
            digest=BASE,
            namespaces=[17],
            repository_ids=[BIG, own],
            visibility_id=1,
            now=NOW,
        ),
        of="manifestblob",
    )
    assert (name and str(name)) == found
    assert large.read < store_blobs.HOLDERS + FEW


async def test_a_page_of_the_catalog_reads_what_an_account_may_see(large) -> None:
    async def page(connection: AsyncConnection) -> list[str]:
        values = (17, None, "", "", 101)
        driver = (await connection.get_raw_connection()).driver_connection
        assert isinstance(driver, asyncpg.Connection)
        return list(await driver.fetchval(pages.REPOSITORIES, *values))

    assert await large.ask(page) == [f"group/r{BIG}", f"group/r{SMALL}"]
    # Each repository of a namespace in which something is to be seen is looked at, and each name.
    assert large.read < 2 * MANY + FEW


async def test_default_permissions_are_listed_without_the_members_of_the_organization(
    large,
) -> None:
    found = await large.ask(
        lambda connection: store_permissions.members_among(
            connection, organization_id=1, account_ids=[17]
        )
    )
    assert found == {17}
    assert large.read < FEW


async def test_a_look_for_what_is_to_be_scanned_reads_a_page(large) -> None:
    page = 500
    lookups = await load_lookups(large.database)

    async def look(connection: AsyncConnection) -> tuple[int | None, list[IndexCandidate]]:
        first = await scanning.bottom_of_page(connection, before_id=MANY, limit=page)
        assert first is not None
        due = await scanning.due_manifests(
            connection,
            first_id=first,
            before_id=MANY,
            scanner_state="state",
            retry_before=NOW,
            reindex_before=NOW,
            limit=20,
            lookups=lookups,
        )
        return first, due

    for table in ("manifest", "manifestsecuritystatus"):
        assert await large.ask(look, of=table) == (MANY - page, [])
        assert large.read <= 3 * page
