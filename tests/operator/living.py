"""A cluster that lives: the embedded API with its real controllers, and a kubelet played by hand.

Deployments, ReplicaSets, Jobs, claims and the scheduler are the real ones, so conditions and
replacements come as in a cluster; what happens inside a pod is what a test says.
"""

import asyncio
import copy
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from tests.operator.builders import NAMESPACE

from hatoba.cluster.controllers.run import run_controllers
from hatoba.cluster.controllers.settings import ControllerSettings
from hatoba.cluster.objects import EVENTS, NODES, PODS, SERVICE_ACCOUNTS
from hatoba.kernel.clock import SystemClock, rfc3339
from hatoba.kernel.errors import Conflict, NotFound

NODE = "node1"
SECONDS = 30


def now():
    return rfc3339(SystemClock().now())


def waiting(reason, message=""):
    """A container that does not begin."""
    return {"state": {"waiting": {"reason": reason, "message": message}}}


def crashing(words, *, code=1):
    """A container that ends again and again."""
    ended = {"exitCode": code, "reason": "Error", "message": words}
    return {
        "restartCount": 4,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s"}},
        "lastState": {"terminated": ended | {"startedAt": now(), "finishedAt": now()}},
    }


def unready():
    """A container that runs and does not answer its readiness probe any more."""
    return {"state": {"running": {"startedAt": now()}}, "started": True}


class Kubelet:
    """Gives pods the states that a test asks for; without a wish they are well."""

    def __init__(self, objects):
        self.objects = objects
        self.faults = {}
        self._address = 10

    def usage(self, namespace, pod):
        return []

    async def run(self):
        listing = await self.objects.list(PODS)
        for pod in listing.items:
            await self._look(pod)
        async for event in self.objects.watch(PODS, since=listing.resource_version):
            if event.type in ("ADDED", "MODIFIED"):
                await self._look(event.object)

    async def afflict(self, component, fault, *, reason="", message=""):
        """Let the pods of a component have a fault; `reason` is that of an event about each."""
        self.faults[component] = fault
        for pod in await self._pods(component):
            if reason:
                await self.tell(pod, reason, message)
            await self._show(pod)

    async def heal(self, component):
        """Let them be well again."""
        del self.faults[component]
        for pod in await self._pods(component):
            await self._show(pod)

    async def tell(self, obj, reason, message):
        """Record an event, as kubelets and provisioners do."""
        metadata = obj["metadata"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "told-", "namespace": NAMESPACE},
            "involvedObject": {
                "kind": obj["kind"],
                "name": metadata["name"],
                "namespace": NAMESPACE,
                "uid": metadata["uid"],
            },
            "reason": reason,
            "message": message,
            "type": "Warning",
            "firstTimestamp": now(),
            "lastTimestamp": now(),
            "count": 1,
        }
        await self.objects.create(EVENTS, event, manager="kubelet")

    async def _pods(self, component):
        found = (await self.objects.list(PODS, NAMESPACE)).items
        return [pod for pod in found if _component(pod) == component]

    async def _look(self, pod):
        metadata = pod["metadata"]
        with suppress(NotFound, Conflict):
            if metadata.get("deletionTimestamp"):
                await self.objects.delete(PODS, metadata["name"], NAMESPACE, grace_seconds=0)
            elif pod["spec"].get("nodeName") and not pod["status"].get("containerStatuses"):
                await self._show(pod)

    async def _show(self, pod):
        fault = self.faults.get(_component(pod))
        if fault is None:
            phase, state = _well(pod)
        else:
            phase = "Running" if "running" in fault.get("state", {}) else "Pending"
            state = fault
        with suppress(NotFound):
            while True:
                live = await self.objects.get(PODS, pod["metadata"]["name"], NAMESPACE)
                with suppress(Conflict):
                    await self._write(live, phase, state)
                    return

    async def _write(self, pod, phase, state):
        self._address += 1
        shown = copy.deepcopy(pod)
        ready = bool(state.get("ready"))
        kept = [c for c in pod["status"].get("conditions") or [] if c["type"] == "PodScheduled"]
        condition = {"type": "Ready", "status": str(ready), "lastTransitionTime": now()}
        shown["status"] = pod["status"] | {
            "phase": phase,
            "podIP": f"127.1.0.{self._address}",
            "startTime": now(),
            "conditions": [*kept, condition],
            "containerStatuses": [
                {"name": c["name"], "image": c["image"], "imageID": ""}
                | {"ready": False, "restartCount": 0}
                | copy.deepcopy(state)
                for c in pod["spec"]["containers"]
            ],
        }
        await self.objects.update(PODS, shown, manager="kubelet", subresource="status")


