"""What changes in the cluster is seen at once, not with the next resync."""

import asyncio
import base64
from contextlib import asynccontextmanager

import pytest
import yaml
from tests.operator.builders import NAME, NAMESPACE
from tests.operator.conftest import REGISTRIES

from hatoba.cluster.objects import DEPLOYMENTS, EVENTS, SECRETS
from hatoba.kernel.clock import SystemClock
from hatoba.operator.events import Events
from hatoba.operator.runtime import controller

pytestmark = [pytest.mark.api, pytest.mark.anyio]
BUNDLE = "init-config-bundle-secret"
SECONDS = 30
"""Below the resync of a minute; as a rule it takes a tenth of a second."""


@asynccontextmanager
async def working(world):
    """Run the operator's workers, as its process does."""
    running = asyncio.create_task(world.operator.controller.run())
    try:
        yield
    finally:
        world.operator.controller.stop()
        await running


async def until(question):
    async with asyncio.timeout(SECONDS):
        while not await question():  # noqa: ASYNC110 -- the workers decide
            await asyncio.sleep(0.02)


async def conditions(world):
    found = (await world.registry()).get("status", {}).get("conditions", [])
    return {c["type"]: (c["status"], c["message"]) for c in found}


async def edit_bundle(world, text):
    data = {"config.yaml": base64.b64encode(text.encode()).decode()}
    await world.objects.patch(
        SECRETS,
        BUNDLE,
        NAMESPACE,
        {"data": data},
        type="application/merge-patch+json",
        manager="kubectl",
    )


async def mounted(world):
    pod = (await world.get(DEPLOYMENTS, "quay-app"))["spec"]["template"]["spec"]
    return pod["volumes"][0]["projected"]["sources"][0]["secret"]["name"]


def test_the_resync_is_much_longer_than_what_is_asked_here():
    assert controller.RESYNC_SECONDS >= 2 * SECONDS


async def test_a_bundle_edited_in_place_is_rolled_out_within_seconds(world):
    await world.create_bundle({"REGISTRY_TITLE": "First"})
    await world.create_registry({"configBundleSecret": BUNDLE})
    await world.converge()
    before = await mounted(world)
    async with working(world):
        await edit_bundle(world, yaml.safe_dump({"REGISTRY_TITLE": "Second"}))

        async def rolled():
            return await mounted(world) != before

        await until(rolled)


async def test_a_bundle_that_becomes_invalid_and_is_mended_is_said_within_seconds(world):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    await world.converge()
    async with working(world):
        await edit_bundle(world, "SUPER_USERS: {not: a list}")

        async def blocked():
            return (await conditions(world))["RolloutBlocked"][0] == "True"

        async def free():
            return not await blocked()

        await until(blocked)
        assert "SUPER_USERS" in (await conditions(world))["RolloutBlocked"][1]
        await edit_bundle(world, "{}")
        await until(free)


async def test_a_registry_that_is_gone_is_not_watched_for_any_more(world):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    await world.converge()
    references = world.operator.references
    assert [found.name for found in references.followed] == [BUNDLE]
    await world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    await world.once()
    await world.once()
    assert references.followed == []


async def test_the_same_trouble_again_counts_up_one_event(world):
    await world.create_bundle({})
    await world.create_registry({"configBundleSecret": BUNDLE})
    await world.converge()
    for text in ("SERVER_HOSTNAME: 17", "{}", "SERVER_HOSTNAME: 17", "{}"):
        await edit_bundle(world, text)
        await world.once()
    listing = await world.objects.list(EVENTS, NAMESPACE)
    told = [event for event in listing.items if event["reason"] == "ConfigInvalid"]
    assert [(event["count"], event["type"]) for event in told] == [(2, "Warning")]
    assert told[0]["involvedObject"]["uid"] == (await world.registry())["metadata"]["uid"]


async def test_a_warning_is_no_repetition_of_what_was_told_calmly(world):
    registry = await world.create_registry()
    events = Events(world.cluster, kind="QuayRegistry", clock=SystemClock())
    condition = {"type": "Available", "status": "False", "reason": "Down", "message": "see it"}
    for is_warning in (False, True, True):
        await events.tell(registry, condition, is_warning=is_warning)
    told = (await world.objects.list(EVENTS, NAMESPACE)).items
    assert sorted((e["type"], e["count"]) for e in told if e["reason"] == "Down") == [
        ("Normal", 1),
        ("Warning", 2),
    ]


async def test_passes_without_news_tell_nothing(world):
    await world.create_registry()
    await world.converge()
    before = len((await world.objects.list(EVENTS, NAMESPACE)).items)
    for _ in range(3):
        await world.once()
    assert len((await world.objects.list(EVENTS, NAMESPACE)).items) == before
