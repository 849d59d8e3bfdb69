"""Steps of a push that are one question: what they take for granted is proven by them."""

import asyncio

import pytest
from sqlalchemy import text
from tests.registry.conftest import only_postgresql
from tests.registry.content.conftest import NAME, once

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.content import store
from hatoba.registry.content.errors import (
    ManifestContentUnknown,
    UploadDigestMismatch,
    UploadUnknown,
)
from hatoba.registry.content.ledger_prepared import open_ledger
from hatoba.registry.content.ledger_sql import SqlLedger
from hatoba.registry.content.uploads import WHOLE_BYTES
from hatoba.sql.engine import open_database

pytestmark = pytest.mark.anyio

OTHER = RepositoryName.parse("someone/other")


async def finish(room, upload: str, content: bytes, rest: bytes, *, name=NAME):
    return await room.uploads.finish_upload(
        name, upload_id=upload, digest=Digest.of(content), chunks=once(rest)
    )


async def read(room, content: bytes) -> bytes:
    async with room.shelf.blobs.open(Digest.of(content)) as reader:
        return b"".join([part async for part in reader.read(start=0, end=reader.size)])


@pytest.mark.parametrize("size", [0, 1, WHOLE_BYTES, WHOLE_BYTES + 1])
async def test_a_blob_of_any_size_is_pushed_at_once(room, size) -> None:
    content = b"x" * size
    record = await finish(room, await room.uploads.start_upload(NAME), content, content)
    assert record.size == size
    assert await read(room, content) == content


async def test_a_small_rest_goes_behind_what_was_acknowledged(room) -> None:
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"first "))
    record = await finish(room, upload, b"first second", b"second")
    assert record.size == len(b"first second")
    assert await read(room, b"first second") == b"first second"


async def test_a_rest_that_is_a_blob_by_itself_does_not_stand_for_all(room) -> None:
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"first "))
    with pytest.raises(UploadDigestMismatch):
        await finish(room, upload, b"second", b"second")
    assert room.shelf.blobs.blobs == {}


async def test_an_upload_that_nobody_began_leaves_nothing(room) -> None:
    for rest in (b"made up", b""):
        with pytest.raises(UploadUnknown):
            await finish(room, "made-up", b"made up", rest)
    assert room.shelf.blobs.uploads == {}
    assert room.shelf.blobs.blobs == {}


@pytest.mark.parametrize("rest", [b" second", b""])
async def test_an_upload_of_another_repository_is_left_alone(room, rest) -> None:
    owner = await room.rooms.users.find("someone")
    await room.rooms.repositories.create(
        namespace=owner,
        name="other",
        is_public=False,
        description=None,
        creator=owner,
        actor=NOBODY,
    )
    upload = await room.uploads.start_upload(NAME)
    await room.uploads.append_chunk(NAME, upload_id=upload, chunks=once(b"first"))
    with pytest.raises(UploadUnknown):
        await finish(room, upload, rest, rest, name=OTHER)
    await finish(room, upload, b"first second", b" second")
    assert await read(room, b"first second") == b"first second"


async def test_a_config_without_bytes_is_missing_whatever_its_row_says(room) -> None:
    content = await room.image(labels={"a": "b"})
    [config] = room.shelf.blobs.blobs
    await room.shelf.blobs.delete(config)
    with pytest.raises(ManifestContentUnknown) as refused:
        await room.push("v1", content)
    assert list(refused.value.missing) == [config]


# SQLite has neither locks by name nor roles.
@only_postgresql
async def test_a_push_waits_for_who_changes_its_tag(room) -> None:
    content = await room.image()
    place = await room.place()
    async with room.shelf.database.begin() as connection:
        await store.lock(connection, store.tag_key(place.repository_id, "v1"))
        await room.push("v2", content)
        waiting = asyncio.create_task(room.push("v1", content))
        await _until_somebody_waits(room)
        assert not waiting.done()
    await waiting


async def _until_somebody_waits(room) -> None:
    async with asyncio.timeout(60):
        waiting = 0
        while not waiting:
            async with room.shelf.database.read() as connection:
                asked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                waiting = (await connection.execute(asked)).scalar_one()


@only_postgresql
async def test_a_role_that_may_make_nothing_temporary_pushes_the_long_way(room) -> None:
    database = room.shelf.database
    async with database.begin() as connection:
        role = f"plain_{database.url.database}"
        for statement in (
            f"CREATE ROLE {role} LOGIN",
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
            f"REVOKE TEMPORARY ON DATABASE {database.url.database} FROM PUBLIC",
        ):
            await connection.execute(text(statement))
    plain = open_database(database.url.set(username=role).render_as_string(hide_password=False))
    try:
        async with open_ledger(plain, audit=room.shelf.audit, location="default") as ledger:
            assert isinstance(ledger, SqlLedger)
    finally:
        await plain.close()
        async with database.begin() as connection:
            await connection.execute(text(f"DROP OWNED BY {role}"))
            await connection.execute(text(f"DROP ROLE {role}"))
