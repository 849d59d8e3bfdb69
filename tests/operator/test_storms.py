"""Failures by dice: whatever the network does, the end is the one of a calm day.

HATOBA_CHAOS_SEED repeats the dice of a run that failed; the order in which tasks meet them is the
machine's. HATOBA_CHAOS_STORMS asks for more storms than one.
"""

import asyncio
import contextlib
import itertools
import os
import secrets
from collections import Counter
from dataclasses import replace

import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.conftest import REGISTRIES
from tests.operator.pictures import differences, kept_keys, picture
from tests.operator.staging import bundle
from tests.operator.weather import Blind, Calm, Storm

from hatoba.cluster.objects import JOBS, SECRETS
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import Conflict, NotFound
from hatoba.operator.model import Images
from hatoba.operator.process import Operator, Pace
from hatoba.operator.runtime.controller import Limits
from hatoba.operator.runtime.informer import WatchRetry
from hatoba.operator.runtime.queue import QueueSettings

SEED = os.environ.get("HATOBA_CHAOS_SEED", "")
STORMS = int(os.environ.get("HATOBA_CHAOS_STORMS", "1"))
pytestmark = [pytest.mark.api, pytest.mark.anyio, pytest.mark.timeout(240 * STORMS)]
FAULTS = 60
SECONDS = 90
QUICK = Pace(
    queue=QueueSettings(first_delay_seconds=0.01, longest_delay_seconds=0.1),
    watches=WatchRetry(first_seconds=0.02, longest_seconds=0.2),
    limits=Limits(workers=2),
)
UPGRADED = replace(SETTINGS, quay_version="3.7.0", images=Images(quay="hatoba:0.2.0"))


@contextlib.asynccontextmanager
async def working(stage, settings=SETTINGS, pace=QUICK):
    """Run an operator as its process does, in a cluster that plays its part all the time."""
    world = stage.world
    world.operator = Operator(world.cluster, settings=settings, clock=SystemClock(), pace=pace)
    async with world.operator.watching():
        await world.operator.wait_ready()
        tasks = [
            asyncio.create_task(world.operator.controller.run()),
            asyncio.create_task(_playing(world)),
        ]
        try:
            yield
        finally:
            world.operator.controller.stop()
            tasks[1].cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
            assert [e for e in ended if isinstance(e, Exception)] == []


async def _playing(world):
    while True:
        with contextlib.suppress(Conflict, NotFound):
            await world.play()
        await asyncio.sleep(0.1)


async def until(question):
    async with asyncio.timeout(SECONDS):
        while not await question():  # noqa: ASYNC110 -- the operator decides
            await asyncio.sleep(0.05)


async def is_well(world, version="3.6.0"):
    registry = await world.registry()
    status = registry.get("status", {})
    found = {c["type"]: c["status"] for c in status.get("conditions", [])}
    return (
        status.get("currentVersion") == version
        and status.get("observedGeneration") == registry["metadata"]["generation"]
        and found.pop("RolloutBlocked") == "False"
        and set(found.values()) == {"True"}
    )


async def is_gone(world):
    try:
        await world.registry()
    except NotFound:
        return True
    return False


async def lives_through(stage, storm):
    """Install, reconfigure and upgrade a registry; return the picture after each."""
    world, pictures = stage.world, []
    stage.weather.policy = storm()
    await world.create_registry()
    async with working(stage):
        await until(lambda: is_well(world))
    pictures.append(await settled(stage))
    keys = await kept_keys(world)
    stage.weather.policy = storm()
    await bundle(world, "a")
    async with working(stage):
        await until(lambda: is_well(world))
    pictures.append(await settled(stage))
    stage.weather.policy = storm()
    async with working(stage, UPGRADED):
        await until(lambda: is_well(world, "3.7.0"))
    pictures.append(await settled(stage, UPGRADED))
    assert await kept_keys(world) == keys
    stage.weather.policy = storm()
    await world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    async with working(stage, UPGRADED):
        await until(lambda: is_gone(world))
    await stage.clear()
    pictures.append(await picture(world))
    for name in await world.names(SECRETS):
        await world.objects.delete(SECRETS, name, NAMESPACE)
    return pictures


async def settled(stage, settings=SETTINGS):
    """Calm down, let what is left be done, and look: another pass writes nothing."""
    assert not await stage.live(Calm(), settings)
    calm = Calm()
    assert not await stage.live(calm, settings)
    assert calm.writes == []
    return await picture(stage.world)


async def test_whatever_the_dice_say_the_end_is_that_of_a_calm_day(stage):
    wanted = await lives_through(stage, Calm)
    seen = Counter()
    for number in range(STORMS):
        seed = int(SEED or secrets.randbits(32)) + number
        print(f"HATOBA_CHAOS_SEED={seed}")
        phases = itertools.count()

        def storm(seed=seed, phases=phases):
            return Storm(seed + 1000 * next(phases), faults=FAULTS, seen=seen)

        found = await lives_through(stage, storm)
        for phase, (before, after) in enumerate(zip(wanted, found, strict=True)):
            if after != before:
                pytest.fail(f"seed {seed}, phase {phase}:\n{differences(before, after)}")
    assert {"refused", "lost", "unheard", "dropped", "expired", "late", 429, 500} <= set(seen)


async def test_an_operator_that_sees_nothing_new_makes_nothing_twice(stage):
    """Its picture of the cluster is from before it made anything, pass after pass."""
    world = stage.world
    await world.create_registry()
    wanted = await settled(stage)
    await world.objects.delete(REGISTRIES, NAME, NAMESPACE)
    await stage.live(Calm())
    await stage.clear()
    blind = Blind()
    stage.weather.policy = blind
    await world.create_registry()
    world.operator = Operator(world.cluster, settings=SETTINGS, clock=SystemClock())
    jobs, keys = set(), set()
    async with world.operator.watching():
        await world.operator.wait_ready()
        blind.sees.clear()
        for _ in range(8):
            with contextlib.suppress(Conflict):
                await world.operator.reconciler.reconcile(world.key)
            await world.play()
            jobs |= {
                obj["metadata"]["uid"] for obj in (await world.objects.list(JOBS, NAMESPACE)).items
            }
            keys.add(str(await kept_keys(world)))
        blind.sees.set()
    assert len(jobs) <= 1
    assert len(keys - {"None"}) == 1
    assert await settled(stage) == wanted
