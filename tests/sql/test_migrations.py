"""Revisions one by one: what a crash, a failure and a table in use leave behind."""

import asyncio

import pytest
from sqlalchemy import inspect, text

from hatoba.sql.engine import DatabaseUnavailable, open_database
from hatoba.sql.migrations import LockPatience, migrate
from hatoba.sql.revisions import applied_revision, oldest_head

pytestmark = pytest.mark.anyio

only_postgresql = pytest.mark.parametrize(
    "database_uri", [pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)

REVISION = """
from alembic import op
revision, down_revision, branch_labels, depends_on = "{revision}", {before}, None, None
def upgrade():
    {then}
"""


@pytest.fixture
def directory(tmp_path):
    """Where `revise` puts revisions."""
    (tmp_path / "revisions" / "versions").mkdir(parents=True)
    return tmp_path / "revisions"


def revise(directory, revision, then):
    before = None if revision == "0001" else f"{int(revision) - 1:04}"
    source = REVISION.format(revision=revision, before=repr(before), then=then)
    (directory / "versions" / f"{revision}.py").write_text(source)


async def tables_of(database):
    async with database.read() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_a_failing_revision_leaves_the_one_before_and_is_taken_up_again(database, directory):
    revise(directory, "0001", "op.execute('CREATE TABLE first (id integer)')")
    revise(directory, "0002", "op.execute('CREATE TABLE second (id integer)'); raise KeyError('x')")
    with pytest.raises(KeyError):
        await migrate(database, directory=directory)
    assert await applied_revision(database) == "0001"
    assert await tables_of(database) == {"first", "hatoba_alembic_version"}
    revise(directory, "0002", "op.execute('CREATE TABLE second (id integer)')")
    assert await migrate(database, directory=directory) == "0002"
    assert {"first", "second"} <= await tables_of(database)


async def test_a_contract_says_whose_code_still_works_in_its_own_transaction(database, directory):
    contract = "op.execute('DROP TABLE first'){more}\nkind, serves_from = 'contract', '{oldest}'"
    revise(directory, "0001", "op.execute('CREATE TABLE first (id integer)')\nkind = 'expand'")
    await migrate(database, directory=directory)
    assert await oldest_head(database) is None
    revise(directory, "0002", contract.format(more="; raise KeyError('x')", oldest="0002"))
    with pytest.raises(KeyError):
        await migrate(database, directory=directory)
    assert await oldest_head(database) is None
    revise(directory, "0002", contract.format(more="", oldest="0001"))
    revise(directory, "0003", "op.execute('CREATE TABLE first (id integer)')\nkind = 'expand'")
    revise(directory, "0004", contract.format(more="", oldest="0003"))
    await migrate(database, directory=directory, target="0003")
    assert await oldest_head(database) == "0001"
    await migrate(database, directory=directory)
    assert await oldest_head(database) == "0003"


async def test_two_migrators_take_turns(database, database_uri, directory):
    for number in range(1, 4):
        revise(directory, f"000{number}", f"op.execute('CREATE TABLE t{number} (id integer)')")
    other = open_database(database_uri)
    try:
        found = await asyncio.gather(
            migrate(database, directory=directory), migrate(other, directory=directory)
        )
    finally:
        await other.close()
    assert found == ["0003", "0003"]


@pytest.fixture
async def held(database, directory):
    """A database with a revision that changes a table, and a connection that uses the table."""
    revise(directory, "0001", "op.execute('CREATE TABLE busy (id integer)')")
    await migrate(database, directory=directory)
    revise(directory, "0002", "op.execute('ALTER TABLE busy ADD note text')")
    async with database.engine.connect() as holder:
        await holder.execute(text("SELECT * FROM busy"))
        yield database, holder


@only_postgresql
async def test_a_table_in_use_is_asked_for_as_often_as_was_said(held, directory):
    database, _ = held
    patience = LockPatience(timeout_ms=20, attempts=3, pause_seconds=0)
    with pytest.raises(DatabaseUnavailable, match="in use at 3 attempts"):
        await migrate(database, directory=directory, patience=patience)
    assert await applied_revision(database) == "0001"


@only_postgresql
async def test_whoever_waits_for_a_table_lets_readers_pass_and_gets_it_in_the_end(held, directory):
    database, holder = held
    patience = LockPatience(timeout_ms=20, attempts=3000, pause_seconds=0.02)
    migrating = asyncio.create_task(migrate(database, directory=directory, patience=patience))
    for _ in range(20):
        async with database.read() as connection:
            await connection.execute(text("SELECT * FROM busy"))
    assert not migrating.done()
    await holder.rollback()
    assert await migrating == "0002"
