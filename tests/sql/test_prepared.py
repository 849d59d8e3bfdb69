"""Bare connections: one that has failed, or is in a transaction, is not lent again."""

import asyncio
import contextlib

import asyncpg
import pytest

from hatoba.kernel.errors import Conflict
from hatoba.sql.engine import DatabaseUnavailable, open_database
from hatoba.sql.prepared import Questions, open_questions

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def pid_of(questions: Questions) -> int:
    row = await questions.ask_one("SELECT pg_backend_pid() AS pid")
    assert row is not None
    pid: int = row["pid"]
    return pid


class SilentEnds:
    """Stands between client and server; the client never learns that the server hung up."""

    url: str

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._ended = asyncio.Semaphore(0)
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*self._server)
        self._writers += [writer, to_server]
        asking = asyncio.create_task(self._copy(reader, to_server))
        await self._copy(from_server, writer)
        self._ended.release()
        await asking

    async def wait_for_ends(self, count: int) -> None:
        for _ in range(count):
            await self._ended.acquire()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    def close(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@pytest.fixture
def url(postgres_server):
    with postgres_server.database() as made:
        yield made


@pytest.fixture
async def database(url):
    opened = open_database(url)
    yield opened
    await opened.close()


@pytest.fixture
async def questions(database):
    async with open_questions(database, connections=1) as opened:
        yield opened


@pytest.fixture
async def between(database):
    """The same database by a detour that keeps ends of sessions to itself."""
    detour = SilentEnds(database.url.host, database.url.port)
    server = await asyncio.start_server(detour.serve, "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    detour.url = database.url.set(port=port).render_as_string(hide_password=False)
    async with server:
        yield detour


async def test_whoever_asks_first_after_sessions_ended_unasked_is_answered(
    database, between
) -> None:
    through = open_database(between.url)
    async with open_questions(through, connections=3) as questions:
        async with questions.lend() as one, questions.lend() as two, questions.lend() as three:
            idle = {connection.get_server_pid() for connection in (one, two, three)}
        await _terminate(database, *idle)
        await asyncio.wait_for(between.wait_for_ends(3), 60)
        assert await pid_of(questions) not in idle
        between.close()


async def test_a_change_on_a_session_that_ended_unasked_is_put_again(database, between) -> None:
    through = open_database(between.url)
    async with open_questions(through, connections=1) as questions:
        idle = await pid_of(questions)
        await _terminate(database, idle)
        await asyncio.wait_for(between.wait_for_ends(1), 60)
        asked: list[bool] = []

        async def put(connection, *, is_again):
            asked.append(is_again)
            return await connection.fetchval("SELECT pg_backend_pid()")

        assert await questions.change(put) != idle
        assert asked == [False, True]
        between.close()


async def test_a_transaction_on_a_session_that_ended_unasked_is_begun_again(
    database, between
) -> None:
    through = open_database(between.url)
    async with open_questions(through, connections=1) as questions:
        idle = await pid_of(questions)
        await _terminate(database, idle)
        await asyncio.wait_for(between.wait_for_ends(1), 60)
        asking = questions.transact(lambda one: one.fetchval("SELECT pg_backend_pid()"))
        async with asking as pid:
            assert pid != idle
        between.close()


async def test_a_transaction_whose_session_ends_later_is_not_begun_again(
    questions, database
) -> None:
    await _run(questions, "CREATE TABLE kept (value int)")
    with pytest.raises(DatabaseUnavailable):
        async with questions.transact(
            lambda one: one.fetchval("INSERT INTO kept VALUES (1) RETURNING pg_backend_pid()")
        ) as pid:
            await _terminate(database, pid)
    assert await questions.ask("SELECT FROM kept") == []


async def test_a_transaction_is_committed_unless_its_block_fails(questions) -> None:
    await _run(questions, "CREATE TABLE kept (value int)")
    async with questions.transact(lambda one: one.execute("INSERT INTO kept VALUES (1)")):
        pass
    with pytest.raises(Conflict):
        async with questions.transact(lambda one: one.execute("INSERT INTO kept VALUES (2)")):
            raise Conflict("not like this")
    assert [row["value"] for row in await questions.ask("SELECT value FROM kept")] == [1]


async def test_a_session_that_ends_under_a_statement_is_said_and_replaced(questions) -> None:
    before = await pid_of(questions)
    with pytest.raises(DatabaseUnavailable):
        await questions.ask("SELECT pg_terminate_backend(pg_backend_pid())")
    assert await pid_of(questions) != before


ENDING = "SELECT nextval('asked'), pg_terminate_backend(pg_backend_pid())"


async def _run(questions: Questions, statement: str) -> None:
    async with questions.lend() as connection:
        await connection.execute(statement)


@pytest.mark.parametrize("way", ["ask_one", "ask"])
async def test_what_changes_nothing_is_asked_twice_and_not_more(questions, way) -> None:
    await _run(questions, "CREATE SEQUENCE asked")
    with pytest.raises(DatabaseUnavailable):
        await getattr(questions, way)(ENDING)
    [row] = await questions.ask("SELECT last_value FROM asked")
    assert row["last_value"] == 2


async def test_a_transaction_that_was_left_open_ends_with_its_connection(questions) -> None:
    async with questions.lend() as connection:
        await connection.execute("BEGIN; CREATE TABLE left_open ()")
    assert await questions.ask("SELECT FROM pg_tables WHERE tablename = 'left_open'") == []


async def test_a_connection_that_failed_is_replaced(questions) -> None:
    before = await pid_of(questions)
    with pytest.raises(asyncpg.UndefinedTableError):
        await questions.ask("SELECT FROM nowhere")
    assert await pid_of(questions) != before


async def test_a_refusal_of_ours_costs_no_connection(questions) -> None:
    before = await pid_of(questions)
    with pytest.raises(Conflict):
        await _refuse(questions)
    assert await pid_of(questions) == before


async def _refuse(questions) -> None:
    async with questions.lend() as connection, connection.transaction():
        raise Conflict("not like this")


async def _terminate(database, *pids: int) -> None:
    connection = await asyncpg.connect(**database.asyncpg_arguments())
    # Returns when they have ended.
    ended = "SELECT pg_terminate_backend(pid, 60000) FROM unnest($1::int[]) pid"
    await connection.execute(ended, pids)
    await connection.close()


# -- asked together --

COUNTED = "SELECT $1::text AS given, pg_backend_pid() AS pid"


@pytest.fixture
async def told(questions):
    """What the one connection was asked."""
    heard: list[str] = []
    async with questions.lend() as connection:
        connection.add_query_logger(lambda record: heard.append(str(record.args)))
    return heard


async def test_those_who_wait_with_the_same_question_share_its_answer(questions, told) -> None:
    async with questions.lend():
        waiting = [
            asyncio.create_task(questions.ask_together(COUNTED, given)) for given in "aabbaab"
        ]
        await asyncio.sleep(0)
    answers = [(await task)[0]["given"] for task in waiting]
    assert answers == list("aabbaab")
    assert sorted(told) == ["('a',)", "('b',)"]


async def test_whoever_comes_when_the_question_is_under_way_asks_anew(questions, url, told) -> None:
    other = await asyncpg.connect(url)
    await other.execute("CREATE TABLE things (name text); INSERT INTO things VALUES ('old')")
    transaction = other.transaction()
    await transaction.start()
    await other.execute("LOCK TABLE things")
    ask = "SELECT name FROM things"
    early = asyncio.create_task(questions.ask_together(ask))
    deadline = asyncio.get_running_loop().time() + 60
    while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        assert asyncio.get_running_loop().time() < deadline, "the question never waits"
        await asyncio.sleep(0.01)
    late = asyncio.create_task(questions.ask_together(ask))
    await asyncio.sleep(0)
    await other.execute("UPDATE things SET name = 'new'")
    await transaction.commit()
    await asyncio.gather(early, late)
    assert (await late)[0]["name"] == "new"
    assert len(told) == 2
    await other.close()


async def test_who_leaves_takes_nobody_along(questions, told) -> None:
    async with questions.lend():
        leaving, staying = (
            asyncio.create_task(questions.ask_together(COUNTED, "a")) for _ in range(2)
        )
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.sleep(0)
    assert (await staying)[0]["given"] == "a"
    assert leaving.cancelled()
    assert len(told) == 1


async def test_a_failure_is_everybody_s_and_is_not_kept(questions) -> None:
    async with questions.lend():
        waiting = [
            asyncio.create_task(questions.ask_together("SELECT 1 / $1::int", 0)) for _ in range(2)
        ]
        await asyncio.sleep(0)
    failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(failure) for failure in failures] == [asyncpg.DivisionByZeroError] * 2
    assert (await questions.ask_together("SELECT 1 / $1::int AS one", 1))[0]["one"] == 1
