"""A node without controllers: an API in memory, a kubelet with real processes."""

import asyncio
import copy
import inspect
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hatoba.cluster.api.assembly import Api, open_api
from hatoba.cluster.api.local import LocalObjects
from hatoba.cluster.catalog.images import Catalog, Entry, Image
from hatoba.cluster.controllers.events import EventSink, Recorder
from hatoba.cluster.controllers.informer import Informers
from hatoba.cluster.home import Home
from hatoba.cluster.kubelet.addresses import Addresses
from hatoba.cluster.kubelet.agent import Kubelet
from hatoba.cluster.kubelet.attempts import living
from hatoba.cluster.kubelet.context import KubeletSettings, NodeContext
from hatoba.cluster.objects import EVENTS, NAMESPACES, PODS, SERVICE_ACCOUNTS, ResourceName
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import NotFound

NODE = "node1"
BLOCK = 240
SECONDS = 10.0


@dataclass(kw_only=True)
class TestNode:
    """The node, and what tests do with it."""

    __test__ = False

    api: Api
    objects: LocalObjects
    home: Home
    settings: dict = field(default_factory=dict)
    block: int = BLOCK
    kubelet: Kubelet = field(init=False)
    informers: Informers = field(init=False)
    tasks: list[asyncio.Task] = field(default_factory=list)

    async def start(self) -> None:
        """Start a kubelet, as a cluster process does."""
        clock = SystemClock()
        sink = EventSink(self.objects, clock)
        self.informers = Informers(self.objects)
        context = NodeContext(
            home=self.home,
            objects=self.objects,
            informers=self.informers,
            clock=clock,
            catalog=Catalog([Entry(pattern="*/tiny:*", find=lambda: TINY)]),
            recorder=Recorder(sink, component="kubelet", host=NODE),
            addresses=Addresses(self.block),
            settings=KubeletSettings(
                node_name=NODE,
                host_ip="127.240.0.1",
                api_host="127.0.0.1",
                api_port=1,
                ca_pem="",
                **{"restart_backoff": 0.2, "longest_backoff": 0.4, **self.settings},
            ),
            issue_token=lambda *words: "token of " + "/".join(words),
            name_variables=lambda _: {},
        )
        self.kubelet = Kubelet(context, usage_period=0.2)
        self.tasks = [asyncio.create_task(sink.run()), asyncio.create_task(self.kubelet.run())]

    async def stop(self) -> None:
        """Stop the kubelet as the death of its process would: programs go on."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.informers.close()

    async def run_pod(self, name: str, *containers: dict, **spec) -> dict:
        """Create a pod that is scheduled already."""
        given = [
            {"name": f"c{index}", "image": "x/tiny:1", **container}
            for index, container in enumerate(containers)
        ]
        defaults = {
            "nodeName": NODE,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {**defaults, "containers": given, **spec},
        }
        return await self.objects.create(PODS, pod, manager="test")

    async def get(self, name: str, resource: ResourceName = PODS) -> dict:
        return copy.deepcopy(await self.objects.get(resource, name, "default"))

    async def until(self, name: str, condition: Callable[[dict], bool]) -> dict:
        """Return the pod as soon as the condition holds for its status."""
        try:
            async with asyncio.timeout(SECONDS):
                listing = await self.objects.list(PODS)
                for pod in listing.items:
                    if pod["metadata"]["name"] == name and condition(pod.get("status") or {}):
                        return pod
                async for event in self.objects.watch(PODS, since=listing.resource_version):
                    pod = event.object
                    if pod["metadata"]["name"] == name and condition(pod.get("status") or {}):
                        return pod
        except TimeoutError:
            raise AssertionError((await self.get(name)).get("status")) from None
        raise AssertionError("the watch ended")

    async def until_gone(self, name: str) -> None:
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    await self.objects.get(PODS, name, "default")
                except NotFound:
                    return
                await asyncio.sleep(0.02)

    async def reasons(self, name: str) -> list[str]:
        """Return the reasons of the events about a pod."""
        events = (await self.objects.list(EVENTS)).items
        return [one["reason"] for one in events if one["involvedObject"]["name"] == name]

    async def create(self, resource: ResourceName, kind: str, name: str, **content) -> dict:
        obj = {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "default"},
            **content,
        }
        return await self.objects.create(resource, obj, manager="test")


async def eventually(question):
    """Ask, an awaitable or a value, until the answer is yes; return the answer."""
    async with asyncio.timeout(SECONDS):
        while True:
            answer = question()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(0.02)


TINY = Image(entrypoint=lambda _: ["sleep", "1000"])


def shell(script: str, **more) -> dict:
    """A container that runs a script."""
    return {"command": ["sh", "-c", script], **more}


def is_running(status: dict) -> bool:
    return any("running" in one["state"] for one in status.get("containerStatuses") or ())


def is_ready(status: dict) -> bool:
    return any(
        one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ()
    )


def is_over(status: dict) -> bool:
    return status.get("phase") in {"Succeeded", "Failed"}


@asynccontextmanager
async def running_node(directory: Path, **settings) -> AsyncIterator[TestNode]:
    home = Home(directory / "home")
    home.prepare()
    api = open_api(None, clock=SystemClock())
    objects = LocalObjects(api)
    meta = {"apiVersion": "v1", "metadata": {"name": "default"}}
    await objects.create(NAMESPACES, {**meta, "kind": "Namespace"}, manager="test")
    account = {**meta, "metadata": {"name": "default", "namespace": "default"}}
    await objects.create(SERVICE_ACCOUNTS, {**account, "kind": "ServiceAccount"}, manager="test")
    node = TestNode(api=api, objects=objects, home=home, settings=settings)
    await node.start()
    try:
        yield node
    finally:
        await node.stop()
        for attempt, started in list(living(home.pods)):
            attempt.kill(started)
            await attempt.wait(started, clock=SystemClock())
        api.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user may enter: pods may run under another one."""
    with tempfile.TemporaryDirectory(prefix="hatoba-test-node-") as directory:
        Path(directory).chmod(0o711)
        yield Path(directory)


@pytest.fixture
async def node(place) -> AsyncIterator[TestNode]:
    async with running_node(place) as found:
        yield found
