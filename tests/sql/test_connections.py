"""Lent connections: none is lost, none is lent twice, and nobody waits for ever."""

import asyncio

import asyncpg
import pytest

from hatoba.sql.connections import Connections
from hatoba.sql.engine import ServerConnection

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
LIMIT = 2


@pytest.fixture
def url(postgres_server):
    with postgres_server.database() as made:
        yield made


@pytest.fixture
async def opened(url):
    """What was opened, in order."""
    return []


@pytest.fixture
async def connections(url, opened):
    async def connect():
        connection = await asyncpg.connect(url, connection_class=ServerConnection)
        opened.append(connection)
        return connection

    made = Connections(connect, limit=LIMIT, patience_seconds=60)
    yield made
    await made.close()
    for connection in opened:
        connection.terminate()


async def take_all(connections):
    return [await asyncio.wait_for(connections.take(), 60) for _ in range(LIMIT)]


async def waiting(connections):
    """Return a taker who waits, as all others are busy."""
    task = asyncio.create_task(connections.take())
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_no_more_are_opened_than_the_limit_and_who_waits_is_served_in_turn(
    connections, opened
) -> None:
    first, second = await take_all(connections)
    early, late = await waiting(connections), await waiting(connections)
    connections.give_back(second)
    assert await early is second
    assert not late.done()
    connections.give_back(first)
    assert await late is first
    assert len(opened) == LIMIT


async def test_what_came_back_last_is_lent_first(connections) -> None:
    first, second = await take_all(connections)
    connections.give_back(first)
    connections.give_back(second)
    assert await connections.take() is second


async def test_who_waits_for_one_that_is_given_up_opens_another(connections, opened) -> None:
    first, second = await take_all(connections)
    task = await waiting(connections)
    connections.give_up(first)
    third = await task
    assert third not in (first, second)
    assert opened == [first, second, third]


async def test_one_in_a_transaction_is_not_lent_again(connections) -> None:
    first, second = await take_all(connections)
    await first.execute("BEGIN")
    for one in (first, second):
        connections.give_back(one)
    assert first.is_closed()
    assert first not in await take_all(connections)


async def test_one_whose_session_ended_is_not_lent_again(connections, url) -> None:
    first, second = await take_all(connections)
    pids = [one.get_server_pid() for one in (first, second)]
    for one in (first, second):
        connections.give_back(one)
    other = await asyncpg.connect(url)
    await other.execute("SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) pid", pids)
    alive = "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY ($1)"
    while await other.fetchval(alive, pids):  # noqa: ASYNC110 -- the server decides
        await asyncio.sleep(0.01)
    await other.close()
    assert not {first, second} & set(await take_all(connections))


@pytest.mark.parametrize("is_given", [False, True], ids=["while waiting", "as it is given"])
async def test_who_leaves_takes_none_along(connections, is_given) -> None:
    first, second = await take_all(connections)
    leaving = await waiting(connections)
    if is_given:
        connections.give_back(first)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    if not is_given:
        connections.give_back(first)
    connections.give_back(second)
    assert set(await take_all(connections)) == {first, second}


async def test_who_leaves_as_he_may_open_one_leaves_that_to_others(connections) -> None:
    first, second = await take_all(connections)
    leaving = await waiting(connections)
    connections.give_up(first)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    connections.give_back(second)
    assert second in await take_all(connections)


async def test_what_cannot_be_opened_takes_no_place(url) -> None:
    refusals = [OSError("no way"), OSError("no way"), OSError("no way")]

    async def connect():
        if refusals:
            raise refusals.pop()
        return await asyncpg.connect(url, connection_class=ServerConnection)

    connections = Connections(connect, limit=1, patience_seconds=60)
    for _ in range(3):
        with pytest.raises(OSError, match="no way"):
            await connections.take()
    connections.give_back(await asyncio.wait_for(connections.take(), 60))
    await connections.close()


async def test_nobody_waits_longer_than_the_patience_and_nothing_is_lost_by_it(url) -> None:
    async def connect():
        return await asyncpg.connect(url, connection_class=ServerConnection)

    connections = Connections(connect, limit=1, patience_seconds=0.05)
    only = await connections.take()
    with pytest.raises(TimeoutError, match="busy"):
        await connections.take()
    connections.give_back(only)
    assert await connections.take() is only
    connections.give_back(only)
    await connections.close()
    assert only.is_closed()


async def test_what_comes_back_after_the_end_is_ended(connections) -> None:
    first, second = await take_all(connections)
    connections.give_back(first)
    await connections.close()
    assert first.is_closed()
    assert not second.is_closed()
    connections.give_back(second)
    assert second.is_closed()