def _component(pod):
    return (pod["metadata"].get("labels") or {}).get("quay-component", "")


def _well(pod):
    if pod["spec"].get("restartPolicy") in ("OnFailure", "Never"):
        ended = {"exitCode": 0, "startedAt": now(), "finishedAt": now(), "reason": "Completed"}
        return "Succeeded", {"state": {"terminated": ended}}
    return "Running", {"state": {"running": {"startedAt": now()}}, "started": True, "ready": True}


class Life:
    """What a test of a living cluster talks to."""

    def __init__(self, world, kubelet):
        self.world = world
        self.kubelet = kubelet
        self._told = 0

    async def conditions(self):
        found = (await self.world.registry()).get("status", {}).get("conditions", [])
        return {c["type"]: c for c in found}

    async def until(self, kind, status, *words):
        """Wait until a condition has a status and its message these words; return it."""
        found = {}
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    found = await self.conditions()
                    one = found.get(kind, {})
                    if one.get("status") == status and all(w in one["message"] for w in words):
                        return one
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{kind} is not {status} with {words}: {found}") from None

    async def available(self):
        await self.until("RolloutBlocked", "False")
        await self.until("Available", "True")
        status = (await self.world.registry())["status"]
        assert status["unhealthyComponents"] == {}, status["unhealthyComponents"]
        assert all(
            c["status"] == ("False" if c["type"] == "RolloutBlocked" else "True")
            for c in status["conditions"]
        ), status["conditions"]

    async def unhealthy(self):
        return (await self.world.registry())["status"]["unhealthyComponents"]

    async def mark(self):
        """Forget the events so far, with those that belong to what was waited for.

        A pass tells them after it has written the status: it has to have ended.
        """
        async with asyncio.timeout(SECONDS):
            while self.world.key in self.world.operator.controller._queue._active:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        listing = await self.world.objects.list(EVENTS, NAMESPACE)
        self._told = int(listing.resource_version)

    async def until_told(self, *words):
        """Wait until an event says all these words; return (type, reason, message) of all."""
        told = []
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    told = await self._events()
                    if any(all(word in " ".join(event) for word in words) for event in told):
                        return told
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"nobody told {words}: {told}") from None

    async def _events(self):
        """Return what the operator told since the mark, oldest first."""
        listing = await self.world.objects.list(EVENTS, NAMESPACE)
        told = [
            event
            for event in listing.items
            if (event.get("source") or {}).get("component") == REPORTER
            and int(event["metadata"]["resourceVersion"]) > self._told
        ]
        assert all(event["involvedObject"]["kind"] == "QuayRegistry" for event in told)
        told.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [(event["type"], event["reason"], event["message"]) for event in told]


REPORTER = "quayregistry-controller"


@asynccontextmanager
async def living(world, directory: Path):
    """Bring a world's cluster to life, and its operator to work."""
    assert world.address  # the controllers of the embedded cluster are its own
    objects = world.objects
    # Typed loosely: controllers ask it for usage alone, a node of its own kind could do more.
    kubelet: Any = Kubelet(objects)
    node = await objects.create(
        NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}, manager="test"
    )
    status = {"allocatable": {"cpu": "64", "memory": "256Gi"}}
    await objects.update(
        NODES, copy.deepcopy(node) | {"status": status}, manager="test", subresource="status"
    )
    settings = ControllerSettings(node_name=NODE, volumes=directory, ca_pem="CA", job_backoff=0.2)
    tasks = [
        asyncio.create_task(kubelet.run()),
        asyncio.create_task(run_controllers(objects, kubelet, SystemClock(), settings)),
        asyncio.create_task(_routing(world)),
    ]
    async with asyncio.timeout(SECONDS):
        while not (await objects.list(SERVICE_ACCOUNTS, NAMESPACE)).items:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    operating = asyncio.create_task(world.operator.controller.run())
    try:
        yield Life(world, kubelet)
    finally:
        world.operator.controller.stop()
        await operating
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended


async def _routing(world):
    """Play the router."""
    while True:
        with suppress(Conflict, NotFound):
            await world.admit_routes()
        await asyncio.sleep(0.1)
