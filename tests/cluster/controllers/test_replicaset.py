"""ReplicaSets: counting, adopting, letting go, and who goes first."""

import copy
from datetime import UTC, datetime, timedelta

import pytest
from tests.cluster.controllers.conftest import NAMESPACE, condition

from hatoba.cluster.controllers.pods import removal_rank
from hatoba.cluster.objects import NODES, PODS, REPLICA_SETS

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def replica_set(name="rs", *, replicas=2):
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "app:1"}]},
            },
        },
    }


def has_ready(count):
    return lambda o: (
        (o.get("status") or {}).get("readyReplicas", 0) == count == o["status"]["replicas"]
    )


async def test_pods_are_created_and_reported(cluster):
    await cluster.create(REPLICA_SETS, replica_set(replicas=3))

    ready = await cluster.until_object(REPLICA_SETS, "rs", has_ready(3))

    assert ready["status"] == {
        "replicas": 3,
        "fullyLabeledReplicas": 3,
        "readyReplicas": 3,
        "availableReplicas": 3,
        "observedGeneration": 1,
    }
    reasons = [reason for reason, _ in await cluster.reasons("rs")]
    assert reasons == ["SuccessfulCreate"] * 3


async def test_a_lost_pod_is_replaced(cluster):
    await cluster.create(REPLICA_SETS, replica_set())
    await cluster.until_object(REPLICA_SETS, "rs", has_ready(2))
    lost = (await cluster.items(PODS))[0]["metadata"]["name"]

    await cluster.objects.delete(PODS, lost, NAMESPACE)

    def is_replaced(pods):
        return len(pods) == 2 and all(p["metadata"]["name"] != lost for p in pods)

    await cluster.until(PODS, is_replaced)
    await cluster.until_object(REPLICA_SETS, "rs", has_ready(2))


async def test_a_pod_whose_label_changes_is_released_and_replaced(cluster):
    await cluster.create(REPLICA_SETS, replica_set(replicas=1))
    await cluster.until_object(REPLICA_SETS, "rs", has_ready(1))
    name = (await cluster.items(PODS))[0]["metadata"]["name"]

    await cluster.change(PODS, name, lambda o: o["metadata"]["labels"].update(app="other"))

    freed = await cluster.until_object(
        PODS, name, lambda o: not o["metadata"].get("ownerReferences")
    )
    assert "deletionTimestamp" not in freed["metadata"]
    await cluster.until(PODS, lambda pods: len(pods) == 2)


async def test_a_matching_orphan_is_adopted_instead_of_creating_another(cluster):
    await cluster.create(
        PODS,
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "orphan", "labels": {"app": "rs"}},
            "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        },
    )
    await cluster.create(REPLICA_SETS, replica_set(replicas=1))

    await cluster.until_object(REPLICA_SETS, "rs", has_ready(1))

    pods = await cluster.items(PODS)
    assert [p["metadata"]["name"] for p in pods] == ["orphan"]
    assert pods[0]["metadata"]["ownerReferences"][0]["name"] == "rs"


async def test_pods_of_a_machine_that_is_no_more_are_replaced(cluster):
    other = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "elsewhere"}}
    await cluster.create(NODES, other, None)
    made = replica_set(replicas=1)
    made["spec"]["template"]["spec"]["nodeName"] = "elsewhere"
    await cluster.create(REPLICA_SETS, made)
    stray = (await cluster.until(PODS, bool))[0]
    here = replica_set()["spec"]["template"]
    await cluster.change(REPLICA_SETS, "rs", lambda o: o["spec"].update(template=here))
    await cluster.quiet()
    assert [p["metadata"]["uid"] for p in await cluster.items(PODS)] == [stray["metadata"]["uid"]]

    await cluster.objects.delete(NODES, "elsewhere", None)

    await cluster.until_gone(PODS, stray["metadata"]["name"])
    await cluster.until_object(REPLICA_SETS, "rs", has_ready(1))


async def test_scaling_down_takes_the_unready_first(cluster):
    await cluster.create(REPLICA_SETS, replica_set(replicas=3))
    await cluster.until_object(REPLICA_SETS, "rs", has_ready(3))
    weak = sorted(p["metadata"]["name"] for p in await cluster.items(PODS))[1]
    await cluster.machine.become(weak, ready=False)
    await cluster.until_object(REPLICA_SETS, "rs", lambda o: o["status"].get("readyReplicas") == 2)

    await cluster.change(REPLICA_SETS, "rs", lambda o: o["spec"].update(replicas=2))

    await cluster.until_gone(PODS, weak)
    assert len(await cluster.items(PODS)) == 2


async def test_a_refused_pod_becomes_a_condition_and_an_event(cluster, monkeypatch):
    from hatoba.cluster.api.status import Refused

    original = cluster.objects.create

    async def refuse(resource, obj, **more):
        if resource == PODS and not more.get("subresource"):
            raise Refused('pods "rs-" is forbidden: no account')
        return await original(resource, obj, **more)

    monkeypatch.setattr(cluster.objects, "create", refuse)
    await cluster.create(REPLICA_SETS, replica_set(replicas=1))

    failing = await cluster.until_object(
        REPLICA_SETS, "rs", lambda o: condition(o, "ReplicaFailure") is not None
    )
    assert condition(failing, "ReplicaFailure") == ("True", "FailedCreate")
    assert failing["status"]["conditions"][0]["message"] == 'pods "rs-" is forbidden: no account'

    monkeypatch.undo()
    healed = await cluster.until_object(REPLICA_SETS, "rs", has_ready(1))
    assert condition(healed, "ReplicaFailure") is None
    assert ("FailedCreate", 'Error creating: pods "rs-" is forbidden: no account') in (
        await cluster.reasons("rs")
    )


def pod(*, node="n", phase="Running", ready_for=None, restarts=0, cost=None, age=100):
    made = {
        "metadata": {
            "name": "p",
            "creationTimestamp": (NOW - timedelta(seconds=age)).isoformat(),
            "annotations": {},
        },
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "containerStatuses": [{"restartCount": restarts}]},
    }
    if cost is not None:
        made["metadata"]["annotations"]["controller.kubernetes.io/pod-deletion-cost"] = cost
    if ready_for is not None:
        since = (NOW - timedelta(seconds=ready_for)).isoformat()
        made["status"]["conditions"] = [
            {"type": "Ready", "status": "True", "lastTransitionTime": since}
        ]
    return made


def test_pods_are_ranked_by_what_their_loss_costs():
    ordered = [
        pod(node=None, phase="Pending"),
        pod(phase="Pending"),
        pod(),
        pod(ready_for=50, cost="-5"),
        pod(ready_for=2),
        pod(ready_for=50, restarts=3),
        pod(ready_for=50, age=60),
        pod(ready_for=50, age=600),
        pod(ready_for=50, age=600, cost="7"),
    ]
    shuffled = [copy.deepcopy(item) for item in reversed(ordered)]

    assert sorted(shuffled, key=lambda item: removal_rank(item, now=NOW)) == ordered
