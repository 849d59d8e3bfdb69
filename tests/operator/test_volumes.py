"""Volumes grow, never shrink, and stay of their class."""

import anyio
import pytest
from tests.operator.builders import NAME, NAMESPACE, UID, a_claim, a_plan, owned

from hatoba.cluster.objects import CLAIMS, DEPLOYMENTS, ResourceName
from hatoba.operator import overrides
from hatoba.operator.blobstores import blob_store_of
from hatoba.operator.landscape import StorageClass, Volume
from hatoba.operator.model import Images, RolloutBlocked
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.overrides import Overrides
from hatoba.operator.stores import stores_of
from hatoba.operator.volumes import growth_of, wanted_volumes

pytestmark = pytest.mark.api

STORAGE_CLASSES = ResourceName("storageclasses", "storage.k8s.io")
CLASSES = (StorageClass(name="slow"), StorageClass(name="fast", expands=True))


def a_live_claim(size="50Gi", *, of="fast", suffix="quay-database", phase="Bound", ours=False):
    claim = a_claim(suffix, component="postgres", phase=phase)
    claim["spec"] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        "storageClassName": of,
    }
    if ours:
        claim["metadata"]["annotations"]["hatoba.dev/storage-class"] = of
    return claim


def volumes(*claims, classes=CLASSES, annotations=None, **postgres):
    metadata = {"name": NAME, "namespace": NAMESPACE, "uid": UID, "annotations": annotations}
    asked = {"postgres": Overrides(**postgres)}
    there = owned(*claims)
    return wanted_volumes(
        {"metadata": metadata},
        asked,
        owned=there,
        classes=classes,
        stores=stores_of(NAME, asked, Images(), owned=there),
    )


def refusal(*claims, **asked):
    with pytest.raises(RolloutBlocked) as caught:
        volumes(*claims, **asked)
    return caught.value.reason, caught.value.fact


def test_a_new_volume_is_as_asked():
    found = volumes(volume_size="70Gi", storage_class="fast")
    assert found["quay-database"] == Volume(size="70Gi", storage_class="fast")
    assert found["clair-postgres"] == found["quay-datastore"] == Volume(size="50Gi")


@pytest.mark.parametrize("size", ["49Gi", "51199Mi", "53687091199"])
def test_less_than_the_least_size_is_refused_in_quays_words(size):
    assert refusal(volume_size=size) == (
        "ComponentCreationFailed",
        (
            "could not inflate QuayRegistry into Kubernetes objects: cannot shrink volume "
            f"override size from 50Gi to {size}"
        ),
    )


def test_exactly_the_least_size_is_taken():
    assert volumes(volume_size="51200Mi")["quay-database"].size == "51200Mi"


def test_the_scanners_scratch_volume_has_its_own_least_size():
    asked = {
        "clair": overrides.read("clair", {"volumeSize": "19Gi"}, managed=True, autoscaled=False)
    }
    registry = {"metadata": {"name": NAME}}
    with pytest.raises(RolloutBlocked, match="size from 20Gi to 19Gi"):
        wanted_volumes(registry, asked, owned=owned(), classes=(), stores={})


def test_a_live_volume_grows_where_its_class_lets_it():
    assert volumes(a_live_claim(), volume_size="70Gi")["quay-database"].size == "70Gi"


@pytest.mark.parametrize(
    ("of", "why"),
    [
        ("slow", "its StorageClass slow does not allow volume expansion"),
        ("gone", "its StorageClass gone is gone"),
    ],
)
def test_growth_is_refused_where_the_class_does_not_let_it(of, why):
    assert refusal(a_live_claim(of=of), volume_size="70Gi") == (
        "ComponentOverrideInvalid",
        (
            f"invalid overrides: PersistentVolumeClaim {NAME}-quay-database cannot grow from "
            f"50Gi to 70Gi: {why}"
        ),
    )


def test_growth_is_left_to_the_cluster_where_classes_cannot_be_seen():
    assert volumes(a_live_claim(), classes=(), volume_size="70Gi")["quay-database"].size == "70Gi"


def test_a_live_volume_never_shrinks():
    reason, fact = refusal(a_live_claim("100Gi"), volume_size="70Gi")
    assert reason == "ComponentCreationFailed"
    assert fact.endswith("cannot shrink volume override size from 100Gi to 70Gi")


def test_what_is_not_asked_for_stays_as_it_is():
    live = a_live_claim("80Gi", of="slow", ours=True)
    assert volumes(live)["quay-database"] == Volume(size="80Gi", storage_class="slow")
    assert volumes(a_live_claim("5Gi"))["quay-database"] == Volume(size="5Gi")


def test_a_database_of_another_class_moves_to_a_claim_of_its_own():
    found = volumes(a_live_claim("80Gi", of="slow"), storage_class="fast")
    assert found["quay-database"] == Volume(size="80Gi")
    assert found["quay-database-2"] == Volume(size="80Gi", storage_class="fast")


def test_no_database_is_stopped_for_a_class_that_is_not_there():
    assert refusal(a_live_claim(of="slow"), storage_class="missing") == (
        "ComponentOverrideInvalid",
        "invalid overrides: there is no StorageClass missing",
    )


def blob_volumes(live, **annotations):
    there = owned(live)
    plan = a_plan()
    found = blob_store_of(
        plan, storage_class=annotations.get("hatoba.dev/datastore-class"), owned=there
    )
    return wanted_volumes(
        {"metadata": {"name": NAME, "annotations": annotations}},
        {},
        owned=there,
        classes=CLASSES,
        stores={"quay-datastore": found},
    )


