"""Who serves which database: nobody one that is behind, everybody one that is ahead."""

import pytest
from sqlalchemy import text

from hatoba.registry.db.migrate import known_revisions, migrate_registry
from hatoba.registry.db.standing import (
    HEAD,
    DatabaseNotMigrated,
    Schema,
    Standing,
    require_schema,
    schema_of,
    wait_until_migrated,
)

pytestmark = pytest.mark.anyio


def test_what_is_served_is_the_last_revision_there_is():
    assert known_revisions()[-1] == HEAD


@pytest.mark.parametrize(
    ("applied", "standing", "lack"),
    [
        (None, Standing.EMPTY, "the database has no tables: run `hatoba registry migrate`"),
        (
            "0009",
            Standing.BEHIND,
            (
                "the database is at revision 0009 and this version needs 0010: "
                "run `hatoba registry migrate`"
            ),
        ),
        ("0010", Standing.CURRENT, ""),
        ("0011", Standing.AHEAD, ""),
    ],
)
def test_a_database_is_judged_by_its_revision(applied, standing, lack):
    schema = Schema(applied=applied, needed="0010")
    assert (schema.standing, schema.lack) == (standing, lack)


@pytest.mark.parametrize(
    ("oldest", "lack"),
    [
        ("0010", ""),
        (
            "0011",
            (
                "the database is at revision 0012, which serves versions of revision 0011 and "
                "later, and this version is of 0010: run a later version"
            ),
        ),
    ],
)
def test_a_database_ahead_serves_those_that_can_do_without_what_was_taken(oldest, lack):
    schema = Schema(applied="0012", needed="0010", oldest=oldest)
    assert (schema.standing, schema.lack) == (Standing.AHEAD, lack)


async def test_an_empty_database_and_one_that_is_behind_are_refused(empty_database):
    with pytest.raises(DatabaseNotMigrated, match="has no tables"):
        await require_schema(empty_database)
    await migrate_registry(empty_database, target=known_revisions()[0])
    with pytest.raises(
        DatabaseNotMigrated, match=f"at revision 0001 and this version needs {HEAD}"
    ):
        await require_schema(empty_database)


async def test_a_database_that_is_as_it_should_be_or_ahead_is_served(database):
    await require_schema(database)
    async with database.begin() as connection:
        await connection.execute(text("UPDATE hatoba_alembic_version SET version_num = '9999'"))
    await require_schema(database)
    assert (await schema_of(database)).standing is Standing.AHEAD
    async with database.begin() as connection:
        await connection.execute(
            text("CREATE TABLE hatoba_alembic_version_floor (oldest_head VARCHAR(32) NOT NULL)")
        )
        await connection.execute(
            text("INSERT INTO hatoba_alembic_version_floor VALUES (:head)"), {"head": HEAD}
        )
    await require_schema(database)
    async with database.begin() as connection:
        await connection.execute(
            text("UPDATE hatoba_alembic_version_floor SET oldest_head = '9998'")
        )
    with pytest.raises(DatabaseNotMigrated, match="serves versions of revision 9998 and later"):
        await require_schema(database)
    await wait_until_migrated(database)
