"""A changed bundle is judged first, rolls what it concerns, and leaves the rest alone."""

import base64

import pytest
import yaml
from tests.operator.builders import NAMESPACE, a_plan
from tests.operator.test_reconcile import config_of
from tests.operator.test_switching import BUNDLE, a_registry, conditions, stored, write_bundle

from hatoba.cluster.objects import DEPLOYMENTS, SECRETS
from hatoba.operator.model import RolloutBlocked
from hatoba.operator.plan import check_plan

pytestmark = [pytest.mark.api, pytest.mark.anyio]


async def running(world):
    """Return what decides which pods run: every Deployment's template."""
    listing = await world.objects.list(DEPLOYMENTS, NAMESPACE)
    return {obj["metadata"]["name"]: obj["spec"]["template"] for obj in listing.items}


INVALID = {
    "a wrong type": ({"SUPER_USERS": 5}, "SUPER_USERS"),
    "an unknown driver": (
        {"DISTRIBUTED_STORAGE_CONFIG": {"x": ["NoSuchStorage", {}]}},
        "objectstorage component marked as managed",
    ),
    "a key beside a fault": ({"SECRET_KEY": "mine", "TAG_EXPIRATION_OPTIONS": 3}, "TAG_EXPIRATION"),
}


@pytest.mark.parametrize("case", INVALID)
async def test_an_invalid_bundle_names_the_field_and_changes_nothing(world, case):
    config, field = INVALID[case]
    await a_registry(world)
    before = await running(world), await stored(world), await world.names(SECRETS)
    await write_bundle(world, config)
    await world.once()
    blocked = (await conditions(world))["RolloutBlocked"]
    assert (blocked["status"], blocked["reason"]) == ("True", "ConfigInvalid")
    assert field in blocked["message"]
    assert (await conditions(world))["Available"]["status"] == "True"
    assert (await running(world), await stored(world), await world.names(SECRETS)) == before


async def test_a_bundle_that_is_not_yaml_changes_nothing(world):
    await a_registry(world)
    before = await running(world)
    await world.objects.patch(
        SECRETS,
        BUNDLE,
        NAMESPACE,
        {"data": {"config.yaml": base64.b64encode(b"a: [").decode()}},
        type="application/merge-patch+json",
        manager="kubectl",
    )
    await world.once()
    assert (await conditions(world))["RolloutBlocked"]["status"] == "True"
    assert await running(world) == before


async def test_a_valid_change_replaces_the_pods_that_read_it_and_no_others(world):
    await a_registry(world)
    before = await running(world)
    await write_bundle(world, {"REGISTRY_TITLE": "Harbour"})
    await world.converge()
    assert (await config_of(world))["REGISTRY_TITLE"] == "Harbour"
    after = await running(world)
    changed = {name.split("-registry-")[1] for name in after if after[name] != before[name]}
    assert changed == {"quay-app", "quay-mirror", "quay-config-editor"}
    assert len([n for n in await world.names(SECRETS) if "quay-config-secret" in n]) == 1


async def test_the_same_content_in_another_secret_and_order_restarts_nothing(world):
    await a_registry(world)
    await write_bundle(world, {"REGISTRY_TITLE": "Harbour", "FEATURE_MAILING": False})
    await world.converge()
    before = await running(world)
    text = "# the same\nFEATURE_MAILING: no\nREGISTRY_TITLE: 'Harbour'\n"
    assert yaml.safe_load(text) == {"REGISTRY_TITLE": "Harbour", "FEATURE_MAILING": False}
    await world.create_bundle(text, name="other")
    await world.update_spec({"configBundleSecret": "other"})
    await world.converge()
    assert await running(world) == before


async def test_a_secret_of_before_is_kept_while_a_pod_may_still_read_it(world):
    await a_registry(world)
    await write_bundle(world, {"REGISTRY_TITLE": "Harbour"})
    await world.once()
    await world.once()
    assert len([n for n in await world.names(SECRETS) if "quay-config-secret" in n]) == 2
    await world.converge()
    assert len([n for n in await world.names(SECRETS) if "quay-config-secret" in n]) == 1


@pytest.mark.parametrize("driver", ["STSS3Storage", "MultiCDNStorage", "CloudFlareStorage"])
def test_a_storage_without_driver_is_refused_by_its_field(driver):
    storage = {
        "DISTRIBUTED_STORAGE_CONFIG": {"here": [driver, {"storage_path": "/x"}]},
        "DISTRIBUTED_STORAGE_PREFERENCE": ["here"],
        "DISTRIBUTED_STORAGE_DEFAULT_LOCATIONS": ["here"],
    }
    with pytest.raises(RolloutBlocked) as caught:
        check_plan(a_plan("objectstorage", config=storage))
    assert caught.value.reason == "ConfigInvalid"
    assert f"DISTRIBUTED_STORAGE_CONFIG names the driver '{driver}' for here" in caught.value.fact
    assert "S3Storage" in caught.value.fact
