"""Google Cloud Storage: an S3 server that refuses what Google's XML API has not."""

import aiohttp
import pytest
from tests.object_storage import bucket_location, google_parameters
from tests.registry.blobs import google
from tests.registry.blobs.faulty import Fault, faulty
from tests.suites import blobs as suite

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import StorageUnavailable
from hatoba.registry.blobs.s3_opening import open_bucket

pytestmark = pytest.mark.anyio
MIB = 1 << 20


@pytest.fixture
async def storage(object_storage):
    async with faulty(object_storage.url) as proxy:
        proxy.refuses = google.refusal
        yield proxy


@pytest.fixture
async def blobs(object_storage, storage, tmp_path):
    given = google_parameters(storage.port, object_storage.new_bucket(), attempts=1)
    async with open_bucket(
        bucket_location("GoogleCloudStorage", given), directory=tmp_path
    ) as opened:
        yield opened


async def test_a_layer_in_one_request_is_copied_by_the_storage_whatever_its_size(
    blobs, storage
) -> None:
    content = b"x" * (17 * MIB)
    state = await suite.append(blobs, 0, None, content)
    read = storage.count("GET")
    async with blobs.upload("one") as writer:
        await writer.begin(len(content), state)
        await writer.prepare(Digest.of(content))
        await writer.commit(Digest.of(content))
    assert storage.count("GET") == read
    assert (await blobs.stat(Digest.of(content))).size == len(content)


async def test_chunks_become_one_object_and_leave_nothing_behind(blobs) -> None:
    state, content = None, b""
    for length in (6 * MIB, MIB, 11 * MIB):
        part = bytes([length % 255]) * length
        state = await suite.append(blobs, len(content), state, part)
        content += part
    digest = Digest.of(content + b"!")
    async with blobs.upload("one") as writer:
        await writer.begin(len(content), state)
        await writer.write(b"!")
        await writer.prepare(digest)
        await writer.commit(digest)
    assert await suite.read(blobs, digest, 0, len(content) + 1) == content + b"!"
    assert len([found async for found in blobs._bucket.list_objects("")]) == 1
    assert [found async for found in blobs._bucket.list_multiparts("")] == []


async def test_links_are_signed_for_google(blobs) -> None:
    digest = await suite.put(blobs, b"0123456789")
    async with aiohttp.ClientSession() as session:
        url = await blobs.direct_url(digest)
        async with session.get(url, headers={"Range": "bytes=2-4"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"234")
        async with session.get(url.replace("X-Amz-Expires=60", "X-Amz-Expires=61")) as answer:
            assert answer.status == 403


async def test_a_wrong_key_is_named(object_storage, storage, tmp_path) -> None:
    given = google_parameters(storage.port, object_storage.new_bucket(), secret_key="wrong")
    location = bucket_location("GoogleCloudStorage", given)
    async with open_bucket(location, directory=tmp_path) as blobs:
        with pytest.raises(StorageUnavailable, match="SignatureDoesNotMatch"):
            await blobs.check()


async def test_a_failing_storage_leaves_the_upload_where_it_stood(blobs, storage) -> None:
    content = b"y" * (6 * MIB)
    state = await suite.append(blobs, 0, None, content)
    digest = Digest.of(content)

    async def finish() -> None:
        async with blobs.upload("one") as writer:
            await writer.begin(len(content), state)
            await writer.prepare(digest)
            await writer.commit(digest)

    storage.faults.append(Fault(kind="refuse", method="PUT"))
    with pytest.raises(StorageUnavailable):
        await finish()
    await finish()
    assert (await blobs.stat(digest)).size == len(content)
