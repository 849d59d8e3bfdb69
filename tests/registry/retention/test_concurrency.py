"""Pushes and collections at the same time, on PostgreSQL, over connections of their own."""

import asyncio

import pytest
from sqlalchemy import func, select, text
from tests.registry.retention.house import NAMES, TIME_MACHINE, open_house

from hatoba.kernel.digests import Digest
from hatoba.registry.content.errors import BlobUnknown, ManifestContentUnknown, ManifestUnknown
from hatoba.registry.db.migrate import migrate_registry
from hatoba.registry.db.tables.blobs import image_storages
from hatoba.registry.db.tables.manifests import manifests
from hatoba.registry.retention.models import RetentionPolicy
from hatoba.registry.retention.service import Collector
from hatoba.sql.engine import open_database

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
PUSHERS, PUSHES, MOST_PUSHES = 4, 12, 300


@pytest.fixture
async def house(fresh_url):
    """A house whose collections wait for nothing: no time machine, no quarantine."""
    database = open_database(fresh_url)
    await migrate_registry(database)
    made = await open_house(database)
    async with database.begin() as connection:
        await connection.execute(text('UPDATE "user" SET removed_tag_expiration_s = 0'))
    yield made
    await database.close()


@pytest.fixture
async def collectors(house, fresh_url):
    """Collectors as two processes have them."""
    policy = RetentionPolicy(quarantine=-TIME_MACHINE, tags_per_batch=3)
    database = open_database(fresh_url)
    other = await open_house(database, blobs=house.shelf.blobs, is_new=False)
    other.clock = house.clock
    object.__setattr__(other.shelf, "clock", house.clock)
    yield [Collector(shelf=one.shelf, policy=policy) for one in (house, other)]
    await database.close()


async def test_nothing_pushed_is_lost_while_everything_around_is_collected(house, collectors):
    """Pushers share blobs, overwrite their tags and delete them; collectors never rest."""
    stop = asyncio.Event()
    done = {"manifests": 0, "blobs": 0}

    async def collect(collector):
        while not stop.is_set():
            for step in (collector.collect, collector.sweep):
                collected = await step()
                done["manifests"] += collected.manifests
                done["blobs"] += collected.blobs
            # Holds of blobs end, so that only manifests keep them.
            house.clock.elapsed += TIME_MACHINE

    async def push(number):
        name, tag = NAMES[number % len(NAMES)], f"tag{number}"
        acknowledged = None
        for turn in range(MOST_PUSHES):
            if turn >= PUSHES and all(done.values()):
                break
            blobs = [b"{}", f"layer {turn % 3}".encode(), f"own {number} {turn % 2}".encode()]
            try:
                acknowledged = await house.push_image(tag, *blobs, name=name)
            except ManifestContentUnknown:
                # The clock ran past the hold of a blob: the client would upload it again.
                continue
            pulled = await house.pull(tag, name)
            assert pulled.content == acknowledged
            for blob in blobs:
                record = await house.holdings.find_blob(name, digest=Digest.of(blob))
                async with house.holdings.open_blob(record) as reader:
                    assert reader.size == len(blob)
            if turn % 4 == 3:
                await house.delete(tag, name)
                acknowledged = None
        return acknowledged, tag, name

    collecting = [asyncio.create_task(collect(one)) for one in collectors]
    results = await asyncio.gather(*(push(number) for number in range(PUSHERS)))
    stop.set()
    await asyncio.gather(*collecting)
    for acknowledged, tag, name in results:
        if acknowledged is not None:
            assert (await house.pull(tag, name)).content == acknowledged
    assert done["manifests"] > 0
    assert done["blobs"] > 0
    await _nothing_unreachable_is_left(house, collectors[0])


async def _nothing_unreachable_is_left(house, collector):
    house.clock.elapsed += TIME_MACHINE
    await collector.collect_everything()
    async with house.shelf.database.read() as connection:
        alive = await connection.execute(
            text("SELECT count(DISTINCT manifest_id) FROM tag WHERE lifetime_end_ms IS NULL")
        )
        left = await connection.execute(select(func.count()).select_from(manifests))
        assert left.scalar_one() == alive.scalar_one()
        rows = await connection.execute(select(image_storages.c.content_checksum))
        assert {str(Digest.of(one)) for one in house.stored} == set(rows.scalars())


