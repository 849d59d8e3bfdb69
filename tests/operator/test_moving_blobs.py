"""Blobs move to a volume of another class: copied while the registry serves, then read-only."""

import base64

import pytest
import yaml
from tests.operator.builders import NAME, NAMESPACE
from tests.operator.conftest import REGISTRIES, STORAGE_CLASSES
from tests.operator.pictures import differences, picture
from tests.operator.test_moving import annotate, conditions, end, is_gone
from tests.operator.weather import Calm, Death

from hatoba.cluster.objects import CLAIMS, DEPLOYMENTS, JOBS, PODS, SECRETS

pytestmark = [pytest.mark.api, pytest.mark.anyio]
OLD, NEW = "quay-datastore", "quay-datastore-2"


async def a_class(world, name):
    made = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "example.com/disk",
    }
    await world.objects.create(STORAGE_CLASSES, made, manager="test")


async def a_registry(world):
    for name in ("slow", "fast"):
        await a_class(world, name)
    await world.create_registry()
    await world.converge()


async def move(world, **more):
    await annotate(world, datastore_class="fast", **more)


async def serves(world, suffix="quay-app"):
    """Return the claim of a Deployment's pods, and whether these only read."""
    template = (await world.get(DEPLOYMENTS, suffix))["spec"]["template"]
    volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
    claim = volumes["datastorage"]["persistentVolumeClaim"]["claimName"]
    (variable,) = (
        one for one in template["spec"]["containers"][0]["env"]
        if one["name"] == "QE_K8S_CONFIG_SECRET"
    )  # fmt: skip
    secret = await world.objects.get(SECRETS, variable["value"], NAMESPACE)
    config = yaml.safe_load(base64.b64decode(secret["data"]["config.yaml"]))
    quiet = "hatoba.dev/read-only-for-move" in template["metadata"]["annotations"]
    assert quiet == (config.get("REGISTRY_STATE") == "readonly")
    return claim.removeprefix(f"{NAME}-"), quiet


async def until(world, step):
    """Let passes go by, the cluster doing its part, until a move's Job is there; it does not run."""
    for _ in range(10):
        await world.once()
        if await world.exists(JOBS, f"{NEW}-{step}"):
            await world.once()
            return await world.get(JOBS, f"{NEW}-{step}")
        await world.play()
    raise AssertionError(f"there is no Job to {step}")


async def a_pod(world, name, *, claim=OLD, component="quay-app", **annotations):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"quay-operator/quayregistry": NAME, "quay-component": component},
            "annotations": annotations,
        },
        "spec": {
            "serviceAccountName": f"{NAME}-quay-app",
            "containers": [{"name": "one", "image": "one"}],
            "volumes": [
                {"name": "d", "persistentVolumeClaim": {"claimName": f"{NAME}-{claim}"}},
            ],
        },
    }
    await world.objects.create(PODS, pod, manager="test")


async def told(world, kind="ComponentObjectStorageReady"):
    found = (await conditions(world))[kind]
    return found["status"], found["reason"], found["message"]


async def test_blobs_move_with_pulls_going_on(world):
    await a_registry(world)
    await move(world)
    check = await until(world, "check")
    pod = check["spec"]["template"]["spec"]
    mounted = {one["mountPath"]: one.get("readOnly", False) for one in
               pod["containers"][0]["volumeMounts"]}  # fmt: skip
    assert mounted == {"/datastorage": True, "/datastorage-new": False}
    status, _, message = await told(world)
    assert status == "True"
    assert f"Job {NAME}-{NEW}-check tries both volumes" in message
    await until(world, "fill")
    assert await serves(world) == (OLD, False)
    status, _, message = await told(world)
    assert status == "True"
    assert f"Job {NAME}-{NEW}-fill copies" in message
    await until(world, "copy")
    for suffix in ("quay-app", "quay-mirror"):
        assert await serves(world, suffix) == (OLD, True)
    status, reason, message = await told(world)
    assert (status, reason) == ("False", "StorageMoveInProgress")
    assert "finishes the move of blobs" in message
    assert "pulls go on, pushes are refused" in message
    await end(world, "SuccessCriteriaMet", "Complete", suffix=f"{NEW}-copy")
    await world.once()
    assert await serves(world) == (NEW, True)
    status, _, message = await told(world)
    await world.converge()
    for suffix in ("quay-app", "quay-mirror"):
        assert await serves(world, suffix) == (NEW, False)
    assert (await world.get(CLAIMS, NEW))["spec"]["storageClassName"] == "fast"
    assert not any(NEW in name for name in await world.names(JOBS))
    status, _, message = await told(world)
    assert status == "True"
    assert f"hatoba.dev/release-volume={NAME}-{OLD} " in message
    assert (await conditions(world))["Available"]["status"] == "True"


