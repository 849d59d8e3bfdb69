"""The time for which tags can be restored is the namespace's, and may change."""

from datetime import timedelta

import pytest
from tests.registry.retention.house import TIME_MACHINE, index

from hatoba.kernel.digests import Digest
from hatoba.registry.content.errors import ManifestUnknown

pytestmark = pytest.mark.anyio
HOUR = timedelta(hours=1)


async def test_a_shorter_time_lets_go_what_is_older(house):
    content = await house.push_image("latest", b"{}", b"layer")
    await house.delete("latest")
    house.clock.elapsed += 3 * HOUR
    assert (await house.collector.collect_everything()).is_empty
    await house.set_time_machine(2 * HOUR)
    assert (await house.collector.collect_everything()).manifests == 1
    with pytest.raises(ManifestUnknown):
        await house.point("latest", content, is_reversion=True)


async def test_a_longer_time_keeps_what_has_not_gone_yet(house):
    content = await house.push_image("latest", b"{}", b"layer")
    await house.delete("latest")
    house.clock.elapsed += TIME_MACHINE - HOUR
    await house.set_time_machine(2 * TIME_MACHINE)
    house.clock.elapsed += 2 * HOUR
    assert (await house.collector.collect_everything()).is_empty
    await house.point("latest", content, is_reversion=True)
    assert (await house.pull("latest")).content == content


async def test_without_a_time_what_is_overwritten_goes_at_once(house):
    await house.set_time_machine(timedelta())
    await house.push_image("latest", b"{}", b"first")
    house.clock.elapsed += HOUR
    await house.push_image("latest", b"{}", b"second")
    house.clock.elapsed += HOUR
    assert (await house.collect_until_nothing_waits()).manifests == 1
    assert house.stored == {b"{}", b"second"}


async def test_an_overwritten_tag_is_restored_and_keeps_both_images(house):
    first = await house.push_image("latest", b"{}", b"first")
    house.clock.elapsed += HOUR
    await house.push_image("latest", b"{}", b"second")
    house.clock.elapsed += HOUR
    await house.point("latest", first, is_reversion=True)
    house.clock.elapsed += TIME_MACHINE - HOUR
    assert (await house.collect_until_nothing_waits()).manifests == 0
    house.clock.elapsed += HOUR
    assert (await house.collect_until_nothing_waits()).manifests == 1
    assert house.stored == {b"{}", b"first"}


async def test_a_tag_that_expired_can_be_restored_for_that_time(house):
    content = await house.push_image("latest", b'{"config":{"Labels":{"quay.expires-after":"1h"}}}')
    house.clock.elapsed += HOUR + TIME_MACHINE - timedelta(minutes=1)
    await house.collector.collect_everything()
    await house.point("latest", content, is_reversion=True)
    house.clock.elapsed += 10 * TIME_MACHINE
    await house.collect_until_nothing_waits()
    assert (await house.pull("latest")).content == content


async def test_a_child_outlives_its_index_while_its_own_push_is_held(house):
    """What connects the two leads the collection to the child; only its hold keeps it."""
    await house.set_time_machine(timedelta())
    child = await house.push_image(None, b"{}", b"layer")
    await house.push("latest", index(child))
    await house.delete("latest")
    house.clock.elapsed += HOUR / 2
    assert (await house.collect_until_nothing_waits()).manifests == 1
    assert (await house.pull(Digest.of(child))).content == child
    house.clock.elapsed += HOUR
    assert (await house.collect_until_nothing_waits()).manifests == 1
    assert house.stored == set()
