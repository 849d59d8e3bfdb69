"""Azure Blob Storage, by Microsoft's emulator: what the suite does not ask."""

from typing import Any

import aiohttp
import pytest
from tests.azure_storage import KEY, azure_location, azure_parameters, with_token
from tests.ports import free_port
from tests.registry.blobs.faulty import Fault, faulty
from tests.suites import blobs as suite

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.azure_opening import open_azure
from hatoba.registry.blobs.driver import BlobMissing, StorageUnavailable, UploadMissing

pytestmark = pytest.mark.anyio
MIB = 1 << 20
LARGE = bytes(range(256)) * 4096 * 6  # 6 MiB: two blocks
DIGEST = Digest.of(LARGE)


@pytest.fixture
async def given(azure):
    return azure_parameters(azure.port, await azure.new_container())


@pytest.fixture
async def storage(azure):
    async with faulty(f"http://127.0.0.1:{azure.port}") as proxy:
        yield proxy


@pytest.fixture
async def blobs(given, storage, tmp_path):
    async def sleep(_: float) -> None:
        return

    here = azure_parameters(storage.port, given["azure_container"], attempts=3)
    async with open_azure(azure_location(here), directory=tmp_path, sleep=sleep) as opened:
        yield opened


async def finish(blobs, content, state):
    digest = Digest.of(content)
    async with blobs.upload("one") as writer:
        await writer.begin(len(content), state)
        await writer.prepare(digest)
        await writer.commit(digest)
    return digest


def _place(content: bytes) -> str:
    digest = Digest.of(content)
    return f"sha256/{digest.hex[:2]}/{digest.hex}"


async def keys_of(blobs):
    return [found.key async for found in blobs._bucket.list_objects("")]


async def test_blobs_lie_where_quay_keeps_them(blobs) -> None:
    digest = await suite.put(blobs, b"x")
    assert await keys_of(blobs) == [f"datastorage/registry/sha256/{digest.hex[:2]}/{digest.hex}"]


async def test_chunks_become_one_blob_and_leave_nothing_behind(blobs) -> None:
    state = await suite.append(blobs, 0, None, LARGE)
    state = await suite.append(blobs, len(LARGE), state, b"!" * MIB)
    content = LARGE + b"!" * MIB
    digest = await finish(blobs, content, state)
    assert await suite.read(blobs, digest, 0, len(content)) == content
    assert len(await keys_of(blobs)) == 1


async def test_a_layer_in_one_request_is_copied_by_the_storage(blobs, storage) -> None:
    state = await suite.append(blobs, 0, None, LARGE)
    read = storage.count("GET")
    assert await finish(blobs, LARGE, state) == DIGEST
    assert storage.count("GET") == read
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE


async def test_a_copy_that_takes_long_is_waited_for(blobs, storage) -> None:
    state = await suite.append(blobs, 0, None, b"x")
    storage.faults.append(Fault(kind="copy status", code="pending", query=_place(b"x"), times=3))
    digest = await finish(blobs, b"x", state)
    assert storage.count("HEAD", digest.hex) == 3
    assert await suite.read(blobs, digest, 0, 1) == b"x"


async def test_a_copy_that_fails_is_unavailable(blobs, storage) -> None:
    state = await suite.append(blobs, 0, None, b"x")
    storage.faults.append(Fault(kind="copy status", code="failed", query=_place(b"x")))
    with pytest.raises(StorageUnavailable, match="did not finish a copy: failed"):
        await finish(blobs, b"x", state)
    await finish(blobs, b"x", state)


async def test_a_copy_without_an_end_is_unavailable(blobs, storage, monkeypatch) -> None:
    monkeypatch.setattr("hatoba.registry.blobs.azure._POLLS", 2)
    state = await suite.append(blobs, 0, None, b"x")
    storage.faults.append(Fault(kind="copy status", code="pending", query=_place(b"x"), times=3))
    with pytest.raises(StorageUnavailable, match="did not finish a copy: pending"):
        await finish(blobs, b"x", state)


async def with_uncommitted(blobs):
    query = {"restype": "container", "comp": "list", "include": "uncommittedblobs"}
    container = blobs._bucket
    reply = await container._exchange.call("list_blobs", "GET", container._of(""), query=query)
    return reply.body.count(b"<Blob>")


async def test_a_token_is_not_told_with_the_address_that_does_not_answer(given, tmp_path) -> None:
    class Unreachable:
        timeout = aiohttp.ClientTimeout()

        async def request(self, _method, url, **_):
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {url}")

    location = azure_location(with_token({**given, "attempts": 1}))
    async with open_azure(location, directory=tmp_path) as blobs:
        container: Any = blobs._bucket
        container._exchange._session = Unreachable()
        with pytest.raises(StorageUnavailable) as caught:
            await blobs.check()
    told = str(caught.value.__cause__)
    assert told.startswith(f"Connection timeout to host {location.endpoint_url}/")
    assert "sig" not in told