async def test_no_last_copy_begins_while_a_pod_may_write(world):
    await a_registry(world)
    await a_pod(world, "draining")
    await move(world)
    await world.converge(passes=20)
    assert await serves(world) == (OLD, True)
    assert not await world.exists(JOBS, f"{NEW}-copy")
    assert "waits for the end of Pod draining" in (await told(world))[2]
    await world.objects.delete(PODS, "draining", NAMESPACE, grace_seconds=0)
    await world.converge(passes=20)
    assert await serves(world) == (NEW, False)


async def test_nobody_writes_while_a_pod_has_the_volume_from_before(world):
    await a_registry(world)
    await a_pod(world, "reading", **{"hatoba.dev/read-only-for-move": "true"})
    await move(world)
    await world.converge(passes=20)
    assert await serves(world) == (NEW, True)
    status, reason, message = await told(world)
    assert (status, reason) == ("False", "StorageMoveInProgress")
    assert "waits for Pod reading" in message
    # What still holds it is not let go of, whatever the annotation says.
    await annotate(world, release_volume=f"{NAME}-{OLD}")
    await world.converge()
    assert not await is_gone(world, OLD)
    await world.objects.delete(PODS, "reading", NAMESPACE, grace_seconds=0)
    await world.converge(passes=20)
    assert await serves(world) == (NEW, False)
    assert await is_gone(world, OLD)


@pytest.mark.parametrize("component", ["quay-app-upgrade", "somebody"])
async def test_nobody_is_stopped_from_pushing_while_another_pod_has_the_volume(world, component):
    await a_registry(world)
    await a_pod(world, "other", component=component)
    await move(world)
    await world.converge(passes=20)
    assert await serves(world) == (OLD, False)
    assert (
        "Pod other (which is none of the registry's and has the volume) has to end"
        in (await told(world))[2]
    )


def a_backup_job():
    labels = {"quay-operator/quayregistry": NAME, "hatoba.dev/backup": "nightly"}
    container = {"name": "backup", "image": "one"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "nightly-1", "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "template": {
                "metadata": {"labels": labels},
                "spec": {"restartPolicy": "Never", "containers": [container]},
            }
        },
    }


async def test_a_backup_that_is_being_made_is_waited_for(world):
    await a_registry(world)
    await move(world)
    await until(world, "fill")
    await world.objects.create(JOBS, a_backup_job(), manager="test")
    await end(world, "SuccessCriteriaMet", "Complete", suffix=f"{NEW}-fill")
    for _ in range(3):
        await world.once()
        await world.run_deployments()
    assert await serves(world) == (OLD, False)
    assert "Job nightly-1 (a backup) has to end" in (await told(world))[2]
    await world.objects.delete(JOBS, "nightly-1", NAMESPACE, propagation="Background")
    await world.converge(passes=20)
    assert await serves(world) == (NEW, False)


