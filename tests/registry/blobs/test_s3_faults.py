"""A storage that is slow, refuses, breaks off or forgets to answer."""

import hmac
from base64 import b64encode

import pytest
from tests.object_storage import (
    ACCESS_KEY,
    SECRET_KEY,
    ObjectStorage,
    bucket_location,
    parameters,
)
from tests.ports import free_port
from tests.registry.blobs.faulty import Fault, faulty
from tests.suites import blobs as suite

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import BlobMissing, StorageUnavailable, UploadMissing
from hatoba.registry.blobs.s3_opening import open_bucket

pytestmark = pytest.mark.anyio
LARGE = bytes(range(256)) * 4096 * 11  # 11 MiB: three parts
DIGEST = Digest.of(LARGE)


@pytest.fixture
async def storage(object_storage):
    async with faulty(object_storage.url) as proxy:
        yield proxy


@pytest.fixture
def pauses():
    return []


@pytest.fixture
async def blobs(request, object_storage, storage, tmp_path, pauses):
    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    bucket = object_storage.new_bucket()
    # Only who waits for no answer at all may be impatient: a busy machine is slow, too.
    hangs = "hang" in request.node.name
    named = parameters(
        ObjectStorage(port=storage.port),
        bucket,
        attempts=3,
        read_timeout_seconds=2 if hangs else 60,
    )
    location = bucket_location("RadosGWStorage", named)
    async with open_bucket(location, directory=tmp_path, sleep=sleep) as opened:
        yield opened


@pytest.mark.parametrize("kind", ["refuse", "garbage", "reset", "hang"])
async def test_what_passes_by_itself_is_tried_again(blobs, storage, pauses, kind) -> None:
    storage.faults.append(Fault(kind=kind, method="PUT", times=2))
    digest = await suite.put(blobs, b"x")
    assert await suite.read(blobs, digest, 0, 1) == b"x"
    # A kept connection that turns out to be closed is replaced below us, once.
    assert len(pauses) == 2 if kind != "reset" else len(pauses) in (1, 2)


@pytest.mark.parametrize("kind", ["refuse", "garbage", "reset", "hang"])
async def test_what_does_not_pass_is_unavailable_after_the_last_attempt(
    blobs, storage, kind
) -> None:
    storage.faults.append(Fault(kind=kind, method="PUT", times=99))
    with pytest.raises(StorageUnavailable):
        await suite.put(blobs, b"x")
    assert storage.count("PUT") == 3 if kind != "reset" else storage.count("PUT") <= 6
    storage.faults.clear()
    with pytest.raises(BlobMissing):
        await blobs.stat(Digest.of(b"x"))


async def test_a_refusal_for_good_is_not_tried_again(blobs, storage) -> None:
    storage.faults.append(Fault(kind="refuse", method="PUT", code="AccessDenied"))
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        await suite.put(blobs, b"x")
    assert storage.count("PUT") == 1


async def test_nobody_listening_is_unavailable(tmp_path) -> None:
    named = parameters(ObjectStorage(port=free_port()), "b", attempts=1)
    async with open_bucket(bucket_location("RadosGWStorage", named), directory=tmp_path) as blobs:
        with pytest.raises(StorageUnavailable):
            await blobs.check()


async def test_an_upload_stands_where_it_stood(blobs, storage) -> None:
    state = await suite.append(blobs, 0, None, LARGE)
    storage.faults.append(Fault(kind="refuse", method="PUT", times=99))
    with pytest.raises(StorageUnavailable):
        await suite.append(blobs, len(LARGE), state, LARGE)
    storage.faults.clear()
    state = await suite.append(blobs, len(LARGE), state, b"rest")
    digest = Digest.of(LARGE + b"rest")
    async with blobs.upload("one") as writer:
        await writer.begin(len(LARGE) + 4, state)
        await writer.prepare(digest)
        await writer.commit(digest)
    assert (await blobs.stat(digest)).size == len(LARGE) + 4
    assert [found async for found in blobs._bucket.list_multiparts("")] == []


