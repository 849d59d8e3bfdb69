"""OpenStack Swift, by its own servers: what the suite does not ask."""

from datetime import timedelta

import aiohttp
import pytest
from tests.ports import free_port
from tests.registry.blobs.faulty import Fault, faulty
from tests.suites import blobs as suite
from tests.swift_storage import LINK_KEY, PASSWORD, swift_location, swift_parameters

from hatoba.kernel.clock import SystemClock
from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import BlobMissing, StorageUnavailable, UploadMissing
from hatoba.registry.blobs.swift_opening import open_swift

pytestmark = pytest.mark.anyio
MIB = 1 << 20
LARGE = bytes(range(256)) * 4096 * 6  # 6 MiB: two parts
DIGEST = Digest.of(LARGE)
PLACE = f"datastorage/registry/sha256/{DIGEST.hex[:2]}/{DIGEST.hex}"


@pytest.fixture
def given(swift):
    return swift_parameters(swift.port, swift.new_container())


@pytest.fixture
async def storage(swift):
    async with faulty(swift.url) as proxy:
        yield proxy


@pytest.fixture
async def blobs(given, storage, tmp_path):
    """The driver, by way of the proxy."""

    async def sleep(_: float) -> None:
        return

    account = {"object_storage_url": f"http://127.0.0.1:{storage.port}/v1/AUTH_harbour"}
    there = {**given, "attempts": 3, "os_options": account}
    async with open_swift(swift_location(there), directory=tmp_path, sleep=sleep) as opened:
        yield opened


@pytest.fixture
async def small(given, tmp_path):
    """The same storage, if it kept no more than 5 MiB in an object."""
    location = swift_location({**given, "maximum_chunk_size_mb": 5})
    async with open_swift(location, directory=tmp_path) as opened:
        yield opened


async def finish(blobs, content, state):
    digest = Digest.of(content)
    async with blobs.upload("one") as writer:
        await writer.begin(len(content), state)
        await writer.prepare(digest)
        await writer.commit(digest)
    return digest


async def keys_of(blobs):
    return [found.key async for found in blobs._bucket.list_objects("")]


async def test_a_blob_lies_where_quay_keeps_it_in_one_object(blobs) -> None:
    await suite.put(blobs, LARGE)
    assert await keys_of(blobs) == [PLACE]
    assert "X-Static-Large-Object" not in await blobs._bucket._head(PLACE)


async def test_keys_may_begin_without_a_slash(given, tmp_path) -> None:
    named = {"storage_path": "/quay-", "simple_path_concat": True}
    async with open_swift(swift_location(given | named), directory=tmp_path) as blobs:
        digest = await suite.put(blobs, b"x")
        assert await keys_of(blobs) == [f"quay-sha256/{digest.hex[:2]}/{digest.hex}"]
        assert [found.digest async for found in blobs.list_blobs()] == [digest]


async def test_chunks_become_one_blob_and_leave_nothing_behind(blobs) -> None:
    state = await suite.append(blobs, 0, None, LARGE)
    state = await suite.append(blobs, len(LARGE), state, b"!" * MIB)
    digest = await finish(blobs, LARGE + b"!" * MIB, state)
    assert await suite.read(blobs, digest, MIB, len(LARGE) + 1) == LARGE[MIB:] + b"!"
    assert len(await keys_of(blobs)) == 1


async def test_a_layer_in_one_request_is_copied_by_the_storage(blobs, storage) -> None:
    state = await suite.append(blobs, 0, None, LARGE)
    read = storage.count("GET", "/uploads/one/")
    assert await finish(blobs, LARGE, state) == DIGEST
    assert storage.count("GET", "/uploads/one/") == read
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE


async def test_a_blob_too_large_for_an_object_is_a_list_whose_parts_stay(small) -> None:
    later = SystemClock().now() + timedelta(hours=1)
    await suite.put(small, LARGE)
    assert (await small.stat(DIGEST)).size == len(LARGE)
    assert [found async for found in small.list_blobs()] == [await small.stat(DIGEST)]
    assert await small.sweep_uploads(before=later) == 0
    assert await suite.read(small, DIGEST, 3, len(LARGE)) == LARGE[3:]
    await small.delete(DIGEST)
    assert await keys_of(small) == []


