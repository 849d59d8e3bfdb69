"""The scanner's revisions make what its tables declare, also over tables that are there already."""

import pytest
from tests.registry.db.shapes import shape_of

from hatoba.scanner.migrate import VERSION_TABLE, migrate_scanner
from hatoba.scanner.tables import METADATA
from hatoba.sql.engine import open_database
from hatoba.sql.revisions import applied_revision

pytestmark = pytest.mark.anyio


async def test_all_revisions_together_make_what_the_tables_declare(database_uri):
    database = open_database(database_uri)
    try:
        async with database.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        declared = await shape_of(database)
        async with database.begin() as connection:
            await connection.run_sync(METADATA.drop_all)
        revision = await migrate_scanner(database)
        assert await applied_revision(database, version_table=VERSION_TABLE) == revision
        assert await shape_of(database) == declared
        assert set(declared) == set(METADATA.tables)
    finally:
        await database.close()
