"""Whatever write is lost or goes unheard, everything ends as if nothing had happened."""

import asyncio

import pytest
from tests.cluster.controllers.conftest import build, condition, deployment
from tests.cluster.controllers.test_claims import claim
from tests.cluster.controllers.test_deployment import is_complete, set_image
from tests.cluster.controllers.test_endpoints import ready, service
from tests.cluster.controllers.test_job import has, job
from typing_extensions import override

from hatoba.cluster.api.local import LocalObjects
from hatoba.cluster.controllers.run import run_controllers
from hatoba.cluster.objects import (
    CLAIMS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    VOLUMES,
)
from hatoba.kernel.errors import Unavailable

pytestmark = pytest.mark.anyio


class Failing(LocalObjects):
    """Fails at one write of the controllers: before it, or after it without a word."""

    def __init__(self, api) -> None:
        super().__init__(api)
        self.countdown = 0
        self.is_heard = False
        self.has_failed = False

    async def _guarded(self, deed, manager):
        if manager in {"test", "kubelet"}:
            return await deed
        self.countdown -= 1
        if self.countdown != 0:
            return await deed
        self.has_failed = True
        if self.is_heard:
            await deed
        else:
            deed.close()
        raise Unavailable("injected")

    @override
    async def create(self, resource, obj, *, manager, subresource=""):
        deed = super().create(resource, obj, manager=manager, subresource=subresource)
        return await self._guarded(deed, manager)

    @override
    async def update(self, resource, obj, *, manager, subresource=""):
        deed = super().update(resource, obj, manager=manager, subresource=subresource)
        return await self._guarded(deed, manager)

    @override
    async def delete(self, resource, name, namespace, **more):
        manager = "kubelet" if more.get("grace_seconds") == 0 else "controllers"
        return await self._guarded(super().delete(resource, name, namespace, **more), manager)


async def live(cluster):
    """A little of everything."""
    await cluster.create(SERVICES, service())
    await cluster.create(CLAIMS, claim())
    await cluster.create(JOBS, job())
    await cluster.create(DEPLOYMENTS, deployment())
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2), timeout=300)
    await cluster.change(DEPLOYMENTS, "web", set_image("app:2"))
    await cluster.until_object(DEPLOYMENTS, "web", is_complete(2), timeout=300)
    await cluster.until_object(JOBS, "job", has("Complete"), timeout=300)
    await cluster.until(ENDPOINTS, lambda items: len(ready(items)) == 2, timeout=300)
    await asyncio.sleep(120)


async def check(cluster):
    web = await cluster.get(DEPLOYMENTS, "web")
    assert web["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert condition(web, "ReplicaFailure") is None
    sets = await cluster.items(REPLICA_SETS)
    assert sorted(item["spec"]["replicas"] for item in sets) == [0, 2]
    pods = [p for p in await cluster.items(PODS) if p["metadata"]["labels"].get("app") == "web"]
    assert len(pods) == 2
    done = await cluster.get(JOBS, "job")
    assert done["status"]["succeeded"] == 1
    assert done["status"]["uncountedTerminatedPods"] == {}
    assert len(await cluster.items(PODS)) == 3
    assert not any(p["metadata"].get("finalizers") for p in await cluster.items(PODS))
    assert len(await cluster.items(ENDPOINT_SLICES)) == 1
    bound = await cluster.get(CLAIMS, "data")
    volumes = await cluster.items(VOLUMES, None)
    assert [bound["status"]["phase"], *(v["status"]["phase"] for v in volumes)] == [
        "Bound",
        "Bound",
    ]


@pytest.mark.parametrize("number", range(1, 56))
async def test_one_failing_write_changes_nothing(tmp_path, number):
    async with build(tmp_path, objects=Failing) as cluster:
        await cluster.quiet()
        # Odd ones are lost; even ones happen, and only the answer is lost.
        cluster.objects.is_heard = number % 2 == 0
        cluster.objects.countdown = number
        await live(cluster)

        assert cluster.objects.has_failed
        await check(cluster)


async def test_controllers_that_start_again_find_nothing_to_do(cluster):
    await live(cluster)
    before = await cluster.quiet()

    again = asyncio.create_task(
        run_controllers(cluster.objects, cluster.machine, cluster.clock, cluster.settings)
    )
    await asyncio.sleep(30)
    again.cancel()

    assert await cluster.quiet() == before
    await check(cluster)


async def test_controllers_that_were_away_make_up_for_it(tmp_path):
    async with build(tmp_path, controllers=False) as cluster:
        await cluster.create(DEPLOYMENTS, deployment())
        await cluster.create(JOBS, job())
        await cluster.quiet()
        assert await cluster.items(PODS) == []
        late = asyncio.create_task(
            run_controllers(cluster.objects, cluster.machine, cluster.clock, cluster.settings)
        )

        await cluster.until_object(DEPLOYMENTS, "web", is_complete(2))
        await cluster.until_object(JOBS, "job", has("Complete"))
        late.cancel()
