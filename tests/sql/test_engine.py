import asyncio
import errno
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.postgresql import end_sessions

from hatoba.sql.engine import (
    DatabaseUnavailable,
    MalformedDatabaseUri,
    open_database,
    parse_uri,
    translated,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("postgresql://u:p@db/quay", "postgresql+asyncpg://u:p@db/quay"),
        ("postgresql+psycopg2://u:p@db:5433/quay", "postgresql+asyncpg://u:p@db:5433/quay"),
        ("postgresql://u@db/quay?sslmode=disable", "postgresql+asyncpg://u@db/quay?ssl=disable"),
        ("sqlite:////tmp/x.db", "sqlite+aiosqlite:////tmp/x.db"),
        (
            "host=db port=5432 dbname=clair user=c password='a b' sslmode=disable",
            "postgresql+asyncpg://c:a b@db:5432/clair?ssl=disable",
        ),
    ],
)
def test_addresses_of_quay_and_clair_are_understood(uri, expected):
    assert parse_uri(uri).render_as_string(hide_password=False) == expected


@pytest.mark.parametrize("uri", ["mysql://u@h/d", "://", "host", "host=db port=x", "host=db"])
def test_other_addresses_are_refused(uri):
    with pytest.raises(MalformedDatabaseUri):
        parse_uri(uri)


async def test_an_error_does_not_tell_the_values_of_its_statement(database):
    with pytest.raises((DBAPIError, DatabaseUnavailable)) as caught:
        async with database.begin() as connection:
            await connection.execute(text("SELECT :secret FROM nosuch"), {"secret": "pass-word"})
    told = "".join(traceback.format_exception(caught.value))
    assert "FROM nosuch" in told
    assert "('pass-word'" not in told


async def test_a_failing_block_leaves_no_trace(database):
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE t (n integer)"))

    async def insert_and_fail():
        async with database.begin() as connection:
            await connection.execute(text("INSERT INTO t VALUES (1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await insert_and_fail()
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM t"))).scalar() == 0


async def test_writers_wait_for_each_other(database):
    async with database.begin() as connection:
        await connection.execute(text("CREATE TABLE t (n integer)"))
        await connection.execute(text("INSERT INTO t VALUES (0)"))

    async def add_one():
        async with database.begin() as connection:
            await connection.execute(text("UPDATE t SET n = n + 1"))

    await asyncio.gather(*(add_one() for _ in range(8)))
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT n FROM t"))).scalar() == 8


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_server_that_is_not_there_is_unavailable(host):
    database = open_database(f"postgresql://u:p@{host}:1/none")
    with pytest.raises(DatabaseUnavailable):
        async with database.read() as connection:
            await connection.execute(text("SELECT 1"))
    await database.close()


@pytest.mark.parametrize(
    "error", [OSError(errno.EHOSTUNREACH, "no route"), OSError("Multiple exceptions: ...")]
)
def test_a_server_that_no_way_leads_to_is_unavailable(error):
    with pytest.raises(DatabaseUnavailable), translated():
        raise error


def test_a_full_disk_of_ours_is_not_the_databases():
    with pytest.raises(OSError, match="No space left"), translated():
        raise OSError(errno.ENOSPC, "No space left")


@pytest.mark.postgres
def test_a_connection_whose_end_was_not_heard_is_not_used(postgres_server):
    async def ask_before_and_after(url):
        database = open_database(url)
        async with database.begin() as connection:
            before = await connection.scalar(text("SELECT pg_backend_pid()"))
        # The event loop of the pool stands still meanwhile, and hears of nothing.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(end_sessions, url).result()
        async with database.begin() as connection:
            after = await connection.scalar(text("SELECT pg_backend_pid()"))
        await database.close()
        return before, after

    with postgres_server.database() as url:
        before, after = asyncio.run(ask_before_and_after(url))
    assert before != after


async def test_several_may_be_the_first_to_open_a_new_file(tmp_path) -> None:
    async def first(path: Path) -> None:
        database = open_database(f"sqlite:///{path}")
        try:
            async with database.begin() as connection:
                await connection.execute(text("CREATE TABLE IF NOT EXISTS t (id integer)"))
        finally:
            await database.close()

    for number in range(20):
        await asyncio.gather(*(first(tmp_path / f"{number}.db") for _ in range(4)))
