"""Databases move: to another major version of PostgreSQL, to a volume of another class."""

import copy
from dataclasses import replace

import pytest
from tests.operator.builders import (
    NAME,
    NAMESPACE,
    SETTINGS,
    a_claim,
    a_deployment,
    a_job,
    a_plan,
    owned,
)
from tests.operator.conftest import REGISTRIES, _now
from tests.operator.pictures import differences, picture
from tests.operator.weather import Calm, Death

from hatoba.cluster.objects import CLAIMS, DEPLOYMENTS, JOBS, PODS, ResourceName
from hatoba.kernel.clock import SystemClock
from hatoba.operator.components.postgres import copy_jobs
from hatoba.operator.datastores import DataMove, DataStore
from hatoba.operator.model import Images
from hatoba.operator.moving import Mover
from hatoba.operator.process import Operator
from hatoba.operator.stores import major_of, stores_of

pytestmark = pytest.mark.api

anyio = pytest.mark.anyio
OLD = "quay.io/sclorg/postgresql-13-c9s:latest"
NEW = "quay.io/sclorg/postgresql-15-c9s:latest"
NEWER = replace(SETTINGS, images=Images(postgres=NEW))
STORAGE_CLASSES = ResourceName("storageclasses", "storage.k8s.io")


@pytest.mark.parametrize(
    ("image", "major"),
    [
        (OLD, 13),
        ("registry.redhat.io/rhel8/postgresql-13@sha256:0123", 13),
        ("quay.io/sclorg/postgresql-15-c9s", 15),
        ("localhost:5000/postgres:16.4-alpine", 16),
        ("docker.io/library/postgres:15", 15),
        ("localhost:5000/mine", None),
        ("localhost:5000/mine:latest", None),
        ("localhost:5000/mine@sha256:0123", None),
    ],
)
def test_an_image_tells_its_major_version(image, major):
    assert major_of(image) == major


def operated_by(world, settings):
    world.operator = Operator(world.cluster, settings=settings, clock=SystemClock())
    return world.operator.watching()


async def conditions(world):
    found = (await world.registry())["status"]["conditions"]
    return {c["type"]: c for c in found}


async def lives_in(world) -> tuple[str, str, int]:
    """Return image, claim and number of pods of the database's Deployment."""
    spec = (await world.get(DEPLOYMENTS, "quay-database"))["spec"]
    pod = spec["template"]["spec"]
    claim = pod["volumes"][0]["persistentVolumeClaim"]["claimName"]
    return pod["containers"][0]["image"], claim.removeprefix(f"{NAME}-"), spec["replicas"]


async def a_registry(world):
    await world.create_registry()
    await world.converge()
    assert await lives_in(world) == (OLD, "quay-database", 1)


async def until_copied(world):
    """Let passes go by, the cluster doing its part, until the Job is there; it does not run."""
    for _ in range(6):
        await world.once()
        if await world.exists(JOBS, "quay-database-2-copy"):
            return await world.get(JOBS, "quay-database-2-copy")
        await world.play()
    raise AssertionError("there is no Job")


async def end(world, *kinds, suffix="quay-database-2-copy"):
    job = await world.get(JOBS, suffix)
    told = {"status": "True", "lastTransitionTime": _now(), "reason": "BackoffLimitExceeded"}
    job["status"] = {
        "startTime": _now(),
        "conditions": [{"type": kind, "message": "it did not work", **told} for kind in kinds],
    }
    await world.objects.update(JOBS, job, manager="world", subresource="status")


async def is_gone(world, suffix) -> bool:
    """Tell whether a claim is deleted; no controller lets go of it here."""
    if not await world.exists(CLAIMS, suffix):
        return True
    return "deletionTimestamp" in (await world.get(CLAIMS, suffix))["metadata"]


async def annotate(world, **annotations):
    given = {f"hatoba.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    await world.objects.patch(
        REGISTRIES,
        NAME,
        NAMESPACE,
        {"metadata": {"annotations": given}},
        type="application/merge-patch+json",
        manager="kubectl",
    )


@anyio
async def test_a_new_major_version_is_copied_to_with_the_database_stopped(world):
    await a_registry(world)
    async with operated_by(world, NEWER):
        job = await until_copied(world)
        assert await lives_in(world) == (OLD, "quay-database", 0)
        told = (await conditions(world))["ComponentPostgresReady"]
        await world.once()
        told = (await conditions(world))["ComponentPostgresReady"]
        assert (told["status"], told["reason"]) == ("False", "PostgresUpgradeInProgress")
        assert "the upgrade from PostgreSQL 13 to 15" in told["message"]
        pod = job["spec"]["template"]["spec"]
        assert [server["image"] for server in pod["initContainers"]] == [OLD, NEW]
        assert [volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]] == [
            f"{NAME}-quay-database",
            f"{NAME}-quay-database-2",
        ]
        await world.converge()
        assert await lives_in(world) == (NEW, "quay-database-2", 1)
        assert not await world.exists(JOBS, "quay-database-2-copy")
        told = (await conditions(world))["ComponentPostgresReady"]
        assert told["status"] == "True"
        assert f"hatoba.dev/release-volume={NAME}-quay-database " in told["message"]
        assert (await conditions(world))["Available"]["status"] == "True"


