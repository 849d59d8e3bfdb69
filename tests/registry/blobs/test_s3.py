"""What a bucket promises besides the suite: Quay's keys, links, nothing left behind."""

import datetime as dt
import ssl
import tracemalloc
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.object_storage import SECRET_KEY, ObjectStorage, bucket_location, parameters
from tests.peers import self_signed
from tests.registry.blobs.faulty import faulty
from tests.suites import blobs as suite

from hatoba.kernel.clock import SystemClock
from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import StorageUnavailable, UploadMissing
from hatoba.registry.blobs.multipart import MAXIMUM_PARTS, part_bytes
from hatoba.registry.blobs.s3_opening import KeyUnusable, open_bucket

pytestmark = pytest.mark.anyio
MIB = 1 << 20


@pytest.fixture
def bucket(object_storage):
    return object_storage.new_bucket()


@pytest.fixture
def opened(object_storage, bucket, tmp_path):
    @asynccontextmanager
    async def make(driver="RadosGWStorage", *, direct=True, **more):
        location = bucket_location(driver, parameters(object_storage, bucket, **more))
        async with open_bucket(location, directory=tmp_path, sends_clients_there=direct) as blobs:
            yield blobs

    return make


async def keys_of(blobs):
    return [found.key async for found in blobs._bucket.list_objects("")]


async def multiparts_of(blobs):
    return [found.key async for found in blobs._bucket.list_multiparts("")]


async def test_objects_lie_where_quay_keeps_them(opened) -> None:
    async with opened() as blobs:
        digest = await suite.put(blobs, b"x")
        key = f"datastorage/registry/sha256/{digest.hex[:2]}/{digest.hex}"
        assert await keys_of(blobs) == [key]


async def test_a_bucket_of_quay_is_adopted_as_it_is(opened, object_storage, bucket) -> None:
    digest = Digest.of(b"written by Quay")
    key = f"datastorage/registry/sha256/{digest.hex[:2]}/{digest.hex}"
    async with aiohttp.ClientSession() as session, opened() as blobs:
        for name in (key, "datastorage/registry/uploads/7c9e", "other/sha256/ab/cd"):
            url = f"{object_storage.url}/{bucket}/{name}"
            async with session.put(url, data=b"written by Quay") as answer:
                assert answer.status == 200
        assert await suite.read(blobs, digest, 0, 15) == b"written by Quay"
        assert [blob.digest async for blob in blobs.list_blobs()] == [digest]


async def test_a_large_chunked_upload_leaves_the_blob_alone(opened) -> None:
    async with opened(maximum_chunk_size_mb=6) as blobs:
        state, content = None, b""
        for length in (11 * MIB, 1 * MIB, 7 * MIB):
            part = bytes([length % 255]) * length
            state = await suite.append(blobs, len(content), state, part)
            content += part
        digest = Digest.of(content)
        async with blobs.upload("one") as writer:
            await writer.begin(len(content), state)
            await writer.write(b"!")
            digest = Digest.of(content + b"!")
            await writer.prepare(digest)
            await writer.commit(digest)
        assert await suite.read(blobs, digest, 0, len(content) + 1) == content + b"!"
        assert len(await keys_of(blobs)) == 1
        assert await multiparts_of(blobs) == []


async def test_what_breaks_off_leaves_no_parts(opened) -> None:
    async def break_off(blobs):
        async with blobs.upload("one") as writer:
            await writer.begin(0)
            await writer.write(b"a" * 11 * MIB)
            await writer.prepare(Digest.of(b"a" * 11 * MIB))
            raise ConnectionResetError

    async with opened() as blobs:
        with pytest.raises(ConnectionResetError):
            await break_off(blobs)
        assert await multiparts_of(blobs) == []
        assert await blobs.sweep_uploads(before=SystemClock().now() + dt.timedelta(hours=1)) == 1
        assert await keys_of(blobs) == []


async def test_the_sweep_ends_the_parts_of_a_killed_process(opened) -> None:
    async with opened() as blobs:
        killed = "datastorage/registry/sha256/ab/cd"
        await blobs._bucket.begin_multipart(killed)
        await blobs._bucket.begin_multipart("elsewhere/x")
        now, hour = SystemClock().now(), dt.timedelta(hours=1)
        assert await blobs.sweep_uploads(before=now - hour) == 0
        assert await blobs.sweep_uploads(before=now + hour) == 1
        assert await multiparts_of(blobs) == ["elsewhere/x"]


async def test_two_processes_that_go_on_do_not_touch_each_other(opened) -> None:
    async with opened() as first, opened() as second:
        state = await suite.append(first, 0, None, b"common")
        one = await suite.append(first, 6, state, b" first" * MIB)
        two = await suite.append(second, 6, state, b" second" * MIB)
        for blobs, its_state, rest in ((second, two, b" second"), (first, one, b" first")):
            content = b"common" + rest * MIB
            async with blobs.upload("one") as writer:
                await writer.begin(len(content), its_state)
                await writer.prepare(Digest.of(content))
                await writer.commit(Digest.of(content))
            assert (await blobs.stat(Digest.of(content))).size == len(content)


