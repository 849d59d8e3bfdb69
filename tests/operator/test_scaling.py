"""What autoscalers go by: memory and CPU, and requests in flight where somebody measures them."""

from dataclasses import replace

import pytest
from aiohttp import web
from lightkube import KubeConfig
from lightkube.config.models import Cluster, User
from tests.operator.builders import EVERYTHING, NAMESPACE, a_plan

from hatoba.operator.components.horizontalpodautoscaler import REQUESTS_PER_POD
from hatoba.operator.kubernetes import connected
from hatoba.operator.names import IN_FLIGHT_METRIC
from hatoba.operator.render import render

pytestmark = pytest.mark.alone

MEASURED = {
    "kind": "MetricValueList",
    "apiVersion": "custom.metrics.k8s.io/v1beta1",
    "metadata": {},
    "items": [
        {
            "describedObject": {"kind": "Pod", "namespace": NAMESPACE, "name": "quay-app-1"},
            "metricName": IN_FLIGHT_METRIC,
            "timestamp": "2026-11-28T12:00:00Z",
            "value": "3",
        }
    ],
}
"""As the custom metrics API documents it."""


def metrics_of(plan):
    return {
        obj["spec"]["scaleTargetRef"]["name"].removeprefix(plan.prefix): obj["spec"]["metrics"]
        for obj in render(plan).objects
        if obj["kind"] == "HorizontalPodAutoscaler"
    }


def test_requests_in_flight_count_where_they_are_measured() -> None:
    without = metrics_of(a_plan())
    with_them = metrics_of(a_plan(capabilities=replace(EVERYTHING, requests_measured=True)))
    added = [one for one in with_them["quay-app"] if one not in without["quay-app"]]
    assert [one["pods"] for one in added] == [
        {
            "metric": {"name": IN_FLIGHT_METRIC},
            "target": {"type": "AverageValue", "averageValue": str(REQUESTS_PER_POD)},
        }
    ]
    assert with_them["clair-app"] == without["clair-app"]
    assert with_them["quay-mirror"] == without["quay-mirror"]


@pytest.mark.parametrize(
    ("status", "answer", "measured"),
    [
        (200, MEASURED, True),
        (200, {**MEASURED, "items": []}, False),
        (403, {"kind": "Status", "code": 403, "message": "forbidden"}, False),
        (404, {"kind": "Status", "code": 404, "message": "no such metric"}, False),
        (503, {"kind": "Status", "code": 503, "message": "no endpoints"}, False),
    ],
)
@pytest.mark.anyio
async def test_an_adapter_is_asked_for_the_metric_itself(status, answer, measured) -> None:
    asked = []

    async def adapter(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response(answer, status=status)

    application = web.Application()
    application.router.add_route("GET", "/{path:.*}", adapter)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server = f"http://127.0.0.1:{runner.addresses[0][1]}"
        configuration = KubeConfig.from_one(cluster=Cluster(server=server), user=User())
        async with connected(configuration) as cluster:
            found = await cluster.measures(IN_FLIGHT_METRIC, namespace=NAMESPACE)
    finally:
        await runner.cleanup()
    assert found is measured
    where = f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{NAMESPACE}/pods/*/{IN_FLIGHT_METRIC}"
    assert set(asked) == {where}
