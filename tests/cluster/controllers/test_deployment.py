"""Deployments, driven through the API like any client would."""

import pytest
from tests.cluster.controllers.conftest import condition, deployment

from hatoba.cluster.objects import DEPLOYMENTS, PODS, REPLICA_SETS

pytestmark = pytest.mark.anyio

REVISION = "deployment.kubernetes.io/revision"


def is_complete(replicas):
    def check(obj):
        status = obj.get("status") or {}
        return (
            status.get("observedGeneration") == obj["metadata"]["generation"]
            and status.get("updatedReplicas", 0)
            == status.get("availableReplicas", 0)
            == status.get("replicas", 0)
            == replicas
            and condition(obj, "Progressing") == ("True", "NewReplicaSetAvailable")
        )

    return check


def set_image(image):
    def change(obj):
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = image

    return change


async def test_a_new_deployment_becomes_available_and_says_how(cluster):
    await cluster.create(DEPLOYMENTS, deployment(replicas=3))

    web = await cluster.until_object(DEPLOYMENTS, "web", is_complete(3))

    assert web["metadata"]["annotations"][REVISION] == "1"
    assert web["metadata"]["generation"] == 1
    assert [
        (c["type"], c["status"], c["reason"], c["message"]) for c in web["status"]["conditions"]
    ] == [
        (
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
        ),
        (
            "Progressing",
            "True",
            "NewReplicaSetAvailable",
            f'ReplicaSet "{(await cluster.items(REPLICA_SETS))[0]["metadata"]["name"]}" has successfully progressed.',
        ),
    ]
    pods = await cluster.items(PODS)
    assert len(pods) == 3
    digest = pods[0]["metadata"]["labels"]["pod-template-hash"]
    assert all(p["metadata"]["name"].startswith(f"web-{digest}-") for p in pods)
    assert ("ScalingReplicaSet", f"Scaled up replica set web-{digest} from 0 to 3") in (
        await cluster.reasons("web")
    )


async def test_a_converged_deployment_causes_no_writes(cluster):
    await cluster.create(DEPLOYMENTS, deployment())
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))
    before = await cluster.quiet()

    web = await cluster.get(DEPLOYMENTS, "web")
    await cluster.objects.update(DEPLOYMENTS, web, manager="test")

    assert await cluster.quiet() == before


async def test_a_rolling_update_never_leaves_the_budget(cluster):
    made = deployment(replicas=3)
    made["spec"]["strategy"]["rollingUpdate"] = {"maxSurge": 1, "maxUnavailable": 0}
    await cluster.create(DEPLOYMENTS, made)
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(3))
    seen = []

    def observe(items):
        if items:
            status = items[0]["status"]
            seen.append((status.get("availableReplicas", 0), status.get("replicas", 0)))
        return bool(items) and is_complete(3)(items[0])

    await cluster.change(DEPLOYMENTS, "web", set_image("app:2"))
    await cluster.until(DEPLOYMENTS, observe)

    assert min(available for available, _ in seen) >= 3
    assert max(total for _, total in seen) <= 4
    web = await cluster.get(DEPLOYMENTS, "web")
    assert web["metadata"]["annotations"][REVISION] == "2"
    sets = await cluster.items(REPLICA_SETS)
    assert sorted(s["spec"]["replicas"] for s in sets) == [0, 3]


