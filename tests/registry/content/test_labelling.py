from dataclasses import replace

import pytest

from hatoba.kernel.digests import Digest
from hatoba.registry.audit.models import NOBODY
from hatoba.registry.content import labels as limits
from hatoba.registry.content.errors import (
    LabelImmutable,
    LabelInvalid,
    LabelUnknown,
    ManifestUnknown,
)
from hatoba.registry.db.tables.manifests import labels

pytestmark = pytest.mark.anyio
NOWHERE = "sha256:" + "0" * 64


@pytest.fixture
async def digest(room):
    content = await room.image(labels={"maintainer": "somebody"})
    await room.push("latest", content)
    return str(Digest.of(content))


async def add(room, digest, key="team", value="blue", media_type=None):
    return await room.rooms.labelling.add_label(
        await room.place(),
        digest=digest,
        key=key,
        value=value,
        media_type=media_type,
        actor=NOBODY,
    )


async def keys(room, digest, prefix=""):
    found = await room.rooms.labelling.list_labels(await room.place(), digest=digest, prefix=prefix)
    return [label.key for label in found]


async def delete(room, digest, label_id):
    await room.rooms.labelling.delete_label(
        await room.place(), digest=digest, label_id=label_id, actor=NOBODY
    )


async def test_a_label_is_added_listed_and_removed(room, digest):
    added = await add(room, digest)
    assert (added.source, added.media_type) == ("api", "text/plain")
    assert await keys(room, digest) == ["maintainer", "team"]
    await delete(room, digest, added.id)
    assert await keys(room, digest) == ["maintainer"]
    assert [row.key for row in await room.rows(labels)] == ["maintainer"]


async def test_a_value_that_looks_like_json_is_json(room, digest):
    assert (await add(room, digest, value='{"a": 1}')).media_type == "application/json"


@pytest.mark.parametrize("prefix", ["te", "t_am", "%"])
async def test_labels_are_found_by_how_their_keys_begin(room, digest, prefix):
    await add(room, digest)
    expected = ["team"] if prefix == "te" else []
    assert await keys(room, digest, prefix) == expected


async def test_what_a_push_brought_stays(room, digest):
    (label,) = await room.rooms.labelling.list_labels(await room.place(), digest=digest, prefix="")
    with pytest.raises(LabelImmutable):
        await delete(room, digest, label.id)
    assert await keys(room, digest) == ["maintainer"]


@pytest.mark.parametrize(
    "key",
    [
        *("", "Team", "a_b", "-a", "a-", "a..b", "a.-b", "quay.expires-after", "io.quay.x", "ä"),
        "a" * (limits.MAXIMUM_KEY_LENGTH + 1),
        "a\n",
    ],
)
async def test_a_key_that_nobody_may_give_is_refused(room, digest, key):
    with pytest.raises(LabelInvalid):
        await add(room, digest, key=key)
    assert await keys(room, digest) == ["maintainer"]


@pytest.mark.parametrize("key", ["a", "a-b.c", "0", "a" * limits.MAXIMUM_KEY_LENGTH])
async def test_other_keys_may_be_given_again_and_again(room, digest, key):
    await add(room, digest, key=key)
    await add(room, digest, key=key)
    assert await keys(room, digest, key) == [key, key]


async def test_a_manifest_has_a_limited_number_of_labels(room, digest):
    room.rooms = replace(room.rooms, labelling=replace(room.rooms.labelling, maximum=2))
    await add(room, digest)
    with pytest.raises(LabelInvalid):
        await add(room, digest)
    assert await keys(room, digest) == ["maintainer", "team"]


async def test_what_is_not_there_is_not_found(room, digest):
    with pytest.raises(ManifestUnknown):
        await add(room, NOWHERE)
    with pytest.raises(LabelUnknown):
        await delete(room, digest, "nosuch")


async def test_a_label_is_found_at_its_own_manifest_only(room, digest):
    other = await room.image(annotations={"is": "other"})
    await room.push("other", other)
    added = await add(room, digest)
    with pytest.raises(LabelUnknown):
        await delete(room, str(Digest.of(other)), added.id)
