"""Uploads into a bucket from two processes: the row decides, nothing acknowledged is lost."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from tests.object_storage import bucket_location, parameters
from tests.registry.content.conftest import NAME, once

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.s3_opening import open_bucket
from hatoba.registry.content.errors import (
    RangeNotSatisfiable,
    UploadDigestMismatch,
    UploadUnknown,
)
from hatoba.registry.content.uploads import WHOLE_BYTES, Uploads
from hatoba.registry.db.tables.blobs import blob_uploads

pytestmark = pytest.mark.anyio
MIB = 1 << 20


@pytest.fixture
async def two(room, object_storage, tmp_path):
    """The uploads of two processes, and the storage of the first."""
    named = parameters(object_storage, object_storage.new_bucket())
    location = bucket_location("RadosGWStorage", named)
    async with AsyncExitStack() as stack:
        stores = [
            await stack.enter_async_context(open_bucket(location, directory=tmp_path))
            for _ in range(2)
        ]
        yield *(Uploads(shelf=replace(room.shelf, blobs=store)) for store in stores), stores[0]


async def read(blobs, digest: Digest) -> bytes:
    async with blobs.open(digest) as reader:
        return b"".join([data async for data in reader.read(start=0, end=reader.size)])


async def test_the_upload_goes_on_in_the_other_process(two) -> None:
    first, second, blobs = two
    upload, content = await first.start_upload(NAME), b""
    for number, length in enumerate((3, 6 * MIB, 1, 5 * MIB, 2 * MIB)):
        part = bytes([number]) * length
        await (first, second)[number % 2].append_chunk(NAME, upload_id=upload, chunks=once(part))
        content += part
    digest = Digest.of(content)
    await second.finish_upload(NAME, upload_id=upload, digest=digest, chunks=once(b""))
    assert await read(blobs, digest) == content


async def test_of_two_that_race_one_is_acknowledged_and_its_bytes_stay(two) -> None:
    first, second, blobs = two
    upload = await first.start_upload(NAME)
    await first.append_chunk(NAME, upload_id=upload, chunks=once(b"begun "))
    both_began = asyncio.Barrier(2)

    async def slowly(content: bytes):
        yield content
        await both_began.wait()

    outcomes = await asyncio.gather(
        first.append_chunk(NAME, upload_id=upload, chunks=slowly(b"1" * 6 * MIB)),
        second.append_chunk(NAME, upload_id=upload, chunks=slowly(b"2" * 6 * MIB)),
        return_exceptions=True,
    )
    lost = [outcome for outcome in outcomes if isinstance(outcome, RangeNotSatisfiable)]
    assert [error.received for error in lost] == [6 + 6 * MIB]
    content = b"begun " + (b"1" if outcomes[0] == 6 + 6 * MIB else b"2") * 6 * MIB
    digest = Digest.of(content)
    await first.finish_upload(NAME, upload_id=upload, digest=digest, chunks=once(b""))
    assert await read(blobs, digest) == content


async def test_who_finishes_while_another_appends_does_not_drop_what_was_acknowledged(two) -> None:
    first, second, _ = two
    upload = await first.start_upload(NAME)
    looked, acknowledged = asyncio.Event(), asyncio.Event()
    # What is small is waited for before the upload is looked at; more is asked for afterwards.
    content = b"x" * (WHOLE_BYTES + 1)

    async def late():
        yield content
        looked.set()
        await acknowledged.wait()

    finishing = asyncio.create_task(
        first.finish_upload(NAME, upload_id=upload, digest=Digest.of(content), chunks=late())
    )
    await looked.wait()
    assert await second.append_chunk(NAME, upload_id=upload, chunks=once(b"abc")) == 3
    acknowledged.set()
    with pytest.raises(UploadUnknown):
        await finishing
    assert (await second.find_upload(NAME, upload_id=upload)).received == 3


async def test_a_wrong_digest_leaves_no_object(two) -> None:
    first, _, blobs = two
    upload = await first.start_upload(NAME)
    await first.append_chunk(NAME, upload_id=upload, chunks=once(b"x" * 6 * MIB))
    with pytest.raises(UploadDigestMismatch):
        await first.finish_upload(
            NAME, upload_id=upload, digest=Digest.of(b"other"), chunks=once(b"y")
        )
    assert [found.key async for found in blobs._bucket.list_objects("")] == []


async def test_an_upload_that_quay_began_is_unknown(two, room) -> None:
    first, _, _ = two
    upload = await first.start_upload(NAME)
    await first.append_chunk(NAME, upload_id=upload, chunks=once(b""))
    async with room.shelf.database.begin() as connection:
        await connection.execute(
            blob_uploads.update().values(
                byte_count=3, storage_metadata='{"chunks": [["uploads/7c9e", 0, 3]]}'
            )
        )
    with pytest.raises(UploadUnknown):
        await first.append_chunk(NAME, upload_id=upload, chunks=once(b"abc"))


async def test_sha512(two) -> None:
    first, _, blobs = two
    content = b"z" * 7 * MIB
    digest = Digest.of(content, "sha512")
    upload = await first.start_upload(NAME)
    await first.append_chunk(NAME, upload_id=upload, chunks=once(content[:100]))
    await first.finish_upload(NAME, upload_id=upload, digest=digest, chunks=once(content[100:]))
    assert await read(blobs, digest) == content
