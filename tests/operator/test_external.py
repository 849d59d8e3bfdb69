"""Somebody else's servers are asked before a rollout; a volume for one node binds its pods."""

import copy

import pytest
from tests.operator.builders import NAME, NAMESPACE, a_claim, a_plan, everything_healthy, owned
from tests.operator.living import living
from tests.operator.test_faults import default_class
from tests.operator.test_reconcile import conditions

from hatoba.cluster.objects import (
    CLAIMS,
    DEPLOYMENTS,
    JOBS,
    PODS,
    SERVICE_ACCOUNTS,
    ResourceName,
)
from hatoba.kernel.clock import SystemClock, rfc3339
from hatoba.operator import status
from hatoba.operator.components.probing import probe_job
from hatoba.operator.plan import ACCESS_MODES
from hatoba.operator.render import render

pytestmark = [pytest.mark.api, pytest.mark.anyio]
REGISTRIES = ResourceName("quayregistries", "quay.redhat.com")
BUNDLE = "init-config-bundle-secret"
EXTERNAL = {
    "DB_URI": "postgresql://quay:pw@db.example/quay",
    "DISTRIBUTED_STORAGE_CONFIG": {"default": ["LocalStorage", {"storage_path": "/data"}]},
}
UNMANAGED = [{"kind": kind, "managed": False} for kind in ("postgres", "objectstorage")]


async def asked(world):
    """Run passes until the Job that asks is there; return it."""
    await world.create_bundle(EXTERNAL)
    await world.create_registry({"configBundleSecret": BUNDLE, "components": UNMANAGED})
    for _ in range(4):
        await world.once()
        await world.admit_routes()
    (job,) = (await world.objects.list(JOBS, NAMESPACE)).items
    return job


