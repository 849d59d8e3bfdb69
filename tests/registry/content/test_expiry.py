"""What is left of pushes that ended half-way goes after its time, all of it and not before."""

import dataclasses
from datetime import timedelta

import pytest
from sqlalchemy import insert
from tests.registry.content.conftest import NAME, once

from hatoba.registry.content.holdings import HOLDS_PER_BATCH
from hatoba.registry.content.models import ContentPolicy
from hatoba.registry.content.uploads import UPLOADS_PER_BATCH, Uploads
from hatoba.registry.db.tables.blobs import blob_uploads, uploaded_blobs
from hatoba.registry.workers.expiry import expiry_duties

pytestmark = pytest.mark.anyio
SECOND = timedelta(seconds=1)


def with_policy(room, **policy) -> Uploads:
    return Uploads(shelf=dataclasses.replace(room.shelf, policy=ContentPolicy(**policy)))


async def begin(uploads: Uploads) -> None:
    """Begin an upload and go on with it."""
    upload = await uploads.start_upload(NAME)
    await uploads.append_chunk(NAME, upload_id=upload, chunks=once(b""))


async def test_an_upload_lives_for_as_long_as_is_set(room) -> None:
    uploads = with_policy(room, upload_lifetime=timedelta(hours=1))
    await begin(uploads)
    room.clock.elapsed = timedelta(hours=1)
    assert await uploads.expire_uploads() == 0
    room.clock.elapsed += SECOND
    assert await uploads.expire_uploads() == 1


async def test_bytes_that_nobody_knows_stay_for_the_margin_as_well(room) -> None:
    uploads = with_policy(
        room, upload_lifetime=timedelta(hours=2), sweep_margin=timedelta(minutes=3)
    )
    room.shelf.blobs.uploads["nobody-s"] = bytearray(b"left")
    room.shelf.blobs.touched["nobody-s"] = room.clock.now()
    room.clock.elapsed = timedelta(hours=2, minutes=3)
    assert await uploads.sweep_uploads() == 0
    room.clock.elapsed += SECOND
    assert await uploads.sweep_uploads() == 1


async def fill(room, table, rows) -> None:
    async with room.shelf.database.begin() as connection:
        await connection.execute(insert(table), rows)


async def test_one_run_of_the_duties_forgets_all_that_is_too_old(room) -> None:
    await room.push_blob(b"held")
    [hold] = await room.rows(uploaded_blobs)
    same = {key: value for key, value in hold._mapping.items() if key != "id"}
    await fill(room, uploaded_blobs, [same] * (HOLDS_PER_BATCH + 1))
    await begin(room.uploads)
    [upload] = await room.rows(blob_uploads)
    same = {key: value for key, value in upload._mapping.items() if key != "id"}
    more = [{**same, "uuid": f"left-over-{number}"} for number in range(UPLOADS_PER_BATCH)]
    await fill(room, blob_uploads, more)
    room.clock.advance(days=3)
    await begin(room.uploads)
    done = [await duty.run() for duty in expiry_duties(room.uploads, room.holdings)]
    assert done == [UPLOADS_PER_BATCH + 1, 2, 0, HOLDS_PER_BATCH + 2]
    assert await room.rows(uploaded_blobs) == []
    assert len(await room.rows(blob_uploads)) == 1
