"""Claims, volumes and their directories."""

import pytest
from tests.cluster.controllers.conftest import NAMESPACE

from hatoba.cluster.controllers.claims import STORAGE_CLASSES
from hatoba.cluster.objects import CLAIMS, PODS, VOLUMES

pytestmark = pytest.mark.anyio


def claim(name="data", *, modes=("ReadWriteOnce",), size="1Gi", **spec):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {
            "accessModes": list(modes),
            "resources": {"requests": {"storage": size}},
            "volumeMode": "Filesystem",
            **spec,
        },
    }


def volume(name="byhand", *, size="2Gi", storage="manual"):
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"},
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": storage,
            "volumeMode": "Filesystem",
        },
    }


def user(name="user", claim_name="data"):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "app", "image": "app:1"}],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim_name}}],
        },
    }


def phase(wanted):
    return lambda o: (o.get("status") or {}).get("phase") == wanted


async def test_a_claim_without_class_gets_a_directory_of_the_standard_one(cluster):
    await cluster.create(CLAIMS, claim(modes=["ReadWriteMany"], size="50Gi"))

    bound = await cluster.until_object(CLAIMS, "data", phase("Bound"))

    uid = bound["metadata"]["uid"]
    assert bound["spec"]["storageClassName"] == "standard"
    assert bound["spec"]["volumeName"] == f"pvc-{uid}"
    assert bound["status"] == {
        "phase": "Bound",
        "accessModes": ["ReadWriteMany"],
        "capacity": {"storage": "50Gi"},
    }
    made = await cluster.until_object(VOLUMES, f"pvc-{uid}", phase("Bound"), namespace=None)
    assert made["spec"]["hostPath"]["path"] == str(cluster.volumes / f"{NAMESPACE}_data_{uid}")
    assert made["spec"]["claimRef"]["uid"] == uid
    assert (await cluster.get(STORAGE_CLASSES, "standard", None))["provisioner"]


async def test_a_deleted_claim_takes_its_directory_along(cluster):
    await cluster.create(CLAIMS, claim())
    bound = await cluster.until_object(CLAIMS, "data", phase("Bound"))
    directory = cluster.volumes / f"{NAMESPACE}_data_{bound['metadata']['uid']}"
    (directory / "sub").mkdir(parents=True)
    (directory / "sub" / "file").write_text("x")

    await cluster.objects.delete(CLAIMS, "data", NAMESPACE)

    await cluster.until_gone(CLAIMS, "data")
    await cluster.until_gone(VOLUMES, bound["spec"]["volumeName"], namespace=None)
    assert not directory.exists()


async def test_a_claim_in_use_stays_until_its_pod_is_gone(cluster):
    await cluster.create(CLAIMS, claim())
    await cluster.create(PODS, user())
    await cluster.until_object(PODS, "user", phase("Running"))

    await cluster.objects.delete(CLAIMS, "data", NAMESPACE)
    await cluster.quiet()
    assert (await cluster.get(CLAIMS, "data"))["metadata"]["deletionTimestamp"]

    await cluster.objects.delete(PODS, "user", NAMESPACE)
    await cluster.until_gone(CLAIMS, "data")


async def test_a_claim_is_bound_to_a_volume_made_by_hand(cluster):
    await cluster.create(CLAIMS, claim(storageClassName="manual"))
    await cluster.until_object(CLAIMS, "data", phase("Pending"))
    assert ("ProvisioningFailed", 'storageclass.storage.k8s.io "manual" not found') in (
        await cluster.reasons("data")
    )

    await cluster.create(VOLUMES, volume("small", size="1Mi"), None)
    await cluster.create(VOLUMES, volume(), None)

    bound = await cluster.until_object(CLAIMS, "data", phase("Bound"))
    assert bound["spec"]["volumeName"] == "byhand"
    assert bound["status"]["capacity"] == {"storage": "2Gi"}
    assert bound["metadata"]["annotations"] == {
        "pv.kubernetes.io/bind-completed": "yes",
        "pv.kubernetes.io/bound-by-controller": "yes",
    }
    await cluster.until_object(VOLUMES, "small", phase("Available"), namespace=None)

    await cluster.objects.delete(CLAIMS, "data", NAMESPACE)
    await cluster.until_object(VOLUMES, "byhand", phase("Released"), namespace=None)


async def test_no_class_at_all_is_told(cluster):
    await cluster.create(CLAIMS, claim(storageClassName=""))
    await cluster.until_object(CLAIMS, "data", phase("Pending"))

    assert await cluster.reasons("data") == [
        (
            "FailedBinding",
            "no persistent volumes available for this claim and no storage class is set",
        )
    ]


async def test_a_volume_outside_the_directory_is_never_removed(cluster, tmp_path):
    await cluster.create(CLAIMS, claim())
    bound = await cluster.until_object(CLAIMS, "data", phase("Bound"))
    precious = tmp_path / "precious"
    precious.mkdir()
    name = bound["spec"]["volumeName"]

    def redirect(obj):
        obj["spec"]["hostPath"]["path"] = str(precious)

    await cluster.change(VOLUMES, name, redirect, None)
    await cluster.objects.delete(CLAIMS, "data", NAMESPACE)

    await cluster.until_gone(VOLUMES, name, namespace=None)
    assert precious.exists()
