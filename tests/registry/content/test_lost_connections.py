"""A push whose connection to PostgreSQL is lost is done once, or not at all and said so."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest
from tests.detours import detour_to
from tests.registry.conftest import only_postgresql
from tests.registry.content.conftest import NAME, make_room, once

from hatoba.kernel.digests import Digest
from hatoba.registry.content.errors import UploadUnknown
from hatoba.registry.content.ledger_prepared import open_ledger
from hatoba.registry.db.tables.blobs import blob_uploads, uploaded_blobs
from hatoba.registry.db.tables.logs import log_entries
from hatoba.registry.db.tables.tags import tags
from hatoba.sql.engine import DatabaseUnavailable, open_database

pytestmark = [pytest.mark.anyio, only_postgresql]

END_PUSHERS = """
SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND query LIKE '%hatoba_push_%'
"""
"""Returns when they have ended: a push loses one session, and never its second."""


@pytest.fixture
async def led(room):
    """A room whose pushes go to PostgreSQL by a detour, warm; and the detour."""
    url = room.shelf.database.url
    async with detour_to(url.host, url.port) as (detour, port):
        through = open_database(
            url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        )
        async with open_ledger(through, audit=room.shelf.audit, location="default") as ledger:
            shelf = replace(room.shelf, ledger=ledger)
            led = make_room(shelf, room.rooms)
            # Each statement is prepared when it is asked first, which is answered, too.
            content = await led.image(labels={"warm": "yes"})
            await led.push("warm", content)
            await led.push(Digest.of(content), content)
            upload = await led.uploads.start_upload(NAME)
            for part in (b"a", b"b"):
                await led.uploads.append_chunk(NAME, upload_id=upload, chunks=once(part))
            await led.uploads.cancel_upload(NAME, upload_id=upload)
            yield led, detour
        await through.close()


async def of_tag(room, name: str) -> tuple[int, int]:
    """How many rows of a tag there are, and how many audit rows of its pushes."""
    rows = [row for row in await room.rows(tags) if row.name == name]
    entries = await room.rows(log_entries)
    return len(rows), len([one for one in entries if f'"{name}"' in one.metadata_json])


async def test_a_manifest_whose_answer_was_lost_is_stored_once(led) -> None:
    room, detour = led
    content = await room.image(labels={"a": "b"})
    detour.lose(after=0)
    await room.push("v1", content)
    assert detour.lost == 1
    assert await of_tag(room, "v1") == (1, 1)
    assert (await room.pull("v1")).content == content


async def test_a_manifest_by_digest_whose_answer_was_lost_has_one_hidden_tag(led) -> None:
    room, detour = led
    content = await room.image(labels={"c": "d"})
    before = len(await room.rows(tags))
    detour.lose(after=0)
    await room.push(Digest.of(content), content)
    assert detour.lost == 1
    assert len(await room.rows(tags)) == before + 1


async def test_the_same_push_later_is_a_push_of_its_own(led) -> None:
    room, detour = led
    content = await room.image()
    await room.push("v1", content)
    room.clock.advance(seconds=1)
    detour.lose(after=0)
    await room.push("v1", content)
    assert await of_tag(room, "v1") == (2, 2)


@pytest.mark.parametrize("lost", [0, 1])
async def test_a_chunk_whose_answer_was_lost_is_acknowledged_once(led, lost) -> None:
    room, detour = led
    upload = await room.uploads.start_upload(NAME)
    for number, part in enumerate((b"first ", b"second")):
        if number == lost:
            # Behind the answer that tells where the upload stands.
            detour.lose(after=1)
        await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(part))
    assert detour.lost == 1
    [row] = await room.rows(blob_uploads)
    assert (row.byte_count, row.chunk_count) == (12, 2)
    record = await room.uploads.finish_upload(
        NAME, upload_id=upload, digest=Digest.of(b"first second"), chunks=once(b"")
    )
    assert record.size == 12


async def test_an_upload_that_somebody_may_have_ended_is_not_said_to_be_cancelled(led) -> None:
    room, detour = led
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"x"))
    detour.lose(after=1)
    with pytest.raises(DatabaseUnavailable):
        await room.uploads.cancel_upload(NAME, upload_id=upload)
    with pytest.raises(UploadUnknown):
        await room.uploads.cancel_upload(NAME, upload_id=upload)


async def finish(room, content: bytes):
    upload = await room.uploads.start_upload(NAME)
    return upload, room.uploads.finish_upload(
        NAME, upload_id=upload, digest=Digest.of(content), chunks=once(content)
    )


@pytest.mark.parametrize("answered", [0, 1])
async def test_a_blob_is_begun_again_where_nothing_was_committed(led, answered) -> None:
    room, detour = led
    _, finishing = await finish(room, b"blob")
    detour.lose(after=answered)
    assert (await finishing).size == 4
    assert detour.lost == 1
    assert await room.rows(blob_uploads) == []


async def test_a_blob_whose_commit_was_not_answered_is_stored(led) -> None:
    room, detour = led
    upload, finishing = await finish(room, b"blob")
    detour.lose(after=2)
    assert (await finishing).size == 4
    assert detour.lost == 1
    with pytest.raises(UploadUnknown):
        await room.uploads.find_upload(NAME, upload_id=upload)


async def test_chunks_whose_last_commit_was_not_answered_are_stored(led) -> None:
    room, detour = led
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"chunk"))
    # Behind the look at the upload, BEGIN, and the rows.
    detour.lose(after=3)
    record = await room.uploads.finish_upload(
        NAME, upload_id=upload, digest=Digest.of(b"chunk"), chunks=once(b"")
    )
    assert (record.size, detour.lost) == (5, 1)
    assert await room.rows(blob_uploads) == []


async def test_a_blob_whose_commit_never_arrived_is_not_said_to_be_stored(led) -> None:
    room, detour = led
    before = await room.rows(uploaded_blobs)
    _, finishing = await finish(room, b"another blob")
    detour.lose_question(after=2)
    with pytest.raises(DatabaseUnavailable):
        await finishing
    assert detour.lost == 1
    assert await room.rows(uploaded_blobs) == before


async def test_sessions_that_are_ended_under_pushes_cost_none(led) -> None:
    room, _ = led
    content = await room.image()
    await room.push("v1", content)
    killer = await asyncpg.connect(**room.shelf.database.asyncpg_arguments())
    try:
        for number in range(12):
            pushing = asyncio.create_task(room.push(f"k{number}", content))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            await killer.execute(END_PUSHERS)
            await pushing
            assert await of_tag(room, f"k{number}") == (1, 1)
    finally:
        await killer.close()
