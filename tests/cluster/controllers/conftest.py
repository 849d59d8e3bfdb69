"""A cluster in memory with its controllers and a kubelet that only pretends."""

import asyncio
import copy
import selectors
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typing_extensions import override

from hatoba.cluster.api.assembly import Api, open_api
from hatoba.cluster.api.local import LocalObjects
from hatoba.cluster.controllers.run import run_controllers
from hatoba.cluster.controllers.settings import ControllerSettings
from hatoba.cluster.node import Usage
from hatoba.cluster.objects import (
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    SERVICE_ACCOUNTS,
    ResourceName,
)
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.errors import Conflict, NotFound
from hatoba.kernel.json import JsonObject

NAMESPACE = "shop"
NODE = "node1"
START = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: when nothing is ready, its clock jumps to the next timer."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        super().__init__(_JumpingSelector(self))

    @override
    def time(self) -> float:
        return self.elapsed

    @override
    def run_in_executor(self, executor, func, *args):
        # A thread's work takes time that this clock knows nothing of: do it at once.
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except OSError as error:
            future.set_exception(error)
        return future


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    @override
    def select(self, timeout=None):
        ready = super().select(0)
        if ready or timeout is None or timeout <= 0:
            return ready or super().select(timeout)
        self._loop.elapsed += timeout
        return []


class LoopClock(Clock):
    """The time of the running loop, as wall clock."""

    @override
    def now(self) -> datetime:
        return START + timedelta(seconds=self.monotonic())

    @override
    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@pytest.fixture
def anyio_backend():
    return ("asyncio", {"loop_factory": VirtualLoop})


class Machine:
    """A node without processes: pods do what their annotations say.

    `pretend/outcome`: `ready` (default), `unready`, `succeed`, `fail`, `restart` (fails and counts a
    restart), `stuck` (never starts). `pretend/lingers` keeps a deleted pod until it is released.
    """

    def __init__(self, objects: LocalObjects, clock: Clock) -> None:
        self.objects = objects
        self.clock = clock
        self.usages: dict[str, list[Usage]] = {}
        self.released = asyncio.Event()
        self._next = 10
        self._seen: set = set()
        self._tasks: list[asyncio.Task] = []

    def usage(self, namespace, pod):
        return self.usages.get(pod, [])

    async def run(self):
        listing = await self.objects.list(PODS)
        for pod in listing.items:
            await self._look(pod)
        async for event in self.objects.watch(PODS, since=listing.resource_version):
            if event.type != "DELETED":
                await self._look(event.object)

    async def _look(self, pod):
        meta, status = pod["metadata"], pod.get("status") or {}
        with suppress(NotFound, Conflict):
            if meta.get("deletionTimestamp"):
                if (meta.get("annotations") or {}).get("pretend/lingers"):
                    if self.released.is_set():
                        await self._end(pod)
                elif not await self._finish(pod):
                    await self._end(pod)
            elif pod["spec"].get("nodeName") and status.get("phase", "Pending") == "Pending":
                await self._start(pod)

    async def close(self):
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            assert ended is None or isinstance(ended, asyncio.CancelledError), ended

    async def release(self):
        """Let lingering pods go."""
        self.released.set()
        for pod in (await self.objects.list(PODS)).items:
            await self._look(pod)

    async def _finish(self, pod):
        """A pod with finalizers gets its terminal phase before it goes."""
        if not pod["metadata"].get("finalizers") or pod["status"]["phase"] in {
            "Failed",
            "Succeeded",
        }:
            return False
        await self._status(pod, "Failed", ready=False)
        return True

    async def _end(self, pod):
        meta = pod["metadata"]
        await self.objects.delete(
            PODS, meta["name"], meta["namespace"], uid=meta["uid"], grace_seconds=0
        )

    async def _start(self, pod):
        outcome = (pod["metadata"].get("annotations") or {}).get("pretend/outcome", "ready")
        if outcome == "stuck":
            return
        phase = {"succeed": "Succeeded", "fail": "Failed"}.get(outcome, "Running")
        await self._status(
            pod,
            phase,
            ready=outcome == "ready",
            restarts=1 if outcome == "restart" else 0,
        )

    async def _status(self, pod, phase, *, ready, restarts=0):
        self._next += 1
        now = rfc3339(self.clock.now())
        status = pod.get("status") or {}
        kept = [item for item in status.get("conditions") or [] if item["type"] == "PodScheduled"]
        address = status.get("podIP") or f"127.1.0.{self._next}"
        state: JsonObject = {"running": {"startedAt": now}}
        if phase in {"Failed", "Succeeded"}:
            code = 0 if phase == "Succeeded" else 1
            state = {"terminated": {"exitCode": code, "startedAt": now, "finishedAt": now}}
        written = {
            **status,
            "phase": phase,
            "podIP": address,
            "startTime": now,
            "conditions": [
                *kept,
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": now,
                },
            ],
            "containerStatuses": [
                {"name": "app", "ready": ready, "restartCount": restarts, "state": state}
            ],
        }
        await self.objects.update(
            PODS, {**pod, "status": written}, manager="kubelet", subresource="status"
        )

    async def become(self, name, *, ready):
        """Change one pod's readiness."""
        pod = await self.objects.get(PODS, name, NAMESPACE)
        await self._status(pod, "Running", ready=ready)


