"""Tags, holds, labels and uploads as time passes."""

import asyncio
import dataclasses
import json

import pytest
from tests.registry.content.conftest import CALLER, NAME, once

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import TagName
from hatoba.registry.blobs.driver import UploadBusy
from hatoba.registry.content.errors import (
    BlobTooLarge,
    BlobUnknown,
    ManifestContentUnknown,
    ManifestUnknown,
    TagExpired,
    UploadUnknown,
)
from hatoba.registry.content.labels import lifetime_of
from hatoba.registry.db.tables.blobs import blob_uploads, image_storages, uploaded_blobs
from hatoba.registry.db.tables.logs import log_entries
from hatoba.registry.db.tables.manifests import labels, manifests
from hatoba.registry.db.tables.tags import tags

pytestmark = pytest.mark.anyio


async def test_a_push_opens_a_tag_and_ends_the_one_before(room) -> None:
    await room.push("v1", await room.image(annotations={"n": "1"}))
    room.clock.advance(seconds=5)
    await room.push("v1", await room.image(annotations={"n": "2"}))
    first, second = await room.rows(tags)
    assert first.lifetime_end_ms == second.lifetime_start_ms == first.lifetime_start_ms + 5000
    assert second.lifetime_end_ms is None


async def test_pushes_faster_than_the_clock_are_kept_apart(room) -> None:
    for number in range(4):
        await room.push("v1", await room.image(annotations={"n": str(number)}))
    ends = [row.lifetime_end_ms for row in await room.rows(tags)]
    assert ends[-1] is None
    assert len(set(ends)) == 4


async def test_the_same_manifest_is_one_row(room) -> None:
    content = await room.image()
    await room.push("v1", content)
    await room.push("v2", content)
    await room.push(Digest.of(content), content)
    assert len(await room.rows(manifests)) == 1


async def test_the_same_blob_is_one_row(room) -> None:
    await room.push_blob(b"x")
    await room.push_blob(b"x")
    assert len(await room.rows(image_storages)) == 1


async def test_what_was_pushed_by_digest_is_held_for_an_hour(room) -> None:
    content = await room.image()
    digest = Digest.of(content)
    await room.push(digest, content)
    assert (await room.pull(digest)).content == content
    room.clock.advance(hours=1)
    with pytest.raises(ManifestUnknown):
        await room.pull(digest)


async def test_a_child_lives_with_its_index(room) -> None:
    child = await room.image()
    digest = Digest.of(child)
    await room.push(digest, child)
    described = {"mediaType": "x/y", "digest": str(digest), "size": len(child)}
    await room.manifests.push_manifest(
        NAME,
        reference=TagName("multi"),
        content=json.dumps({"schemaVersion": 2, "manifests": [described]}).encode(),
        content_type="application/vnd.oci.image.index.v1+json",
        caller=CALLER,
    )
    room.clock.advance(days=1)
    assert (await room.pull(digest)).content == child


async def test_a_signature_outlives_the_hour(room) -> None:
    subject = await room.image()
    await room.push("v1", subject)
    described = {"mediaType": "x/y", "digest": str(Digest.of(subject)), "size": len(subject)}
    signature = await room.image(subject=described, artifactType="a/b")
    await room.push(Digest.of(signature), signature)
    room.clock.advance(days=1)
    found = await room.listings.list_referrers(
        NAME, subject=str(Digest.of(subject)), artifact_type=None, after=None, limit=10
    )
    assert len(found.descriptors) == 1


async def test_a_label_ends_the_tag(room) -> None:
    await room.push("v1", await room.image(labels={"quay.expires-after": "2h", "who": "me"}))
    room.clock.advance(hours=1)
    assert await room.pull("v1")
    room.clock.advance(hours=1)
    with pytest.raises(TagExpired):
        await room.pull("v1")
    assert {(row.key, row.value) for row in await room.rows(labels)} == {
        ("quay.expires-after", "2h"),
        ("who", "me"),
    }


async def test_annotations_are_labels_and_are_written_once(room) -> None:
    content = await room.image(labels={"a": "config"}, annotations={"a": "manifest", "j": "{}"})
    await room.push("v1", content)
    await room.push("v2", content)
    found = await room.rows(labels)
    assert {(row.key, row.value) for row in found} == {("a", "manifest"), ("j", "{}")}
    assert len(found) == 2