@pytest.mark.parametrize("kind", ["lose answer", "hidden error"])
async def test_a_completion_whose_answer_is_lost_is_recognized(blobs, storage, kind) -> None:
    storage.faults.append(Fault(kind=kind, method="POST", query="uploadId=", times=1))
    assert await suite.put(blobs, LARGE) == DIGEST
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE


async def test_a_completion_that_is_unknown_afterwards_is_recognized_by_its_tag(
    blobs, storage
) -> None:
    storage.faults += [
        Fault(kind="lose answer", method="POST", query="uploadId="),
        Fault(kind="refuse", method="POST", query="uploadId=", code="NoSuchUpload"),
    ]
    assert await suite.put(blobs, LARGE) == DIGEST
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE


async def test_an_upload_that_somebody_aborted_becomes_no_blob(blobs, storage) -> None:
    async with blobs.upload("one") as writer:
        await writer.begin(0)
        await writer.write(LARGE)
        await writer.prepare(DIGEST)
        storage.faults.append(
            Fault(kind="refuse", method="POST", query="uploadId=", code="NoSuchUpload")
        )
        with pytest.raises(UploadMissing):
            await writer.commit(DIGEST)
    with pytest.raises(BlobMissing):
        await blobs.stat(DIGEST)


async def test_a_download_that_breaks_off_goes_on_behind_its_last_byte(blobs, storage) -> None:
    await suite.put(blobs, LARGE)
    storage.faults.append(Fault(kind="cut", method="GET", times=3))
    assert await suite.read(blobs, DIGEST, 3, len(LARGE)) == LARGE[3:]
    assert storage.count("GET", DIGEST.hex) >= 4


async def test_a_download_that_always_breaks_off_is_an_error(blobs, storage) -> None:
    await suite.put(blobs, b"0123456789")
    storage.faults.append(Fault(kind="reset", method="GET", times=99))
    with pytest.raises(StorageUnavailable):
        await suite.read(blobs, Digest.of(b"0123456789"), 0, 10)


async def test_a_blob_stays_pushed_when_its_pieces_cannot_be_deleted(blobs, storage) -> None:
    state = await suite.append(blobs, 0, None, LARGE)
    storage.faults.append(Fault(kind="refuse", method="DELETE", times=99))
    async with blobs.upload("one") as writer:
        await writer.begin(len(LARGE), state)
        await writer.prepare(DIGEST)
        await writer.commit(DIGEST)
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE


async def test_a_storage_that_lists_no_multiparts_is_swept_all_the_same(blobs, storage) -> None:
    await suite.append(blobs, 0, None, b"abc")
    storage.faults.append(Fault(kind="refuse", query="?uploads", times=99, code="NotImplemented"))
    await blobs.discard("one")
    assert [found async for found in blobs._bucket.list_objects("")] == []


async def test_nothing_is_sent_that_storages_choke_on(blobs, storage) -> None:
    await suite.put(blobs, LARGE)
    await suite.put(blobs, b"small")
    names = {name.lower() for name in storage.headers}
    assert "authorization" in names
    assert not {"expect", "transfer-encoding", "x-amz-trailer"} & names
    assert not [name for name in names if "checksum" in name]


async def test_the_old_signature_signs_the_path_that_is_sent(
    object_storage, storage, tmp_path
) -> None:
    bucket = object_storage.new_bucket()
    named = parameters(ObjectStorage(port=storage.port), bucket, signature_version="s3")
    async with open_bucket(bucket_location("RadosGWStorage", named), directory=tmp_path) as blobs:
        assert [found async for found in blobs.list_blobs()] == []
    date, authorization = storage.last["Date"], storage.last["Authorization"]
    signed = hmac.digest(SECRET_KEY.encode(), f"GET\n\n\n{date}\n/{bucket}".encode(), "sha1")
    assert authorization == f"AWS {ACCESS_KEY}:{b64encode(signed).decode()}"
