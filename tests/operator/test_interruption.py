"""An operator that is killed between any two writes goes on where it stopped."""

import base64

import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS

from hatoba.cluster.objects import DEPLOYMENTS, SECRETS
from hatoba.kernel.clock import SystemClock
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.process import Operator

pytestmark = pytest.mark.anyio


class Killed(Exception):
    """The process is gone."""


class FewWrites(Cluster):
    """A connection over which few writes get through; the next one kills its owner."""

    budget = 4
    _count = 0

    @property
    def writes(self):
        return self._count

    @writes.setter
    def writes(self, count):
        if count > self.budget:
            raise Killed
        self._count = count


async def test_killed_after_a_few_writes_again_and_again_it_still_converges(world):
    await world.create_registry()
    keys = set()
    for _ in range(200):
        cluster = FewWrites(world.cluster._client)
        operator = Operator(cluster, settings=SETTINGS, clock=SystemClock())
        world.operator, killed = operator, False
        async with operator.watching():
            try:
                await world.once()
            except Killed:
                killed = True
            played = await world.play()
        keys |= {name for name in await world.names(SECRETS) if "managed-secret-keys" in name}
        if not killed and not cluster.writes and not played:
            break
    else:
        pytest.fail("not converged")
    status = (await world.registry())["status"]
    assert [(c["type"], c["status"]) for c in status["conditions"][:2]] == [
        ("Available", "True"),
        ("RolloutBlocked", "False"),
    ]
    assert keys == {f"{NAME}-quay-registry-managed-secret-keys"}
    bundles = [name for name in await world.names(SECRETS) if "config-bundle" in name]
    assert len(bundles) == 1
    assert len(await world.names(DEPLOYMENTS)) == 7


async def test_keys_are_stored_before_anything_uses_them(world):
    await world.create_registry()
    await world.once()
    await world.once()
    operator = world.operator
    cluster = FewWrites(world.cluster._client)
    cluster.budget = 1
    world.operator = Operator(cluster, settings=SETTINGS, clock=SystemClock())
    async with world.operator.watching():
        with pytest.raises(Killed):
            await world.once()
    world.operator = operator
    name = f"{NAME}-quay-registry-managed-secret-keys"
    stored = (await world.objects.get(SECRETS, name, NAMESPACE))["data"]
    assert await world.names(DEPLOYMENTS) == []
    await world.converge()
    assert (await world.objects.get(SECRETS, name, NAMESPACE))["data"] == stored
    assert len(base64.b64decode(stored["SECRET_KEY"])) == 80
