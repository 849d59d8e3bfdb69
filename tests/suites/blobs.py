"""What every blob driver must do. A driver's test calls each function with a fresh driver."""

import pytest

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import BlobDriver, BlobMissing, UploadBusy, UploadMissing

CONTENT = bytes(range(256)) * 8192  # 2 MiB: several reads
DIGEST = Digest.of(CONTENT)


async def put(driver: BlobDriver, content: bytes, upload: str = "one") -> Digest:
    digest = Digest.of(content)
    async with driver.upload(upload) as writer:
        await writer.begin(0)
        await writer.write(content)
        await writer.sync()
        await writer.commit(digest)
    return digest


async def read(driver: BlobDriver, digest: Digest, start: int, end: int) -> bytes:
    async with driver.open(digest) as reader:
        return b"".join([part async for part in reader.read(start=start, end=end)])


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
    async with driver.upload("one") as writer:
        await writer.begin(0)
        await writer.write(b"abc")
        await writer.write(memoryview(b"def"))
    async with driver.upload("one") as writer:
        await writer.begin(4)
        await writer.write(b"XY")
        assert b"".join([part async for part in writer.read()]) == b"abcdXY"


async def check_a_gap_is_refused(driver: BlobDriver) -> None:
    async with driver.upload("one") as writer:
        await writer.begin(0)
        await writer.write(b"abc")
        with pytest.raises(UploadMissing):
            await writer.begin(4)


async def check_two_writers_exclude_each_other(driver: BlobDriver) -> None:
    async with driver.upload("one"):
        with pytest.raises(UploadBusy):
            async with driver.upload("one"):
                pass
        async with driver.upload("two"):
            pass
    async with driver.upload("one"):
        pass


async def check_missing_things_are_missing(driver: BlobDriver) -> None:
    with pytest.raises(BlobMissing):
        await driver.stat(DIGEST)
    with pytest.raises(BlobMissing):
        async with driver.open(DIGEST):
            pass
    await driver.discard("nothing")
    await driver.delete(DIGEST)


async def check_a_discarded_upload_is_gone(driver: BlobDriver) -> None:
    async with driver.upload("one") as writer:
        await writer.begin(0)
        await writer.write(b"abc")
    await driver.discard("one")
    async with driver.upload("one") as writer:
        with pytest.raises(UploadMissing):
            await writer.begin(3)


async def check_an_upload_discarded_under_its_writer_becomes_no_blob(driver: BlobDriver) -> None:
    async with driver.upload("one") as writer:
        await writer.write(b"abc")
        await driver.discard("one")
        with pytest.raises(UploadMissing):
            await writer.commit(Digest.of(b"abc"))
    with pytest.raises(BlobMissing):
        await driver.stat(Digest.of(b"abc"))


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
        await driver.delete(DIGEST)
        got = b"".join([part async for part in reader.read(start=0, end=reader.size)])
    assert got == CONTENT
    with pytest.raises(BlobMissing):
        await driver.stat(DIGEST)


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


async def check_the_driver_proves_itself(driver: BlobDriver) -> None:
    await driver.check()


CHECKS = [value for name, value in sorted(globals().items()) if name.startswith("check_")]
