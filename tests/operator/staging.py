"""A cluster in which operators live, die and follow each other, in any weather."""

from contextlib import suppress

from tests.operator.builders import SETTINGS
from tests.operator.conftest import LABELLED, WATCHED
from tests.operator.pictures import kept_keys
from tests.operator.weather import Calm, Death, Killed

from hatoba.cluster.objects import SECRETS
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import NotFound
from hatoba.operator.process import Operator


class Stage:
    """A cluster in which operators live, one after the other."""

    def __init__(self, world, weather):
        self.world = world
        self.weather = weather

    async def live(self, policy, settings=SETTINGS):
        """Let an operator work until nothing is left to do; return whether it was killed."""
        self.weather.policy = policy
        world = self.world
        world.operator = Operator(world.cluster, settings=settings, clock=SystemClock())
        killed = False
        async with world.operator.watching():
            try:
                await world.converge(passes=20)
            except Killed:
                killed = True
        self.weather.policy = Calm()
        return killed

    async def brought_about(self, last, settings=SETTINGS):
        """Kill an operator before its write number `last` and let another one go on."""
        killed = await self.live(Death(last), settings)
        if killed:
            keys = await kept_keys(self.world)
            assert not await self.live(Calm(), settings)
            assert keys in (None, await kept_keys(self.world)), "the keys were made anew"
        return killed

    async def install(self):
        await self.world.create_registry()

    async def clear(self):
        """Do what a cluster's collector and protectors do once an owner is gone."""
        objects = self.world.objects
        for resource in WATCHED.values():
            listing = await objects.list(resource, labels=LABELLED)
            for metadata in (obj["metadata"] for obj in listing.items):
                where = (resource, metadata["name"], metadata["namespace"])
                await objects.delete(*where, propagation="Background")
                if metadata.get("finalizers"):
                    patch = {"metadata": {"finalizers": None}}
                    with suppress(NotFound):
                        await objects.patch(
                            *where, patch, type="application/merge-patch+json", manager="world"
                        )


async def bundle(world, turn):
    """Name another bundle in the spec."""
    name = f"bundle-{turn}"
    if name not in await world.names(SECRETS):
        await world.create_bundle({"REGISTRY_TITLE": f"Harbour {turn}"}, name=name)
    await world.update_spec({"configBundleSecret": name})
