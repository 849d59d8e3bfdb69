"""The state of a repository decides at once, whatever a token said before."""

import pytest
from sqlalchemy import insert, update
from tests.registry.content.conftest import NAME, once

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import TagName
from hatoba.oci import media_types
from hatoba.registry.audit.models import NOBODY, Actor
from hatoba.registry.content.errors import RepositoryTakesNoPushes, RepositoryUnknown
from hatoba.registry.content.models import Caller, RepositoryState
from hatoba.registry.db.tables.mirrors import repo_mirror_configs, repo_mirror_rules
from hatoba.registry.db.tables.repositories import repositories

pytestmark = pytest.mark.anyio
TAKES_NONE = [RepositoryState.READ_ONLY, RepositoryState.MIRROR, RepositoryState.ORG_MIRROR]


@pytest.fixture
async def content(room):
    content = await room.image()
    await room.push("latest", content)
    return content


async def set_state(room, state):
    async with room.shelf.database.begin() as connection:
        await connection.execute(update(repositories).values(state=state))


async def push(room, content, *, account_id=None):
    await room.manifests.push_manifest(
        NAME,
        reference=TagName("other"),
        content=content,
        content_type=media_types.OCI_MANIFEST,
        caller=Caller(actor=Actor(account_id=account_id), username=None, user_agent="test"),
    )


async def delete(room, reference="latest"):
    wanted = reference if isinstance(reference, Digest) else TagName(reference)
    caller = Caller(actor=Actor(), username=None, user_agent="test")
    await room.manifests.delete_manifest(NAME, reference=wanted, caller=caller)


@pytest.mark.parametrize("state", TAKES_NONE)
async def test_what_takes_no_pushes_is_pulled_and_never_changed(room, content, state):
    await set_state(room, state)
    with pytest.raises(RepositoryTakesNoPushes):
        await push(room, content)
    for reference in ("latest", Digest.of(content)):
        with pytest.raises(RepositoryTakesNoPushes):
            await delete(room, reference)
    assert (await room.pull("latest")).content == content
    assert (await room.listings.list_tags(NAME, after=None, limit=10)).items == ["latest"]


async def test_a_read_only_repository_takes_no_blobs(room):
    blob = await room.push_blob(b"blob")
    await set_state(room, RepositoryState.READ_ONLY)
    with pytest.raises(RepositoryTakesNoPushes):
        await room.uploads.start_upload(NAME)
    with pytest.raises(RepositoryTakesNoPushes):
        await room.holdings.mount_blob(NAME, digest=blob, from_repository=NAME)
    with pytest.raises(RepositoryTakesNoPushes):
        await room.holdings.release_blob(NAME, digest=blob)


async def test_an_upload_that_began_before_ends_in_no_manifest(room, content):
    upload = await room.uploads.start_upload(NAME)
    await set_state(room, RepositoryState.READ_ONLY)
    await room.uploads.finish_upload(
        NAME, upload_id=upload, digest=Digest.of(b"late"), chunks=once(b"late")
    )
    with pytest.raises(RepositoryTakesNoPushes):
        await push(room, content)


async def test_a_repository_that_is_normal_again_takes_pushes(room, content):
    await set_state(room, RepositoryState.READ_ONLY)
    await set_state(room, RepositoryState.NORMAL)
    await push(room, content)
    await delete(room)


async def test_a_repository_that_is_being_deleted_is_unknown(room, content):
    await set_state(room, RepositoryState.MARKED_FOR_DELETION)
    for attempt in (push(room, content), delete(room), room.pull("latest")):
        with pytest.raises(RepositoryUnknown):
            await attempt
    with pytest.raises(RepositoryUnknown):
        await room.uploads.start_upload(NAME)


async def mirrored(room) -> int:
    """Make the repository a mirror; return the account of its robot."""
    rooms = room.rooms
    owner = await rooms.users.get("someone")
    robot = await rooms.robots.create(
        owner, short_name="copies", description="", metadata=None, actor=NOBODY
    )
    await set_state(room, RepositoryState.MIRROR)
    place = await room.place()
    async with room.shelf.database.begin() as connection:
        rule = await connection.execute(
            insert(repo_mirror_rules)
            .values(
                uuid="u",
                repository_id=place.repository_id,
                creation_date=room.clock.now(),
                rule_type=1,
                rule_value="{}",
            )
            .returning(repo_mirror_rules.c.id)
        )
        await connection.execute(
            insert(repo_mirror_configs).values(
                repository_id=place.repository_id,
                creation_date=room.clock.now(),
                is_enabled=True,
                mirror_type=1,
                internal_robot_id=robot.account.id,
                external_reference="registry.example/app",
                external_registry_config="{}",
                sync_interval=86400,
                sync_retries_remaining=3,
                sync_status=0,
                sync_transaction_id="t",
                root_rule_id=rule.scalar_one(),
                skopeo_timeout=300,
            )
        )
    account_id: int = robot.account.id
    return account_id


async def test_a_mirror_is_written_by_its_robot_alone(room, content):
    robot_id = await mirrored(room)
    await push(room, content, account_id=robot_id)
    with pytest.raises(RepositoryTakesNoPushes):
        await push(room, content, account_id=robot_id + 1)
