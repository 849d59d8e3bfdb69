"""A database that Quay made has tables that we do not know, with keys into ours."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select, text, update
from tests.registry.retention.house import open_house

from hatoba.registry.db.migrate import migrate_registry
from hatoba.registry.db.tables.blobs import image_storages
from hatoba.registry.db.tables.manifests import manifests
from hatoba.registry.db.tables.repositories import repositories
from hatoba.registry.db.tables.tags import tags
from hatoba.registry.db.tables.users import users
from hatoba.registry.retention.reports import Reports
from hatoba.sql.engine import open_database

pytestmark = [pytest.mark.anyio, pytest.mark.postgres, pytest.mark.recorded]


@pytest.fixture
async def house(adopted_url):
    database = open_database(adopted_url)
    await migrate_registry(database)
    yield await open_house(database, is_new=False)
    await database.close()


async def _note_something_about_every_tag(connection):
    """Fill a table of Quay's that refers to tags, with what it refers to in turn."""
    await connection.execute(
        text(
            "INSERT INTO repositorynotification (uuid, repository_id, event_id, method_id, title,"
            " config_json, event_config_json, number_of_failures)"
            " SELECT 'n' || r.id, r.id, (SELECT min(id) FROM externalnotificationevent),"
            " (SELECT min(id) FROM externalnotificationmethod), 't', '{}', '{}', 0"
            " FROM repository r"
        )
    )
    await connection.execute(
        text(
            "INSERT INTO tagnotificationsuccess (notification_id, tag_id, method_id)"
            " SELECT n.id, t.id, n.method_id FROM tag t"
            " JOIN repositorynotification n ON n.repository_id = t.repository_id"
        )
    )


async def test_living_tags_of_an_adopted_database_stay(house):
    async with house.shelf.database.read() as connection:
        alive = select(tags.c.name, manifests.c.digest).join(
            manifests, manifests.c.id == tags.c.manifest_id
        )
        alive = alive.where(tags.c.lifetime_end_ms.is_(None), tags.c.hidden.is_(False))
        before = {tuple(row) for row in await connection.execute(alive)}
    house.clock.elapsed += timedelta(days=4000)
    await house.collect_until_nothing_waits()
    async with house.shelf.database.read() as connection:
        assert {tuple(row) for row in await connection.execute(alive)} == before
        assert len(before) > 3


async def test_all_repositories_of_an_adopted_database_can_go(house):
    async with house.shelf.database.begin() as connection:
        await _note_something_about_every_tag(connection)
        await connection.execute(
            update(tags).where(tags.c.id % 2 == 0).values(lifetime_end_ms=tags.c.id)
        )
    await house.collect_until_nothing_waits()
    async with house.shelf.database.begin() as connection:
        left = await connection.execute(select(func.count()).select_from(tags))
        assert left.scalar_one() > 0
        await connection.execute(update(repositories).values(state=3))
    plan = await Reports(collector=house.collector).plan()
    done = await house.collect_until_nothing_waits()
    assert done.repositories == len(plan.repositories) > 3
    for table in (repositories, manifests, tags):
        assert await house.count(table) == 0
    async with house.shelf.database.read() as connection:
        rest = await connection.execute(
            select(image_storages.c.id).where(image_storages.c.cas_path.is_(True))
        )
        assert rest.all() == []


async def test_all_namespaces_of_an_adopted_database_can_go(house):
    async with house.shelf.database.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO deletednamespace (namespace_id, marked, original_username,"
                ' original_email) SELECT id, now(), username, email FROM "user" u WHERE NOT robot'
                " AND NOT EXISTS (SELECT 1 FROM deletednamespace WHERE namespace_id = u.id)"
            )
        )
    done = await house.collect_until_nothing_waits()
    assert done.namespaces > 3
    for table in (users, repositories, manifests, tags):
        assert await house.count(table) == 0
