import asyncio

import pytest

from hatoba.cluster.api.status import Expired
from hatoba.cluster.api.store import Key, Store
from hatoba.cluster.objects import CONFIG_MAPS, SECRETS

pytestmark = pytest.mark.anyio
KEY = Key(CONFIG_MAPS, "ns", "one")


def document(value, name="one"):
    return {"metadata": {"name": name, "namespace": "ns"}, "data": {"value": value}}


@pytest.fixture
def store():
    opened = Store(None, history=50, queue=3)
    yield opened
    opened.close()


async def test_versions_grow_by_one_over_all_resources(store):
    first = store.put(KEY, document(1))
    second = store.put(Key(SECRETS, "ns", "s"), document(1, "s"))
    assert (
        int(second["metadata"]["resourceVersion"]) == int(first["metadata"]["resourceVersion"]) + 1
    )


async def test_the_past_is_seen_by_undoing_changes(store):
    store.put(KEY, document(1))
    then = store.version
    store.put(KEY, document(2))
    store.put(Key(CONFIG_MAPS, "ns", "two"), document(1, "two"))
    store.remove(KEY)
    assert [obj["data"]["value"] for obj in store.members_at(CONFIG_MAPS, "ns", then)] == [1]


async def test_a_subscription_has_no_gap_between_past_and_future(store):
    since = store.version
    store.put(KEY, document(1))
    backlog, subscription = store.subscribe(CONFIG_MAPS, None, since)
    store.put(KEY, document(2))
    assert [change.type for change in backlog] == ["ADDED"]
    following = await asyncio.wait_for(subscription.next(), 1)
    assert (following.type, following.object["data"]["value"]) == ("MODIFIED", 2)


async def test_a_reader_that_is_too_slow_is_cut_off(store):
    _, subscription = store.subscribe(CONFIG_MAPS, None, store.version)
    for value in range(10):
        store.put(KEY, document(value))
    for _ in range(3):
        await asyncio.wait_for(subscription.next(), 1)
    with pytest.raises(Expired):
        await asyncio.wait_for(subscription.next(), 1)


async def test_a_forgotten_version_cannot_be_continued_from(store):
    since = store.version
    for value in range(5):
        store.put(KEY, document(value))
    store.compact(store.version - 1)
    with pytest.raises(Expired, match="too old resource version"):
        store.changes(CONFIG_MAPS, None, since)
    assert len(list(store.changes(CONFIG_MAPS, None, store.version - 1))) == 1


async def test_objects_history_and_numbering_survive_a_restart(tmp_path):
    path = tmp_path / "objects.sqlite"
    first = Store(path)
    since = first.version
    first.put(KEY, document(1))
    first.put(KEY, document(2))
    first.close()
    second = Store(path)
    assert second.get(KEY)["data"]["value"] == 2
    assert [change.type for change in second.changes(CONFIG_MAPS, None, since)] == [
        "ADDED",
        "MODIFIED",
    ]
    assert int(second.put(KEY, document(3))["metadata"]["resourceVersion"]) == since + 3
    second.close()


async def test_listeners_hear_of_each_change_in_order(store):
    heard = []
    store.listen(lambda change: heard.append(change.type))
    store.put(KEY, document(1))
    store.put(KEY, document(2))
    store.remove(KEY)
    assert heard == ["ADDED", "MODIFIED", "DELETED"]
