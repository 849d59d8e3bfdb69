"""What every blob driver must do. A driver's test calls each function with a fresh driver."""

import hashlib
from datetime import timedelta

import pytest

from hatoba.kernel.clock import SystemClock
from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import (
    BlobDriver,
    BlobMissing,
    UploadBegun,
    UploadBusy,
    UploadMissing,
)

CONTENT = bytes(range(256)) * 8192  # 2 MiB: several reads
DIGEST = Digest.of(CONTENT)


async def put(driver: BlobDriver, content: bytes, upload: str = "one") -> Digest:
    digest = Digest.of(content)
    async with driver.upload(upload) as writer:
        await writer.begin(0)
        await writer.write(content)
        await writer.prepare(digest)
        await writer.commit(digest)
    return digest


async def append(driver: BlobDriver, offset: int, state: str | None, content: bytes) -> str | None:
    async with driver.upload("one") as writer:
        await writer.begin(offset, state)
        await writer.write(content)
        return await writer.sync()


async def read(driver: BlobDriver, digest: Digest, start: int, end: int) -> bytes:
    async with driver.open(digest) as reader:
        return b"".join([part async for part in reader.read(start=start, end=end)])


async def expect_lost(driver: BlobDriver, offset: int, state: str | None) -> None:
    """Going on is refused, at the latest when the blob would become visible."""

    async def finish() -> None:
        async with driver.upload("one") as writer:
            await writer.begin(offset, state)
            await writer.prepare(DIGEST)
            await writer.commit(DIGEST)

    with pytest.raises(UploadMissing):
        await finish()
    with pytest.raises(BlobMissing):
        await driver.stat(DIGEST)


async def check_a_committed_upload_is_readable(driver: BlobDriver) -> None:
    await put(driver, CONTENT)
    assert (await driver.stat(DIGEST)).size == len(CONTENT)
    assert await read(driver, DIGEST, 0, len(CONTENT)) == CONTENT


async def check_ranges(driver: BlobDriver) -> None:
    await put(driver, CONTENT)
    assert await read(driver, DIGEST, 5, 1_500_000) == CONTENT[5:1_500_000]
    assert await read(driver, DIGEST, len(CONTENT) - 1, len(CONTENT)) == CONTENT[-1:]
    assert await read(driver, DIGEST, 7, 7) == b""


async def check_an_upload_continues_at_its_offset(driver: BlobDriver) -> None:
    state = await append(driver, 0, None, b"abcd")
    async with driver.upload("one") as writer:
        await writer.begin(4, state)
        await writer.write(b"XY")
        await writer.write(memoryview(b"Z"))
        assert b"".join([part async for part in writer.read()]) == b"abcdXYZ"


async def check_parts_are_appended_and_hashed(driver: BlobDriver) -> None:
    parts = [b"ab", b"", CONTENT, b"c"]
    hasher = hashlib.sha256()
    async with driver.upload("one") as writer:
        await writer.begin(0)
        await writer.take(parts, hasher)
        await writer.take([CONTENT] * 3, hasher)
        digest = Digest.of(b"".join(parts) + CONTENT * 3)
        assert hasher.hexdigest() == digest.hex
        await writer.prepare(digest)
        await writer.commit(digest)
    size = 3 + 4 * len(CONTENT)
    assert Digest.of(await read(driver, digest, 0, size)) == digest


async def check_what_was_never_acknowledged_is_dropped(driver: BlobDriver) -> None:
    state = await append(driver, 0, None, b"abcd")
    await append(driver, 4, state, b"lost: its offset was never stored")
    state = await append(driver, 4, state, b"XY")
    async with driver.upload("one") as writer:
        await writer.begin(6, state)
        await writer.commit(Digest.of(b"abcdXY"))
    assert await read(driver, Digest.of(b"abcdXY"), 0, 6) == b"abcdXY"


async def check_many_chunks_of_any_size(driver: BlobDriver) -> None:
    state, content = None, b""
    for length in (1, 700_000, 0, 6_000_000, 3, 5_300_000, 2_000_000):
        part = bytes([length % 251]) * length
        state = await append(driver, len(content), state, part)
        content += part
    digest = Digest.of(content)
    async with driver.upload("one") as writer:
        await writer.begin(len(content), state)
        await writer.prepare(digest)
        await writer.commit(digest)
    assert (await driver.stat(digest)).size == len(content)
    assert await read(driver, digest, 0, len(content)) == content


async def check_a_gap_is_refused(driver: BlobDriver) -> None:
    async with driver.upload("one") as writer:
        await writer.begin(0)
        await writer.write(b"abc")
        with pytest.raises(UploadMissing):
            await writer.begin(4)


async def check_an_upload_of_another_storage_is_missing(driver: BlobDriver) -> None:
    for state in (None, "{}", "not json", '{"chunks": [["uploads/x", 0, 3]]}'):
        async with driver.upload("one") as writer:
            with pytest.raises(UploadMissing):
                await writer.begin(3, state)


async def check_two_writers_exclude_each_other(driver: BlobDriver) -> None:
    async with driver.upload("one"):
        with pytest.raises(UploadBusy):
            async with driver.upload("one"):
                pass
        async with driver.upload("two"):
            pass
    async with driver.upload("one"):
        pass


