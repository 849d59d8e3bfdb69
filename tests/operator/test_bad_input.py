"""Bad input gets the documented condition and changes nothing."""

import pytest
from tests.operator.builders import NAME, NAMESPACE

from hatoba.cluster.objects import DEPLOYMENTS, EVENTS, SECRETS
from hatoba.kernel.errors import InvalidInput
from hatoba.operator.names import COMPONENT_ORDER

pytestmark = [pytest.mark.api, pytest.mark.anyio]

MANAGED = "component marked as managed, but `configBundleSecret` contains required fields"


async def blocked(world):
    """Run passes until the registry says that it is blocked; return reason and message."""
    for _ in range(4):
        outcome = await world.once()
    assert outcome.again_after_seconds is not None
    registry = await world.registry()
    found = {c["type"]: c for c in registry["status"]["conditions"]}
    assert found["RolloutBlocked"]["status"] == "True"
    return found["RolloutBlocked"]["reason"], found["RolloutBlocked"]["message"]


CASES = {
    "a managed database with its own address": (
        {"DB_URI": "postgresql://elsewhere/db"},
        None,
        f"postgres {MANAGED}",
    ),
    "a managed scanner with its own address": (
        {"SECURITY_SCANNER_V4_ENDPOINT": "http://elsewhere"},
        None,
        f"clair {MANAGED}",
    ),
    "an unmanaged database without address": (
        {},
        [{"kind": "postgres", "managed": False}],
        (
            "required component `postgres` marked as unmanaged, but `configBundleSecret` is "
            "missing necessary fields"
        ),
    ),
    "a host name that is no text": (
        {"SERVER_HOSTNAME": 17},
        None,
        "SERVER_HOSTNAME must be of type string",
    ),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_first_rollout_is_refused(world, case):
    config, listed, message = CASES[case]
    await world.create_bundle(config)
    spec = {"configBundleSecret": "init-config-bundle-secret"}
    await world.create_registry(spec | ({"components": listed} if listed else {}))
    reason, told = await blocked(world)
    fact, step = told.split(": ", 1)
    assert (reason, fact) == ("ConfigInvalid", message)
    assert "init-config-bundle-secret" in step or "write one of" in step
    assert await world.names(DEPLOYMENTS) == []
    assert await world.names(SECRETS) == ["init-config-bundle-secret"]
    writes = world.cluster.writes
    await world.once()
    assert world.cluster.writes == writes


async def test_a_missing_bundle_is_named(world):
    await world.create_registry({"configBundleSecret": "nowhere"})
    assert await blocked(world) == (
        "ConfigInvalid",
        (
            "unable to retrieve referenced `configBundleSecret`: nowhere, "
            'error: secrets "nowhere" not found: create the Secret nowhere in namespace '
            "quay-enterprise, or name another one in spec.configBundleSecret"
        ),
    )
    assert await world.names(DEPLOYMENTS) == []


async def test_a_bundle_that_is_not_yaml_is_refused(world):
    await world.create_bundle("SUPER_USERS: [quayadmin")
    await world.create_registry({"configBundleSecret": "init-config-bundle-secret"})
    reason, message = await blocked(world)
    assert reason == "ConfigInvalid"
    assert message.startswith("could not check for build manager support: ")


async def test_a_rollout_starts_as_soon_as_the_fault_is_mended(world):
    await world.create_registry({"configBundleSecret": "late"})
    await blocked(world)
    await world.create_bundle({}, name="late")
    await world.converge()
    found = (await world.registry())["status"]["conditions"]
    assert [(c["type"], c["status"]) for c in found[:2]] == [
        ("Available", "True"),
        ("RolloutBlocked", "False"),
    ]


async def test_a_refused_change_leaves_the_running_registry_alone(world):
    await world.create_registry()
    await world.converge()
    listing = await world.objects.list(DEPLOYMENTS, NAMESPACE)
    before = [(obj["metadata"]["name"], obj["metadata"]["generation"]) for obj in listing.items]
    secrets = await world.names(SECRETS)
    entries = [{"kind": kind, "managed": kind != "postgres"} for kind in COMPONENT_ORDER]
    await world.update_spec({"components": entries})
    reason, _ = await blocked(world)
    assert reason == "ConfigInvalid"
    listing = await world.objects.list(DEPLOYMENTS, NAMESPACE)
    assert [(o["metadata"]["name"], o["metadata"]["generation"]) for o in listing.items] == before
    assert await world.names(SECRETS) == secrets
    status = (await world.registry())["status"]
    assert [(c["type"], c["status"]) for c in status["conditions"][:2]] == [
        ("Available", "True"),
        ("RolloutBlocked", "True"),
    ]
    assert status["currentVersion"] == "3.6.0"


async def test_a_refusal_is_an_event_that_warns(world):
    await world.create_registry({"configBundleSecret": "nowhere"})
    await blocked(world)
    listing = await world.objects.list(EVENTS, NAMESPACE)
    found = [e for e in listing.items if e["reason"] == "ConfigInvalid"]
    assert [event["type"] for event in found] == ["Warning"]
    assert found[0]["involvedObject"]["name"] == NAME


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        (
            NAME,
            {"components": [{"kind": "carrier-pigeon", "managed": True}]},
            'spec.components[0].kind: Unsupported value: "carrier-pigeon"',
        ),
        ("n" * 44, {}, "the name is longer than 43 characters"),
        (NAME, {"components": [{"kind": "clair"}]}, "spec.components[0].managed: Required value"),
    ],
)
async def test_the_cluster_refuses_what_could_never_be_rolled_out(world, name, spec, message):
    with pytest.raises(InvalidInput) as refused:
        await world.create_registry(spec, name=name)
    assert message in refused.value.message


async def test_the_longest_name_is_accepted(world):
    await world.create_registry(name="n" * 43)
