"""Autoscalers, with a node that measures what the test says."""

import pytest
from tests.cluster.controllers.conftest import condition, deployment

from hatoba.cluster.node import Usage
from hatoba.cluster.objects import AUTOSCALERS, DEPLOYMENTS, PODS

pytestmark = pytest.mark.anyio


def autoscaler(name="web", *, minimum=1, maximum=4, target="web", metrics=("cpu",)):
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "minReplicas": minimum,
            "maxReplicas": maximum,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target},
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": metric,
                        "target": {"type": "Utilization", "averageUtilization": 90},
                    },
                }
                for metric in metrics
            ],
        },
    }


def sized(replicas):
    made = deployment(replicas=replicas)
    made["spec"]["template"]["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": "1", "memory": "1Gi"}
    }
    return made


async def measure(cluster, *, cores, mebibytes=100):
    for pod in await cluster.items(PODS):
        cluster.machine.usages[pod["metadata"]["name"]] = [
            Usage(
                container="app",
                cpu_nanocores=int(cores * 1e9),
                memory_bytes=mebibytes * 2**20,
                at=cluster.clock.now().timestamp() + 60,
                window_seconds=1.0,
            )
        ]


def ready(replicas):
    return lambda o: (
        o["spec"]["replicas"] == replicas == (o.get("status") or {}).get("availableReplicas", 0)
    )


async def test_real_load_scales_the_target_and_is_shown(cluster):
    await cluster.create(DEPLOYMENTS, sized(2))
    await cluster.until_object(DEPLOYMENTS, "web", ready(2))
    await measure(cluster, cores=1.8, mebibytes=512)

    await cluster.create(AUTOSCALERS, autoscaler(metrics=("memory", "cpu")))

    await cluster.until_object(DEPLOYMENTS, "web", ready(4))
    events = await cluster.reasons("web")
    size = "New size: 4; reason: cpu resource utilization (percentage of request) above target"
    assert ("SuccessfulRescale", size) in events
    found = await cluster.until_object(
        AUTOSCALERS, "web", lambda o: (o.get("status") or {}).get("currentReplicas") == 4
    )
    status = found["status"]
    assert status["desiredReplicas"] == 4
    assert status["lastScaleTime"]
    current = {m["resource"]["name"]: m["resource"]["current"] for m in status["currentMetrics"]}
    assert current["cpu"]["averageUtilization"] == 180
    assert current["memory"] == {"averageUtilization": 50, "averageValue": str(512 * 2**20)}
    assert condition(found, "ScalingActive") == ("True", "ValidMetricFound")
    assert condition(found, "ScalingLimited") is not None


async def test_without_measurements_it_says_so_and_still_keeps_the_range(cluster):
    await cluster.create(DEPLOYMENTS, sized(1))
    await cluster.create(AUTOSCALERS, autoscaler(minimum=2, metrics=("cpu", "memory")))

    await cluster.until_object(DEPLOYMENTS, "web", ready(2))
    found = await cluster.until_object(
        AUTOSCALERS, "web", lambda o: condition(o, "ScalingActive") is not None
    )

    assert condition(found, "AbleToScale")[0] == "True"
    assert condition(found, "ScalingActive") == ("False", "FailedGetResourceMetric")
    failed = next(c for c in found["status"]["conditions"] if c["type"] == "ScalingActive")
    assert failed["message"] == (
        "the HPA was unable to compute the replica count: failed to get cpu utilization:"
        " unable to get metrics for resource cpu: no metrics returned from resource metrics API"
    )
    assert found["status"]["currentMetrics"] == [{"type": ""}, {"type": ""}]
    events = dict(await cluster.reasons("web"))
    assert events["SuccessfulRescale"] == (
        "New size: 2; reason: Current number of replicas below Spec.MinReplicas"
    )
    assert events["FailedComputeMetricsReplicas"].startswith(
        "invalid metrics (2 invalid out of 2), first error is: failed to get cpu resource metric"
    )


async def test_a_target_at_zero_is_left_alone(cluster):
    await cluster.create(DEPLOYMENTS, sized(0))
    await cluster.create(AUTOSCALERS, autoscaler(minimum=2))

    found = await cluster.until_object(
        AUTOSCALERS, "web", lambda o: condition(o, "ScalingActive") is not None
    )

    assert condition(found, "ScalingActive") == ("False", "ScalingDisabled")
    assert (await cluster.get(DEPLOYMENTS, "web"))["spec"]["replicas"] == 0


async def test_an_absent_target_is_told(cluster):
    await cluster.create(AUTOSCALERS, autoscaler(target="nope"))

    found = await cluster.until_object(
        AUTOSCALERS, "web", lambda o: condition(o, "AbleToScale") is not None
    )

    assert condition(found, "AbleToScale") == ("False", "FailedGetScale")
    assert ("FailedGetScale", 'deployments/scale.apps "nope" not found') in (
        await cluster.reasons("web")
    )


async def test_two_autoscalers_of_one_target_block_each_other(cluster):
    await cluster.create(DEPLOYMENTS, sized(1))
    await cluster.until_object(DEPLOYMENTS, "web", ready(1))
    await cluster.create(AUTOSCALERS, autoscaler("one"))
    await cluster.create(AUTOSCALERS, autoscaler("two"))

    found = await cluster.until_object(
        AUTOSCALERS,
        "two",
        lambda o: condition(o, "ScalingActive") == ("False", "AmbiguousSelector"),
    )

    said = next(c for c in found["status"]["conditions"] if c["type"] == "ScalingActive")
    assert said["message"] == (
        "pods by selector app=web are controlled by multiple HPAs: [shop/one shop/two]"
    )