async def check_a_whole_upload_is_a_blob_once_it_is_committed(driver: BlobDriver) -> None:
    """Or the driver says that it wants to be asked the other way, and has written nothing."""
    digest = Digest.of(b"whole")
    try:
        async with driver.upload_whole("one", b"whole") as writer:
            with pytest.raises(BlobMissing):
                await driver.stat(digest)
            await writer.commit(digest)
    except UploadBegun:
        await put(driver, b"whole")
    assert await read(driver, digest, 0, 5) == b"whole"


async def check_a_whole_upload_replaces_nothing_that_was_acknowledged(driver: BlobDriver) -> None:
    state = await append(driver, 0, None, b"abc")
    with pytest.raises(UploadBegun):
        async with driver.upload_whole("one", b"whole") as writer:
            await writer.commit(Digest.of(b"whole"))
    with pytest.raises(BlobMissing):
        await driver.stat(Digest.of(b"whole"))
    async with driver.upload("one") as writer:
        await writer.begin(3, state)
        assert b"".join([part async for part in writer.read()]) == b"abc"


async def check_missing_things_are_missing(driver: BlobDriver) -> None:
    with pytest.raises(BlobMissing):
        await driver.stat(DIGEST)
    with pytest.raises(BlobMissing):
        async with driver.open(DIGEST):
            pass
    await driver.discard("nothing")
    await driver.delete(DIGEST)


async def check_a_discarded_upload_is_gone(driver: BlobDriver) -> None:
    state = await append(driver, 0, None, b"abc")
    await driver.discard("one")
    await expect_lost(driver, 3, state)


async def check_an_upload_discarded_under_its_writer_becomes_no_blob(driver: BlobDriver) -> None:
    state = await append(driver, 0, None, b"abc")
    async with driver.upload("one") as writer:
        await writer.begin(3, state)
        await driver.discard("one")
        with pytest.raises(UploadMissing):
            await writer.commit(Digest.of(b"abc"))
    with pytest.raises(BlobMissing):
        await driver.stat(Digest.of(b"abc"))


async def check_leaving_before_the_commit_makes_no_blob(driver: BlobDriver) -> None:
    async with driver.upload("one") as writer:
        await writer.begin(0)
        await writer.write(CONTENT)
        await writer.prepare(DIGEST)
    with pytest.raises(BlobMissing):
        await driver.stat(DIGEST)


async def check_the_same_bytes_twice(driver: BlobDriver) -> None:
    await put(driver, b"same", "one")
    digest = await put(driver, b"same", "two")
    assert await read(driver, digest, 0, 4) == b"same"


async def check_an_empty_blob(driver: BlobDriver) -> None:
    digest = await put(driver, b"")
    assert (await driver.stat(digest)).size == 0


async def check_a_deleted_blob_is_gone_but_finishes_for_its_reader(driver: BlobDriver) -> None:
    await put(driver, CONTENT)
    async with driver.open(DIGEST) as reader:
        got = b""
        async for part in reader.read(start=0, end=reader.size):
            got += part
            await driver.delete(DIGEST)
    assert got == CONTENT
    with pytest.raises(BlobMissing):
        await driver.stat(DIGEST)


async def check_blobs_are_listed_in_order(driver: BlobDriver) -> None:
    digests = sorted([await put(driver, bytes([n]) * n, f"n{n}") for n in range(12)])
    found = [blob async for blob in driver.list_blobs()]
    assert [blob.digest for blob in found] == digests
    assert sorted(blob.size for blob in found) == list(range(12))
    for position in (0, 5, 11):
        rest = [blob.digest async for blob in driver.list_blobs(after=digests[position])]
        assert rest == digests[position + 1 :]


async def check_an_empty_storage_lists_nothing(driver: BlobDriver) -> None:
    assert [blob async for blob in driver.list_blobs()] == []


async def check_left_over_uploads_are_swept_by_age(driver: BlobDriver) -> None:
    state = await append(driver, 0, None, b"abc")
    digest = await put(driver, b"kept", "two")
    now = SystemClock().now()
    assert await driver.sweep_uploads(before=now - timedelta(hours=1)) == 0
    state = await append(driver, 3, state, b"d")
    assert await driver.sweep_uploads(before=now + timedelta(hours=1)) > 0
    assert await read(driver, digest, 0, 4) == b"kept"
    await expect_lost(driver, 4, state)


async def check_sha512(driver: BlobDriver) -> None:
    digest = Digest.of(b"abc", "sha512")
    async with driver.upload("one") as writer:
        await writer.write(b"abc")
        await writer.commit(digest)
    assert await read(driver, digest, 0, 3) == b"abc"


async def check_proven_bytes_replace_damaged_ones(driver: BlobDriver) -> None:
    async with driver.upload("one") as writer:
        await writer.write(b"damaged")
        await writer.commit(Digest.of(b"correct"))
    digest = await put(driver, b"correct", "two")
    assert await read(driver, digest, 0, 7) == b"correct"


async def check_what_is_set_aside_is_missing_until_it_is_pushed_again(driver: BlobDriver) -> None:
    with pytest.raises(BlobMissing):
        await driver.set_aside(DIGEST)
    kept = await put(driver, b"other")
    for _ in range(2):
        await put(driver, CONTENT)
        await driver.set_aside(DIGEST)
        with pytest.raises(BlobMissing):
            await driver.stat(DIGEST)
        assert [found.digest async for found in driver.list_blobs()] == [kept]
    await put(driver, CONTENT)
    assert await read(driver, DIGEST, 0, len(CONTENT)) == CONTENT


async def check_the_driver_proves_itself(driver: BlobDriver) -> None:
    await driver.check()


CHECKS = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
