"""The garbage collector, by what is left."""

import pytest
from tests.cluster.controllers.conftest import NAMESPACE, deployment

from hatoba.cluster.objects import (
    CONFIG_MAPS,
    DEFINITIONS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    ResourceName,
)
from hatoba.kernel.json import JsonObject

pytestmark = pytest.mark.anyio


def config_map(name, *owners, finalizers=()):
    made: JsonObject = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
    if owners:
        made["metadata"]["ownerReferences"] = list(owners)
    if finalizers:
        made["metadata"]["finalizers"] = list(finalizers)
    return made


def owner(obj, *, uid=None, kind=None, block=False):
    return {
        "apiVersion": "v1",
        "kind": kind or "ConfigMap",
        "name": obj["metadata"]["name"],
        "uid": uid or obj["metadata"]["uid"],
        "blockOwnerDeletion": block,
    }


async def names(cluster):
    await cluster.quiet()
    return {
        item["metadata"]["name"]
        for item in await cluster.items(CONFIG_MAPS)
        if item["metadata"]["name"] != "kube-root-ca.crt"
    }


async def test_dependents_go_after_their_owner(cluster):
    parent = await cluster.create(CONFIG_MAPS, config_map("parent"))
    child = await cluster.create(CONFIG_MAPS, config_map("child", owner(parent)))
    await cluster.create(CONFIG_MAPS, config_map("grandchild", owner(child)))
    assert await names(cluster) == {"parent", "child", "grandchild"}

    await cluster.objects.delete(CONFIG_MAPS, "parent", NAMESPACE)

    await cluster.until_gone(CONFIG_MAPS, "grandchild")
    assert await names(cluster) == set()


async def test_an_owner_of_another_uid_does_not_keep_a_child(cluster):
    parent = await cluster.create(CONFIG_MAPS, config_map("parent"))
    await cluster.create(CONFIG_MAPS, config_map("child", owner(parent, uid="somebody-else")))

    await cluster.until_gone(CONFIG_MAPS, "child")
    assert await names(cluster) == {"parent"}


async def test_one_living_owner_keeps_the_child_and_the_dangling_reference_goes(cluster):
    parent = await cluster.create(CONFIG_MAPS, config_map("parent"))
    absent = {"metadata": {"name": "absent", "uid": "0"}}
    await cluster.create(CONFIG_MAPS, config_map("child", owner(parent), owner(absent)))

    child = await cluster.until_object(
        CONFIG_MAPS, "child", lambda o: len(o["metadata"]["ownerReferences"]) == 1
    )
    assert child["metadata"]["ownerReferences"][0]["name"] == "parent"


async def test_an_owner_of_unknown_kind_is_believed(cluster):
    absent = {"metadata": {"name": "x", "uid": "0"}}
    await cluster.create(CONFIG_MAPS, config_map("child", owner(absent, kind="Mystery")))

    assert await names(cluster) == {"child"}


async def test_foreground_deletion_waits_for_the_dependents(cluster):
    parent = await cluster.create(CONFIG_MAPS, config_map("parent"))
    child = config_map("child", owner(parent, block=True), finalizers=["test/hold"])
    await cluster.create(CONFIG_MAPS, child)

    await cluster.objects.delete(CONFIG_MAPS, "parent", NAMESPACE, propagation="Foreground")
    await cluster.until_object(
        CONFIG_MAPS, "child", lambda o: o["metadata"].get("deletionTimestamp")
    )
    assert await names(cluster) == {"parent", "child"}

    await cluster.change(CONFIG_MAPS, "child", lambda o: o["metadata"].update(finalizers=[]))
    await cluster.until_gone(CONFIG_MAPS, "parent")


async def test_orphans_stay_without_their_owner(cluster):
    parent = await cluster.create(CONFIG_MAPS, config_map("parent"))
    await cluster.create(CONFIG_MAPS, config_map("child", owner(parent)))

    await cluster.objects.delete(CONFIG_MAPS, "parent", NAMESPACE, propagation="Orphan")

    await cluster.until_gone(CONFIG_MAPS, "parent")
    assert await names(cluster) == {"child"}
    child = await cluster.get(CONFIG_MAPS, "child")
    assert not child["metadata"].get("ownerReferences")


async def is_complete(cluster):
    await cluster.until_object(
        DEPLOYMENTS, "web", lambda o: (o.get("status") or {}).get("availableReplicas") == 2
    )


