"""An upload that is only begun is told by its id alone; whatever comes of it, once."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, insert, select
from tests.registry.content.conftest import NAME, once

from hatoba.kernel.digests import Digest
from hatoba.kernel.ids import first_uuid, moment_of, timed_uuid
from hatoba.kernel.names import RepositoryName
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.content.errors import UploadDigestMismatch, UploadUnknown
from hatoba.registry.content.upload_ids import UploadIds
from hatoba.registry.content.uploads import CLAIMS_PER_BATCH, Uploads
from hatoba.registry.db.tables.blobs import blob_uploads
from hatoba.registry.db.tables.hatoba import upload_claims

OTHER = RepositoryName.parse("someone/other")
MOMENTS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year > 1970)
MILLISECOND = timedelta(milliseconds=1)


@given(moment=MOMENTS)
def test_a_timed_uuid_tells_its_moment_and_sorts_by_it(moment) -> None:
    made = timed_uuid(moment)
    assert (made.version, made.variant) == (7, RFC_4122)
    assert abs(moment_of(made) - moment) <= MILLISECOND
    assert first_uuid(moment) <= made < first_uuid(moment + 2 * MILLISECOND)
    assert timed_uuid(moment) != made


@given(moment=MOMENTS, secret=st.binary(min_size=1))
def test_an_id_is_known_to_whoever_has_the_secret(moment, secret) -> None:
    made = UploadIds.of_secret(secret).new(NAME, now=moment)
    assert UploadIds.of_secret(secret).read(made.text, name=NAME) == made
    assert UploadIds.of_secret(secret + b"x").read(made.text, name=NAME).claim is None
    assert UploadIds.of_secret(secret).read(made.text, name=OTHER).claim is None


@given(position=st.integers(0, 68), letter=st.sampled_from("0123456789abcdefX-"))
def test_an_id_that_was_changed_is_none_of_ours(position, letter) -> None:
    ids = UploadIds.of_secret(b"secret")
    text = ids.new(NAME, now=datetime(2026, 11, 28, tzinfo=UTC)).text
    assert len(text) == 69
    changed = text[:position] + letter + text[position + 1 :]
    assert (ids.read(changed, name=NAME).claim is None) == (changed != text)


@given(text=st.text(alphabet="0123456789abcdef-Xé", max_size=80))
def test_what_nobody_signed_is_read_without_an_error(text) -> None:
    assert UploadIds.of_secret(b"secret").read(text, name=NAME).claim is None


async def finish(uploads: Uploads, upload: str, content: bytes, rest: bytes, *, name=NAME):
    return await uploads.finish_upload(
        name, upload_id=upload, digest=Digest.of(content), chunks=once(rest)
    )


async def count(room, table) -> int:
    async with room.shelf.database.read() as connection:
        return (await connection.execute(select(func.count()).select_from(table))).scalar_one()


@pytest.mark.anyio
async def test_a_begun_upload_is_written_nowhere_and_known_to_other_processes(room) -> None:
    upload = await room.uploads.start_upload(NAME)
    assert (await count(room, blob_uploads), await count(room, upload_claims)) == (0, 0)
    other = Uploads(shelf=dataclasses.replace(room.shelf))
    assert (await other.find_upload(NAME, upload_id=upload)).received == 0
    assert await other.append_chunk(NAME, upload_id=upload, chunks=once(b"first ")) == 6
    assert (await room.uploads.find_upload(NAME, upload_id=upload)).received == 6
    await finish(room.uploads, upload, b"first second", b"second")


async def push(uploads: Uploads, upload: str) -> None:
    await finish(uploads, upload, b"all", b"all")


async def push_in_parts(uploads: Uploads, upload: str) -> None:
    await uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"a"))
    await finish(uploads, upload, b"all", b"ll")


async def push_something_else(uploads: Uploads, upload: str) -> None:
    with pytest.raises(UploadDigestMismatch):
        await finish(uploads, upload, b"all", b"other")


async def cancel(uploads: Uploads, upload: str) -> None:
    await uploads.cancel_upload(NAME, upload_id=upload)


async def cancel_later(uploads: Uploads, upload: str) -> None:
    await uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"a"))
    await uploads.cancel_upload(NAME, upload_id=upload)


async def require_unknown(room, upload: str, *, name=NAME) -> None:
    """All that can be done with an id is refused, and leaves nothing."""
    before = dict(room.shelf.blobs.uploads)
    for attempt in (
        room.uploads.find_upload(name, upload_id=upload),
        room.uploads.append_chunk(name, upload_id=upload, chunks=once(b"all")),
        room.uploads.append_chunk(name, upload_id=upload, chunks=once(b"")),
        finish(room.uploads, upload, b"all", b"all", name=name),
        finish(room.uploads, upload, b"all", b"", name=name),
        room.uploads.cancel_upload(name, upload_id=upload),
    ):
        with pytest.raises(UploadUnknown):
            await attempt
    assert room.shelf.blobs.uploads == before


@pytest.mark.anyio
@pytest.mark.parametrize("end", [push, push_in_parts, push_something_else, cancel, cancel_later])
async def test_an_id_is_of_no_use_once_its_upload_has_ended(room, end) -> None:
    upload = await room.uploads.start_upload(NAME)
    await end(room.uploads, upload)
    await require_unknown(room, upload)
    assert await count(room, blob_uploads) == 0
    assert room.shelf.blobs.uploads == {}


@pytest.mark.anyio
async def test_an_id_is_of_no_use_in_another_repository(room) -> None:
    owner = await room.rooms.users.get("someone")
    await room.rooms.repositories.create(
        namespace=owner,
        name="other",
        is_public=False,
        description=None,
        creator=owner,
        actor=NOBODY,
    )
    upload = await room.uploads.start_upload(NAME)
    await require_unknown(room, upload, name=OTHER)
    await push(room.uploads, upload)
    again = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=again, chunks=once(b"a"))
    await require_unknown(room, again, name=OTHER)
    await finish(room.uploads, again, b"all", b"ll")


@pytest.mark.anyio
@pytest.mark.parametrize("is_gone_on_with", [False, True])
async def test_an_id_lives_as_long_as_an_upload_may(room, is_gone_on_with) -> None:
    upload = await room.uploads.start_upload(NAME)
    if is_gone_on_with:
        await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b""))
    room.clock.elapsed = room.shelf.policy.upload_lifetime
    await room.uploads.find_upload(NAME, upload_id=upload)
    room.clock.elapsed += timedelta(seconds=1)
    assert await room.uploads.expire_uploads() == is_gone_on_with
    await require_unknown(room, upload)


@pytest.mark.anyio
async def test_what_was_acknowledged_goes_on_until_it_is_expired(room) -> None:
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"a"))
    room.clock.elapsed = room.shelf.policy.upload_lifetime + MILLISECOND
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"l"))
    await finish(room.uploads, upload, b"all", b"l")
    await require_unknown(room, upload)


@pytest.mark.anyio
async def test_a_claim_stays_for_as_long_as_any_clock_may_take_its_id_for_valid(room) -> None:
    await room.push_blob(b"blob")
    room.clock.elapsed = room.shelf.policy.upload_lifetime + room.shelf.policy.sweep_margin
    await room.push_blob(b"another")
    assert await room.uploads.forget_claims() == 0
    room.clock.elapsed += MILLISECOND
    old = room.clock.now() - timedelta(days=30)
    async with room.shelf.database.begin() as connection:
        more = [{"id": timed_uuid(old)} for _ in range(CLAIMS_PER_BATCH)]
        await connection.execute(insert(upload_claims), more)
    assert await room.uploads.forget_claims() == CLAIMS_PER_BATCH
    assert await room.uploads.forget_claims() == 1
    assert await count(room, upload_claims) == 1


@pytest.mark.anyio
async def test_an_upload_that_has_a_row_from_the_beginning_goes_on(room) -> None:
    """As Quay began it."""
    place = await room.place()
    await room.push_blob(b"names the location")
    for upload in ("7c9e6679-7425-40de-944b-e07fc1f90ae7", "8d"):
        async with room.shelf.database.begin() as connection:
            row = {"repository_id": place.repository_id, "uuid": upload, "location_id": 1}
            await connection.execute(
                insert(blob_uploads).values(
                    **row,
                    byte_count=0,
                    chunk_count=0,
                    storage_metadata="{}",
                    created=room.clock.now(),
                )
            )
    await push_in_parts(room.uploads, "7c9e6679-7425-40de-944b-e07fc1f90ae7")
    await require_unknown(room, "7c9e6679-7425-40de-944b-e07fc1f90ae7")
    await push(room.uploads, "8d")
    await require_unknown(room, "8d")


@pytest.mark.anyio
async def test_of_all_that_end_an_upload_at_once_one_does(room) -> None:
    for _ in range(5):
        upload = await room.uploads.start_upload(NAME)
        outcomes = await asyncio.gather(
            *(room.uploads.cancel_upload(NAME, upload_id=upload) for _ in range(4)),
            return_exceptions=True,
        )
        assert outcomes.count(None) == 1
        assert [type(one) for one in outcomes if one is not None] == [UploadUnknown] * 3
