"""Many registries: those that are broken never delay the others."""

import asyncio
import json

import httpx2
import pytest
from tests.operator.builders import NAME, SETTINGS
from tests.operator.conftest import REGISTRIES
from tests.operator.test_storms import QUICK, until, working
from tests.operator.weather import Calm, an_answer

from hatoba.cluster.objects import CONFIG_MAPS
from hatoba.kernel.clock import SystemClock
from hatoba.operator import observe
from hatoba.operator.names import IN_FLIGHT_METRIC, PLACE_ANNOTATION
from hatoba.operator.names import MONITORING_NAMESPACE as DASHBOARDS
from hatoba.operator.process import Operator, Pace
from hatoba.operator.runtime.controller import Limits
from hatoba.operator.runtime.queue import QueueSettings

pytestmark = [pytest.mark.api, pytest.mark.anyio, pytest.mark.timeout(240)]
SOUND = [f"team-{number}" for number in range(4)]
SLOW, FAILING = [f"slow-{number}" for number in range(2)], ["failing-0"]
PACE = Pace(
    queue=QueueSettings(first_delay_seconds=0.01, longest_delay_seconds=0.1, suspects_at_once=1),
    limits=Limits(workers=2, pass_limit_seconds=120.0),
    watches=QUICK.watches,
)


class Troubled(Calm):
    """What concerns some namespaces hangs until it times out, or is refused."""

    def __init__(self):
        super().__init__()
        self.healed = False
        self.troubles = 0

    async def pass_on(self, request, send):
        path = request.url.path
        if not self.healed and any(f"/namespaces/{name}/" in path for name in SLOW):
            self.troubles += 1
            await asyncio.sleep(0.3)
            raise httpx2.ReadTimeout("no answer")
        if not self.healed and any(f"/namespaces/{name}/" in path for name in FAILING):
            self.troubles += 1
            return an_answer(request, 500)
        return await super().pass_on(request, send)


class Reading(Calm):
    """Nothing happens; what is read is noted."""

    def __init__(self):
        super().__init__()
        self.read = []

    async def pass_on(self, request, send):
        if request.method == "GET":
            self.read.append(request.url.path)
        return await super().pass_on(request, send)


@pytest.mark.parametrize(("seconds", "asked"), [(3600.0, 0), (0.0, 2)])
async def test_what_hardly_changes_is_not_asked_in_each_pass(stage, monkeypatch, seconds, asked):
    monkeypatch.setattr(observe, "FACT_SECONDS", seconds)
    await stage.world.create_registry()
    await stage.world.converge()
    stage.weather.policy = reading = Reading()
    for _ in range(2):
        await stage.world.once()
    for told in (f"/namespaces/{DASHBOARDS}", IN_FLIGHT_METRIC):
        assert len([path for path in reading.read if path.endswith(told)]) == asked


async def available(world):
    """Return the namespaces whose registry is available."""
    listing = await world.objects.list(REGISTRIES)
    return {
        obj["metadata"]["namespace"]
        for obj in listing.items
        for condition in obj.get("status", {}).get("conditions", [])
        if (condition["type"], condition["status"]) == ("Available", "True")
    }


async def test_registries_whose_calls_hang_or_fail_delay_no_other(stage):
    """There are more of them than workers, and they were there first."""
    world = stage.world
    stage.weather.policy = troubled = Troubled()
    for namespace in (*SLOW, *FAILING, *SOUND):
        await world.create_namespace(namespace)
    for namespace in (*SLOW, *FAILING):
        await world.create_registry(namespace=namespace)
    async with working(stage, pace=PACE):
        await until(lambda: _true(troubled.troubles > 2 * len(SLOW)))
        for namespace in SOUND:
            await world.create_registry(namespace=namespace)

        async def sound():
            found = await available(world)
            assert not found & {*SLOW, *FAILING}
            return found == set(SOUND)

        await until(sound)
        troubled.healed = True

        async def everyone():
            return await available(world) == {*SOUND, *SLOW, *FAILING}

        await until(everyone)


async def _true(value):
    return value


async def test_registries_of_one_name_have_a_dashboard_each_and_do_not_fight(stage):
    world = stage.world
    for namespace in SOUND[:2]:
        await world.create_namespace(namespace)
        await world.create_registry(namespace=namespace)
    async with working(stage, pace=PACE):
        await until(lambda: _both(world))
    passes = [await _quiet(stage, namespace) for namespace in SOUND[:2] * 3]
    assert passes[-2:] == [[], []]
    assert sorted(await _titles(world)) == [f"Quay - {one} - {NAME}" for one in SOUND[:2]]
    await _touched_dashboard_wakes_its_own(world, SOUND[1])
    await world.objects.delete(REGISTRIES, NAME, SOUND[0])
    await _quiet(stage, SOUND[0])
    assert await _titles(world) == [f"Quay - {SOUND[1]} - {NAME}"]


async def _touched_dashboard_wakes_its_own(world, namespace):
    """With many namesakes, each event about a dashboard would else be a pass over all of them."""
    world.operator = Operator(world.cluster, settings=SETTINGS, clock=SystemClock())
    queue = world.operator.queue
    async with world.operator.watching(), asyncio.timeout(60):
        await world.operator.wait_ready()
        while queue.depth:
            queue.done(await queue.get())
        (touched,) = [
            obj["metadata"]["name"]
            for obj in (await world.objects.list(CONFIG_MAPS, DASHBOARDS)).items
            if (obj["metadata"].get("annotations") or {}).get(PLACE_ANNOTATION) == namespace
        ]
        note = {"metadata": {"annotations": {"touched": "yes"}}}
        merge = "application/merge-patch+json"
        await world.objects.patch(
            CONFIG_MAPS, touched, DASHBOARDS, note, type=merge, manager="test"
        )
        assert await queue.get() == (namespace, NAME)
        assert queue.depth == 0


async def _both(world):
    return await available(world) == set(SOUND[:2])


async def _quiet(stage, namespace):
    """Run a pass over a registry; return its writes."""
    world = stage.world
    stage.weather.policy = calm = Calm()
    world.operator = Operator(world.cluster, settings=SETTINGS, clock=SystemClock())
    async with world.operator.watching():
        await world.operator.wait_ready()
        await world.operator.reconciler.reconcile((namespace, NAME))
    return calm.writes


async def _titles(world):
    listing = await world.objects.list(CONFIG_MAPS, DASHBOARDS)
    return [
        json.loads(obj["data"]["quay.json"])["title"]
        for obj in listing.items
        if "quay.json" in (obj.get("data") or {})
    ]
