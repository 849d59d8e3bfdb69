"""Backups and what comes of them: everything comes back, or the failure says what is wrong."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import delete, select, text, update
from tests.registry.retention.house import NAMES, open_house

from hatoba.kernel.digests import Digest
from hatoba.registry.backup import models
from hatoba.registry.backup.copying import blob_name
from hatoba.registry.backup.errors import (
    BackupDamaged,
    BackupForeign,
    BackupMissing,
    BackupRunning,
    DatabaseNotEmpty,
    DumpFailed,
    KeyWrong,
    SealBroken,
)
from hatoba.registry.backup.models import BlobMode, BlobState
from hatoba.registry.backup.sealing import BackupKey
from hatoba.registry.blobs.memory import MemoryBlobs
from hatoba.registry.content.errors import BlobUnknown
from hatoba.registry.db.tables.blobs import image_storages
from hatoba.registry.db.tables.users import users

pytestmark = pytest.mark.anyio


async def rows(database, table):
    async with database.read() as connection:
        return sorted(map(tuple, (await connection.execute(select(table))).all()), key=repr)


async def test_a_restored_registry_serves_every_manifest_and_blob(yard, restorer):
    content = await yard.house.push_image("v1", b"config", b"layer")
    await yard.house.push_image("v2", b"config", b"other layer", name=NAMES[1])
    summary = await yard.create()
    assert (summary.blob_count, summary.copied_count, summary.missing) == (3, 3, ())
    assert summary.blob_bytes == len(b"config" + b"layer" + b"other layer")
    async with restorer() as opened:
        done = await opened.restore("latest")
        assert (done.blobs, done.missing, done.was_done_before) == (3, 0, False)
        again = await open_house(opened.database, blobs=opened.blobs, is_new=False)
        assert (await again.pull("v1")).content == content
        assert again.stored == yard.house.stored
        assert await rows(opened.database, users) == await rows(yard.house.shelf.database, users)
        # It goes on from there: sequences and indexes came with it.
        await again.push_image("v3", b"config", b"a new layer")


async def test_a_second_backup_copies_only_what_is_new(yard):
    await yard.house.push_image("v1", b"config", b"layer")
    await yard.create()
    await yard.house.push_image("v2", b"config", b"newer")
    second = await yard.create()
    assert (second.blob_count, second.copied_count, second.copied_bytes) == (3, 1, 5)


async def test_a_file_of_a_blob_that_was_cut_off_is_copied_again(yard, tmp_path):
    await yard.house.push_image("v1", b"config", b"layer")
    await yard.create()
    path = tmp_path / "vault" / blob_name(Digest.of(b"layer"), key=yard.catalog.key)
    path.write_bytes(path.read_bytes()[:-1])
    assert (await yard.create()).copied_count == 1
    await yard.catalog.verify("latest")


async def test_a_blob_that_the_registry_lost_is_named_and_not_offered_after(yard, restorer):
    await yard.house.push_image("v1", b"config", b"layer")
    lost, wrong = Digest.of(b"layer"), Digest.of(b"config")
    yard.house.shelf.blobs.blobs.pop(lost)
    yard.house.shelf.blobs.blobs[wrong] = b"forged"
    summary = await yard.create()
    assert summary.missing == tuple(sorted([str(lost), str(wrong)]))
    async with restorer() as opened:
        assert (await opened.restore(summary.id)).missing == 2
        again = await open_house(opened.database, blobs=opened.blobs, is_new=False)
        with pytest.raises(BlobUnknown):
            await again.holdings.find_blob(NAMES[0], digest=lost)


async def test_by_reference_nothing_is_copied_and_the_storage_must_have_it(yard, restorer):
    await yard.house.push_image("v1", b"config", b"layer")
    summary = await yard.create(mode=BlobMode.REFERENCE)
    assert (summary.blobs, summary.copied_count) == ("reference", 0)
    assert {one.state for one in await yard.catalog.blobs(summary.id)} == {BlobState.REFERENCED}
    assert await yard.catalog.stored_blobs() == {}
    async with restorer() as opened:
        with pytest.raises(BackupDamaged, match="the storage lacks 2 of 2"):
            await opened.restore(summary.id)
    async with restorer(blobs=yard.house.shelf.blobs) as opened:
        assert (await opened.restore(summary.id)).blobs == 2


class Interrupted(MemoryBlobs):
    """Another storage, before whose first blob is looked at something happens."""

    def __init__(self, blobs, happens):
        super().__init__()
        self._blobs, self._happens = blobs, happens

    async def stat(self, digest):
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens()
        return await self._blobs.stat(digest)


async def test_what_goes_during_a_backup_stays_until_its_end(yard):
    await yard.house.set_time_machine(timedelta())
    await yard.house.push_image("v1", b"config", b"layer")
    yard.house.clock.advance(hours=2)

    async def go_on():
        await yard.house.delete("v1")
        assert (await yard.house.collect_until_nothing_waits()).quarantined == 2

    policy = replace(yard.catalog.policy, hold_lifetime=timedelta(days=1))
    maker = replace(
        yard.maker,
        blobs=Interrupted(yard.house.shelf.blobs, go_on),
        catalog=replace(yard.catalog, policy=policy),
    )
    summary = await maker.create(mode=BlobMode.REFERENCE, attached={})
    assert (summary.blob_count, summary.missing) == (2, ())
    assert yard.house.stored == {b"config", b"layer"}
    await yard.house.collect_until_nothing_waits()
    assert yard.house.stored == set()


async def test_two_backups_at_once_are_refused_and_a_dead_one_is_forgotten(yard):
    assert await yard.hold.take("other", lifetime=timedelta(minutes=10))
    with pytest.raises(BackupRunning, match="backup other of this registry"):
        await yard.create()
    assert await yard.catalog.ids() == []
    yard.house.clock.advance(minutes=10)
    await yard.create()
    assert len(await yard.catalog.ids()) == 1


async def test_a_backup_that_lost_its_hold_fails(yard):
    async def steal():
        yard.house.clock.advance(minutes=11)
        await yard.hold.take("thief", lifetime=timedelta(minutes=10))
        await asyncio.sleep(60)

    await yard.house.push_image("v1", b"config")
    blobs = Interrupted(yard.house.shelf.blobs, steal)
    with pytest.raises(BackupRunning, match="hold on the registry's blobs was lost"):
        await replace(yard.maker, blobs=blobs).create(mode=BlobMode.REFERENCE, attached={})
    assert await yard.catalog.ids() == []


async def test_restoring_again_changes_nothing(yard, restorer):
    await yard.house.push_image("v1", b"config")
    summary = await yard.create()
    async with restorer() as opened:
        await opened.restore(summary.id)
        before = await rows(opened.database, users)
        assert (await opened.restore(summary.id)).was_done_before
        assert await rows(opened.database, users) == before


async def test_a_database_with_something_else_is_left_alone(yard, restorer, migrated_uri):
    summary = await yard.create()
    await yard.create(backup_id="other")
    async with restorer(uri=migrated_uri) as opened:
        with pytest.raises(DatabaseNotEmpty, match="restore into an empty one"):
            await opened.restore(summary.id)
    async with restorer() as opened:
        await opened.restore(summary.id)
        with pytest.raises(DatabaseNotEmpty, match=f"restored from backup {summary.id} already"):
            await opened.restore("other")


async def test_a_dump_that_breaks_off_leaves_an_empty_database(yard, restorer, tmp_path):
    await yard.house.push_image("v1", b"config")
    summary = await yard.create()
    path = tmp_path / "vault" / models.database_name(summary.id)
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    async with restorer() as opened:
        with pytest.raises((SealBroken, DumpFailed)):
            await opened.restore(summary.id)
        path.write_bytes(whole)
        assert not (await opened.restore(summary.id)).was_done_before


async def test_a_backup_of_a_later_revision_is_refused(yard, restorer):
    async with yard.house.shelf.database.begin() as connection:
        await connection.execute(text("UPDATE hatoba_alembic_version SET version_num = '9999'"))
    summary = await yard.create()
    async with restorer() as opened:
        with pytest.raises(BackupForeign, match="revision 9999 is unknown here"):
            await opened.restore(summary.id)


async def test_without_the_key_nothing_is_told(yard):
    await yard.create()
    other = replace(yard.catalog, key=BackupKey.new())
    with pytest.raises(KeyWrong):
        await other.summaries()
    with pytest.raises(KeyWrong):
        await other.verify("latest")


async def test_verifying_names_what_is_damaged(yard, tmp_path):
    await yard.house.push_image("v1", b"config", b"layer")
    summary = await yard.create()
    assert await yard.catalog.verify(summary.id) == summary
    path = tmp_path / "vault" / blob_name(Digest.of(b"layer"), key=yard.catalog.key)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(BackupDamaged, match=f"lacks 1 of 2 blobs: {Digest.of(b'layer')}"):
        await yard.catalog.verify(summary.id)
    path.unlink()
    with pytest.raises(BackupDamaged, match="is not in"):
        await yard.catalog.verify(summary.id)


async def test_old_backups_go_with_what_only_they_needed(yard):
    await yard.house.push_image("v1", b"config", b"old layer")
    await yard.create(backup_id="1")
    async with yard.house.shelf.database.begin() as connection:
        old = image_storages.c.content_checksum == str(Digest.of(b"old layer"))
        await connection.execute(text("DELETE FROM manifestblob"))
        await connection.execute(text("DELETE FROM uploadedblob"))
        await connection.execute(text("DELETE FROM imagestorageplacement"))
        await connection.execute(delete(image_storages).where(old))
    await yard.create(backup_id="2")
    pruned = await yard.catalog.prune(keep=1)
    assert pruned.backups == ["1"]
    assert await yard.catalog.ids() == ["2"]
    # Young files may belong to a backup that is being made.
    assert len(await yard.catalog.stored_blobs()) == 2
    no_grace = replace(yard.catalog.policy, unfinished_lifetime=timedelta(days=-1))
    await replace(yard.catalog, policy=no_grace).prune(keep=1)
    assert set(await yard.catalog.stored_blobs()) == {
        blob_name(Digest.of(b"config"), key=yard.catalog.key)
    }
    await yard.catalog.verify("2")


async def test_an_unfinished_backup_is_none_and_goes_later(yard):
    await yard.catalog.write_bytes(models.database_name("dead"), b"x")
    with pytest.raises(BackupMissing, match="the vault holds no backup"):
        await yard.catalog.summary("latest")
    with pytest.raises(BackupMissing, match="no backup dead"):
        await yard.catalog.summary("dead")
    await yard.catalog.prune(keep=1)
    files = [one async for one in yard.catalog.vault.list_files("backups/")]
    assert len(files) == 1
    no_grace = replace(yard.catalog.policy, unfinished_lifetime=timedelta(days=-1))
    await replace(yard.catalog, policy=no_grace).prune(keep=1)
    assert [one async for one in yard.catalog.vault.list_files("backups/")] == []


async def test_the_configuration_comes_back_as_it_was(yard):
    attached = {"config/config.yaml": b"A: 1", "keys/a": bytes(range(256))}
    summary = await yard.create(attached=attached)
    assert summary.attached == {"config/config.yaml": 4, "keys/a": 256}
    assert await yard.catalog.attachments(summary.id) == attached


async def test_credentials_survive(yard, restorer):
    async with yard.house.shelf.database.begin() as connection:
        await connection.execute(update(users).values(password_hash="kept"))
    summary = await yard.create()
    async with restorer() as opened:
        await opened.restore(summary.id)
        async with opened.database.read() as connection:
            found = (await connection.execute(select(users.c.password_hash))).scalars()
            assert set(found) == {"kept"}
