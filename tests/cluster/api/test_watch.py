import asyncio
import base64
import json

import pytest

from hatoba.cluster.objects import CONFIG_MAPS

pytestmark = pytest.mark.anyio
PATH = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


def config_map(name, **labels):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}}


class Stream:
    """Reads the events of one watch."""

    def __init__(self, response):
        self.response = response

    async def next(self):
        line = await asyncio.wait_for(self.response.content.readline(), 3)
        return json.loads(line) if line else None

    async def names(self, count):
        events = [await self.next() for _ in range(count)]
        return [(e["type"], e["object"]["metadata"]["name"]) for e in events]


@pytest.fixture
async def watch(cluster):
    responses = []

    async def begin(query, accept="application/json"):
        headers = {"Authorization": "Bearer administrator", "Accept": accept}
        response = await cluster.session.get(
            f"http://{cluster.server.address}{PATH}?watch=true&{query}", headers=headers
        )
        responses.append(response)
        return Stream(response)

    yield begin
    for response in responses:
        response.close()


async def test_without_a_version_the_present_objects_come_first(cluster, watch):
    await cluster.call("POST", PATH, config_map("a"))
    stream = await watch("")
    await cluster.call("POST", PATH, config_map("b"))
    assert await stream.names(2) == [("ADDED", "a"), ("ADDED", "b")]


async def test_from_a_list_only_what_is_new_comes(cluster, watch):
    await cluster.call("POST", PATH, config_map("a"))
    _, listing = await cluster.call("GET", PATH)
    stream = await watch(f"resourceVersion={listing['metadata']['resourceVersion']}")
    await cluster.call("POST", PATH, config_map("b"))
    await cluster.call("DELETE", f"{PATH}/a")
    assert await stream.names(2) == [("ADDED", "b"), ("DELETED", "a")]


async def test_entering_and_leaving_a_selector_looks_like_creation_and_deletion(cluster, watch):
    await cluster.call("POST", PATH, config_map("inside", s="in"))
    await cluster.call("POST", PATH, config_map("outside", s="out"))
    version = cluster.api.reader.version
    stream = await watch(f"resourceVersion={version}&labelSelector=s%3Din")
    await cluster.call(
        "PATCH", f"{PATH}/inside", {"metadata": {"labels": {"s": "out"}}}, kind=MERGE
    )
    await cluster.call(
        "PATCH", f"{PATH}/outside", {"metadata": {"labels": {"s": "in"}}}, kind=MERGE
    )
    left = await stream.next()
    assert left["type"] == "DELETED"
    assert left["object"]["metadata"]["labels"] == {"s": "in"}
    assert int(left["object"]["metadata"]["resourceVersion"]) > version
    assert await stream.names(1) == [("ADDED", "outside")]


async def test_a_write_that_changes_nothing_is_no_event(cluster, watch):
    await cluster.call("POST", PATH, config_map("a", s="x"))
    stream = await watch(f"resourceVersion={cluster.api.reader.version}")
    await cluster.call("PATCH", f"{PATH}/a", {"metadata": {"labels": {"s": "x"}}}, kind=MERGE)
    await cluster.call("POST", PATH, config_map("b"))
    assert await stream.names(1) == [("ADDED", "b")]


async def test_initial_events_end_with_a_bookmark(cluster, watch):
    await cluster.call("POST", PATH, config_map("a"))
    stream = await watch(
        "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    )
    assert await stream.names(1) == [("ADDED", "a")]
    bookmark = await stream.next()
    annotations = bookmark["object"]["metadata"]["annotations"]
    assert bookmark["type"] == "BOOKMARK"
    assert annotations["k8s.io/initial-events-end"] == "true"
    blueprint = base64.b64decode(annotations["kubernetes.io/initial-events-list-blueprint"])
    assert json.loads(blueprint)["kind"] == "ConfigMapList"


async def test_a_watch_ends_when_its_time_is_over(watch):
    stream = await watch("timeoutSeconds=1&resourceVersion=0")
    assert await stream.next() is None


async def test_a_forgotten_version_is_an_event_of_its_own(watch):
    stream = await watch("resourceVersion=1")
    event = await stream.next()
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    assert await stream.next() is None


async def test_the_columns_of_a_table_come_once(cluster, watch):
    await cluster.call("POST", PATH, config_map("a"))
    stream = await watch("", "application/json;as=Table;v=v1;g=meta.k8s.io")
    await cluster.call("POST", PATH, config_map("b"))
    first, second = await stream.next(), await stream.next()
    assert [c["name"] for c in first["object"]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert second["object"]["columnDefinitions"] is None
    assert second["object"]["rows"][0]["cells"][0] == "b"


async def test_a_bad_selector_is_refused_before_the_stream_begins(cluster):
    status, body = await cluster.call("GET", f"{PATH}?watch=true&labelSelector=a+in+x")
    assert status == 400
    assert body["message"] == "unable to parse requirement: found 'x' expected: '('"


async def test_a_client_that_leaves_is_forgotten(cluster, watch):
    stream = await watch("")
    await cluster.objects.create(
        CONFIG_MAPS, {"metadata": {"name": "a", "namespace": "default"}}, manager="test"
    )
    await stream.next()
    stream.response.close()
    async with asyncio.timeout(3):
        while cluster.api.store.watchers:  # noqa: ASYNC110 -- nothing says when it happened
            await asyncio.sleep(0.01)


async def test_closing_the_server_does_not_wait_for_watches(cluster, watch):
    await watch("")
    async with asyncio.timeout(2):
        await cluster.server.close()