async def a_pod_without_image(world, job):
    labels = job["spec"]["selector"]["matchLabels"] | job["spec"]["template"]["metadata"]["labels"]
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "trying", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "serviceAccountName": f"{NAME}-quay-database",
            "containers": [{"name": "check", "image": NEW}],
        },
    }
    pod = await world.objects.create(PODS, made, manager="test")
    state = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    container = {"name": "check", "image": NEW, "imageID": "", "ready": False, "restartCount": 0}
    status = {"phase": "Pending", "containerStatuses": [container | {"state": state}]}
    await world.objects.update(
        PODS, copy.deepcopy(pod) | {"status": status}, manager="test", subresource="status"
    )


@anyio
async def test_nothing_is_stopped_for_an_image_that_cannot_be_had(world):
    await a_registry(world)
    async with operated_by(world, NEWER):
        await world.once()
        job = await world.get(JOBS, "quay-database-2-check")
        (container,) = job["spec"]["template"]["spec"]["containers"]
        assert container["image"] == NEW
        await world.once()
        told = (await conditions(world))["ComponentPostgresReady"]
        assert told["status"] == "True"
        assert "before anything is stopped for the upgrade from PostgreSQL 13" in told["message"]
        await world.bind_claims()
        await a_pod_without_image(world, job)
        for _ in range(2):
            await world.once()
        found = await conditions(world)
        assert found["Available"]["status"] == "True"
        created = found["ComponentsCreated"]
        assert (created["status"], created["reason"]) == ("False", "PostgresUpgradeFailed")
        assert "nothing was stopped: Pod trying cannot get its image" in created["message"]
        assert created["message"] in found["ComponentPostgresReady"]["message"]
        assert await lives_in(world) == (OLD, "quay-database", 1)
        assert not await world.exists(JOBS, "quay-database-2-copy")
        await world.objects.delete(PODS, "trying", NAMESPACE, grace_seconds=0)
        await world.converge()
        assert await lives_in(world) == (NEW, "quay-database-2", 1)
        assert not await world.exists(JOBS, "quay-database-2-check")


@anyio
async def test_nothing_is_stopped_for_a_volume_that_nobody_provides(world):
    await a_registry(world)
    async with operated_by(world, NEWER):
        await world.once()
        claim = await world.get(CLAIMS, "quay-database-2")
        claim["status"] = {"phase": "Pending"}
        await world.objects.update(CLAIMS, claim, manager="world", subresource="status")
        await world.once()
        told = (await conditions(world))["ComponentPostgresReady"]
        assert told["status"] == "True"
        assert f"PersistentVolumeClaim {NAME}-quay-database-2 is pending" in told["message"]
        assert await lives_in(world) == (OLD, "quay-database", 1)


@anyio
async def test_a_check_that_fails_is_told_and_tried_again_once_it_is_deleted(world):
    await a_registry(world)
    async with operated_by(world, NEWER):
        await world.once()
        await end(world, "FailureTarget", "Failed", suffix="quay-database-2-check")
        for _ in range(2):
            await world.once()
        told = (await conditions(world))["ComponentsCreated"]["message"]
        assert f"Job {NAME}-quay-database-2-check cannot prepare" in told
        assert await lives_in(world) == (OLD, "quay-database", 1)
        await world.objects.delete(
            JOBS, f"{NAME}-quay-database-2-check", NAMESPACE, propagation="Background"
        )
        await world.converge()
        assert await lives_in(world) == (NEW, "quay-database-2", 1)


@pytest.mark.parametrize(("image", "checked"), [(NEW, True), (OLD, False)])
def test_a_job_that_tried_another_image_proves_nothing(image, checked):
    job = a_job("quay-database-2-check", condition="Complete", succeeded=1)
    job["metadata"]["annotations"]["hatoba.dev/postgres-image"] = image
    there = owned(
        a_claim("quay-database", component="postgres"),
        {
            **a_deployment("quay-database", component="postgres", replicas=1),
            "spec": {"template": {"spec": {"containers": [{"image": OLD}]}}},
        },
        job,
    )
    stores = stores_of(NAME, {}, NEWER.images, owned=there)
    assert stores["quay-database"].is_stopped == checked


@anyio
async def test_what_was_kept_is_deleted_once_it_is_released(world):
    await a_registry(world)
    async with operated_by(world, NEWER):
        await world.converge()
        assert not await is_gone(world, "quay-database")
        # What holds the data is not deleted, whatever the annotation says.
        await annotate(world, release_volume=f"{NAME}-quay-database-2, {NAME}-clair-postgres")
        await world.converge()
        for suffix in ("quay-database-2", "clair-postgres", "quay-database"):
            assert not await is_gone(world, suffix)
        await annotate(world, release_volume=f"{NAME}-quay-database")
        await world.converge()
        assert await is_gone(world, "quay-database")
        assert await lives_in(world) == (NEW, "quay-database-2", 1)


