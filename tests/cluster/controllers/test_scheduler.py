"""The scheduler binds, or says why not."""

import pytest
from tests.cluster.controllers.conftest import NODE

from hatoba.cluster.controllers.scheduler import why_not
from hatoba.cluster.objects import EVENTS, NODES, PODS

pytestmark = pytest.mark.anyio

UNHELPFUL = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."


def pod(name="p", **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "app", "image": "app:1"}], **spec},
    }


def scheduled(obj):
    found = [
        c for c in (obj.get("status") or {}).get("conditions") or [] if c["type"] == "PodScheduled"
    ]
    return found[0] if found else None


async def test_a_pod_is_bound_and_the_event_says_where(cluster):
    await cluster.create(PODS, pod())

    bound = await cluster.until_object(PODS, "p", scheduled)

    assert bound["spec"]["nodeName"] == NODE
    assert scheduled(bound)["status"] == "True"
    assert ("Scheduled", "Successfully assigned shop/p to node1") in await cluster.reasons("p")
    event = next(e for e in await cluster.items(EVENTS) if e["reason"] == "Scheduled")
    assert event["action"] == "Binding"
    assert event["reportingComponent"] == "default-scheduler"
    assert event["eventTime"].endswith("Z")


async def test_an_impossible_pod_waits_and_goes_when_the_node_changes(cluster):
    await cluster.create(PODS, pod(nodeSelector={"disk": "ssd"}))

    waiting = await cluster.until_object(PODS, "p", scheduled)
    text = (
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. " + UNHELPFUL
    )
    condition = scheduled(waiting)
    assert (condition["status"], condition["reason"], condition["message"]) == (
        "False",
        "Unschedulable",
        text,
    )
    assert ("FailedScheduling", text) in await cluster.reasons("p")

    def label(obj):
        obj["metadata"].setdefault("labels", {})["disk"] = "ssd"

    await cluster.change(NODES, NODE, label, None)
    await cluster.until_object(PODS, "p", lambda o: o["spec"].get("nodeName") == NODE)


def node(*, labels=None, cpu="4", **spec):
    return {
        "metadata": {"name": NODE, "labels": labels or {}},
        "spec": spec,
        "status": {"allocatable": {"cpu": cpu, "memory": "1Gi"}},
    }


def asking(**requests):
    return pod(containers=[{"name": "a", "resources": {"requests": requests}}])


TAINT = {"key": "k", "value": "v", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("given", "on", "expected"),
    [
        (pod(), node(), None),
        (pod(), None, "no nodes available to schedule pods"),
        (
            asking(cpu="4500m"),
            node(),
            (
                "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available:"
                " 1 No preemption victims found for incoming pod."
            ),
        ),
        (asking(cpu="4", memory="1024Mi"), node(), None),
        (
            pod(),
            node(unschedulable=True),
            f"0/1 nodes are available: 1 node(s) were unschedulable. {UNHELPFUL}",
        ),
        (
            pod(),
            node(taints=[TAINT]),
            f"0/1 nodes are available: 1 node(s) had untolerated taint {{k: v}}. {UNHELPFUL}",
        ),
        (pod(tolerations=[{"key": "k", "operator": "Exists"}]), node(taints=[TAINT]), None),
        (pod(tolerations=[{"key": "k", "value": "v"}]), node(taints=[TAINT]), None),
        (
            pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "absent"}}]),
            node(),
            f'0/1 nodes are available: persistentvolumeclaim "absent" not found. {UNHELPFUL}',
        ),
    ],
)
def test_what_stands_in_the_way(given, on, expected):
    assert why_not(given, on, {}) == expected


def test_an_unbound_claim_stands_in_the_way():
    given = pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])
    claims = {"c": {"metadata": {"name": "c"}, "status": {"phase": "Pending"}}}

    assert why_not(given, node(), claims) == (
        f"0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. {UNHELPFUL}"
    )
