"""Endpoints and EndpointSlices follow the pods behind a Service."""

import pytest
from tests.cluster.controllers.conftest import NAMESPACE, deployment

from hatoba.cluster.objects import DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES

pytestmark = pytest.mark.anyio


def service(name="web", *, target=8080, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "selector": {"app": "web"},
            "ports": [{"name": "http", "port": 80, "targetPort": target, "protocol": "TCP"}],
            **spec,
        },
    }


def ready(items):
    return [
        address["ip"]
        for item in items
        for subset in item.get("subsets") or []
        for address in subset.get("addresses") or []
    ]


def conditions(items):
    return sorted(
        tuple(endpoint["conditions"].values())
        for item in items
        for endpoint in item.get("endpoints") or []
    )


async def test_ready_pods_are_addresses_of_both_kinds(cluster):
    await cluster.create(SERVICES, service())
    await cluster.create(DEPLOYMENTS, deployment())

    found = await cluster.until(ENDPOINTS, lambda items: len(ready(items)) == 2)
    slices = await cluster.until(
        ENDPOINT_SLICES, lambda items: conditions(items) == [(True, True, False)] * 2
    )

    assert found[0]["subsets"][0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    first = found[0]["subsets"][0]["addresses"][0]
    assert first["nodeName"] == "node1"
    assert first["targetRef"]["kind"] == "Pod"
    assert len(slices) == 1
    meta = slices[0]["metadata"]
    assert meta["name"].startswith("web-")
    assert meta["labels"] == {
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": "web",
    }
    assert meta["ownerReferences"][0]["name"] == "web"
    assert slices[0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


async def test_an_unready_pod_is_listed_apart(cluster):
    await cluster.create(SERVICES, service())
    await cluster.create(DEPLOYMENTS, deployment())
    await cluster.until(ENDPOINTS, lambda items: len(ready(items)) == 2)
    name = (await cluster.items(PODS))[0]["metadata"]["name"]

    await cluster.machine.become(name, ready=False)

    found = await cluster.until(ENDPOINTS, lambda items: len(ready(items)) == 1)
    assert len(found[0]["subsets"][0]["notReadyAddresses"]) == 1
    await cluster.until(
        ENDPOINT_SLICES,
        lambda items: conditions(items) == [(False, False, False), (True, True, False)],
    )


async def test_a_terminating_pod_leaves_at_once(cluster):
    made = deployment(replicas=1)
    made["spec"]["template"]["metadata"]["annotations"]["pretend/lingers"] = "yes"
    await cluster.create(SERVICES, service())
    await cluster.create(DEPLOYMENTS, made)
    await cluster.until(ENDPOINTS, lambda items: len(ready(items)) == 1)

    await cluster.objects.delete(DEPLOYMENTS, "web", NAMESPACE)

    await cluster.until(ENDPOINTS, lambda items: ready(items) == [])
    await cluster.until(ENDPOINT_SLICES, lambda items: conditions(items) == [(False, True, True)])


async def test_unready_pods_are_published_when_asked_for(cluster):
    await cluster.create(SERVICES, service(publishNotReadyAddresses=True, clusterIP="None"))
    await cluster.create(DEPLOYMENTS, deployment(outcome="unready"))

    found = await cluster.until(ENDPOINTS, lambda items: len(ready(items)) == 2)

    assert found[0]["metadata"]["labels"] == {"service.kubernetes.io/headless": ""}
    await cluster.until(
        ENDPOINT_SLICES, lambda items: conditions(items) == [(True, False, False)] * 2
    )


async def test_a_named_target_port_is_looked_up_in_the_pod(cluster):
    made = deployment()
    made["spec"]["template"]["spec"]["containers"][0]["ports"] = [
        {"name": "web", "containerPort": 9000, "protocol": "TCP"}
    ]
    await cluster.create(SERVICES, service(target="web"))
    await cluster.create(DEPLOYMENTS, made)

    found = await cluster.until(ENDPOINTS, lambda items: len(ready(items)) == 2)

    assert found[0]["subsets"][0]["ports"][0]["port"] == 9000


async def test_services_without_selector_are_left_alone(cluster):
    made = service("manual")
    del made["spec"]["selector"]
    await cluster.create(SERVICES, made)
    await cluster.create(
        ENDPOINTS,
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "manual"}}
        | {"subsets": [{"addresses": [{"ip": "127.0.0.9"}], "ports": [{"port": 1}]}]},
    )
    await cluster.quiet()

    assert ready(await cluster.items(ENDPOINTS)) == ["127.0.0.9"]
    assert await cluster.items(ENDPOINT_SLICES) == []


async def test_everything_goes_with_the_service(cluster):
    await cluster.create(SERVICES, service())
    await cluster.until(ENDPOINTS, bool)
    await cluster.until(ENDPOINT_SLICES, bool)

    await cluster.objects.delete(SERVICES, "web", NAMESPACE)

    await cluster.until(ENDPOINTS, lambda items: not items)
    await cluster.until(ENDPOINT_SLICES, lambda items: not items)