def test_blobs_of_another_class_move_to_a_claim_of_their_own_which_may_be_smaller():
    live = a_live_claim("80Gi", of="slow", suffix="quay-datastore")
    found = blob_volumes(live, **{"hatoba.dev/datastore-class": "fast"})
    assert found["quay-datastore"] == Volume(size="80Gi")
    assert found["quay-datastore-2"] == Volume(size="80Gi", storage_class="fast")
    asked = {"hatoba.dev/datastore-class": "fast", "hatoba.dev/datastore-size": "9Gi"}
    assert blob_volumes(live, **asked)["quay-datastore-2"].size == "9Gi"


def test_a_volume_with_blobs_that_stays_never_shrinks():
    live = a_live_claim("80Gi", suffix="quay-datastore")
    with pytest.raises(RolloutBlocked, match="cannot shrink"):
        blob_volumes(live, **{"hatoba.dev/datastore-size": "9Gi"})


def test_a_claim_without_volume_becomes_whatever_is_asked():
    live = a_live_claim("90Gi", of="gone", phase="Pending", ours=True)
    assert volumes(live)["quay-database"] == Volume(size="50Gi")
    assert volumes(live, storage_class="fast")["quay-database"].storage_class == "fast"


@pytest.mark.parametrize("given", ["large", "0", "-1Gi"])
def test_a_size_of_the_datastore_that_is_none_is_refused(given):
    reason, fact = refusal(annotations={"hatoba.dev/datastore-size": given})
    assert reason == "ComponentOverrideInvalid"
    assert fact.startswith("the annotation hatoba.dev/datastore-size cannot be followed, `")


def test_the_datastore_follows_its_annotations():
    annotations = {"hatoba.dev/datastore-size": "1Ti", "hatoba.dev/datastore-class": "fast"}
    found = volumes(annotations=annotations)["quay-datastore"]
    assert found == Volume(size="1Ti", storage_class="fast")


def test_how_far_a_volume_has_grown_is_told():
    claim = a_live_claim("70Gi")
    assert growth_of(owned(), claim) == ""
    claim["status"]["capacity"] = {"storage": "50Gi"}
    said = f"PersistentVolumeClaim {NAME}-quay-database grows from 50Gi to 70Gi"
    assert growth_of(owned(), claim) == said
    claim["status"]["conditions"] = [{"type": "FileSystemResizePending"}]
    assert growth_of(owned(), claim) == f"{said} when its pod starts again"


async def a_class(world, name, **content):
    obj = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "example.com/disks",
        **content,
    }
    await world.objects.create(STORAGE_CLASSES, obj, manager="test")
    informer = next(one for one in world.operator.informers if one.kind == "StorageClass")
    while name not in {obj["metadata"]["name"] for obj in informer.objects()}:  # noqa: ASYNC110
        await anyio.sleep(0.01)


async def override(world, kind, **asked):
    entries = (await world.registry())["spec"]["components"]
    for entry in entries:
        if entry["kind"] == kind:
            entry["overrides"] = asked
    await world.update_spec({"components": entries})


async def rollout(world):
    status = (await world.registry())["status"]
    found = next(one for one in status["conditions"] if one["type"] == "RolloutBlocked")
    return found["status"], found["reason"], found["message"]


@pytest.mark.anyio
async def test_a_registry_grows_is_refused_to_shrink_and_keeps_its_size(world):
    await a_class(world, "fast", allowVolumeExpansion=True)
    entries = [{"kind": kind, "managed": True} for kind in COMPONENT_ORDER]
    entries[0]["overrides"] = {"volumeSize": "60Gi", "storageClassName": "fast"}
    await world.create_registry({"components": entries})
    await world.converge()
    claim = await world.get(CLAIMS, "quay-database")
    assert claim["spec"]["resources"]["requests"]["storage"] == "60Gi"
    assert claim["spec"]["storageClassName"] == "fast"
    before = await world.get(DEPLOYMENTS, "quay-database")

    await override(world, "postgres", volumeSize="70Gi", storageClassName="fast")
    await world.converge()
    grown = await world.get(CLAIMS, "quay-database")
    assert grown["spec"]["resources"]["requests"]["storage"] == "70Gi"
    assert grown["metadata"]["uid"] == claim["metadata"]["uid"]

    await override(world, "postgres", volumeSize="65Gi")
    await world.once()
    status, reason, message = await rollout(world)
    assert (status, reason) == ("True", "ComponentCreationFailed")
    assert "cannot shrink volume override size from 70Gi to 65Gi: set volumeSize of" in message

    await override(world, "postgres")
    await world.converge()
    assert (await rollout(world))[0] == "False"
    kept = await world.get(CLAIMS, "quay-database")
    assert kept["spec"] == grown["spec"]
    after = await world.get(DEPLOYMENTS, "quay-database")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]


@pytest.mark.anyio
async def test_a_class_that_does_not_expand_blocks_and_changes_nothing(world):
    await world.create_registry()
    await world.converge()
    claim = await world.get(CLAIMS, "quay-database")
    await override(world, "postgres", volumeSize="70Gi")
    await world.once()
    status, reason, message = await rollout(world)
    assert (status, reason) == ("True", "ComponentOverrideInvalid")
    assert "its StorageClass standard does not allow volume expansion" in message
    assert await world.get(CLAIMS, "quay-database") == claim
