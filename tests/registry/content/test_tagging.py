from datetime import timedelta

import pytest

from hatoba.kernel.clock import milliseconds
from hatoba.kernel.digests import Digest
from hatoba.kernel.names import TagName
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.content.errors import ManifestUnknown, TagExpired, TagUnknown
from hatoba.registry.content.tagging import TagChange, TagFilter
from hatoba.registry.db.tables.tags import tags

pytestmark = pytest.mark.anyio
LATEST = TagName("latest")
NOWHERE = "sha256:" + "0" * 64


@pytest.fixture
async def images(room):
    """Two images; `latest` names the first."""
    first, second = await room.image(), await room.image(annotations={"is": "second"})
    await room.push(Digest.of(second), second)
    await room.push("latest", first)
    room.clock.advance(seconds=5)
    return str(Digest.of(first)), str(Digest.of(second))


def moment(room, **parts):
    return milliseconds(room.clock.now() + timedelta(**parts))


async def change(room, tag=LATEST, **parts):
    await room.tagging.change(await room.place(), tag=tag, change=TagChange(**parts), actor=NOBODY)


async def alive(room):
    return await room.tagging.alive(await room.place(), limit=10)


async def test_a_tag_moves_and_ends_in_one_change(room, images):
    end = moment(room, hours=1)
    await change(room, digest=images[1], sets_end=True, end_ms=end)
    (tag,) = await alive(room)
    assert (tag.digest, tag.end_ms) == (images[1], end)


async def test_a_tag_that_names_the_manifest_already_only_ends(room, images):
    end = moment(room, hours=1)
    await change(room, digest=images[0], sets_end=True, end_ms=end)
    (tag,) = await alive(room)
    assert (tag.digest, tag.end_ms) == (images[0], end)


@pytest.mark.parametrize(
    ("tag", "digest", "error"),
    [(LATEST, NOWHERE, ManifestUnknown), (TagName("other"), None, TagUnknown)],
)
async def test_of_a_change_that_fails_nothing_is_done(room, images, tag, digest, error):
    before = await room.rows(tags)
    with pytest.raises(error):
        await change(
            room, tag, digest=digest or images[1], sets_end=True, end_ms=moment(room, hours=1)
        )
    assert await room.rows(tags) == before


async def test_an_end_can_be_taken_back(room, images):
    await change(room, sets_end=True, end_ms=moment(room, hours=1))
    await change(room, sets_end=True, end_ms=None)
    room.clock.advance(hours=2)
    assert [tag.name for tag in await alive(room)] == ["latest"]


async def test_a_tag_that_has_ended_is_neither_listed_nor_pulled(room, images):
    await change(room, sets_end=True, end_ms=moment(room, hours=1))
    room.clock.advance(hours=1, seconds=1)
    assert await alive(room) == []
    with pytest.raises(TagExpired):
        await room.pull("latest")


async def test_a_tag_that_was_overwritten_can_be_restored(room, images):
    await change(room, digest=images[1])
    room.clock.advance(minutes=1)
    await room.tagging.point(
        await room.place(), tag=LATEST, digest=images[0], actor=NOBODY, is_reversion=True
    )
    rows, _ = await room.tagging.history(await room.place(), TagFilter(name="latest"))
    assert [(row.digest, row.is_reversion) for row in rows] == [
        (images[0], True),
        (images[1], False),
        (images[0], False),
    ]
    assert str((await room.pull("latest")).digest) == images[0]


async def test_what_was_pushed_by_digest_is_in_no_list_and_no_history(room, images):
    rows, _ = await room.tagging.history(await room.place(), TagFilter())
    assert {row.name for row in rows} == {"latest"}
    hidden = [row for row in await room.rows(tags) if row.hidden]
    assert [row.name[:6] for row in hidden] == ["$temp-"]
    page = await room.listings.list_tags(
        (await room.pull("latest")).repository.name, after=None, limit=10
    )
    assert list(page.items) == ["latest"]


async def test_what_was_pushed_by_digest_can_be_pulled_for_its_hour(room, images):
    digest = Digest.parse(images[1])
    room.shelf.caches.clear()
    assert (await room.pull(digest)).digest == digest
    room.clock.advance(hours=1)
    room.shelf.caches.clear()
    with pytest.raises(ManifestUnknown):
        await room.pull(digest)


@pytest.mark.parametrize(
    ("wish", "lifetime"),
    [
        ("2w", timedelta(weeks=2)),
        ("3d", timedelta(days=3)),
        (" 12h ", timedelta(hours=12)),
        ("90m", timedelta(minutes=90)),
        ("1s", timedelta(seconds=1)),
        ("0s", None),
        ("-1d", None),
        ("1.5h", None),
        ("2W", None),
        ("2 w", None),
        ("2w3d", None),
        ("w", None),
        ("", None),
        ("٢w", None),
        ("99999999999999w", None),
    ],
)
async def test_the_label_expires_after_ends_the_tag_it_is_pushed_under(room, wish, lifetime):
    await room.push("latest", await room.image(labels={"quay.expires-after": wish}))
    (tag,) = await alive(room)
    ends = None if tag.end_ms is None else timedelta(milliseconds=tag.end_ms - tag.start_ms)
    assert ends == lifetime


@pytest.mark.parametrize(("weeks", "ends"), [(52_000, True), (52_001, False), (10**8, False)])
async def test_a_lifetime_that_no_calendar_has_is_no_end(room, weeks, ends):
    await room.push("latest", await room.image(labels={"quay.expires-after": f"{weeks}w"}))
    (tag,) = await alive(room)
    assert (tag.end_ms is not None) is ends


async def test_a_tag_pushed_again_lives_as_long_as_the_label_says_from_then(room):
    content = await room.image(labels={"quay.expires-after": "2h"})
    await room.push("latest", content)
    room.clock.advance(hours=1)
    await room.push("latest", content)
    room.clock.advance(hours=1, minutes=30)
    assert [tag.name for tag in await alive(room)] == ["latest"]