@anyio
async def test_a_copy_that_fails_leaves_everything_where_it_was_and_says_so(world):
    await a_registry(world)
    async with operated_by(world, NEWER):
        await until_copied(world)
        await end(world, "FailureTarget", "Failed")
        for _ in range(4):
            await world.once()
            await world.run_deployments()
        assert await lives_in(world) == (OLD, "quay-database", 1)
        found = await conditions(world)
        assert found["Available"]["status"] == "True"
        created = found["ComponentsCreated"]
        assert (created["status"], created["reason"]) == ("False", "PostgresUpgradeFailed")
        assert f"Job {NAME}-quay-database-2-copy failed" in created["message"]
        await world.objects.delete(JOBS, f"{NAME}-quay-database-2-copy", NAMESPACE)
        await until_copied(world)
        await world.converge()
        assert await lives_in(world) == (NEW, "quay-database-2", 1)


@anyio
async def test_an_operator_of_before_takes_a_begun_move_back(world):
    await a_registry(world)
    async with operated_by(world, NEWER):
        await until_copied(world)
    async with operated_by(world, SETTINGS):
        await world.converge()
        assert await lives_in(world) == (OLD, "quay-database", 1)
        assert not await world.exists(JOBS, "quay-database-2-copy")
        assert await is_gone(world, "quay-database-2")


@anyio
async def test_an_operator_with_an_older_server_leaves_newer_data_alone(world):
    async with operated_by(world, NEWER):
        await world.create_registry()
        await world.converge()
    async with operated_by(world, SETTINGS):
        await world.converge()
        assert await lives_in(world) == (NEW, "quay-database", 1)


@anyio
async def test_no_copy_begins_while_a_pod_of_the_database_is_there(world):
    await a_registry(world)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "lingering",
            "namespace": NAMESPACE,
            "labels": {"quay-operator/quayregistry": NAME, "quay-component": "postgres"},
        },
        "spec": {
            "serviceAccountName": f"{NAME}-quay-database",
            "containers": [{"name": "postgres", "image": OLD}],
        },
    }
    await world.objects.create(PODS, pod, manager="test")
    async with operated_by(world, NEWER):
        await world.converge()
        assert await lives_in(world) == (OLD, "quay-database", 0)
        assert not await world.exists(JOBS, "quay-database-2-copy")
        await world.objects.delete(PODS, "lingering", NAMESPACE, grace_seconds=0)
        await world.converge()
        assert await lives_in(world) == (NEW, "quay-database-2", 1)


@anyio
async def test_a_claim_in_use_is_never_copied_into_whatever_the_operator_remembers(world):
    await a_registry(world)
    async with operated_by(world, NEWER):
        await world.converge()
    await world.objects.delete(DEPLOYMENTS, f"{NAME}-quay-database", NAMESPACE)
    begun = {}
    for claim in ("quay-database-2", "quay-database-3"):
        move = DataMove(claim=claim, image=NEW, checked=True)
        store = DataStore(claim="quay-database", image=OLD, move=move)
        plan = a_plan(stores={"quay-database": store})
        (job,) = copy_jobs(
            plan, "quay-database", component="postgres", label="postgres", credentials="secret"
        )
        job["metadata"]["ownerReferences"] = []
        begun[claim] = await Mover(world.cluster).bring(plan, job, None)
    assert begun == {"quay-database-2": False, "quay-database-3": True}


@anyio
async def test_a_database_moves_to_another_storage_class(world):
    await a_registry(world)
    for name in ("slow", "fast"):
        made = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "example.com/disk",
        }
        await world.objects.create(STORAGE_CLASSES, made, manager="test")
    entries = (await world.registry())["spec"]["components"]
    for entry in entries:
        if entry["kind"] == "postgres":
            entry["overrides"] = {"storageClassName": "fast"}
    await world.update_spec({"components": entries})
    await world.converge()
    assert await lives_in(world) == (OLD, "quay-database-2", 1)
    assert (await world.get(CLAIMS, "quay-database-2"))["spec"]["storageClassName"] == "fast"
    assert not await is_gone(world, "quay-database")


@anyio
@pytest.mark.timeout(240)
async def test_a_move_whose_operator_ends_after_each_of_its_writes_ends_the_same(stage):
    await stage.install()
    await stage.live(Calm())
    await stage.live(Calm(), NEWER)
    wanted = await picture(stage.world)
    await stage.world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    await stage.live(Calm())
    await stage.clear()
    await stage.install()
    await stage.live(Calm())
    lives = 0
    while await stage.live(Death(2), NEWER):
        lives += 1
    found = await picture(stage.world)
    if found != wanted:
        pytest.fail(differences(wanted, found))
    assert lives >= 8
