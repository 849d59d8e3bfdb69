"""Manifests that another version stored unread are found by their subjects after a while."""

import pytest
from sqlalchemy import select, update
from tests.registry.content.conftest import NAME
from tests.registry.retention.house import open_house

from hatoba.kernel.digests import Digest
from hatoba.oci import media_types
from hatoba.registry.content.backfill import Backfill
from hatoba.registry.db.migrate import migrate_registry
from hatoba.registry.db.tables.manifests import manifests
from hatoba.registry.workers.backfill import backfill_duties
from hatoba.sql.engine import open_database

pytestmark = pytest.mark.anyio

UNREAD = {
    "subject": None,
    "subject_backfilled": None,
    "artifact_type": None,
    "artifact_type_backfilled": None,
}


async def change(database, statement) -> None:
    async with database.begin() as connection:
        await connection.execute(statement)


async def referrers(room, subject: Digest) -> list[str]:
    page = await room.listings.list_referrers(
        NAME, subject=str(subject), artifact_type="application/x", after=None, limit=10
    )
    return [str(one["digest"]) for one in page.descriptors]


@pytest.mark.parametrize("flag", [None, False])
async def test_a_referrer_that_was_stored_unread_is_listed(room, flag) -> None:
    content = await room.image()
    await room.push("v1", content)
    subject = Digest.of(content)
    pointer = {"mediaType": media_types.OCI_MANIFEST, "digest": str(subject)}
    referrer = await room.image(
        artifactType="application/x", subject={**pointer, "size": len(content)}
    )
    await room.push("sig", referrer)
    unread = {**UNREAD, "subject_backfilled": flag}
    await change(room.shelf.database, update(manifests).values(**unread))
    assert await referrers(room, subject) == []
    backfill = Backfill(shelf=room.shelf)
    assert await backfill.fill_subjects(limit=1) == 1
    assert await backfill.fill_subjects() == 1
    assert await referrers(room, subject) == [str(Digest.of(referrer))]
    assert await backfill.fill_subjects() == 0


async def test_what_cannot_be_read_is_not_read_for_ever(room) -> None:
    await room.push("v1", await room.image())
    broken = {**UNREAD, "manifest_bytes": '{"schemaVersion": 1}'}
    await change(room.shelf.database, update(manifests).values(**broken))
    assert await Backfill(shelf=room.shelf).fill_subjects() == 1
    [row] = await room.rows(manifests)
    assert (row.subject, row.subject_backfilled) == (None, True)


@pytest.mark.postgres
@pytest.mark.recorded
async def test_a_database_that_quay_made_is_read_to_its_end(adopted_url) -> None:
    database = open_database(adopted_url)
    await migrate_registry(database)
    house = await open_house(database, is_new=False)
    async with database.read() as connection:
        before = {
            row.id: (row.subject, row.artifact_type)
            for row in await connection.execute(select(manifests))
        }
    assert any(subject for subject, _ in before.values()), "the recording has referrers"
    await change(database, update(manifests).values(subject=None, subject_backfilled=None))
    [duty] = backfill_duties(Backfill(shelf=house.shelf))
    assert await duty.run() == len(before)
    async with database.read() as connection:
        rows = (await connection.execute(select(manifests))).all()
    assert {row.id: row.subject for row in rows} == {
        number: subject for number, (subject, _) in before.items()
    }
    await database.close()
