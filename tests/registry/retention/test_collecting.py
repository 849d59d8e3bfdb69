"""What the collection takes and what it leaves, on every database."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select, update
from tests.registry.retention.house import NAMES, TIME_MACHINE, image, index, make_owner

from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import HatobaError
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.blobs.driver import StorageUnavailable
from hatoba.registry.blobs.memory import MemoryBlobs
from hatoba.registry.content.errors import BlobUnknown, ManifestContentUnknown, ManifestUnknown
from hatoba.registry.db.tables import METADATA
from hatoba.registry.db.tables.blobs import (
    blob_uploads,
    image_storage_placements,
    image_storages,
    uploaded_blobs,
)
from hatoba.registry.db.tables.hatoba import blob_quarantine
from hatoba.registry.db.tables.manifests import (
    labels,
    manifest_blobs,
    manifest_children,
    manifest_labels,
    manifests,
)
from hatoba.registry.db.tables.queue import queue_items
from hatoba.registry.db.tables.repositories import deleted_repositories, repositories
from hatoba.registry.db.tables.security import manifest_security_statuses
from hatoba.registry.db.tables.tags import tags
from hatoba.registry.db.tables.users import deleted_namespaces, users

pytestmark = pytest.mark.anyio
HOLD = timedelta(hours=1)


async def test_what_a_living_tag_names_stays(house):
    await house.push_image("latest", b"{}", b"layer")
    house.clock.elapsed += timedelta(days=400)
    assert (await house.collect_until_nothing_waits()).is_empty
    assert house.stored == {b"{}", b"layer"}
    await house.pull("latest")


async def test_a_deleted_tag_can_be_restored_until_its_time_is_over(house):
    content = await house.push_image("latest", b"{}", b"layer")
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE - timedelta(minutes=1)
    assert (await house.collector.collect_everything()).is_empty
    house.clock.elapsed += timedelta(minutes=1)
    assert (await house.collect_until_nothing_waits()).manifests == 1
    assert await house.count(manifests) == 0
    assert house.stored == set()
    with pytest.raises(ManifestUnknown):
        await house.point("latest", content)


async def test_a_restored_tag_keeps_its_image(house):
    content = await house.push_image("latest", b"{}", b"layer")
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE - timedelta(minutes=1)
    assert (await house.collector.collect_everything()).is_empty
    await house.point("latest", content)
    house.clock.elapsed += timedelta(days=400)
    done = await house.collect_until_nothing_waits()
    assert (done.tags, done.manifests, done.blobs) == (1, 0, 0)
    assert (await house.pull("latest")).content == content


async def test_everything_that_hangs_on_a_manifest_goes_with_it(house):
    config = b'{"config": {"Labels": {"maintainer": "somebody"}}}'
    child = await house.push_image(None, config, b"layer")
    await house.push("latest", index(child))
    async with house.shelf.database.begin() as connection:
        found = (await connection.execute(select(manifests))).first()
        await connection.execute(
            insert(manifest_security_statuses).values(
                manifest_id=found.id,
                repository_id=found.repository_id,
                index_status=2,
                error_json="{}",
                last_indexed=house.clock.now(),
                indexer_hash="",
                indexer_version=4,
                metadata_json="{}",
            )
        )
    assert await house.count(labels) == 1
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE + HOLD
    done = await house.collect_until_nothing_waits()
    assert (done.manifests, done.blobs, done.bytes) == (2, 2, len(config) + len(b"layer"))
    for table in (
        tags, manifests, manifest_blobs, manifest_children, manifest_labels, labels,
        manifest_security_statuses, uploaded_blobs, image_storages, image_storage_placements,
        blob_quarantine,
    ):  # fmt: skip
        assert await house.count(table) == 0, table.name
    assert house.stored == set()


async def test_what_was_pushed_by_digest_is_held_for_a_while(house):
    await house.push_image(None, b"{}", b"layer")
    house.clock.elapsed += HOLD - timedelta(minutes=1)
    assert (await house.collector.collect_everything()).is_empty
    house.clock.elapsed += timedelta(minutes=1)
    assert (await house.collect_until_nothing_waits()).manifests == 1
    assert house.stored == set()


async def test_an_index_keeps_its_children(house):
    child = await house.push_image(None, b"{}", b"layer")
    other = await house.push_image("other", b"{}", b"layer", b"more")
    await house.push("latest", index(child, other))
    await house.delete("other")
    house.clock.elapsed += timedelta(days=3)
    assert (await house.collect_until_nothing_waits()).manifests == 0
    assert house.stored == {b"{}", b"layer", b"more"}
    await house.pull(Digest.of(child))


async def test_a_referrer_goes_with_its_subject(house):
    subject = await house.push_image("latest", b"{}", b"layer")
    signature = await house.push_image(None, b"{ }", b"signature", subject=subject)
    await house.push_image(None, b"{  }", b"of the signature", subject=signature)
    house.clock.elapsed += timedelta(days=3)
    assert (await house.collect_until_nothing_waits()).is_empty
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE
    assert (await house.collect_until_nothing_waits()).manifests == 3
    assert house.stored == set()


async def test_a_tagged_referrer_keeps_its_subject(house):
    subject = await house.push_image("latest", b"{}", b"layer")
    await house.push_image("signature", b"{ }", b"signed", subject=subject)
    await house.delete("latest")
    house.clock.elapsed += timedelta(days=3)
    assert (await house.collect_until_nothing_waits()).manifests == 0
    assert b"layer" in house.stored
    await house.delete("signature")
    house.clock.elapsed += timedelta(days=3)
    await house.collect_until_nothing_waits()
    assert house.stored == set()


async def test_a_referrer_waits_for_a_subject_that_comes_later(house):
    await house.push_blob(b"{}")
    subject = image(b"{}")
    await house.push_image(None, b"{ }", b"signature", subject=subject)
    house.clock.elapsed += timedelta(days=3)
    await house.collect_until_nothing_waits()
    assert await house.count(manifests) == 1
    assert house.stored == {b"{ }", b"signature"}


async def test_a_blob_is_quarantined_and_a_push_takes_it_back(house):
    await house.push_blob(b"layer")
    house.clock.elapsed += HOLD
    assert (await house.collector.collect_everything()).quarantined == 1
    assert house.stored == {b"layer"}
    await house.push_image("latest", b"{}", b"layer")
    assert await house.count(blob_quarantine) == 0
    house.clock.elapsed += timedelta(days=3)
    assert (await house.collect_until_nothing_waits()).is_empty
    assert house.stored == {b"{}", b"layer"}


async def test_a_quarantined_blob_that_is_mounted_again_is_released(house):
    await house.push_image("latest", b"{}", b"layer")
    blob = Digest.of(b"layer")
    async with house.shelf.database.begin() as connection:
        found = await connection.execute(
            select(image_storages.c.id).where(image_storages.c.content_checksum == str(blob))
        )
        await connection.execute(
            insert(blob_quarantine).values(storage_id=found.scalar_one(), since=house.clock.now())
        )
    house.clock.elapsed += HOLD
    assert (await house.collector.collect()).taken_back == 1
    assert b"layer" in house.stored


async def test_a_blob_that_another_repository_holds_stays(house):
    await house.push_image("latest", b"{}", b"layer")
    await house.holdings.mount_blob(NAMES[1], digest=Digest.of(b"layer"), from_repository=NAMES[0])
    await house.push_image("copy", b"{ }", name=NAMES[1])
    await house.push("copy", image(b"{ }", b"layer"), NAMES[1])
    await house.delete("latest")
    house.clock.elapsed += timedelta(days=3)
    await house.collect_until_nothing_waits()
    assert b"layer" in house.stored
    assert b"{}" not in house.stored
    await house.holdings.find_blob(NAMES[1], digest=Digest.of(b"layer"))


async def test_a_hold_that_expired_ends_nothing_that_is_named(house):
    await house.push_image("latest", b"{}", b"layer")
    house.clock.elapsed += HOLD * 2
    await house.holdings.expire_holds()
    assert (await house.collect_until_nothing_waits()).is_empty


async def test_collected_blobs_are_unknown_to_pushes_and_mounts(house):
    await house.push_blob(b"layer")
    house.clock.elapsed += HOLD
    with pytest.raises(BlobUnknown):
        await house.holdings.mount_blob(
            NAMES[1], digest=Digest.of(b"layer"), from_repository=NAMES[0]
        )
    await house.push_blob(b"{}")
    with pytest.raises(ManifestContentUnknown):
        await house.push("latest", image(b"{}", b"layer"))


async def test_a_deleted_repository_is_emptied_and_removed(house):
    content = await house.push_image("latest", b"{}", b"layer")
    await house.push_image("kept", b"{}", name=NAMES[1])
    upload = await house.uploads.start_upload(NAMES[0])
    await house.push_blob(b"held")
    doomed = await house.repositories.find("someone", "app")
    await house.repositories.delete(doomed, actor=NOBODY)
    done = await house.collect_until_nothing_waits()
    assert (done.repositories, done.manifests) == (1, 1)
    assert await house.count(repositories) == 1
    assert await house.count(deleted_repositories) == 0
    assert await house.count(blob_uploads) == 0
    house.clock.elapsed += HOLD
    await house.collect_until_nothing_waits()
    assert house.stored == {b"{}"}
    assert (await house.pull("kept", NAMES[1])).digest != Digest.of(content)
    assert upload not in house.shelf.blobs.uploads


async def test_a_namespaces_own_time_counts(house):
    await house.push_image("latest", b"{}")
    await house.delete("latest")
    async with house.shelf.database.begin() as connection:
        await connection.execute(update(METADATA.tables["user"]).values(removed_tag_expiration_s=0))
    assert (await house.collector.collect_everything()).manifests == 1


async def test_one_blob_that_the_storage_refuses_stops_no_other(house):
    class Refusing(MemoryBlobs):
        refused = Digest.of(b"refused")

        async def delete(self, digest):
            if digest == self.refused:
                raise StorageUnavailable("not now")
            await super().delete(digest)

    object.__setattr__(house.shelf, "blobs", Refusing())
    await house.push_blob(b"refused")
    await house.push_blob(b"fine")
    house.clock.elapsed += HOLD
    await house.collector.collect_everything()
    house.clock.elapsed += HOLD
    done = await house.collector.collect()
    assert (done.blobs, done.failed) == (1, 1)
    assert house.stored == {b"refused"}
    Refusing.refused = None
    assert (await house.collector.collect()).blobs == 1
    assert house.stored == set()


async def test_pulls_that_were_remembered_forget_what_went(house):
    content = await house.push_image("latest", b"{}", b"layer")
    digest = Digest.of(content)
    await house.pull(digest)
    await house.holdings.find_blob(NAMES[0], digest=Digest.of(b"layer"))
    await house.delete("latest")
    # The wall clock jumps, the one of the caches does not: only a word can make them forget.
    house.clock.at += TIME_MACHINE
    await house.collect_until_nothing_waits()
    with pytest.raises(ManifestUnknown):
        await house.pull(digest)
    with pytest.raises(BlobUnknown):
        await house.holdings.find_blob(NAMES[0], digest=Digest.of(b"layer"))


async def test_a_deleted_namespace_frees_its_name_once_it_is_empty(house):
    await house.push_image("latest", b"{}", b"layer")
    accounts = house.rooms
    owner = await accounts.users.get("someone")
    await accounts.robots.create(
        owner, short_name="builder", description="", metadata=None, actor=NOBODY
    )
    await accounts.deletion.delete(owner, actor=NOBODY)
    with pytest.raises(HatobaError, match="not available"):
        await make_owner(accounts)
    done = await house.collect_until_nothing_waits()
    assert (done.namespaces, done.repositories) == (1, 2)
    for table in (repositories, manifests, users, queue_items, deleted_namespaces):
        assert await house.count(table) == 0, table.name
    await make_owner(accounts)
    house.clock.elapsed += HOLD
    await house.collect_until_nothing_waits()
    assert house.stored == set()


async def test_bytes_that_another_row_of_an_adopted_database_has_stay(house):
    await house.push_image("latest", b"{}", b"layer")
    digest = str(Digest.of(b"layer"))
    async with house.shelf.database.begin() as connection:
        # content_checksum is not unique in a Quay database.
        await connection.execute(
            insert(image_storages).values(uuid="twin", cas_path=True, content_checksum=digest)
        )
    done = await house.collect_until_nothing_waits()
    assert (done.blobs, done.bytes) == (1, 0)
    assert house.stored == {b"{}", b"layer"}


async def test_a_hold_outlives_the_index_that_named_its_manifest(house):
    async with house.shelf.database.begin() as connection:
        await connection.execute(update(users).values(removed_tag_expiration_s=0))
    child = await house.push_image(None, b"{}", b"layer")
    await house.push("latest", index(child))
    await house.delete("latest")
    assert (await house.collect_until_nothing_waits()).manifests == 1
    assert house.stored == {b"{}", b"layer"}
    await house.pull(Digest.of(child))
