"""A server's content in another server, complete and equal.

Copied from is PostgreSQL 13, or what HATOBA_TEST_POSTGRES_BEFORE names: a directory with `initdb` and
`postgres` of an older major version. Where neither can be had both are of this machine's version.
"""

import asyncio
import os
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.postgresql import older_postgres, own_postgres, program

from hatoba.registry.backup.errors import CopyDiffers, DumpFailed
from hatoba.registry.backup.relocation import Server, compare_database, copy_server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
OLDER = os.environ.get("HATOBA_TEST_POSTGRES_BEFORE", "")
CONTENT = """
CREATE EXTENSION pg_trgm;
CREATE TABLE plain (id serial PRIMARY KEY, name text NOT NULL, made timestamptz DEFAULT now());
INSERT INTO plain (name) SELECT 'name ' || n FROM generate_series(1, 500) n;
CREATE INDEX by_name ON plain USING gin (name gin_trgm_ops);
CREATE TABLE "Odd one" (raw bytea, number double precision, words json, missing text);
INSERT INTO "Odd one" VALUES ('\\x00ff', 0.1, '{"a": [1, null]}', NULL),
    ('', 'NaN', '"\\u6ce2\\u6b62\\u5834"', '波止場');
CREATE TABLE nothing (id bigint);
CREATE SCHEMA apart;
CREATE TABLE apart.child (plain_id int REFERENCES public.plain);
INSERT INTO apart.child VALUES (7);
ALTER TABLE plain OWNER TO quay;
GRANT SELECT ON plain TO reader;
"""

ROLES = (
    "SELECT string_agg(rolname || coalesce(rolpassword, '-'), ',' ORDER BY rolname)"
    " FROM pg_authid WHERE rolname IN ('quay', 'reader')"
)
OWNER = (
    "SELECT datdba::regrole || datcollate || pg_encoding_to_char(encoding) FROM pg_database"
    " WHERE datname = 'my-quay'"
)


async def connect(server, database="postgres"):
    return await asyncpg.connect(
        host=server.host, port=server.port, user="postgres", database=database
    )


async def ask(server, question, database="postgres"):
    connection = await connect(server, database)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def do(server, statements, database="postgres"):
    connection = await connect(server, database)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def an_administrator(url):
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE ROLE postgres SUPERUSER LOGIN PASSWORD 'root'")
    await connection.close()
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return Server(host=parts.hostname, port=parts.port, password="root")


async def fill(source):
    await do(source, "CREATE ROLE quay LOGIN PASSWORD 'secret'; CREATE ROLE reader")
    await do(source, 'CREATE DATABASE "my-quay" OWNER quay')
    await do(source, "ALTER DATABASE \"my-quay\" SET work_mem = '7MB'")
    await do(source, CONTENT, "my-quay")
    await do(source, "CREATE TABLE note AS SELECT 1 AS one")


@pytest.fixture(scope="module")
def older():
    """Where an older PostgreSQL is; "" where there is none."""
    if OLDER:
        yield OLDER
        return
    with tempfile.TemporaryDirectory(prefix="hatoba-test-older-") as directory:
        Path(directory).chmod(0o755)
        yield str(older_postgres(Path(directory)) or "")


@pytest.fixture(scope="module")
def servers(older):
    """A server with content and one to copy to."""
    if program("pg_dump") is None:
        pytest.skip("no PostgreSQL client programs (Debian: postgresql-client)")
    with own_postgres(older) as old, own_postgres() as new:
        found = asyncio.run(an_administrator(old.url)), asyncio.run(an_administrator(new.url))
        asyncio.run(fill(found[0]))
        yield found


@pytest.fixture
async def copied(servers):
    await copy_server(*servers)
    return servers


async def test_everything_arrives_and_a_second_run_begins_anew(servers, older):
    source, target = servers
    if older:
        assert await ask(source, "SHOW server_version") != await ask(target, "SHOW server_version")
    # What an image makes at its first start, and what an attempt that was cut off left.
    await do(target, "DROP TABLE IF EXISTS note; CREATE TABLE note (something text)")
    await do(target, 'DROP DATABASE IF EXISTS "my-quay"')
    await do(target, 'CREATE DATABASE "my-quay"')
    await do(target, "CREATE TABLE plain AS SELECT 'half' AS name", "my-quay")
    for _ in range(2):
        assert await copy_server(source, target) == {"my-quay": 4, "postgres": 1}
    for question in (ROLES, OWNER):
        assert await ask(source, question) == await ask(target, question)
    assert await ask(target, "SHOW work_mem", "my-quay") == "7MB"
    assert await ask(target, "SELECT nextval('plain_id_seq')", "my-quay") == 501
    assert await ask(target, "SELECT count(*) FROM plain WHERE name % 'name 42'", "my-quay") > 0
    rights = "SELECT has_table_privilege('reader', 'plain', 'SELECT')"
    assert await ask(target, rights, "my-quay") is True


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ("DELETE FROM plain WHERE id = 42", "table public.plain"),
        ("UPDATE plain SET name = 'other' WHERE id = 42", "table public.plain"),
        ("DROP TABLE nothing", "table public.nothing (0 rows 0 before, nothing after)"),
        ("SELECT setval('plain_id_seq', 3)", "sequence public.plain_id_seq (500 before, 3 after)"),
    ],
)
async def test_a_difference_is_found_and_named(copied, harm, told):
    source, target = copied
    connection = await connect(target, "my-quay")
    await connection.execute(harm)
    await connection.close()
    with pytest.raises(CopyDiffers) as caught:
        await compare_database(source, target, "my-quay")
    assert told in caught.value.message


async def test_a_server_that_is_not_there_ends_the_copy(servers):
    source, target = servers
    with pytest.raises(DumpFailed, match="psql ended with 2"):
        await copy_server(source, Server(host=target.host, port=1, password="root"))
    with pytest.raises(DumpFailed, match="pg_dumpall ended with"):
        await copy_server(Server(host=source.host, port=1, password="root"), target)
