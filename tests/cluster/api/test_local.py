import asyncio
from datetime import UTC, datetime

import pytest

from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.local import LocalObjects
from hatoba.cluster.objects import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS, SERVICE_ACCOUNTS
from hatoba.kernel.clock import FixedClock
from hatoba.kernel.errors import Conflict, Forbidden, Gone, NotFound

pytestmark = pytest.mark.anyio
ME = {"manager": "test"}


@pytest.fixture
def api():
    opened = open_api(None, clock=FixedClock(datetime(2026, 1, 1, tzinfo=UTC)))
    yield opened
    opened.close()


@pytest.fixture
async def objects(api):
    objects = LocalObjects(api)
    await objects.create(NAMESPACES, {"metadata": {"name": "ns"}}, **ME)
    await objects.create(
        SERVICE_ACCOUNTS, {"metadata": {"name": "default", "namespace": "ns"}}, **ME
    )
    return objects


def config_map(name="one", **data):
    return {"metadata": {"name": name, "namespace": "ns"}, "data": data}


def pod(**spec):
    return {
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"containers": [{"name": "c", "image": "i"}], **spec},
    }


async def test_a_created_object_has_identity_and_version(objects):
    created = await objects.create(CONFIG_MAPS, config_map(a="1"), **ME)
    assert created["metadata"]["uid"]
    assert created["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert (await objects.get(CONFIG_MAPS, "one", "ns")) == created


async def test_creating_twice_conflicts(objects):
    await objects.create(CONFIG_MAPS, config_map(), **ME)
    with pytest.raises(Conflict, match='configmaps "one" already exists'):
        await objects.create(CONFIG_MAPS, config_map(), **ME)


async def test_a_stale_update_conflicts(objects):
    first = await objects.create(CONFIG_MAPS, config_map(a="1"), **ME)
    await objects.update(CONFIG_MAPS, {**first, "data": {"a": "2"}}, **ME)
    with pytest.raises(Conflict, match="the object has been modified"):
        await objects.update(CONFIG_MAPS, {**first, "data": {"a": "3"}}, **ME)


async def test_an_update_that_changes_nothing_keeps_the_version(objects):
    first = await objects.create(CONFIG_MAPS, config_map(a="1"), **ME)
    assert await objects.update(CONFIG_MAPS, first, **ME) == first


async def test_a_merge_patch_removes_nulls(objects):
    await objects.create(CONFIG_MAPS, config_map(a="1", b="2"), **ME)
    patched = await objects.patch(
        CONFIG_MAPS,
        "one",
        "ns",
        {"data": {"a": None, "c": "3"}},
        type="application/merge-patch+json",
        **ME,
    )
    assert patched["data"] == {"b": "2", "c": "3"}


async def test_an_absent_namespace_refuses_new_objects(objects):
    with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
        await objects.create(CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "nowhere"}}, **ME)


async def test_a_terminating_namespace_refuses_new_objects(objects):
    await objects.delete(NAMESPACES, "ns", None)
    with pytest.raises(Forbidden, match="being terminated"):
        await objects.create(CONFIG_MAPS, config_map(), **ME)


async def test_a_namespace_goes_when_it_is_finalized(objects):
    await objects.delete(NAMESPACES, "ns", None)
    dying = await objects.get(NAMESPACES, "ns", None)
    assert dying["status"]["phase"] == "Terminating"
    await objects.update(
        NAMESPACES, {**dying, "spec": {"finalizers": []}}, subresource="finalize", **ME
    )
    with pytest.raises(NotFound):
        await objects.get(NAMESPACES, "ns", None)


async def test_a_running_pod_stays_until_the_kubelet_lets_it_go(objects):
    await objects.create(PODS, pod(nodeName="here"), **ME)
    await objects.delete(PODS, "p", "ns")
    dying = await objects.get(PODS, "p", "ns")
    assert dying["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    await objects.delete(PODS, "p", "ns", grace_seconds=0)
    with pytest.raises(NotFound):
        await objects.get(PODS, "p", "ns")


async def test_finalizers_hold_an_object_until_the_last_is_removed(objects):
    held = config_map()
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await objects.create(CONFIG_MAPS, held, **ME)
    await objects.delete(CONFIG_MAPS, "one", "ns")
    assert (await objects.get(CONFIG_MAPS, "one", "ns"))["metadata"]["deletionTimestamp"]
    await objects.patch(
        CONFIG_MAPS,
        "one",
        "ns",
        {"metadata": {"finalizers": None}},
        type="application/merge-patch+json",
        **ME,
    )
    with pytest.raises(NotFound):
        await objects.get(CONFIG_MAPS, "one", "ns")


async def test_status_and_spec_are_written_through_their_own_doors(objects):
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        },
    }
    made = await objects.create(
        DEPLOYMENTS,
        {"metadata": {"name": "d", "namespace": "ns"}, "spec": spec, "status": {"replicas": 9}},
        **ME,
    )
    assert made.get("status", {}) == {}
    changed = {**made, "spec": {**made["spec"], "replicas": 5}, "status": {"replicas": 1}}
    with_status = await objects.update(DEPLOYMENTS, changed, subresource="status", **ME)
    assert with_status["status"]["replicas"] == 1
    assert (with_status["spec"]["replicas"], with_status["metadata"]["generation"]) == (1, 1)
    scaled = await objects.patch(
        DEPLOYMENTS,
        "d",
        "ns",
        {"spec": {"replicas": 3}},
        type="application/merge-patch+json",
        subresource="scale",
        **ME,
    )
    assert scaled["spec"]["replicas"] == 3
    assert (await objects.get(DEPLOYMENTS, "d", "ns"))["metadata"]["generation"] == 2


async def test_a_watch_continues_from_a_list_without_a_gap(objects):
    listing = await objects.list(CONFIG_MAPS, "ns")
    await objects.create(CONFIG_MAPS, config_map("before"), **ME)
    watch = objects.watch(CONFIG_MAPS, "ns", since=listing.resource_version)
    first = await asyncio.wait_for(anext(watch), 1)
    await objects.create(CONFIG_MAPS, config_map("after"), **ME)
    await objects.delete(CONFIG_MAPS, "after", "ns")
    second, third = [await asyncio.wait_for(anext(watch), 1) for _ in range(2)]
    await watch.aclose()
    assert [(e.type, e.object["metadata"]["name"]) for e in (first, second, third)] == [
        ("ADDED", "before"),
        ("ADDED", "after"),
        ("DELETED", "after"),
    ]
    assert int(third.object["metadata"]["resourceVersion"]) > int(
        second.object["metadata"]["resourceVersion"]
    )


async def test_a_watch_from_a_forgotten_version_is_gone(objects, api):
    await objects.create(CONFIG_MAPS, config_map(), **ME)
    api.store.compact(api.store.version)
    with pytest.raises(Gone, match="too old resource version"):
        await anext(objects.watch(CONFIG_MAPS, "ns", since="100"))


async def test_state_and_history_survive_a_restart(tmp_path):
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    first = open_api(tmp_path, clock=clock)
    since = str(first.reader.version)
    await LocalObjects(first).create(NAMESPACES, {"metadata": {"name": "kept"}}, **ME)
    first.close()
    second = open_api(tmp_path, clock=clock)
    again = LocalObjects(second)
    assert (await again.get(NAMESPACES, "kept", None))["status"] == {"phase": "Active"}
    watch = again.watch(NAMESPACES, since=since)
    assert (await anext(watch)).object["metadata"]["name"] == "kept"
    await watch.aclose()
    second.close()
