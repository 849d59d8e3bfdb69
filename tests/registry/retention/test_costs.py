"""How much of a table is read to find what nothing refers to."""

from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import column, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection
from tests.registry.conftest import only_postgresql
from tests.registry.retention.house import House

from hatoba.registry.db.tables.blobs import image_storages
from hatoba.registry.db.tables.manifests import manifest_blobs
from hatoba.registry.db.tables.tags import tags
from hatoba.registry.retention import store, store_blobs

pytestmark = pytest.mark.anyio
LOOSE, NAMES = 50, 20_000
"""Blobs and manifests that nothing refers to; manifests and tags that all name another one."""
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
    (
        "INSERT INTO manifest (id, repository_id, digest, media_type_id, manifest_bytes)"
        f" SELECT n, 1, 'sha256:' || n, 1, '' FROM generate_series(1, {LOOSE + 1}) AS n"
    ),
    (
        "INSERT INTO tag (name, repository_id, manifest_id, lifetime_start_ms, hidden, reversion,"
        "                 tag_kind_id, immutable)"
        f" SELECT n, 1, 1, 1, false, false, 1, false FROM generate_series(1, {NAMES}) AS n"
    ),
    "ANALYZE imagestorage, manifestblob, manifest, tag",
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


async def page_through(_house: House, connection: AsyncConnection) -> None:
    rows = await store.page_of_manifests(connection, after_id=0, limit=1000)
    assert [row.id for row in rows if not row.is_loose] == [1]
    assert len(rows) == LOOSE + 1


@only_postgresql
@pytest.mark.parametrize("look", [quarantine_all, ask_for_each, page_through])
async def test_no_table_is_read_whole_for_what_nothing_refers_to(
    house, look: Callable[[House, AsyncConnection], Awaitable[None]]
) -> None:
    async with house.shelf.database.begin() as connection:
        for statement in MANY_NAME_ONE:
            await connection.execute(text(statement))
        await look(house, connection)
        tables = table("pg_stat_xact_user_tables", column("relname"), column("seq_tup_read"))
        names = [manifest_blobs.name, tags.name]
        read = select(tables.c.seq_tup_read).where(tables.c.relname.in_(names))
        assert (await connection.execute(read)).scalars().all() == [0, 0]
        await connection.rollback()
