"""Overrides in a cluster: replicas, kinds of later versions, and what a spec keeps."""

import pytest
from tests.operator.builders import NAME, NOW, SETTINGS

from hatoba.cluster.objects import AUTOSCALERS, DEPLOYMENTS, SECRETS
from hatoba.kernel.errors import InvalidInput
from hatoba.operator.inspecting import Inspector
from hatoba.operator.model import Component
from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.previewing import previewed
from hatoba.operator.reconfigure import inferred_components

pytestmark = [pytest.mark.api, pytest.mark.anyio]
CLAIR_FILE = "indexer: {connstring: host=elsewhere}\nmatcher: {connstring: host=elsewhere}\n"


def entries(*unmanaged, **by_kind):
    return [
        {
            "kind": kind,
            "managed": kind not in unmanaged,
            **({"overrides": by_kind[kind]} if kind in by_kind else {}),
        }
        for kind in (*COMPONENT_ORDER, *(k for k in by_kind if k not in COMPONENT_ORDER))
    ]


async def replicas(world, suffix="quay-app"):
    return (await world.get(DEPLOYMENTS, suffix))["spec"]["replicas"]


async def conditions(world):
    found = (await world.registry())["status"]["conditions"]
    return {c["type"]: (c["status"], c["reason"], c["message"]) for c in found}


async def test_a_number_of_pods_is_kept_and_given_up_again(world):
    await world.create_registry(
        {"components": entries("horizontalpodautoscaler", quay={"replicas": 4})}
    )
    await world.converge()
    assert await replicas(world) == 4
    await world.objects.patch(
        DEPLOYMENTS,
        (await world.get(DEPLOYMENTS, "quay-app"))["metadata"]["name"],
        world.key[0],
        {"spec": {"replicas": 7}},
        type="application/merge-patch+json",
        manager="kubectl",
    )
    await world.converge()
    assert await replicas(world) == 4
    await world.update_spec({"components": entries("horizontalpodautoscaler", quay={})})
    await world.converge()
    assert await replicas(world) == 2


async def test_nothing_runs_while_zero_pods_are_asked_for_beside_an_autoscaler(world):
    await world.create_registry()
    await world.converge()
    stopped = entries(mirror={"replicas": 0}, clair={"replicas": 0}, quay={"replicas": 0})
    await world.update_spec({"components": stopped})
    await world.once()
    # The pass that scales may end before its own write is heard of.
    await world.once()
    told = await conditions(world)
    assert told["ComponentClairReady"] == (
        "False",
        "ComponentNotReady",
        (
            "Clair component is being scaled down: the pods of Deployment "
            "example-registry-clair-app end"
        ),
    )
    await world.converge()
    told = await conditions(world)
    assert told["ComponentMirrorReady"] == ("True", "ComponentReady", "Mirror manually scaled down")
    assert told["ComponentClairReady"] == ("True", "ComponentReady", "Clair manually scaled down")
    assert told["ComponentQuayReady"] == ("True", "ComponentReady", "Quay component healthy")
    assert [await replicas(world, s) for s in ("quay-app", "quay-mirror", "clair-app")] == [0, 0, 0]
    assert await world.exists(AUTOSCALERS, "quay-app")
    await world.update_spec({"components": entries()})
    await world.converge()
    assert [await replicas(world, s) for s in ("quay-app", "quay-mirror", "clair-app")] == [2, 2, 2]


async def test_overrides_survive_that_the_spec_is_filled_in(world):
    wanted = {"resources": {"requests": {"memory": "4Gi"}}}
    await world.create_registry(
        {"components": [{"kind": "postgres", "managed": True, "overrides": wanted}]}
    )
    await world.converge()
    assert (await world.registry())["spec"]["components"][0]["overrides"] == wanted
    pod = (await world.get(DEPLOYMENTS, "quay-database"))["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "4Gi"}


async def test_the_definition_refuses_overrides_of_what_is_not_managed(world):
    with pytest.raises(InvalidInput, match="cannot set overrides on unmanaged component"):
        await world.create_registry({"components": entries("mirror", mirror={"replicas": 0})})


async def test_an_override_that_is_not_supported_blocks_and_changes_nothing(world):
    await world.create_registry()
    await world.converge()
    before = await world.get(DEPLOYMENTS, "quay-redis")
    await world.update_spec({"components": entries(redis={"replicas": 2, "env": [{"name": "A"}]})})
    await world.once()
    status, reason, message = (await conditions(world))["RolloutBlocked"]
    assert (status, reason) == ("True", "ComponentOverrideInvalid")
    assert message.startswith(
        "invalid overrides: component redis does not support replicas overrides: take replicas out"
    )
    assert await world.get(DEPLOYMENTS, "quay-redis") == before


async def test_the_registry_itself_cannot_be_unmanaged(world):
    await world.create_registry({"components": [{"kind": "quay", "managed": False}]})
    await world.converge()
    assert (await world.registry())["spec"]["components"][0] == {"kind": "quay", "managed": True}


async def test_the_scanners_database_may_be_somebody_elses(world):
    await world.create_bundle({})
    bundle = "init-config-bundle-secret"
    listed = [{"kind": "clairpostgres", "managed": False}]
    await world.create_registry({"configBundleSecret": bundle, "components": listed})
    await world.once()
    await world.once()
    status, reason, message = (await conditions(world))["RolloutBlocked"]
    assert (status, reason) == ("True", "ConfigInvalid")
    assert message.startswith("clairpostgres component unmanaged but no clair postgres config")
    await world.objects.patch(
        SECRETS,
        bundle,
        world.key[0],
        {"stringData": {"clair-config.yaml": CLAIR_FILE}},
        type="application/merge-patch+json",
        manager="kubectl",
    )
    await world.converge()
    assert not await world.exists(DEPLOYMENTS, "clair-postgres")
    assert await world.exists(DEPLOYMENTS, "clair-app")
    told = await conditions(world)
    assert told["ComponentClairPostgresReady"][1] == "ComponentNotManaged"
    assert told["Available"][0] == "True"


async def test_a_preview_tells_what_overrides_change_and_refuse(world):
    await world.create_registry()
    await world.converge()

    async def seen(listed):
        inspector = Inspector(world.cluster, settings=SETTINGS, namespace=world.key[0])
        await inspector.load()
        wanted = {"metadata": {"name": NAME}, "spec": {"components": listed}}
        return await previewed(inspector, wanted, (), settings=SETTINGS, now=NOW)

    found = await seen(entries(mirror={"replicas": 0}, redis={"env": [{"name": "A"}]}))
    told = {(one.effect, one.kind, one.name): one.details for one in found.changes}
    assert told["change", "Deployment", f"{NAME}-quay-mirror"] == ("spec.replicas: 2 -> 0",)
    assert ("restart", "Deployment", f"{NAME}-quay-redis") in told
    assert len(told) == 2
    refused = await seen(entries(postgres={"volumeSize": "70Gi"}))
    assert refused.refusal is not None
    assert "does not allow volume expansion" in refused.refusal.fact
    assert refused.changes == ()


def test_the_config_editor_keeps_overrides_and_drops_those_of_what_it_takes_away():
    listed = tuple(
        Component(kind=kind, managed=True, overrides={"env": [{"name": "A"}]})
        for kind in ("quay", "postgres", "redis")
    )
    found = inferred_components(listed, config={"DB_URI": "x"}, files=frozenset())
    assert [entry.wire for entry in found] == [
        listed[0].wire,
        {"kind": "postgres", "managed": False},
        listed[2].wire,
    ]