async def test_going_back_to_an_old_template_reuses_its_replica_set(cluster):
    await cluster.create(DEPLOYMENTS, deployment())
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))
    await cluster.change(DEPLOYMENTS, "web", set_image("app:2"))
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))

    await cluster.change(DEPLOYMENTS, "web", set_image("app:1"))
    web = await cluster.until_object(
        DEPLOYMENTS,
        "web",
        lambda o: is_complete(2)(o) and o["metadata"]["annotations"][REVISION] == "3",
    )

    sets = await cluster.items(REPLICA_SETS)
    assert len(sets) == 2
    first = next(s for s in sets if s["spec"]["replicas"] == 2)
    assert first["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"
    assert first["metadata"]["annotations"][REVISION] == "3"
    assert web["status"]["observedGeneration"] == 3


async def test_scaling_is_no_rollout(cluster):
    await cluster.create(DEPLOYMENTS, deployment(replicas=1))
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(1))

    for size in (4, 0, 2):
        await cluster.change(DEPLOYMENTS, "web", lambda o, n=size: o["spec"].update(replicas=n))
        await cluster.until_object(DEPLOYMENTS, "web", is_complete(size))

    assert len(await cluster.items(REPLICA_SETS)) == 1


async def test_recreate_waits_for_the_last_old_pod(cluster):
    made = deployment(strategy={"type": "Recreate"})
    made["spec"]["template"]["metadata"]["annotations"]["pretend/lingers"] = "yes"
    await cluster.create(DEPLOYMENTS, made)
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))

    await cluster.change(DEPLOYMENTS, "web", set_image("app:2"))
    await cluster.until(PODS, lambda pods: all("deletionTimestamp" in p["metadata"] for p in pods))
    await cluster.quiet()
    assert len(await cluster.items(REPLICA_SETS)) == 1

    await cluster.machine.release()
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))
    images = {p["spec"]["containers"][0]["image"] for p in await cluster.items(PODS)}
    assert images == {"app:2"}


async def test_a_paused_deployment_scales_but_does_not_roll(cluster):
    await cluster.create(DEPLOYMENTS, deployment())
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))

    await cluster.change(DEPLOYMENTS, "web", lambda o: o["spec"].update(paused=True, replicas=3))
    await cluster.change(DEPLOYMENTS, "web", set_image("app:2"))
    paused = await cluster.until_object(
        DEPLOYMENTS, "web", lambda o: o["status"].get("availableReplicas") == 3
    )
    await cluster.quiet()

    assert condition(paused, "Progressing") == ("Unknown", "DeploymentPaused")
    assert len(await cluster.items(REPLICA_SETS)) == 1

    await cluster.change(DEPLOYMENTS, "web", lambda o: o["spec"].update(paused=False))
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(3))
    assert len(await cluster.items(REPLICA_SETS)) == 2


async def test_no_progress_within_the_deadline_is_reported_and_recovers(cluster):
    await cluster.create(DEPLOYMENTS, deployment(outcome="stuck", progressDeadlineSeconds=1))

    stuck = await cluster.until_object(
        DEPLOYMENTS,
        "web",
        lambda o: condition(o, "Progressing") == ("False", "ProgressDeadlineExceeded"),
        timeout=8,
    )
    assert condition(stuck, "Available") == ("False", "MinimumReplicasUnavailable")

    def heal(obj):
        obj["spec"]["template"]["metadata"]["annotations"]["pretend/outcome"] = "ready"

    await cluster.change(DEPLOYMENTS, "web", heal)
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))


async def test_old_revisions_beyond_the_limit_are_removed(cluster):
    await cluster.create(DEPLOYMENTS, deployment(revisionHistoryLimit=1))
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))
    for number in (2, 3, 4):
        await cluster.change(DEPLOYMENTS, "web", set_image(f"app:{number}"))
        await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))

    sets = await cluster.until(REPLICA_SETS, lambda items: len(items) == 2)

    assert {s["metadata"]["annotations"][REVISION] for s in sets} == {"3", "4"}


async def test_min_ready_seconds_delays_availability(cluster):
    await cluster.create(DEPLOYMENTS, deployment(minReadySeconds=1))
    early = await cluster.until_object(
        DEPLOYMENTS, "web", lambda o: (o.get("status") or {}).get("readyReplicas") == 2
    )
    assert early["status"].get("availableReplicas") is None
    assert early["status"]["unavailableReplicas"] == 2

    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))
