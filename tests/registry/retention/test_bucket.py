"""Garbage in a bucket, and in a former location, goes like any other."""

import pytest
from tests.object_storage import bucket_location, parameters
from tests.registry.retention.house import TIME_MACHINE, open_house

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.layered import LayeredBlobs
from hatoba.registry.blobs.memory import MemoryBlobs
from hatoba.registry.blobs.s3_opening import open_bucket

pytestmark = pytest.mark.anyio


async def digests(blobs) -> set[Digest]:
    return {found.digest async for found in blobs.list_blobs()}


async def test_what_no_tag_reaches_goes_and_the_rest_stays(
    database, object_storage, tmp_path
) -> None:
    named = parameters(object_storage, object_storage.new_bucket())
    location = bucket_location("RHOCSStorage", named)
    former = MemoryBlobs()
    async with open_bucket(location, directory=tmp_path) as bucket:
        house = await open_house(database, blobs=LayeredBlobs([bucket, former]))
        await house.push_image("kept", b"{}", b"shared", b"kept")
        await house.push_image("gone", b"{ }", b"shared", b"gone")
        former.blobs[Digest.of(b"gone")] = b"gone"
        await house.delete("gone")
        house.clock.elapsed += TIME_MACHINE * 2
        await house.collect_until_nothing_waits()
        assert await digests(bucket) == {Digest.of(b"{}"), Digest.of(b"shared"), Digest.of(b"kept")}
        assert former.blobs == {}