async def test_links_give_the_bytes_for_a_short_while_and_no_secret(opened) -> None:
    async with opened(link_expiry_seconds=77) as blobs, aiohttp.ClientSession() as session:
        digest = await suite.put(blobs, b"0123456789")
        url = await blobs.direct_url(digest)
        query = parse_qs(urlsplit(url).query)
        assert query["X-Amz-Expires"] == ["77"]
        assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
        assert SECRET_KEY not in url
        async with session.get(url, headers={"Range": "bytes=2-4"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"234")


async def test_links_name_the_endpoint_that_clients_reach(opened) -> None:
    async with opened(public_endpoint_url="https://images.example.com") as blobs:
        url = await blobs.direct_url(Digest.of(b"x"))
        assert url.startswith("https://images.example.com/test-")


async def test_no_links_where_the_registry_is_the_proxy(opened) -> None:
    async with opened(direct=False) as blobs:
        assert await blobs.direct_url(Digest.of(b"x")) is None


async def test_the_style_of_addresses_is_an_option(opened, bucket) -> None:
    async with opened(addressing_style="virtual", public_endpoint_url="https://s3.test") as blobs:
        assert (await blobs.direct_url(Digest.of(b"x"))).startswith(f"https://{bucket}.s3.test/")


def cloudfront(object_storage, bucket):
    return {
        "s3_bucket": bucket,
        "storage_path": "/q",
        "s3_access_key": "a",
        "s3_secret_key": "b",
        "endpoint_url": object_storage.url,
        "cloudfront_distribution_domain": "d1.cloudfront.net",
        "cloudfront_key_id": "K1",
        "cloudfront_privatekey_filename": "cloudfront.pem",
    }


async def test_cloudfront_signs_with_its_own_key(object_storage, bucket, tmp_path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    (tmp_path / "cloudfront.pem").write_bytes(pem)
    location = bucket_location("CloudFrontedS3Storage", cloudfront(object_storage, bucket))
    async with open_bucket(location, directory=tmp_path) as blobs:
        url = await blobs.direct_url(Digest.of(b"x"))
    assert url is not None
    assert url.startswith(f"https://d1.cloudfront.net/q/sha256/{Digest.of(b'x').hex[:2]}/")
    assert parse_qs(urlsplit(url).query).keys() == {"Expires", "Signature", "Key-Pair-Id"}


async def test_a_missing_cloudfront_key_is_named(object_storage, bucket, tmp_path) -> None:
    location = bucket_location("CloudFrontedS3Storage", cloudfront(object_storage, bucket))
    with pytest.raises(KeyUnusable, match=r"cloudfront\.pem"):
        async with open_bucket(location, directory=tmp_path):
            pass


async def test_a_bucket_that_does_not_exist_is_said_to_be_unavailable(
    object_storage, tmp_path
) -> None:
    location = bucket_location("RadosGWStorage", parameters(object_storage, "no-such"))
    async with open_bucket(location, directory=tmp_path) as blobs:
        with pytest.raises(StorageUnavailable, match="NoSuchBucket"):
            await blobs.check()
        with pytest.raises(StorageUnavailable):
            await suite.put(blobs, b"x")


@pytest.mark.parametrize("upload", ["../x", "a/b", "", ".", "..", "a\0b"])
async def test_an_id_cannot_leave_its_prefix(opened, upload: str) -> None:
    async with opened() as blobs:
        with pytest.raises(UploadMissing):
            async with blobs.upload(upload):
                pass


def test_ten_thousand_parts_hold_a_third_of_a_tebibyte() -> None:
    sizes = [part_bytes(number, smallest=5 * MIB) for number in range(1, MAXIMUM_PARTS + 1)]
    assert sizes[:5000] == [5 * MIB] * 5000
    assert (sizes[5000], sizes[5999], sizes[6000], sizes[-1]) == (
        10 * MIB,
        10 * MIB,
        20 * MIB,
        160 * MIB,
    )
    assert sum(sizes) > 300 << 30


async def test_the_authorities_of_the_configuration_are_believed(
    object_storage, bucket, tmp_path
) -> None:
    certificate, key = self_signed(tmp_path, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    async with faulty(object_storage.url, tls=context) as proxy:

        async def check(directory, **more) -> None:
            named = parameters(
                ObjectStorage(port=proxy.port), bucket, is_secure=True, attempts=1, **more
            )
            location = bucket_location("RadosGWStorage", named)
            async with open_bucket(location, directory=directory) as blobs:
                await blobs.check()

        strange, told = tmp_path / "strange", tmp_path / "told"
        strange.mkdir()
        told.mkdir()
        (told / "extra_ca_cert_storage.crt").write_bytes(certificate.read_bytes())
        with pytest.raises(StorageUnavailable):
            await check(strange)
        await check(told)
        await check(tmp_path, ca_bundle="tls.crt")
        await check(strange, verify_tls=False)


async def test_memory_does_not_grow_with_the_upload(opened) -> None:
    async with opened() as blobs, blobs.upload("one") as writer:
        await writer.begin(0)
        await writer.write(bytes(12 * MIB))  # what is made once is made
        tracemalloc.start()
        try:
            for _ in range(64):
                await writer.write(bytes(MIB))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 20 * MIB
