"""What becomes of data when a registry is deleted."""

import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS, an_observation, components, owned
from tests.operator.conftest import REGISTRIES

from hatoba.cluster.objects import CLAIMS, DEPLOYMENTS, SECRETS
from hatoba.operator import keys
from hatoba.operator.bundle import read_bundle
from hatoba.operator.model import RolloutBlocked
from hatoba.operator.plan import planned

pytestmark = [pytest.mark.api, pytest.mark.anyio]
DATA = ("quay-database", "clair-postgres", "quay-datastore")
KEYS = "quay-registry-managed-secret-keys"


async def reclaim(world, value):
    await world.objects.patch(
        REGISTRIES,
        NAME,
        NAMESPACE,
        {"metadata": {"annotations": {"hatoba.dev/reclaim": value}}},
        type="application/merge-patch+json",
        manager="kubectl",
    )
    await world.converge()


async def owners(world):
    found = {suffix: await world.get(CLAIMS, suffix) for suffix in DATA}
    found["keys"] = await world.get(SECRETS, KEYS)
    return {
        name: [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []]
        for name, obj in found.items()
    }


def everything(uids):
    return dict.fromkeys((*DATA, "keys"), uids)


async def test_data_goes_with_its_registry_unless_it_is_retained(world):
    await world.create_registry()
    await world.converge()
    uid = (await world.registry())["metadata"]["uid"]
    assert await owners(world) == everything([uid])
    await reclaim(world, "retain")
    assert await owners(world) == everything([])
    database = await world.get(DEPLOYMENTS, "quay-database")
    assert database["metadata"]["ownerReferences"][0]["uid"] == uid
    assert database["metadata"]["generation"] == 1
    await reclaim(world, "delete")
    assert await owners(world) == everything([uid])


async def test_keys_lose_their_owner_before_and_get_one_after_the_volumes(world):
    await world.create_registry()
    await world.converge()
    writes = []
    apply, merge = world.cluster.apply, world.cluster.merge

    async def applying(obj, **how):
        writes.append(obj["kind"])
        return await apply(obj, **how)

    async def merging(kind, name, patch, **how):
        writes.append(name)
        return await merge(kind, name, patch, **how)

    world.cluster.apply, world.cluster.merge = applying, merging
    for value in ("retain", "delete"):
        await reclaim(world, value)
    told = [w for w in writes if w in ("PersistentVolumeClaim", f"{NAME}-{KEYS}")]
    claims = ["PersistentVolumeClaim"] * 3
    assert told == [f"{NAME}-{KEYS}", *claims, *claims, f"{NAME}-{KEYS}"]


async def test_a_registry_of_the_same_name_finds_its_retained_data_and_keys(world):
    await world.create_registry()
    await world.converge()
    await reclaim(world, "retain")
    before = keys.decode(await world.get(SECRETS, KEYS))
    claims = {suffix: (await world.get(CLAIMS, suffix))["metadata"]["uid"] for suffix in DATA}
    await world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    await world.once()
    for name in await world.names(DEPLOYMENTS):
        await world.objects.delete(DEPLOYMENTS, name, NAMESPACE)
    await world.create_registry()
    await world.converge()
    assert keys.decode(await world.get(SECRETS, KEYS)) == before
    uid = (await world.registry())["metadata"]["uid"]
    assert await owners(world) == everything([uid])
    for suffix, claim in claims.items():
        assert (await world.get(CLAIMS, suffix))["metadata"]["uid"] == claim


def test_a_setting_that_nobody_knows_is_refused():
    observation = an_observation({}, listed=components())
    annotations = {"hatoba.dev/reclaim": "recycle"}
    observation.registry["metadata"]["annotations"] = annotations
    with pytest.raises(RolloutBlocked, match="`recycle` says not what becomes of the data"):
        planned(observation, read_bundle(observation), settings=SETTINGS, stored=keys.unknown())


def test_data_without_owner_still_belongs_to_its_registry():
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"name": "a", "namespace": NAMESPACE}}
    deployment = {"kind": "Deployment", "metadata": {"name": "a", "namespace": NAMESPACE}}
    found = owned(claim, deployment)
    assert found.of_kind("PersistentVolumeClaim") == [claim]
    assert found.of_kind("Deployment") == []