@pytest.mark.parametrize("wish", ["", "2 weeks", "-1d", "0s", "9999999999999w"])
async def test_a_malformed_wish_is_no_wish(wish) -> None:
    assert lifetime_of({"quay.expires-after": wish}) is None


async def test_a_refused_push_changes_nothing(room) -> None:
    content = await room.image()
    room.clock.advance(hours=2)  # the hold of its config has run out
    with pytest.raises(ManifestContentUnknown):
        await room.push("v1", content)
    assert await room.rows(manifests) == []
    assert await room.rows(tags) == []
    pushes = room.shelf.lookups.id("logentrykind", "push_repo")
    assert pushes not in {row.kind_id for row in await room.rows(log_entries)}


async def test_a_blob_is_held_until_a_manifest_names_it(room) -> None:
    digest = await room.push_blob(b"alone")
    assert (await room.holdings.find_blob(NAME, digest=digest)).size == 5
    room.clock.advance(hours=1)
    with pytest.raises(BlobUnknown):
        await room.holdings.find_blob(NAME, digest=digest)
    assert await room.holdings.expire_holds() == 1
    assert await room.rows(uploaded_blobs) == []


async def test_an_upload_that_takes_too_long_is_forgotten(room) -> None:
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"abc"))
    room.clock.advance(days=3)
    assert await room.uploads.expire_uploads() == 1
    with pytest.raises(UploadUnknown):
        await room.uploads.find_upload(NAME, upload_id=upload)
    assert room.shelf.blobs.uploads == {}


async def test_two_writers_of_one_upload_do_not_mix(room) -> None:
    upload = await room.uploads.start_upload(NAME)
    begun, going_on = asyncio.Event(), asyncio.Event()

    async def slow():
        begun.set()
        yield b"a" * 10
        await going_on.wait()
        yield b"b" * 10

    first = asyncio.create_task(room.uploads.append_chunk(NAME, upload_id=upload, chunks=slow()))
    await begun.wait()
    with pytest.raises(UploadBusy):
        await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"c" * 10))
    going_on.set()
    assert await first == 20


async def test_a_broken_chunk_is_not_acknowledged(room) -> None:
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"first"))

    async def broken():
        yield b"lost" * 500_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await room.uploads.append_chunk(NAME, upload_id=upload, chunks=broken())
    assert (await room.uploads.find_upload(NAME, upload_id=upload)).received == 5
    digest = Digest.of(b"first second")
    record = await room.uploads.finish_upload(
        NAME, upload_id=upload, digest=digest, chunks=once(b" second")
    )
    assert room.shelf.blobs.blobs[record.digest] == b"first second"


async def test_a_foreign_hash_state_is_read_again(room) -> None:
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"first"))
    async with room.shelf.database.begin() as connection:
        await connection.execute(blob_uploads.update().values(sha_state="gASV-a-python-pickle"))
    digest = Digest.of(b"first second")
    await room.uploads.finish_upload(NAME, upload_id=upload, digest=digest, chunks=once(b" second"))
    assert room.shelf.blobs.blobs[digest] == b"first second"


async def test_a_blob_above_the_limit_is_refused(room) -> None:
    policy = dataclasses.replace(room.shelf.policy, maximum_blob_bytes=10)
    shelf = dataclasses.replace(room.shelf, policy=policy)
    uploads = dataclasses.replace(room.uploads, shelf=shelf)
    upload = await uploads.start_upload(NAME)
    with pytest.raises(BlobTooLarge):
        await uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"x" * 11))
    assert (await uploads.find_upload(NAME, upload_id=upload)).received == 0


async def test_a_pull_by_digest_asks_the_database_once(room) -> None:
    content = await room.image()
    await room.push("v1", content)
    await room.pull(Digest.of(content))
    await room.shelf.database.close()
    asked = room.shelf.caches.manifests.get((NAME, Digest.of(content)))
    assert asked is not None
    assert (await room.pull(Digest.of(content))) is asked