async def test_a_deployment_takes_its_tree_along(cluster):
    await cluster.create(DEPLOYMENTS, deployment())
    await is_complete(cluster)

    await cluster.objects.delete(DEPLOYMENTS, "web", NAMESPACE, propagation="Background")

    await cluster.until(REPLICA_SETS, lambda items: not items)
    await cluster.until(PODS, lambda items: not items)


async def test_a_deployment_in_foreground_deletion_goes_last(cluster):
    await cluster.create(DEPLOYMENTS, deployment())
    await is_complete(cluster)

    await cluster.objects.delete(DEPLOYMENTS, "web", NAMESPACE, propagation="Foreground")

    await cluster.until_gone(DEPLOYMENTS, "web")
    assert await cluster.items(REPLICA_SETS) == []
    assert await cluster.items(PODS) == []


async def test_an_orphaned_replica_set_is_adopted_by_the_next_deployment(cluster):
    await cluster.create(DEPLOYMENTS, deployment())
    await is_complete(cluster)
    before = {p["metadata"]["uid"] for p in await cluster.items(PODS)}
    await cluster.objects.delete(DEPLOYMENTS, "web", NAMESPACE, propagation="Orphan")
    await cluster.until_gone(DEPLOYMENTS, "web")

    await cluster.create(DEPLOYMENTS, deployment())
    await is_complete(cluster)

    assert {p["metadata"]["uid"] for p in await cluster.items(PODS)} == before
    assert len(await cluster.items(REPLICA_SETS)) == 1


WIDGETS = ResourceName("widgets", "shop.example")


def definition():
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.shop.example"},
        "spec": {
            "group": "shop.example",
            "scope": "Namespaced",
            "names": {
                "plural": "widgets",
                "singular": "widget",
                "kind": "Widget",
                "listKind": "WidgetList",
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }


def widget(name="w"):
    return {"apiVersion": "shop.example/v1", "kind": "Widget", "metadata": {"name": name}}


def owned_by_widget(made):
    return owner(made, kind="Widget", block=True) | {"apiVersion": "shop.example/v1"}


async def test_custom_resources_own_like_any_other(cluster):
    await cluster.create(DEFINITIONS, definition(), None)
    made = await cluster.create(WIDGETS, widget())
    await cluster.create(CONFIG_MAPS, config_map("child", owned_by_widget(made)))
    assert await names(cluster) == {"child"}

    await cluster.objects.delete(WIDGETS, "w", NAMESPACE)

    await cluster.until_gone(CONFIG_MAPS, "child")


async def test_custom_resources_can_be_owned_and_waited_for(cluster):
    await cluster.create(DEFINITIONS, definition(), None)
    parent = await cluster.create(CONFIG_MAPS, config_map("parent"))
    child = widget()
    child["metadata"] |= {"ownerReferences": [owner(parent, block=True)], "finalizers": ["test/x"]}
    await cluster.create(WIDGETS, child)
    await cluster.quiet()

    await cluster.objects.delete(CONFIG_MAPS, "parent", NAMESPACE, propagation="Foreground")
    await cluster.until_object(WIDGETS, "w", lambda o: o["metadata"].get("deletionTimestamp"))
    assert await names(cluster) == {"parent"}

    await cluster.change(WIDGETS, "w", lambda o: o["metadata"].update(finalizers=[]))
    await cluster.until_gone(CONFIG_MAPS, "parent")


async def test_objects_of_a_deleted_definition_take_their_dependents_along(cluster):
    await cluster.create(DEFINITIONS, definition(), None)
    made = await cluster.create(WIDGETS, widget())
    await cluster.create(CONFIG_MAPS, config_map("child", owned_by_widget(made)))
    await cluster.quiet()

    await cluster.objects.delete(DEFINITIONS, "widgets.shop.example", None)

    await cluster.until_gone(DEFINITIONS, "widgets.shop.example", namespace=None)
    await cluster.until_gone(CONFIG_MAPS, "child")


async def test_a_namespace_loses_its_custom_resources_too(cluster):
    await cluster.create(DEFINITIONS, definition(), None)
    await cluster.create(WIDGETS, widget())
    await cluster.quiet()

    await cluster.objects.delete(NAMESPACES, NAMESPACE, None)

    await cluster.until_gone(NAMESPACES, NAMESPACE, namespace=None)
    assert await cluster.items(WIDGETS, None) == []
