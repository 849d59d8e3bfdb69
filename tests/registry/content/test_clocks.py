"""A clock that was ahead and is put back must not bring old tags back."""

from datetime import timedelta

import pytest
from tests.registry.content.conftest import CALLER, NAME

from hatoba.kernel.names import TagName
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.content.errors import ManifestUnknown, TagExpired, TagUnknown

pytestmark = pytest.mark.anyio

AHEAD = timedelta(hours=3)


@pytest.fixture
async def put_back(room):
    """A tag that was moved twice while the clock was hours ahead; the clock is right again."""
    room.clock.elapsed += AHEAD
    for text in ("first", "second", "third"):
        room.clock.advance(minutes=1)
        await room.push("latest", await room.image(labels={"text": text}))
    room.clock.elapsed -= AHEAD
    return room


async def test_the_newest_push_is_served(put_back) -> None:
    manifest = await put_back.image(labels={"text": "fourth"})
    pushed = await put_back.push("latest", manifest)
    assert (await put_back.pull("latest")).digest == pushed.digest
    put_back.clock.elapsed += 2 * AHEAD
    assert (await put_back.pull("latest")).digest == pushed.digest


async def test_a_deleted_tag_is_gone(put_back) -> None:
    await put_back.manifests.delete_manifest(NAME, reference=TagName("latest"), caller=CALLER)
    with pytest.raises((TagExpired, ManifestUnknown)):
        await put_back.pull("latest")


async def test_a_tag_deleted_over_the_api_is_gone(put_back) -> None:
    place = await put_back.place()
    await put_back.tagging.delete(place, tag=TagName("latest"), actor=NOBODY)
    with pytest.raises(TagUnknown):
        await put_back.tagging.delete(place, tag=TagName("latest"), actor=NOBODY)
    with pytest.raises((TagExpired, ManifestUnknown)):
        await put_back.pull("latest")
