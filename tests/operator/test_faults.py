"""Each component is broken in each way, and healed: status and events say it, down and up again."""

import base64
import json
from contextlib import asynccontextmanager

import aiohttp
import aiohttp.web
import pytest
import yaml
from lightkube import KubeConfig
from lightkube.config.models import Cluster, User
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.living import crashing, living, unready, waiting
from tests.operator.test_certificates import a_pair

from hatoba.cluster.objects import DEPLOYMENTS, NODES, PODS, SECRETS, ResourceName
from hatoba.kernel.clock import SystemClock
from hatoba.operator.kubernetes import connected
from hatoba.operator.process import Operator

SERVICES = ResourceName("services")
pytestmark = [pytest.mark.embedded, pytest.mark.anyio, pytest.mark.timeout(240)]
BUNDLE = "init-config-bundle-secret"
STORAGE_CLASSES = ResourceName("storageclasses", "storage.k8s.io")
PARTS = {
    "quay-app": ("ComponentQuayReady", "base"),
    "quay-database": ("ComponentPostgresReady", "postgres"),
    "quay-redis": ("ComponentRedisReady", "redis"),
    "clair-app": ("ComponentClairReady", "clair"),
    "clair-postgres": ("ComponentClairReady", "clair"),
    "quay-mirror": ("ComponentMirrorReady", "mirror"),
    "quay-config-editor": ("ComponentQuayReady", "base"),
}
"""Deployment -> the condition that tells of it, and its key in unhealthyComponents."""
LABELS = {"quay-database": "postgres", "quay-redis": "redis"}
FAULTS = {
    "image missing": (waiting("ImagePullBackOff", "Back-off"), {}, "cannot get its image"),
    "crash loop": (crashing("no such file"), {}, "again and again (no such file)"),
    "wrong password": (
        crashing('2026-11-28 10:00:00 UTC FATAL:  password authentication failed for user "quay"'),
        {},
        'password authentication failed for user "quay"',
    ),
    "secret missing": (
        waiting("CreateContainerConfigError", 'secret "x" not found'),
        {},
        'cannot be created (secret "x" not found)',
    ),
    "not ready": (
        unready(),
        {"reason": "Unhealthy", "message": "Readiness probe failed: statuscode: 503"},
        "runs but is not ready (Readiness probe failed: statuscode: 503)",
    ),
    "volume missing": (
        waiting("ContainerCreating"),
        {"reason": "FailedMount", "message": 'configmap "y" not found'},
        'cannot mount a volume (configmap "y" not found)',
    ),
}


@pytest.fixture
async def life(world, tmp_path):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    async with living(world, tmp_path) as alive:
        yield alive


@pytest.mark.parametrize("fault", FAULTS)
async def test_each_component_goes_down_and_comes_up_again(life, fault):
    state, event, words = FAULTS[fault]
    await life.available()
    await life.until_told("HealthChecksPassing")
    for part, (condition, component) in PARTS.items():
        label = LABELS.get(part, part)
        await life.mark()
        await life.kubelet.afflict(label, state, **event)
        told = await life.until(condition, "False", words)
        assert told["reason"] == "ComponentNotReady"
        assert f"Deployment {NAME}-{part}: " in told["message"]
        assert f"Pod {NAME}-{part}-" in told["message"]
        await life.until("Available", "False", condition)
        entries = (await life.unhealthy())[component]
        assert [entry["reason"] for entry in entries] == ["MinimumReplicasUnavailable"]
        down = await life.until_told("ComponentNotReady", words)
        assert {kind for kind, _, _ in down} == {"Warning"}
        assert sum(words in message for _, _, message in down) == 1, down
        await life.mark()
        await life.kubelet.heal(label)
        await life.available()
        up = await life.until_told("ComponentReady", "healthy")
        assert {(kind, reason) for kind, reason, _ in up} == {
            ("Normal", "ComponentReady"),
            ("Normal", "HealthChecksPassing"),
        }


async def test_a_full_node_is_said_to_be_full(life):
    await life.available()
    node = await life.world.objects.get(NODES, "node1", None)
    full = {**node, "spec": {**node.get("spec", {}), "unschedulable": True}}
    node = await life.world.objects.update(NODES, full, manager="test")
    for pod in (await life.world.objects.list(PODS, NAMESPACE)).items:
        if "quay-redis" in pod["metadata"]["name"]:
            await life.world.objects.delete(PODS, pod["metadata"]["name"], NAMESPACE)
    await life.until("ComponentRedisReady", "False", "fits on no node (0/1 nodes are available")
    await life.until("Available", "False", "ComponentRedisReady")
    await life.world.objects.update(
        NODES, {**node, "spec": {**node["spec"], "unschedulable": False}}, manager="test"
    )
    await life.available()


async def test_a_claim_without_volume_is_named_before_the_pod_that_waits(world, tmp_path):
    await default_class(world, "false")
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    async with living(world, tmp_path) as life:
        told = await life.until("ComponentPostgresReady", "False", "no storage class is set")
        assert told["reason"] == "PVCProvisioningFailed"
        assert f"PVC {NAME}-quay-database" in told["message"]
        told = await life.until("ComponentObjectStorageReady", "False", "ReadWriteMany volumes")
        assert "hatoba.dev/datastore-access: ReadWriteOnce" in told["message"]
        available = (await life.conditions())["Available"]
        assert available["status"] == "False"
        await default_class(world, "true")
        await life.available()