async def test_what_breaks_off_leaves_no_blocks(blobs) -> None:
    async def break_off() -> None:
        async with blobs.upload("one") as writer:
            await writer.begin(0)
            await writer.write(LARGE)
            await writer._open._on_its_way  # what arrives behind the end is left to Azure
            assert await with_uncommitted(blobs) == 1
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await break_off()
    assert await with_uncommitted(blobs) == 0


async def test_two_pushes_of_the_same_layer_do_not_disturb_each_other(
    blobs, given, tmp_path
) -> None:
    async with (
        open_azure(azure_location(given), directory=tmp_path) as others,
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


async def test_links_give_one_blob_for_a_short_while_and_no_secret(blobs) -> None:
    digest, other = await suite.put(blobs, b"0123456789"), await suite.put(blobs, b"other", "two")
    url = await blobs.direct_url(digest)
    assert KEY not in url
    async with aiohttp.ClientSession() as session:
        async with session.get(url, headers={"Range": "bytes=2-4"}) as answer:
            assert (answer.status, await answer.read()) == (206, b"234")
        stolen = url.replace(digest.hex, other.hex).replace(
            f"/{digest.hex[:2]}/", f"/{other.hex[:2]}/"
        )
        async with session.get(stolen) as answer:
            assert answer.status == 403


async def test_a_token_does_all_that_a_key_does_but_links(given, tmp_path) -> None:
    location = azure_location(with_token(given))
    async with open_azure(location, directory=tmp_path) as blobs:
        state = await suite.append(blobs, 0, None, LARGE)
        await finish(blobs, LARGE, state)
        assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE
        assert [found.digest async for found in blobs.list_blobs()] == [DIGEST]
        assert await blobs.direct_url(DIGEST) is None
        await blobs.delete(DIGEST)
        assert await keys_of(blobs) == []


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"azure_container": "not-there"}, "there is no such container"),
        ({"azure_account_key": "d3Jvbmc="}, "name, key or token is wrong"),
        ({"azure_account_key": None, "sas_token": "sv=2021-12-02&sr=c&sp=r&sig=x"}, "refuses"),
    ],
)
async def test_what_is_wrong_is_said_exactly(given, tmp_path, wrong, words) -> None:
    async with open_azure(azure_location({**given, **wrong}), directory=tmp_path) as blobs:
        with pytest.raises(StorageUnavailable, match=words):
            await blobs.check()


async def test_nobody_listening_is_unavailable(tmp_path) -> None:
    location = azure_location(azure_parameters(free_port(), "abc", attempts=1))
    async with open_azure(location, directory=tmp_path) as blobs:
        with pytest.raises(StorageUnavailable, match="does not answer put_blob"):
            await blobs.check()


@pytest.mark.parametrize("kind", ["refuse", "garbage", "reset", "lose answer"])
async def test_what_passes_by_itself_is_tried_again(blobs, storage, kind) -> None:
    storage.faults.append(Fault(kind=kind, method="PUT", times=2))
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


async def test_a_list_of_blocks_whose_answer_is_lost_is_put_again(blobs, storage) -> None:
    storage.faults.append(Fault(kind="lose answer", method="PUT", query="comp=blocklist"))
    assert await suite.put(blobs, LARGE) == DIGEST
    assert await suite.read(blobs, DIGEST, 0, len(LARGE)) == LARGE


async def test_blocks_that_are_gone_make_no_blob(blobs, storage) -> None:
    storage.faults.append(
        Fault(kind="refuse", method="PUT", query="comp=blocklist", code="InvalidBlockList")
    )
    with pytest.raises(UploadMissing):
        await suite.put(blobs, LARGE)
    with pytest.raises(BlobMissing):
        await blobs.stat(DIGEST)


async def test_a_storage_that_hangs_is_unavailable(given, storage, tmp_path) -> None:
    here = azure_parameters(storage.port, given["azure_container"], attempts=1)
    storage.faults.append(Fault(kind="hang", times=99))
    location = azure_location({**here, "read_timeout_seconds": 0.3})
    async with open_azure(location, directory=tmp_path) as opened:
        with pytest.raises(StorageUnavailable):
            await opened.check()


async def test_a_download_that_breaks_off_goes_on_behind_its_last_byte(blobs, storage) -> None:
    await suite.put(blobs, LARGE)
    storage.faults.append(Fault(kind="cut", method="GET", times=3))
    assert await suite.read(blobs, DIGEST, 3, len(LARGE)) == LARGE[3:]
    assert storage.count("GET", DIGEST.hex) >= 4
