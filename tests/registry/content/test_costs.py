"""What a pull may ask the database: nothing by a digest that is known, one question by a tag."""

import asyncio
import dataclasses
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import delete, event, text
from tests.registry.content.conftest import NAME, Room

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, TagName
from hatoba.registry.content.manifests import Manifests
from hatoba.registry.content.resolver import PreparedTagResolver
from hatoba.registry.db.tables.tags import tags
from hatoba.sql.engine import DatabaseUnavailable
from hatoba.sql.prepared import prepared_pool

pytestmark = pytest.mark.anyio


class Asked(list[str]):
    """The statements that reached the database, by SQLAlchemy or by asyncpg."""

    def by_sqlalchemy(self, _connection, _cursor, statement, *_: object) -> None:
        self.append(statement)

    def by_asyncpg(self, record) -> None:
        self.append(record.query)


@asynccontextmanager
async def asking(room: Room, asked: Asked):
    """Give a room whose tags are resolved as in production, and write down what is asked."""
    database = room.shelf.database
    event.listen(database.engine.sync_engine, "before_cursor_execute", asked.by_sqlalchemy)
    if not database.is_postgresql:
        yield room
        return
    async with prepared_pool(database, connections=1) as pool:
        async with pool.acquire() as connection:
            connection.add_query_logger(asked.by_asyncpg)
        resolver = PreparedTagResolver(pool=pool, clock=room.clock)
        manifests = Manifests(shelf=room.shelf, resolver=resolver)
        yield dataclasses.replace(room, manifests=manifests)


async def test_a_known_digest_asks_nothing(room) -> None:
    asked = Asked()
    async with asking(room, asked) as watched:
        content = await watched.image()
        await watched.push("v1", content)
        await watched.pull(Digest.of(content))
        asked.clear()
        await watched.pull(Digest.of(content))
    assert asked == []


async def test_a_known_blob_asks_nothing(room) -> None:
    asked = Asked()
    async with asking(room, asked) as watched:
        digest = await watched.push_blob(b"bytes")
        await watched.holdings.find_blob(NAME, digest=digest)
        asked.clear()
        record = await watched.holdings.find_blob(NAME, digest=digest)
        async with watched.holdings.open_blob(record):
            pass
    assert asked == []


async def test_a_tag_asks_one_question(room) -> None:
    asked = Asked()
    async with asking(room, asked) as watched:
        await watched.push("v1", await watched.image())
        await watched.pull("v1")
        asked.clear()
        await watched.pull("v1")
    assert len(asked) == 1


@pytest.fixture
async def resolver(room):
    if not room.shelf.database.is_postgresql:
        pytest.skip("SQLite resolves tags one by one")
    async with prepared_pool(room.shelf.database, connections=1) as pool:
        yield PreparedTagResolver(pool=pool, clock=room.clock)


async def test_tags_that_wait_together_are_asked_for_together(room, resolver) -> None:
    contents = [await room.image(annotations={"n": str(n)}) for n in range(3)]
    for number, content in enumerate(contents):
        await room.push(f"v{number}", content)
    asked = Asked()
    async with resolver.pool.acquire() as connection:
        connection.add_query_logger(asked.by_asyncpg)
    wanted = [TagName(f"v{n % 3}") for n in range(30)]
    missing = [resolver.resolve(NAME, TagName("none"))]
    missing += [resolver.resolve(RepositoryName.parse("someone/other"), TagName("v1"))]
    found = await asyncio.gather(*(resolver.resolve(NAME, tag) for tag in wanted), *missing)
    assert [one.digest for one in found[:30]] == [Digest.of(contents[n % 3]) for n in range(30)]
    assert found[30:] == [None, None]
    assert len(asked) == 1


async def test_who_comes_while_a_question_is_under_way_asks_anew(room, resolver) -> None:
    await room.push("v1", await room.image())
    asked = Asked()
    async with resolver.pool.acquire() as connection:
        connection.add_query_logger(asked.by_asyncpg)
    async with room.shelf.database.begin() as transaction:
        await transaction.execute(text("LOCK TABLE tag"))
        early = asyncio.create_task(resolver.resolve(NAME, TagName("v1")))
        await asyncio.sleep(0.2)
        late = asyncio.create_task(resolver.resolve(NAME, TagName("v1")))
        await asyncio.sleep(0.2)
        await transaction.execute(delete(tags))
    assert [await early, await late] == [None, None]
    assert len(asked) == 2


async def test_who_leaves_takes_nobody_along(room, resolver) -> None:
    content = await room.image()
    await room.push("v1", content)
    leaving, staying = (
        asyncio.create_task(resolver.resolve(NAME, TagName("v1"))) for _ in range(2)
    )
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).digest == Digest.of(content)


async def test_a_lost_connection_is_said_and_replaced(room, resolver) -> None:
    await room.push("v1", await room.image())
    async with resolver.pool.acquire() as connection:
        connection.terminate()
    answers = [await _outcome(resolver) for _ in range(2)]
    assert answers[-1] == "found"
    assert set(answers) <= {"found", "unavailable"}


async def _outcome(resolver: PreparedTagResolver) -> str:
    try:
        await resolver.resolve(NAME, TagName("v1"))
    except DatabaseUnavailable:
        return "unavailable"
    return "found"