async def test_a_push_under_way_keeps_what_it_found(house, collectors):
    """The transaction of a push has seen an unreachable manifest; the collector lets it be."""
    content = await house.push_image("latest", b"{}", b"layer")
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE
    place = await house.place()
    async with house.shelf.database.begin() as connection:
        await connection.execute(
            text("SELECT id FROM repository WHERE id = :id FOR KEY SHARE"),
            {"id": place.repository_id},
        )
        assert (await collectors[1].collect()).manifests == 0
    await house.point("latest", content)
    await collectors[1].collect_everything()
    assert (await house.pull("latest")).content == content
    assert house.stored == {b"{}", b"layer"}


async def test_a_push_is_not_robbed_between_finding_and_naming(house, collectors):
    """A push found the manifest and waits for the lock of its tag when the collector comes."""
    content = await house.push_image("old", b"{}", b"layer")
    await house.delete("old")
    house.clock.elapsed += TIME_MACHINE
    place = await house.place()
    async with house.shelf.database.begin() as connection:
        await connection.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 0))"),
            {"key": f"tag:{place.repository_id}:latest"},
        )
        push = asyncio.create_task(house.push("latest", content))
        waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        async with asyncio.timeout(20):
            while not (await connection.execute(waiting)).scalar_one():
                await connection.execute(text("SELECT pg_sleep(0.01)"))
        assert (await collectors[1].collect()).manifests == 0
    await push
    await collectors[1].collect_everything()
    assert (await house.pull("latest")).content == content
    assert house.stored == {b"{}", b"layer"}


async def test_a_restore_that_comes_too_late_is_refused(house, collectors):
    content = await house.push_image("latest", b"{}", b"layer")
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE
    tasks = [
        collectors[0].collect(),
        *(house.point(f"back{number}", content) for number in range(4)),
    ]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [one for one in results[1:] if one is not None]
    assert all(isinstance(one, ManifestUnknown) for one in refused)
    await collectors[0].collect_everything()
    assert await house.count(manifests) == (0 if len(refused) == 4 else 1)


async def test_bytes_of_a_push_under_way_do_not_go(house, collectors):
    """The same digest is pushed and collected at once, again and again."""
    digest = Digest.of(b"layer")

    async def push():
        for _ in range(20):
            await house.push_blob(b"layer")
            async with house.shelf.database.read() as connection:
                found = await connection.execute(
                    select(image_storages.c.id).where(
                        image_storages.c.content_checksum == str(digest)
                    )
                )
                assert (found.first() is None) or b"layer" in house.stored
            house.clock.elapsed += TIME_MACHINE

    async def collect(collector):
        blobs = 0
        for _ in range(40):
            blobs += (await collector.sweep()).blobs
            blobs += (await collector.collect()).blobs
        return blobs

    _, *collected = await asyncio.gather(push(), *(collect(one) for one in collectors))
    assert sum(collected) > 0
    await house.push_image("latest", b"{}", b"layer")
    await collectors[0].collect_everything()
    assert house.stored == {b"{}", b"layer"}


async def test_a_mount_and_a_collection_agree(house, collectors):
    for _ in range(10):
        await house.push_blob(b"layer")
        house.clock.elapsed += TIME_MACHINE / 48
        results = await asyncio.gather(
            house.holdings.mount_blob(
                NAMES[1], digest=Digest.of(b"layer"), from_repository=NAMES[0]
            ),
            *(one.collect_everything() for one in collectors),
            return_exceptions=True,
        )
        assert [one for one in results[1:] if isinstance(one, BaseException)] == []
        if isinstance(results[0], BaseException):
            assert isinstance(results[0], BlobUnknown)
        else:
            assert b"layer" in house.stored
        house.clock.elapsed += TIME_MACHINE
