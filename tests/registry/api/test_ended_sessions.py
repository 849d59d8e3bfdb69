"""A restart of PostgreSQL between two requests costs none: pooled sessions that it ended are replaced."""

import asyncio

import asyncpg
import pytest
from sqlalchemy import text
from tests.registry.conftest import only_postgresql

from hatoba.sql.engine import open_database

pytestmark = [pytest.mark.anyio, only_postgresql]
SESSIONS = 16


@pytest.fixture
async def database(migrated_uri):
    opened = open_database(migrated_uri, pool_size=SESSIONS, overflow=0)
    yield opened
    await opened.close()


async def end_all(database) -> None:
    """Fill the pool, and let the server end every session in it; return when it has."""
    met = asyncio.Barrier(SESSIONS)

    async def use() -> int:
        async with database.begin() as connection:
            await met.wait()
            return int((await connection.execute(text("SELECT pg_backend_pid()"))).scalar_one())

    pids = await asyncio.gather(*(use() for _ in range(SESSIONS)))
    assert len(set(pids)) == SESSIONS
    other = await asyncpg.connect(**database.asyncpg_arguments())
    # All are told first; then each is waited for, which looks ten times a second.
    await other.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", pids)
    await other.execute("SELECT pg_terminate_backend(pid, 60000) FROM unnest($1::int[]) pid", pids)
    left = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)"
    assert await other.fetchval(left, pids) == 0
    await other.close()


WRITES = (
    ("POST", "/organization/", {"name": "acme", "email": "a@example.com"}, 201),
    ("PUT", "/organization/acme/robots/ci", {"description": "d"}, 201),
    (
        "POST",
        "/repository",
        {"namespace": "acme", "repository": "app", "visibility": "private", "description": "d"},
        201,
    ),
    ("PUT", "/repository/acme/app/permissions/user/acme+ci", {"role": "write"}, 200),
    ("PUT", "/organization/acme/team/devs", {"role": "member"}, 200),
    ("PUT", "/repository/acme/app", {"description": "other"}, 200),
    ("DELETE", "/repository/acme/app/permissions/user/acme+ci", None, 204),
)


async def test_no_write_fails_whose_session_was_ended_before_it_began(console, database) -> None:
    answers = []
    for method, path, body, _ in WRITES:
        await end_all(database)
        answers.append((await console.call(method, path, body=body)).status_code)
    assert answers == [status for *_, status in WRITES]


async def test_so_many_at_once_that_each_has_an_ended_session_are_all_done(
    console, database
) -> None:
    await console.call("POST", "/organization/", body={"name": "acme", "email": "a@example.com"})
    await end_all(database)
    answers = await asyncio.gather(
        *(
            console.call("PUT", f"/organization/acme/robots/r{number}", body={})
            for number in range(SESSIONS)
        )
    )
    assert [answer.status_code for answer in answers] == [201] * SESSIONS
