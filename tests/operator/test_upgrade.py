"""From one version to another: old pods serve until the database is migrated, and on if it fails."""

from dataclasses import replace

import pytest
from tests.operator.builders import NAME, SETTINGS
from tests.operator.conftest import _now

from hatoba.cluster.objects import DEPLOYMENTS, JOBS
from hatoba.kernel.clock import SystemClock
from hatoba.operator.model import Images
from hatoba.operator.process import Operator

pytestmark = pytest.mark.anyio
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
    found = {one["type"]: one for one in status["conditions"]}
    assert found["ComponentsCreated"]["reason"] == "MigrationsFailed"
    assert f"Job {NAME}-quay-app-upgrade failed" in found["ComponentsCreated"]["message"]


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
