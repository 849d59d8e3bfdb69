"""How much of a table is read to find what nothing refers to."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import column, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.registry.conftest import only_postgresql
from tests.registry.retention.house import House

from hatoba.registry.db.tables.blobs import image_storages
from hatoba.registry.db.tables.manifests import manifest_blobs
from hatoba.registry.retention import store, store_blobs

pytestmark = pytest.mark.anyio
LOOSE, NAMES = 50, 20_000
"""Blobs that nothing refers to, and manifests that all name the one before them."""
MANY_NAME_ONE = (
    "SET LOCAL session_replication_role = replica",
    (
        "INSERT INTO imagestorage (id, uuid, image_size, uploading, cas_path, content_checksum)"
        f" SELECT n, n, 1, false, true, 'sha256:' || n FROM generate_series(1, {LOOSE + 1}) AS n"
    ),
    (
        "INSERT INTO manifestblob (repository_id, manifest_id, blob_id)"
        f" SELECT 1, n, 1 FROM generate_series(1, {NAMES}) AS n"
    ),
    "ANALYZE imagestorage, manifestblob",
)


async def quarantine_all(house: House, connection: AsyncConnection) -> None:
    found = await store.quarantine_blobs(connection, image_storages.c.id > 0, now=house.clock.now())
    assert found == LOOSE


async def ask_for_each(house: House, connection: AsyncConnection) -> None:
    for storage_id in range(1, LOOSE + 2):
        is_used = await store_blobs.is_in_use(
            connection, storage_id=storage_id, now=house.clock.now()
        )
        assert is_used is (storage_id == 1)


@only_postgresql
@pytest.mark.parametrize("look", [quarantine_all, ask_for_each])
async def test_no_table_is_read_whole_for_blobs_that_nothing_refers_to(
    house, look: Callable[[House, AsyncConnection], Awaitable[None]]
) -> None:
    async with house.shelf.database.begin() as connection:
        for statement in MANY_NAME_ONE:
            await connection.execute(text(statement))
        await look(house, connection)
        tables = table("pg_stat_xact_user_tables", column("relname"), column("seq_tup_read"))
        read = select(tables.c.seq_tup_read).where(tables.c.relname == manifest_blobs.name)
        assert (await connection.execute(read)).scalar_one() == 0
        await connection.rollback()
