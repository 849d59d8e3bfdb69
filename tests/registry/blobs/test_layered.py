"""Several locations: one is written to, all are read, garbage goes from all of them."""

import pytest
from tests.suites import blobs as suite

from hatoba.registry.blobs.driver import BlobMissing, StorageUnavailable
from hatoba.registry.blobs.filesystem import FilesystemBlobs
from hatoba.registry.blobs.layered import LayeredBlobs
from hatoba.registry.blobs.memory import MemoryBlobs

pytestmark = pytest.mark.anyio


@pytest.fixture
def former():
    return MemoryBlobs()


@pytest.fixture
def present():
    return MemoryBlobs()


@pytest.fixture
def both(present, former):
    return LayeredBlobs([present, former])


async def test_what_lies_in_a_former_location_is_read(both, present, former) -> None:
    digest = await suite.put(former, b"old")
    assert (await both.stat(digest)).size == 3
    assert await suite.read(both, digest, 0, 3) == b"old"
    assert present.blobs == {}


async def test_what_is_pushed_goes_to_the_first_one(both, present, former) -> None:
    digest = await suite.put(both, b"new")
    assert (list(present.blobs), list(former.blobs)) == ([digest], [])


async def test_each_blob_is_listed_once_in_order(both, present, former) -> None:
    old = [await suite.put(former, bytes([n])) for n in range(8)]
    new = [await suite.put(present, bytes([n])) for n in range(5, 12)]
    expected = sorted({*old, *new})
    assert [found.digest async for found in both.list_blobs()] == expected
    rest = [found.digest async for found in both.list_blobs(after=expected[3])]
    assert rest == expected[4:]


async def test_garbage_goes_from_all(both, present, former) -> None:
    digest = await suite.put(present, b"garbage")
    await suite.put(former, b"garbage")
    await both.delete(digest)
    assert (present.blobs, former.blobs) == ({}, {})


async def test_damaged_bytes_are_set_aside_in_all(both, present, former) -> None:
    digest = await suite.put(present, b"damaged")
    await suite.put(former, b"damaged")
    await both.set_aside(digest)
    with pytest.raises(BlobMissing):
        await both.stat(digest)
    assert (list(present.aside), list(former.aside)) == ([digest], [digest])


async def test_a_former_location_that_fails_is_ill_health(present, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    broken = FilesystemBlobs(tmp_path / "file")
    with pytest.raises(StorageUnavailable):
        await LayeredBlobs([present, broken]).check()
