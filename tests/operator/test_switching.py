"""Components that become unmanaged and managed again, and rotation of keys and certificates."""

import base64
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.test_certificates import a_pair
from tests.operator.test_reconcile import config_of

from hatoba.cluster.objects import CLAIMS, CONFIG_MAPS, DEPLOYMENTS, JOBS, SECRETS, ResourceName
from hatoba.kernel.clock import FixedClock, SystemClock
from hatoba.operator import keys
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.process import Operator

pytestmark = [pytest.mark.api, pytest.mark.anyio]
AUTOSCALERS = ResourceName("horizontalpodautoscalers", "autoscaling")
BUNDLE = "init-config-bundle-secret"
ELSEWHERE = {
    "postgres": {"DB_URI": "postgresql://me:secret@elsewhere/quay"},
    "redis": {
        "BUILDLOGS_REDIS": {"host": "elsewhere", "port": 6379},
        "USER_EVENTS_REDIS": {"host": "elsewhere", "port": 6379},
    },
    "objectstorage": {
        "DISTRIBUTED_STORAGE_CONFIG": {"here": ["LocalStorage", {"storage_path": "/data"}]},
        "DISTRIBUTED_STORAGE_PREFERENCE": ["here"],
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["here"],
    },
    "route": {"SERVER_HOSTNAME": "quay.example"},
}
LEFT = {
    "postgres": (DEPLOYMENTS, "quay-database"),
    "redis": (DEPLOYMENTS, "quay-redis"),
    "clair": (DEPLOYMENTS, "clair-app"),
    "mirror": (DEPLOYMENTS, "quay-mirror"),
    "objectstorage": (CLAIMS, "quay-datastore"),
}


async def write_bundle(world, config, **files):
    content = {"config.yaml": yaml.safe_dump(config).encode(), **files}
    data = {key: base64.b64encode(value).decode() for key, value in content.items()}
    await world.objects.patch(
        SECRETS,
        BUNDLE,
        NAMESPACE,
        [{"op": "replace", "path": "/data", "value": data}],
        type="application/json-patch+json",
        manager="kubectl",
    )


async def manage_all_but(world, *kinds):
    entries = [{"kind": kind, "managed": kind not in kinds} for kind in COMPONENT_ORDER]
    await world.update_spec({"components": entries})


async def a_registry(world):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    await world.converge()


async def conditions(world):
    found = (await world.registry())["status"]["conditions"]
    return {c["type"]: c for c in found}


async def stored(world):
    name = keys.secret_name(NAME)
    return keys.decode(await world.objects.get(SECRETS, name, NAMESPACE))


async def mounted(world, suffix="quay-app"):
    pod = (await world.get(DEPLOYMENTS, suffix))["spec"]["template"]["spec"]
    return [source["secret"]["name"] for source in pod["volumes"][0]["projected"]["sources"]]


@pytest.mark.parametrize("kind", ["postgres", "redis", "clair", "mirror", "objectstorage"])
async def test_what_is_switched_off_and_on_finds_its_data_and_passwords_again(world, kind):
    await a_registry(world)
    resource, suffix = LEFT[kind]
    before, passwords = await world.get(resource, suffix), await stored(world)
    config = await config_of(world)
    secrets = set(await world.names(SECRETS))

    await write_bundle(world, ELSEWHERE.get(kind, {}))
    await manage_all_but(world, kind)
    await world.converge()
    left = await world.get(resource, suffix)
    assert left["spec"] == before["spec"]
    condition = next(
        c for c in (await conditions(world)).values() if c["reason"] == "ComponentNotManaged"
    )
    assert f"{NAME}-{suffix}" in condition["message"]
    assert "stay as they are: delete them when nothing needs them" in condition["message"]
    # What still runs can still start: the Secrets that its pods read are there.
    needed = {name for name in secrets if f"{NAME}-{kind}" in name or "clair" in name}
    assert needed <= set(await world.names(SECRETS))

    await write_bundle(world, {})
    await manage_all_but(world)
    await world.converge()
    back = await world.get(resource, suffix)
    assert back["metadata"]["uid"] == before["metadata"]["uid"]
    assert await stored(world) == passwords
    assert await config_of(world) == config
    assert secrets == set(await world.names(SECRETS))


@pytest.mark.parametrize("kind", ["horizontalpodautoscaler", "monitoring", "route"])
async def test_what_holds_no_data_is_switched_off_and_on_without_a_trace(world, kind):
    await a_registry(world)
    config = await config_of(world)
    await write_bundle(world, ELSEWHERE.get(kind, {}))
    await manage_all_but(world, kind)
    await world.converge()
    assert (await conditions(world))["Available"]["status"] == "True"
    await write_bundle(world, {})
    await manage_all_but(world)
    await world.converge()
    assert await config_of(world) == config


async def test_a_pair_of_ones_own_is_taken_rotated_and_given_up(world):
    await a_registry(world)
    names = []
    for _ in range(2):
        certificate, key = a_pair("quay.example")
        await write_bundle(
            world,
            {"SERVER_HOSTNAME": "quay.example"},
            **{"ssl.cert": certificate, "ssl.key": key},
        )
        await manage_all_but(world, "tls")
        await world.converge()
        names.append((await mounted(world))[1])
        secret = await world.objects.get(SECRETS, names[-1], NAMESPACE)
        assert base64.b64decode(secret["data"]["ssl.cert"]) == certificate
    assert names[0] != names[1]
    assert names[0] not in await world.names(SECRETS)
    await write_bundle(world, {})
    await manage_all_but(world)
    await world.converge()
    assert (await conditions(world))["Available"]["status"] == "True"