@pytest.mark.parametrize(
    ("step", "words"),
    [("check", "-check failed at"), ("fill", "-fill failed at"), ("copy", "-copy failed at")],
)
async def test_a_job_that_fails_leaves_the_old_volume_in_use_and_says_so(world, step, words):
    await a_registry(world)
    await move(world)
    await until(world, step)
    await end(world, "FailureTarget", "Failed", suffix=f"{NEW}-{step}")
    for _ in range(4):
        await world.once()
        await world.run_deployments()
    assert await serves(world) == (OLD, False)
    status, reason, message = await told(world, "ComponentsCreated")
    assert (status, reason) == ("False", "StorageMoveFailed")
    assert words in message
    assert f"PersistentVolumeClaim {NAME}-{OLD} serves on" in message
    assert f"logs job/{NAME}-{NEW}-{step}, and delete it to try again" in message
    assert (await conditions(world))["Available"]["status"] == "True"
    await world.objects.delete(JOBS, f"{NAME}-{NEW}-{step}", NAMESPACE, propagation="Background")
    await world.converge(passes=20)
    assert await serves(world) == (NEW, False)
    assert (await conditions(world))["ComponentsCreated"]["status"] == "True"


async def test_a_move_that_is_taken_back_leaves_nothing(world):
    await a_registry(world)
    await move(world)
    await until(world, "copy")
    await annotate(world, datastore_class=None)
    await world.converge(passes=20)
    assert await serves(world) == (OLD, False)
    assert not any(NEW in name for name in await world.names(JOBS))
    assert await is_gone(world, NEW)


async def test_a_class_that_is_not_there_is_refused_before_anything_is_made(world):
    await a_registry(world)
    await annotate(world, datastore_class="missing")
    await world.once()
    status, _, message = await told(world, "RolloutBlocked")
    assert status == "True"
    assert "there is no StorageClass missing" in message
    assert not await world.exists(CLAIMS, NEW)


async def test_a_smaller_volume_is_asked_for_since_a_pod_finds_out_whether_it_fits(world):
    await a_registry(world)
    await move(world, datastore_size="5Gi")
    await world.once()
    assert (await world.get(CLAIMS, NEW))["spec"]["resources"]["requests"]["storage"] == "5Gi"
    await world.converge(passes=20)
    assert await serves(world) == (NEW, False)


async def test_volumes_for_one_node_are_tried_where_the_pods_are(world):
    await a_registry(world)
    await move(world, datastore_access="ReadWriteOnce")
    for step in ("check", "fill", "copy"):
        template = (await until(world, step))["spec"]["template"]
        (term,) = template["spec"]["affinity"]["podAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]
        wanted = term["labelSelector"]["matchLabels"]
        app = (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["template"]
        for labels in (template["metadata"]["labels"], app["metadata"]["labels"]):
            assert wanted.items() <= labels.items()
        await world.play()


async def test_a_volume_for_one_node_binds_pods_until_all_have_one_for_many(world):
    for name in ("slow", "fast"):
        await a_class(world, name)
    await world.create_registry()
    await annotate(world, datastore_access="ReadWriteOnce")
    await world.converge()
    await move(world, datastore_access=None)
    await until(world, "copy")
    app = await world.get(DEPLOYMENTS, "quay-app")
    assert "podAffinity" in app["spec"]["template"]["spec"]["affinity"]
    assert (await world.get(CLAIMS, NEW))["spec"]["accessModes"] == ["ReadWriteMany"]
    await world.converge(passes=20)
    app = await world.get(DEPLOYMENTS, "quay-app")
    assert "affinity" not in app["spec"]["template"]["spec"]


@pytest.mark.timeout(240)
async def test_a_move_whose_operator_ends_after_each_of_its_writes_ends_the_same(stage):
    world = stage.world
    for name in ("slow", "fast"):
        await a_class(world, name)
    await stage.install()
    await stage.live(Calm())
    await move(world)
    await stage.live(Calm())
    wanted = await picture(world)
    await world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    await stage.live(Calm())
    await stage.clear()
    await stage.install()
    await stage.live(Calm())
    await move(world)
    lives = 0
    while await stage.live(Death(2)):
        lives += 1
    found = await picture(world)
    if found != wanted:
        pytest.fail(differences(wanted, found))
    assert lives >= 8
