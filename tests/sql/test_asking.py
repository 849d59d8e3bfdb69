"""Asking past the driver's wrappers: the same answers, also when a table has changed."""

import asyncio

import pytest

from hatoba.sql import engine
from hatoba.sql.engine import ASKS_DIRECTLY, open_database
from hatoba.sql.prepared import open_questions

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
THREE = "SELECT n, n::text AS name FROM generate_series(1, $1::int) AS n"


@pytest.fixture
def url(postgres_server):
    with postgres_server.database() as made:
        yield made


@pytest.fixture
async def connection(url):
    database = open_database(url)
    async with open_questions(database, connections=1) as questions, questions.lend() as lent:
        yield lent
    await database.close()


def test_the_insides_of_the_locked_driver_are_known() -> None:
    # Where this fails, read the driver's `bind_execute` again before its version is added.
    assert ASKS_DIRECTLY


@pytest.mark.parametrize("directly", [True, False])
@pytest.mark.parametrize(("limit", "rows"), [(0, 3), (1, 1), (3, 3), (9, 3)])
async def test_the_rows_are_those_of_fetch_up_to_the_limit(
    connection, monkeypatch, *, directly: bool, limit: int, rows: int
) -> None:
    monkeypatch.setattr(engine, "ASKS_DIRECTLY", directly)
    for _ in range(2):
        asked = await connection.ask(THREE, (3,), limit=limit)
        assert asked == (await connection.fetch(THREE, 3))[:rows]


async def test_a_table_that_has_changed_is_read_as_it_is_now(connection) -> None:
    await connection.execute("CREATE TABLE changing (a int); INSERT INTO changing VALUES (1)")
    assert [dict(row) for row in await connection.ask("SELECT * FROM changing", ())] == [{"a": 1}]
    await connection.execute("ALTER TABLE changing ADD COLUMN b int DEFAULT 2")
    for _ in range(2):
        [row] = await connection.ask("SELECT * FROM changing", ())
        assert dict(row) == {"a": 1, "b": 2}


async def test_who_listens_to_questions_hears_of_each(connection) -> None:
    heard = asyncio.Queue[str]()
    await connection.ask(THREE, (1,))
    with connection.query_logger(lambda record: heard.put_nowait(record.query)):
        await connection.ask(THREE, (1,))
        assert await asyncio.wait_for(heard.get(), 60) == THREE
