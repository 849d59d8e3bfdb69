"""From one version to another: old pods serve until the database is migrated, and on if it fails."""

from dataclasses import replace

import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.conftest import _now

from hatoba.cluster.objects import DEPLOYMENTS, EVENTS, JOBS, PODS
from hatoba.kernel.clock import SystemClock
from hatoba.operator.model import Images
from hatoba.operator.process import Operator

pytestmark = [pytest.mark.api, pytest.mark.anyio]
MIGRATING = "running database migrations"
NEWER = replace(SETTINGS, quay_version="3.7.0", images=Images(quay="hatoba:newer"))


def operated_by(world, settings):
    world.operator = Operator(world.cluster, settings=settings, clock=SystemClock())
    return world.operator.watching()


async def served_by(world) -> tuple[str, int]:
    app = await world.get(DEPLOYMENTS, "quay-app")
    (container,) = app["spec"]["template"]["spec"]["containers"]
    return container["image"], app["spec"]["replicas"]


async def end_job(world, *kinds: str):
    job = await world.get(JOBS, "quay-app-upgrade")
    job["status"] = {
        "startTime": _now(),
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": _now(),
             "reason": "BackoffLimitExceeded", "message": "it did not work"}
            for kind in kinds
        ],
    }  # fmt: skip
    await world.objects.update(JOBS, job, manager="world", subresource="status")


async def conditions(world):
    status = (await world.registry())["status"]
    return {
        one["type"]: (one["status"], one["reason"], one["message"]) for one in status["conditions"]
    }


async def told_by_events(world):
    found = await world.objects.list(EVENTS, NAMESPACE)
    return {(one["type"], one["reason"], one["message"]) for one in found.items}


AVAILABLE = ("True", "HealthChecksPassing", "all registry component healthchecks passing")


async def until_upgrade_job(world):
    for _ in range(4):
        await world.once()
    job = await world.get(JOBS, "quay-app-upgrade")
    assert job["metadata"]["annotations"]["hatoba.dev/quay-version"] == "3.7.0"
    return job


async def test_old_pods_serve_until_the_database_is_migrated(world):
    await world.create_registry()
    await world.converge()
    spec = (await world.registry())["spec"]
    before = await served_by(world)
    async with operated_by(world, NEWER):
        await until_upgrade_job(world)
        assert await served_by(world) == before
        found = await conditions(world)
        assert found["Available"] == AVAILABLE
        assert found["ComponentsCreated"] == ("False", "MigrationsInProgress", MIGRATING)
        assert found["RolloutBlocked"][0] == "False"
        assert ("Normal", "MigrationsInProgress", MIGRATING) in await told_by_events(world)
        await end_job(world, "SuccessCriteriaMet", "Complete")
        await world.converge()
        assert await served_by(world) == ("hatoba:newer", before[1])
    registry = await world.registry()
    assert registry["status"]["currentVersion"] == "3.7.0"
    assert registry["spec"] == spec


async def test_a_failed_upgrade_stays_on_the_old_version_and_says_so(world):
    await world.create_registry()
    await world.converge()
    before = await served_by(world)
    async with operated_by(world, NEWER):
        job = await until_upgrade_job(world)
        await end_job(world, "FailureTarget", "Failed")
        await world.once()
        await world.once()
        assert await served_by(world) == before
        same = await world.get(JOBS, "quay-app-upgrade")
        assert same["metadata"]["uid"] == job["metadata"]["uid"]
    status = (await world.registry())["status"]
    assert status["currentVersion"] == "3.6.0"
    found = await conditions(world)
    job_name = f"{NAME}-quay-app-upgrade"
    told = (
        f"the registry stays at version 3.6.0: it did not work: Job {job_name} failed: "
        f"read its log with kubectl -n {NAMESPACE} logs job/{job_name}"
    )
    assert found["Available"] == AVAILABLE
    assert found["ComponentsCreated"] == ("False", "MigrationsFailed", told)
    assert ("Warning", "MigrationsFailed", told) in await told_by_events(world)


async def test_a_migration_that_ends_and_starts_again_and_again_is_no_progress(world):
    await world.create_registry()
    await world.converge()
    async with operated_by(world, NEWER):
        job = await until_upgrade_job(world)
        crashing = {"exitCode": 1, "reason": "Error", "message": "column exists already"}
        template = job["spec"]["template"]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "upgrading",
                "namespace": NAMESPACE,
                "labels": template["metadata"]["labels"],
            },
            "spec": template["spec"],
        }
        pod = await world.objects.create(PODS, pod, manager="world")
        container = {
            "name": "quay-app-upgrade",
            "image": "hatoba:newer",
            "imageID": "",
            "ready": False,
            "restartCount": 2,
            "lastState": {"terminated": crashing},
            "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        }
        pod = {**pod, "status": {"phase": "Running", "containerStatuses": [container]}}
        await world.objects.update(PODS, pod, manager="world", subresource="status")
        await world.once()
    found = await conditions(world)
    assert found["Available"] == AVAILABLE
    assert found["ComponentsCreated"][1] == "MigrationsFailed"
    assert "column exists already" in found["ComponentsCreated"][2]
    assert f"Job {NAME}-quay-app-upgrade fails" in found["ComponentsCreated"][2]


async def test_pods_of_before_that_do_not_serve_are_told_while_an_upgrade_migrates(world):
    await world.create_registry()
    await world.converge()
    async with operated_by(world, NEWER):
        await until_upgrade_job(world)
        app = await world.get(DEPLOYMENTS, "quay-app")
        [available] = app["status"]["conditions"]
        app["status"] = {
            **app["status"],
            "availableReplicas": 0,
            "conditions": [{**available, "status": "False", "message": "no pod is available"}],
        }
        await world.objects.update(DEPLOYMENTS, app, manager="world", subresource="status")
        await world.once()
    assert (await conditions(world))["Available"][:2] == ("False", "ComponentNotReady")


async def test_an_operator_that_dies_in_between_is_taken_over(world):
    await world.create_registry()
    await world.converge()
    for _ in range(3):
        async with operated_by(world, NEWER):
            await world.once()
    async with operated_by(world, NEWER):
        await world.converge()
    assert (await world.registry())["status"]["currentVersion"] == "3.7.0"


async def test_an_older_operator_leaves_a_newer_registry_alone(world):
    await world.create_registry()
    await world.converge()
    before = await served_by(world)
    older = replace(SETTINGS, quay_version="3.5.9", images=Images(quay="hatoba:older"))
    async with operated_by(world, older):
        for _ in range(3):
            await world.once()
    assert await served_by(world) == before
    status = (await world.registry())["status"]
    found = {one["type"]: one for one in status["conditions"]}
    assert status["currentVersion"] == "3.6.0"
    assert found["RolloutBlocked"]["status"] == "True"
    assert found["RolloutBlocked"]["reason"] == "DowngradeRefused"
    assert "operator of version 3.6.0 or later" in found["RolloutBlocked"]["message"]


async def test_versions_are_compared_as_numbers(world):
    await world.create_registry()
    await world.converge()
    async with operated_by(world, replace(NEWER, quay_version="3.10.0")):
        await world.converge()
    assert (await world.registry())["status"]["currentVersion"] == "3.10.0"
