"""Namespaces are furnished and emptied."""

import pytest
from structlog.testing import capture_logs
from tests.cluster.controllers.conftest import deployment

from hatoba.cluster.objects import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    SERVICE_ACCOUNTS,
    SERVICES,
)

pytestmark = pytest.mark.anyio


async def new(cluster, name="temp"):
    await cluster.create(
        NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, None
    )


async def test_a_new_namespace_gets_an_account_and_the_authority(cluster):
    await new(cluster)

    await cluster.until(
        SERVICE_ACCOUNTS,
        lambda items: [i["metadata"]["name"] for i in items] == ["default"],
        namespace="temp",
    )
    maps = await cluster.until(CONFIG_MAPS, bool, namespace="temp")
    assert [(m["metadata"]["name"], m["data"]) for m in maps] == [
        ("kube-root-ca.crt", {"ca.crt": "-----CA-----"})
    ]


async def test_the_furniture_comes_back_when_it_is_deleted(cluster):
    await new(cluster)
    before = (await cluster.until(SERVICE_ACCOUNTS, bool, namespace="temp"))[0]

    await cluster.objects.delete(SERVICE_ACCOUNTS, "default", "temp")

    await cluster.until(
        SERVICE_ACCOUNTS,
        lambda items: items and items[0]["metadata"]["uid"] != before["metadata"]["uid"],
        namespace="temp",
    )


async def test_a_deleted_namespace_goes_quietly_with_everything_in_it(cluster):
    await new(cluster)
    await cluster.create(DEPLOYMENTS, deployment(), "temp")
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}} | {
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    }
    await cluster.create(SERVICES, service, "temp")
    await cluster.until(PODS, lambda items: len(items) == 2, namespace="temp")

    with capture_logs() as events:
        await cluster.objects.delete(NAMESPACES, "temp", None)
        await cluster.until_gone(NAMESPACES, "temp", namespace=None)

    assert [event for event in events if "failed" in event["event"]] == []
    assert await cluster.items(PODS, "temp") == []
    assert await cluster.items(CONFIG_MAPS, "temp") == []


async def test_what_holds_a_namespace_is_told(cluster):
    await new(cluster)
    held = {"apiVersion": "v1", "kind": "ConfigMap"} | {
        "metadata": {"name": "held", "finalizers": ["x.y/z"]}
    }
    await cluster.create(CONFIG_MAPS, held, "temp")

    await cluster.objects.delete(NAMESPACES, "temp", None)

    def is_told(obj):
        return len((obj.get("status") or {}).get("conditions") or ()) == 5

    stuck = await cluster.until_object(NAMESPACES, "temp", is_told, namespace=None)
    said = {
        c["type"]: (c["status"], c["reason"], c["message"]) for c in stuck["status"]["conditions"]
    }
    assert stuck["status"]["phase"] == "Terminating"
    assert said["NamespaceContentRemaining"] == (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: configmaps. has 1 resource instances",
    )
    assert said["NamespaceFinalizersRemaining"] == (
        "True",
        "SomeFinalizersRemain",
        "Some content in the namespace has finalizers remaining: x.y/z in 1 resource instances",
    )
    assert said["NamespaceDeletionDiscoveryFailure"][:2] == ("False", "ResourcesDiscovered")

    def release(obj):
        obj["metadata"]["finalizers"] = []

    await cluster.change(CONFIG_MAPS, "held", release, "temp")
    await cluster.until_gone(NAMESPACES, "temp", namespace=None)
