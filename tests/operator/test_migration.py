"""The migration of the database: told honestly, tried again when that may help."""

from datetime import timedelta

import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.conftest import _now

from hatoba.cluster.objects import DEPLOYMENTS, JOBS
from hatoba.kernel.clock import FixedClock, SystemClock
from hatoba.operator.process import Operator

pytestmark = [pytest.mark.api, pytest.mark.anyio]


async def fail_migration(world):
    """Bring a registry to where its migration has failed."""
    await world.create_registry()
    for _ in range(4):
        await world.once()
        await world.admit_routes()
    job = await world.get(JOBS, "quay-app-upgrade")
    job["status"] = {
        "failed": 1,
        "startTime": _now(),
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": "BackoffLimitExceeded",
                "message": "Job has reached the specified backoff limit",
                "lastTransitionTime": _now(),
            }
            for kind in ("FailureTarget", "Failed")
        ],
    }
    await world.objects.update(JOBS, job, manager="world", subresource="status")
    await world.once()
    return job["metadata"]["uid"]


async def uid_of_job(world):
    return (await world.get(JOBS, "quay-app-upgrade"))["metadata"]["uid"]


async def test_a_failed_migration_is_told_with_its_reason_and_no_pod_serves(world):
    await fail_migration(world)
    status = (await world.registry())["status"]
    found = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status["conditions"]}
    job = f"{NAME}-quay-app-upgrade"
    step = f"read its log with kubectl -n {NAMESPACE} logs job/{job}"
    told = f"Job has reached the specified backoff limit: Job {job} failed: {step}"
    failure = ("False", "MigrationsFailed", told)
    assert found["Available"] == found["ComponentsCreated"] == failure
    assert status["unhealthyComponents"]["base"][0]["message"] == (
        f"Job {NAME}-quay-app-upgrade: Job has reached the specified backoff limit"
    )
    assert (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["replicas"] == 0
    assert "currentVersion" not in status


async def test_a_failed_migration_is_not_repeated_without_reason(world):
    uid = await fail_migration(world)
    await world.once()
    assert await uid_of_job(world) == uid


async def test_a_changed_configuration_is_reason_to_migrate_again(world):
    uid = await fail_migration(world)
    await world.create_bundle({"REGISTRY_TITLE": "Harbour"}, name="second")
    await world.update_spec({"configBundleSecret": "second"})
    await world.converge()
    assert await uid_of_job(world) != uid
    assert (await world.registry())["status"]["currentVersion"] == "3.6.0"


async def test_time_is_reason_to_migrate_again(world):
    uid = await fail_migration(world)
    clock = FixedClock(SystemClock().now() + timedelta(minutes=6))
    world.operator = Operator(world.cluster, settings=SETTINGS, clock=clock)
    async with world.operator.watching():
        await world.once()
        await world.once()
        assert await uid_of_job(world) != uid


async def test_a_migration_job_that_is_deleted_is_started_again(world):
    await world.create_registry()
    for _ in range(4):
        await world.once()
        await world.admit_routes()
    uid = await uid_of_job(world)
    name = f"{NAME}-quay-app-upgrade"
    await world.objects.delete(JOBS, name, NAMESPACE, propagation="Background")
    await world.once()
    assert await uid_of_job(world) != uid