async def fail(world, job, words):
    """Let a Job fail as its controller and a kubelet do."""
    account = job["spec"]["template"]["spec"]["serviceAccountName"]
    assert await world.objects.get(SERVICE_ACCOUNTS, account, NAMESPACE)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "asking",
            "namespace": NAMESPACE,
            "labels": job["spec"]["template"]["metadata"]["labels"],
        },
        "spec": {
            "serviceAccountName": account,
            "containers": [{"name": "probe", "image": "hatoba:0.1.0"}],
        },
    }
    pod = await world.objects.create(PODS, pod, manager="world")
    ended = {"exitCode": 1, "reason": "Error", "message": words}
    container = {"name": "probe", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    pod["status"] = {
        "phase": "Failed",
        "containerStatuses": [container | {"state": {"terminated": ended}}],
    }
    await world.objects.update(PODS, pod, manager="world", subresource="status")
    failed = copy.deepcopy(job)
    now = rfc3339(SystemClock().now())
    condition = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    failed["status"] = {
        "failed": 1,
        "startTime": now,
        "conditions": [
            condition | {"lastTransitionTime": now},
            condition | {"type": "FailureTarget", "lastTransitionTime": now},
        ],
    }
    await world.objects.update(JOBS, failed, manager="world", subresource="status")


async def test_nothing_is_rolled_out_before_the_servers_have_answered(world):
    job = await asked(world)
    assert job["metadata"]["name"].startswith(f"{NAME}-probe-")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["args"] == ["registry", "probe", "postgres", "objectstorage"]
    assert await world.names(DEPLOYMENTS) == []
    await world.converge()
    assert conditions(await world.registry(), 1) == [("Available", "True", "HealthChecksPassing")]
    before = world.cluster.writes
    await world.once()
    assert world.cluster.writes == before


async def test_a_server_that_does_not_answer_is_told_with_its_own_words(world):
    job = await asked(world)
    await fail(world, job, 'log\nobjectstorage: bucket "images": NoSuchBucket\n')
    await world.once()
    found = {c["type"]: c for c in (await world.registry())["status"]["conditions"]}
    blocked = found["RolloutBlocked"]
    assert (blocked["status"], blocked["reason"]) == (
        "True",
        "ObjectStorageComponentDependencyError",
    )
    assert (
        'do not answer: objectstorage: bucket "images": NoSuchBucket: correct'
        in (blocked["message"])
    )
    assert BUNDLE in blocked["message"]
    assert await world.names(DEPLOYMENTS) == []


def test_the_same_question_is_asked_once_and_another_one_anew():
    mounts = render(a_plan()).mounts
    name = probe_job(a_plan("postgres", config=EXTERNAL), mounts)["metadata"]["name"]
    titled = a_plan("postgres", config=EXTERNAL | {"REGISTRY_TITLE": "Other"})
    assert probe_job(titled, mounts)["metadata"]["name"] == name
    moved = a_plan("postgres", config=EXTERNAL | {"DB_URI": "postgresql://elsewhere/quay"})
    assert probe_job(moved, mounts)["metadata"]["name"] != name
    assert probe_job(a_plan(), mounts) is None
    longest = probe_job(a_plan("postgres", name="x" * 43), mounts)["metadata"]["name"]
    assert len(longest) <= 63


def test_a_scanner_is_asked_when_the_bundle_names_one_and_anew_with_another_key():
    def asked_of(*unmanaged, **config):
        return probe_job(a_plan(*unmanaged, config=config), render(a_plan()).mounts)

    named = {
        "FEATURE_SECURITY_SCANNER": True,
        "SECURITY_SCANNER_V4_ENDPOINT": "https://clair.example",
        "SECURITY_SCANNER_V4_PSK": "b25l",
    }
    job = asked_of("clair", **named)
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == [
        "registry",
        "probe",
        "clair",
    ]
    name = job["metadata"]["name"]
    others = named | {"SECURITY_SCANNER_INDEXING_INTERVAL": 60}
    assert asked_of("clair", **others)["metadata"]["name"] == name
    rotated = named | {"SECURITY_SCANNER_V4_PSK": "dHdv"}
    assert asked_of("clair", **rotated)["metadata"]["name"] != name
    assert asked_of("clair") is None
    assert asked_of("clair", **named | {"FEATURE_SECURITY_SCANNER": False}) is None
    assert asked_of(**named) is None


@pytest.mark.parametrize("mode", ACCESS_MODES)
def test_a_volume_for_one_node_binds_the_pods_that_hold_blobs(mode):
    found = {
        (obj["kind"], obj["metadata"]["name"].removeprefix(f"{NAME}-")): obj["spec"]
        for obj in render(a_plan(access_mode=mode)).objects
        if obj["kind"] in ("Deployment", "PersistentVolumeClaim")
    }
    assert found["PersistentVolumeClaim", "quay-datastore"]["accessModes"] == [mode]
    for suffix in ("quay-app", "quay-mirror"):
        template = found["Deployment", suffix]["template"]
        assert ("affinity" in template["spec"]) == (mode == "ReadWriteOnce")
        assert ("hatoba.dev/datastore" in template["metadata"]["labels"]) == (
            mode == "ReadWriteOnce"
        )
    assert "affinity" not in found["Deployment", "quay-redis"]["template"]["spec"]


def test_a_volume_for_one_node_is_said_in_the_status():
    plan = a_plan(access_mode="ReadWriteOnce")
    objects = [*everything_healthy(), a_claim("quay-datastore", component="objectstorage")]
    message = status.verdicts_of(plan, owned(*objects))["objectstorage"].message
    assert "bound as ReadWriteOnce: every pod that holds blobs runs on one node" in message


@pytest.mark.timeout(120)
@pytest.mark.embedded
async def test_a_claim_of_another_mode_is_made_anew_while_it_holds_nothing(world, tmp_path):
    await default_class(world, "false")
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    async with living(world, tmp_path) as life:
        await life.until("ComponentObjectStorageReady", "False", "ReadWriteMany volumes")
        await annotate(world, "ReadWriteOnce")
        await life.until("ComponentObjectStorageReady", "False", "ReadWriteOnce volumes")
        await default_class(world, "true")
        await life.until("ComponentObjectStorageReady", "True", "bound as ReadWriteOnce")
        claim = await world.get(CLAIMS, "quay-datastore")
        await annotate(world, "ReadWriteMany")
        await life.until("ComponentObjectStorageReady", "True", "claim bound")
        await life.available()
        assert (await world.get(CLAIMS, "quay-datastore"))["metadata"]["uid"] == (
            claim["metadata"]["uid"]
        )


async def test_an_access_mode_that_is_none_blocks(world):
    await world.create_registry()
    await annotate(world, "ReadWriteSometimes")
    for _ in range(3):
        await world.once()
    found = {c["type"]: c for c in (await world.registry())["status"]["conditions"]}
    assert "`ReadWriteSometimes` is no access mode" in found["RolloutBlocked"]["message"]


async def annotate(world, mode):
    patch = {"metadata": {"annotations": {"hatoba.dev/datastore-access": mode}}}
    await world.objects.patch(
        REGISTRIES,
        NAME,
        NAMESPACE,
        patch,
        type="application/merge-patch+json",
        manager="kubectl",
    )