async def test_a_migration_that_crashes_is_told_as_failed_and_goes_on_when_healed(world, tmp_path):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    async with living(world, tmp_path) as life:
        life.kubelet.faults["quay-app-upgrade"] = crashing("relation exists already")
        told = await life.until("Available", "False", "relation exists already")
        assert told["reason"] == "MigrationsFailed"
        assert f"Job {NAME}-quay-app-upgrade fails" in told["message"]
        assert (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["replicas"] == 0
        events = await life.until_told("MigrationsFailed")
        assert [kind for kind, reason, _ in events if reason == "MigrationsFailed"] == ["Warning"]
        await life.kubelet.heal("quay-app-upgrade")
        await life.available()


async def test_a_certificate_for_another_host_blocks_and_leaves_the_pods_alone(life):
    await life.available()
    cert, key = a_pair("another.example")
    await edit(life, {"SERVER_HOSTNAME": "registry.example"}, ssl_cert=cert, ssl_key=key)
    entries = [{"kind": "tls", "managed": False}]
    await life.world.update_spec({"components": entries})
    blocked = await life.until("RolloutBlocked", "True", "another.example, not registry.example")
    assert blocked["reason"] == "ComponentCreationFailed"
    assert f"ssl.key of Secret {BUNDLE}" in blocked["message"]
    await life.until("Available", "True")
    await life.until_told("Warning", "ComponentCreationFailed")
    cert, key = a_pair("registry.example")
    await edit(life, {"SERVER_HOSTNAME": "registry.example"}, ssl_cert=cert, ssl_key=key)
    await life.until("RolloutBlocked", "False")
    await life.available()


async def default_class(world, value):
    annotations = {"storageclass.kubernetes.io/is-default-class": value}
    await world.objects.patch(
        STORAGE_CLASSES,
        "standard",
        None,
        {"metadata": {"annotations": annotations}},
        type="application/merge-patch+json",
        manager="kubectl",
    )


async def edit(life, config, **files):
    values = {"config.yaml": yaml.safe_dump(config).encode()} | {
        name.replace("_", "."): value for name, value in files.items()
    }
    data = {name: base64.b64encode(value).decode() for name, value in values.items()}
    await life.world.objects.patch(
        SECRETS,
        BUNDLE,
        NAMESPACE,
        {"data": data},
        type="application/merge-patch+json",
        manager="kubectl",
    )


async def test_what_the_api_forbids_is_said_with_its_words(world, tmp_path):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    async with refusing(world) as refusals, living(world, tmp_path) as life:
        await life.available()
        refusals.add(("PATCH", "/services/"))
        await world.objects.delete(SERVICES, f"{NAME}-quay-redis", NAMESPACE)
        blocked = await life.until("RolloutBlocked", "True", "you shall not")
        assert blocked["reason"] == "ComponentCreationFailed"
        assert f"Service {NAME}-quay-redis" in blocked["message"]
        assert "grant the operator's service account" in blocked["message"]
        assert (await life.conditions())["Available"]["status"] == "True"
        await life.until_told("Warning", "ComponentCreationFailed", "you shall not")
        refusals.clear()
        await life.available()


async def test_a_secret_that_may_not_be_read_is_a_condition_and_no_silence(world, tmp_path):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    async with refusing(world) as refusals, living(world, tmp_path) as life:
        await life.available()
        refusals.add(("GET", f"/secrets/{BUNDLE}"))
        await edit(life, {"REGISTRY_TITLE": "Other"})
        blocked = await life.until("RolloutBlocked", "True", "you shall not")
        assert "grant its service account what deploy/base/roles.yaml lists" in blocked["message"]
        refusals.clear()
        await life.available()


@asynccontextmanager
async def refusing(world):
    """Put something between operator and API that forbids what a test adds to a set."""
    refusals = set()

    async def forward(request):
        if any(request.method == verb and part in request.path for verb, part in refusals):
            status = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}
            body = json.dumps(status | {"apiVersion": "v1", "message": "you shall not"})
            headers = {"Content-Type": "application/json"}
            return aiohttp.web.Response(body=body.encode(), status=403, headers=headers)
        url = f"http://{world.address}{request.rel_url}"
        async with session.request(
            request.method, url, headers=request.headers, data=await request.read()
        ) as answer:
            headers = {"Content-Type": answer.headers.get("Content-Type", "application/json")}
            response = aiohttp.web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response

    application = aiohttp.web.Application(client_max_size=1 << 24)
    application.router.add_route("*", "/{path:.*}", forward)
    runner = aiohttp.web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout()) as session:
        await runner.setup()
        site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        configuration = KubeConfig.from_one(
            cluster=Cluster(server=f"http://{host}:{port}"), user=User(token="admin-token")
        )
        try:
            async with connected(configuration) as cluster:
                world.operator = Operator(cluster, settings=SETTINGS, clock=SystemClock())
                async with world.operator.watching():
                    await world.operator.wait_ready()
                    yield refusals
        finally:
            await runner.cleanup()