async def test_parts_of_a_list_that_was_replaced_go_with_the_sweep(small) -> None:
    later = SystemClock().now() + timedelta(hours=1)
    await suite.put(small, LARGE)
    once = set(await keys_of(small))
    await suite.put(small, LARGE, "two")
    assert await small.sweep_uploads(before=later) == 1
    assert len(await keys_of(small)) == len(once)
    assert set(await keys_of(small)) & once == {PLACE}
    assert await suite.read(small, DIGEST, 0, len(LARGE)) == LARGE


async def test_what_is_set_aside_is_a_list_again_where_it_is_too_large(small) -> None:
    await suite.put(small, LARGE)
    await small.set_aside(DIGEST)
    with pytest.raises(BlobMissing):
        await small.stat(DIGEST)
    moved = f"datastorage/registry/damaged/sha256/{DIGEST.hex}"
    read = small._bucket.read(moved, start=0, end=len(LARGE))
    assert b"".join([data async for data in read]) == LARGE


async def test_lists_of_lists_hold_more_parts_than_a_list(blobs, monkeypatch) -> None:
    monkeypatch.setattr("hatoba.registry.blobs.swift.LISTED_PARTS", 1)
    state = await suite.append(blobs, 0, None, LARGE)
    keys = await keys_of(blobs)
    assert [key.rpartition("/")[2] for key in keys if "/parts/" in key] == [
        "000001",
        "000002",
        "list-000",
        "list-001",
    ]
    await finish(blobs, LARGE, state)
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE
    assert await keys_of(blobs) == [PLACE]


async def test_what_breaks_off_leaves_no_parts(blobs) -> None:
    async def break_off() -> None:
        async with blobs.upload("one") as writer:
            await writer.begin(0)
            await writer.write(LARGE)
            await writer._open._on_its_way  # what arrives behind the end is left to the sweep
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await break_off()
    assert await keys_of(blobs) == []


async def test_parts_of_a_killed_process_go_with_the_sweep_or_the_upload(blobs) -> None:
    prefix, later = "datastorage/registry/uploads/one/", SystemClock().now() + timedelta(hours=1)
    for number, name in enumerate(("0-a", "0-b"), 1):
        upload_id = await blobs._bucket.begin_multipart(prefix + name)
        await blobs._bucket.put_part(prefix + name, upload_id, number=number, content=b"x")
    assert await blobs.sweep_uploads(before=later - timedelta(hours=2)) == 0
    assert await blobs.sweep_uploads(before=later) == 2
    assert await keys_of(blobs) == []
    await blobs._bucket.put_part(prefix + "0-c", "c", number=1, content=b"x")
    await blobs.discard("one")
    assert await keys_of(blobs) == []


async def test_two_pushes_of_the_same_layer_do_not_disturb_each_other(
    blobs, given, tmp_path
) -> None:
    async with (
        open_swift(swift_location(given), directory=tmp_path) as others,
        blobs.upload("one") as one,
        others.upload("one") as two,
    ):
        for writer in (one, two):
            await writer.begin(0)
            await writer.write(LARGE)
            await writer.prepare(DIGEST)
        await one.commit(DIGEST)
        await two.commit(DIGEST)
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE
    assert await keys_of(blobs) == [PLACE]


async def test_what_quay_wrote_in_segments_is_read_listed_and_deleted(blobs, swift, given) -> None:
    container, segments = given["swift_container"], "datastorage/registry/segments/u"
    for number, part in enumerate((b"01234", b"56789")):
        swift.ask("PUT", f"/{container}/{segments}/{number:09d}", part)
    digest = Digest.of(b"0123456789")
    place = f"datastorage/registry/sha256/{digest.hex[:2]}/{digest.hex}"
    swift.ask("PUT", f"/{container}/{place}", x_object_manifest=f"{container}/{segments}")
    assert [found async for found in blobs.list_blobs()] == [await blobs.stat(digest)]
    assert await suite.read(blobs, digest, 3, 8) == b"34567"
    await blobs.delete(digest)
    assert await keys_of(blobs) == []


