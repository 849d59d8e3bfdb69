import pytest
from sqlalchemy import inspect, select, text

from hatoba.registry.db.migrate import migrate_registry
from hatoba.registry.db.tables import METADATA
from hatoba.registry.db.tables.contents import LOOKUPS
from hatoba.sql.engine import open_database
from hatoba.sql.revisions import applied_revision

pytestmark = pytest.mark.anyio


async def test_an_empty_database_gets_every_table_and_lookup_row(empty_database):
    assert await applied_revision(empty_database) is None
    revision = await migrate_registry(empty_database)
    assert await applied_revision(empty_database) == revision
    async with empty_database.read() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        assert set(METADATA.tables) <= set(names)
        for name, expected in LOOKUPS.items():
            table = METADATA.tables[name]
            rows = (await connection.execute(select(table.c.name).order_by(table.c.id))).scalars()
            assert tuple(rows) == expected


async def test_migrating_twice_changes_nothing(empty_database):
    assert await migrate_registry(empty_database) == await migrate_registry(empty_database)


async def test_missing_parts_of_an_older_schema_are_added(empty_database):
    await migrate_registry(empty_database)
    async with empty_database.begin() as connection:
        await connection.execute(text("DROP TABLE hatoba_alembic_version"))
        await connection.execute(text("DROP INDEX tag_repository_id_immutable"))
        await connection.execute(text("DROP INDEX tag_manifest_id_immutable"))
        await connection.execute(text("ALTER TABLE tag DROP COLUMN immutable"))
        await connection.execute(text("DELETE FROM logentrykind WHERE name = 'create_repo'"))
    await migrate_registry(empty_database)
    async with empty_database.read() as connection:
        columns = await connection.run_sync(lambda sync: inspect(sync).get_columns("tag"))
        indexes = await connection.run_sync(lambda sync: inspect(sync).get_indexes("tag"))
        kinds = (await connection.execute(text("SELECT name FROM logentrykind"))).scalars().all()
    assert "immutable" in {column["name"] for column in columns}
    assert "tag_repository_id_immutable" in {index["name"] for index in indexes}
    assert "create_repo" in kinds


@pytest.mark.postgres
@pytest.mark.recorded
async def test_a_quay_database_is_adopted_in_place(adopted_url):
    database = open_database(adopted_url)
    count = text('SELECT (SELECT count(*) FROM "user"), (SELECT count(*) FROM tag)')
    async with database.read() as connection:
        before = (await connection.execute(count)).one()
    await migrate_registry(database)
    async with database.read() as connection:
        assert (await connection.execute(count)).one() == before
        assert before[0] > 10
        quays_own = await connection.execute(text("SELECT version_num FROM alembic_version"))
        assert quays_own.scalar_one() == "9fa37f66a9b6"
    await database.close()


@pytest.mark.postgres
@pytest.mark.recorded
async def test_our_tables_are_column_for_column_those_of_quay(adopted_url, fresh_url):
    fresh, adopted = open_database(fresh_url), open_database(adopted_url)
    await migrate_registry(fresh)
    ours, theirs = await _shape(fresh), await _shape(adopted)
    await fresh.close()
    await adopted.close()
    names = [name for name in METADATA.tables if not name.startswith("hatoba_")]
    assert {name: ours[name] for name in names} == {name: theirs[name] for name in names}


async def _shape(database):
    """Columns with types and nullability, and indexes, of every table."""
    columns = text(
        "SELECT table_name, column_name, data_type, character_maximum_length, is_nullable"
        " FROM information_schema.columns WHERE table_schema = 'public'"
    )
    indexes = text(
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE indexname NOT LIKE '%pk%'"
    )
    shape: dict = {}
    async with database.read() as connection:
        for row in await connection.execute(columns):
            shape.setdefault(row[0], set()).add(tuple(row[1:]))
        for row in await connection.execute(indexes):
            shape.setdefault(row[0], set()).add(tuple(row[1:]))
    return shape