async def edit(world, resource, suffix, patch):
    """Do what somebody else does to an object of the registry."""
    merge = "application/merge-patch+json"
    await world.objects.patch(
        resource, f"{NAME}-{suffix}", NAMESPACE, patch, type=merge, manager="somebody"
    )


async def test_a_service_authority_that_is_rotated_replaces_the_pods_that_read_it(world):
    await a_registry(world)

    async def notes():
        found = [await world.get(DEPLOYMENTS, one) for one in ("quay-app", "quay-mirror")]
        (note,) = {
            one["spec"]["template"]["metadata"]["annotations"].get("cluster-service-ca", "")
            for one in found
        }
        return note

    seen = [await notes()]
    for text in ("first", "second"):
        await edit(world, CONFIG_MAPS, "cluster-service-ca", {"data": {"service-ca.crt": text}})
        await world.converge()
        seen.append(await notes())
        written = await world.get(CONFIG_MAPS, "cluster-service-ca")
        assert written["data"] == {"service-ca.crt": text}
    assert seen[0] == ""
    assert len(set(seen)) == 3
    redis = await world.get(DEPLOYMENTS, "quay-redis")
    assert "cluster-service-ca" not in str(redis["spec"]["template"])


async def test_what_a_user_does_to_an_unmanaged_component_stays_until_it_is_managed_again(world):
    await a_registry(world)
    await manage_all_but(world, "mirror", "horizontalpodautoscaler")
    await world.converge()
    for suffix in ("quay-app", "quay-mirror"):
        await edit(world, AUTOSCALERS, suffix, {"spec": {"minReplicas": 3}})
    await edit(world, DEPLOYMENTS, "quay-mirror", {"spec": {"replicas": 3}})
    await world.converge()

    async def asked_for():
        autoscalers = [await world.get(AUTOSCALERS, one) for one in ("quay-app", "quay-mirror")]
        mirror = await world.get(DEPLOYMENTS, "quay-mirror")
        least = [one["spec"]["minReplicas"] for one in autoscalers]
        return [*least, mirror["spec"]["replicas"]]

    assert await asked_for() == [3, 3, 3]
    await manage_all_but(world, "mirror")
    await world.converge()
    assert await asked_for() == [2, 3, 3]
    await manage_all_but(world)
    await world.converge()
    # Of pods the autoscaler decides: nobody here is one.
    assert await asked_for() == [2, 2, 3]


async def test_another_database_key_is_refused_and_changes_nothing(world):
    await a_registry(world)
    before, names = await stored(world), await world.names(SECRETS)
    await write_bundle(world, {"DATABASE_SECRET_KEY": "another", "REGISTRY_TITLE": "x"})
    await world.once()
    blocked = (await conditions(world))["RolloutBlocked"]
    assert (blocked["status"], blocked["reason"]) == ("True", "ConfigInvalid")
    assert blocked["message"].startswith("DATABASE_SECRET_KEY in `configBundleSecret` is not the")
    assert (await stored(world), await world.names(SECRETS)) == (before, names)
    await write_bundle(world, {"DATABASE_SECRET_KEY": before["DATABASE_SECRET_KEY"]})
    await world.converge()
    assert (await conditions(world))["RolloutBlocked"]["status"] == "False"


@pytest.mark.parametrize("key", ["SECRET_KEY", "SECURITY_SCANNER_V4_PSK", "CONFIG_EDITOR_PASSWORD"])
async def test_a_key_that_is_taken_out_of_the_secret_is_made_anew_and_rolled_out(world, key):
    await a_registry(world)
    before, mounts = await stored(world), await mounted(world)
    await world.objects.patch(
        SECRETS,
        keys.secret_name(NAME),
        NAMESPACE,
        {"data": {key: None}},
        type="application/merge-patch+json",
        manager="kubectl",
    )
    await world.converge()
    after = await stored(world)
    assert {name for name in after if after[name] != before[name]} == {key}
    if key != "CONFIG_EDITOR_PASSWORD":
        assert (await config_of(world))[key] == after[key]
        assert await mounted(world) != mounts
    assert len([n for n in await world.names(SECRETS) if "editor-credentials" in n]) == 1


async def test_a_secret_key_of_the_bundle_takes_the_place_of_the_stored_one(world):
    await a_registry(world)
    before = await stored(world)
    await write_bundle(world, {"SECRET_KEY": "mine"})
    await world.converge()
    assert (await config_of(world))["SECRET_KEY"] == "mine"
    assert (await stored(world)) == before | {"SECRET_KEY": "mine"}


async def test_a_converged_registry_is_not_restarted_by_time_or_a_new_operator(world):
    await a_registry(world)
    generations = {
        name: (await world.objects.get(DEPLOYMENTS, name, NAMESPACE))["metadata"]["generation"]
        for name in await world.names(DEPLOYMENTS)
    }
    later = FixedClock(SystemClock().now() + timedelta(days=700))
    world.operator = Operator(world.cluster, settings=replace(SETTINGS), clock=later)
    async with world.operator.watching():
        before = world.cluster.writes
        await world.once()
        assert world.cluster.writes == before
    assert generations == {
        name: (await world.objects.get(DEPLOYMENTS, name, NAMESPACE))["metadata"]["generation"]
        for name in await world.names(DEPLOYMENTS)
    }
    assert await world.names(JOBS)