@pytest.mark.parametrize("how", ["sha256", "sha1"])
async def test_links_give_one_blob_for_a_short_while_and_no_secret(given, tmp_path, how) -> None:
    location = swift_location({**given, "temp_url_digest": how})
    async with open_swift(location, directory=tmp_path) as blobs, aiohttp.ClientSession() as client:
        digest, other = await suite.put(blobs, b"0123456789"), await suite.put(blobs, b"o", "two")
        url = await blobs.direct_url(digest)
        assert url is not None
        assert LINK_KEY not in url
        async with client.get(url, headers={"Range": "bytes=2-4"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"234")
        path = f"/{other.hex[:2]}/{other.hex}"
        async with client.get(url.replace(f"/{digest.hex[:2]}/{digest.hex}", path)) as answer:
            assert answer.status == 401


async def test_clients_are_sent_where_they_reach_the_storage_if_they_are(given, tmp_path) -> None:
    there = swift_location({**given, "public_endpoint_url": "https://swift.example"})
    async with open_swift(there, directory=tmp_path) as blobs:
        url = await blobs.direct_url(DIGEST)
        assert url is not None
        assert url.startswith(
            f"https://swift.example/v1/AUTH_harbour/{given['swift_container']}/{PLACE}?temp_url_sig="
        )
    for unsigned, sends in (
        (there, False),
        (swift_location({**given, "temp_url_key": None}), True),
    ):
        opened = open_swift(unsigned, directory=tmp_path, sends_clients_there=sends)
        async with opened as blobs:
            assert await blobs.direct_url(DIGEST) is None


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"swift_container": "not-there"}, r"404 \(there is no such container\)"),
        ({"swift_password": "wrong"}, r"401 \(swift_user or swift_password is wrong\)"),
        ({"swift_user": "harbour:guest"}, r"403 \(the user has no access to the container\)"),
        ({"auth_version": 3}, r"405 \(auth_url does not speak this auth_version\)"),
    ],
)
async def test_what_is_wrong_is_said_exactly(given, tmp_path, wrong, words) -> None:
    location = swift_location({**given, **wrong})
    async with open_swift(location, directory=tmp_path) as blobs:
        with pytest.raises(StorageUnavailable, match=words) as caught:
            await blobs.check()
    assert PASSWORD not in str(caught.value)


async def test_nobody_listening_is_unavailable(tmp_path) -> None:
    location = swift_location(swift_parameters(free_port(), "abc", attempts=1))
    async with open_swift(location, directory=tmp_path) as blobs:
        with pytest.raises(StorageUnavailable, match="does not answer authenticate"):
            await blobs.check()


async def test_a_token_that_ran_out_is_fetched_anew(blobs, storage) -> None:
    await suite.put(blobs, b"x")
    storage.faults.append(Fault(kind="refuse", code="Unauthorized"))
    assert await suite.read(blobs, Digest.of(b"x"), 0, 1) == b"x"


@pytest.mark.parametrize("kind", ["refuse", "garbage", "reset", "lose answer"])
async def test_what_passes_by_itself_is_tried_again(blobs, storage, kind) -> None:
    storage.faults.append(Fault(kind=kind, method="PUT", times=2, code="TooManyRequests"))
    digest = await suite.put(blobs, b"x")
    assert await suite.read(blobs, digest, 0, 1) == b"x"


@pytest.mark.parametrize("kind", ["refuse", "reset"])
async def test_what_does_not_pass_is_unavailable_and_changes_nothing(blobs, storage, kind) -> None:
    state = await suite.append(blobs, 0, None, LARGE)
    storage.faults.append(Fault(kind=kind, method="PUT", times=99))
    with pytest.raises(StorageUnavailable):
        await finish(blobs, LARGE, state)
    storage.faults.clear()
    with pytest.raises(BlobMissing):
        await blobs.stat(DIGEST)
    assert await finish(blobs, LARGE, state) == DIGEST


async def test_a_list_whose_answer_is_lost_is_put_again(blobs, storage) -> None:
    storage.faults.append(Fault(kind="lose answer", method="PUT", query="multipart-manifest=put"))
    assert await suite.put(blobs, LARGE) == DIGEST
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE


async def test_parts_that_are_gone_make_no_blob(blobs) -> None:
    async def lose() -> None:
        async with blobs.upload("one") as writer:
            await writer.begin(0)
            await writer.write(LARGE + LARGE)  # the first part has arrived when others are sent
            for key in await keys_of(blobs):
                await blobs._bucket.delete(key)
            await writer.prepare(DIGEST)
            await writer.commit(DIGEST)

    with pytest.raises(UploadMissing):
        await lose()
    with pytest.raises(BlobMissing):
        await blobs.stat(DIGEST)


async def test_a_download_that_breaks_off_goes_on_behind_its_last_byte(blobs, storage) -> None:
    await suite.put(blobs, LARGE)
    storage.faults.append(Fault(kind="cut", method="GET", query=DIGEST.hex, times=3))
    assert await suite.read(blobs, DIGEST, 3, len(LARGE)) == LARGE[3:]
    assert storage.count("GET", DIGEST.hex) >= 4