class Cluster:
    """What tests talk to."""

    def __init__(
        self, objects, api: Api, clock: Clock, volumes: Path, *, machine, **settings
    ) -> None:
        self.api = api
        self.clock = clock
        self.volumes = volumes
        self.objects = objects
        self.machine = machine(self.objects, clock)
        self.settings = ControllerSettings(
            node_name=NODE,
            volumes=volumes,
            ca_pem="-----CA-----",
            **settings,
        )

    async def create(self, resource: ResourceName, obj, namespace=NAMESPACE):
        if namespace:
            obj = {**obj, "metadata": {"namespace": namespace, **obj["metadata"]}}
        return await self.objects.create(resource, obj, manager="test")

    async def get(self, resource: ResourceName, name: str, namespace: str | None = NAMESPACE):
        return await self.objects.get(resource, name, namespace)

    async def change(self, resource, name, change: Callable, namespace=NAMESPACE):
        """Read, change, write; again when somebody was faster."""
        while True:
            obj = await self.objects.get(resource, name, namespace)
            changed = copy.deepcopy(obj)
            change(changed)
            with suppress(Conflict):
                return await self.objects.update(resource, changed, manager="test")

    async def items(self, resource, namespace=NAMESPACE):
        return (await self.objects.list(resource, namespace)).items

    async def until(self, resource, predicate, *, namespace=NAMESPACE, timeout=60.0):
        """Wait until the list of a resource satisfies a predicate; return the list."""
        async with asyncio.timeout(timeout):
            while True:
                listing = await self.objects.list(resource, namespace)
                if predicate(listing.items):
                    return listing.items
                async for _ in self.objects.watch(
                    resource, namespace, since=listing.resource_version
                ):
                    break

    async def until_object(self, resource, name, predicate, *, namespace=NAMESPACE, timeout=60.0):
        """Wait until one object satisfies a predicate; return it."""

        def fits(items):
            return any(item["metadata"]["name"] == name and predicate(item) for item in items)

        try:
            items = await self.until(resource, fits, namespace=namespace, timeout=timeout)
        except TimeoutError:
            present = await self.objects.list(resource, namespace)
            pytest.fail(f"{name} is {[i for i in present.items if i['metadata']['name'] == name]}")
        return next(item for item in items if item["metadata"]["name"] == name)

    async def until_gone(self, resource, name, *, namespace=NAMESPACE):
        await self.until(
            resource,
            lambda items: all(item["metadata"]["name"] != name for item in items),
            namespace=namespace,
        )

    async def quiet(self, rounds=40):
        """Let everything that is due happen, and return the version the cluster came to rest at."""
        seen, still = -1, 0
        while still < rounds:
            await asyncio.sleep(0)
            version = self.api.reader.version
            still = still + 1 if version == seen else 0
            seen = version
        return seen

    async def reasons(self, name):
        """Return (reason, message) of the events about an object."""
        await self.quiet()
        events = sorted(
            await self.items(EVENTS), key=lambda event: int(event["metadata"]["resourceVersion"])
        )
        return [
            (event["reason"], event["message"])
            for event in events
            if event["involvedObject"]["name"] == name
        ]


@asynccontextmanager
async def build(
    path: Path,
    *,
    machine=Machine,
    objects=LocalObjects,
    clock: Clock | None = None,
    admin_token="",
    controllers=True,
    **settings,
) -> AsyncIterator[Cluster]:
    """Run a cluster with one node."""
    clock = clock or LoopClock()
    api = open_api(None, clock=clock, admin_token=admin_token)
    made = Cluster(objects(api), api, clock, path / "volumes", machine=machine, **settings)
    await made.create(NAMESPACES, {"metadata": {"name": NAMESPACE}} | _kind("Namespace"), None)
    await made.create(NODES, {"metadata": {"name": NODE}} | _kind("Node"), None)
    node = await made.get(NODES, NODE, None)
    await made.objects.update(
        NODES,
        {**node, "status": {"allocatable": {"cpu": "64", "memory": "256Gi"}}},
        manager="test",
        subresource="status",
    )
    tasks = [asyncio.create_task(made.machine.run())]
    if controllers:
        tasks.append(
            asyncio.create_task(run_controllers(made.objects, made.machine, clock, made.settings))
        )
    try:
        if controllers:
            await made.until(SERVICE_ACCOUNTS, bool)
        yield made
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        await made.machine.close()
        api.close()
        for result in ended:
            assert isinstance(result, asyncio.CancelledError), result


@pytest.fixture
async def cluster(tmp_path) -> AsyncIterator[Cluster]:
    async with build(tmp_path) as made:
        yield made


def _kind(kind, version="v1"):
    return {"apiVersion": version, "kind": kind}


def deployment(name="web", *, replicas=2, outcome="ready", image="app:1", **spec):
    """Return a Deployment as the API server would have completed it."""
    return _kind("Deployment", "apps/v1") | {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
            },
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "template": {
                "metadata": {
                    "labels": {"app": name},
                    "annotations": {"pretend/outcome": outcome},
                },
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
            **spec,
        },
    }


def condition(obj, kind):
    found = [c for c in (obj.get("status") or {}).get("conditions") or [] if c["type"] == kind]
    return (found[0]["status"], found[0].get("reason")) if found else None
