"""A cluster for the operator to work in: `python -m bench.load.cluster REGISTRIES NAMESPACES`.

It serves the embedded cluster's API without a kubelet, and plays the cluster's other parts: what
is asked for exists at once. It prints its address, and then does what each line of its input says,
and prints a line when that is done: `all` creates the registries and waits until they are
available, `one` does so with one more, `mend` takes the broken ones away. A process of its own, so
that its CPU time is not the operator's.
"""

import asyncio
import copy
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import yaml

from hatoba.cli.manifests import deployment_directory
from hatoba.cluster import manifests
from hatoba.cluster.api.assembly import Api, open_api
from hatoba.cluster.api.local import LocalObjects, install
from hatoba.cluster.api.server import serve
from hatoba.cluster.node import ExecSession, LogRequest, Usage
from hatoba.cluster.objects import (
    CLAIMS,
    DEFINITIONS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    ROUTES,
    ResourceName,
)
from hatoba.kernel.clock import SystemClock, rfc3339
from hatoba.kernel.errors import Conflict, NotFound, Unsupported
from hatoba.kernel.json import JsonObject
from hatoba.telemetry.logs import configure_logging

REGISTRIES: Final = ResourceName("quayregistries", "quay.redhat.com")
TOKEN: Final = "benchmark"  # noqa: S105 -- of an API that lives for minutes on loopback
MANAGER: Final = "bench"
BROKEN: Final = 5
"""So many registries beside the others, and before them, name a bundle that is not there."""


class NoMachine:
    """A node on which nothing runs."""

    def logs(self, namespace: str, pod: str, request: LogRequest) -> AsyncIterator[bytes]:
        """Refuse: there is no container."""
        raise Unsupported(f"{request.container} of {namespace}/{pod} does not run: nothing does")

    async def execute(
        self,
        namespace: str,
        pod: str,
        container: str,
        command: Sequence[str],
        *,
        stdin: bool,
    ) -> ExecSession:
        """Refuse: there is no container."""
        raise Unsupported(f"no {command} in {container} of {namespace}/{pod}, {stdin=}")

    def usage(self, namespace: str, pod: str) -> Sequence[Usage]:  # noqa: ARG002 -- there is none
        """Return what the containers of a pod use: nothing."""
        return ()


@dataclass(slots=True, kw_only=True)
class Play:
    """Lets objects become what they ask for, as soon as they change."""

    objects: LocalObjects
    available: dict[tuple[str, str], float] = field(default_factory=dict)
    """Which registries are, and since when by the loop's clock."""
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def follow(
        self, resource: ResourceName, become: Callable[[JsonObject], JsonObject | None]
    ) -> None:
        """Give each object of a kind the status that it wants."""
        listing = await self.objects.list(resource)
        async for event in self.objects.watch(resource, since=listing.resource_version):
            if event.type not in ("ADDED", "MODIFIED"):
                continue
            status = become(event.object)
            if status is None:
                continue
            changed = copy.deepcopy(event.object) | {"status": status}
            try:
                await self.objects.update(resource, changed, manager=MANAGER, subresource="status")
            except (Conflict, NotFound):
                # Changed or gone since: another event tells.
                continue

    async def count(self) -> None:
        """Note which registries are available."""
        listing = await self.objects.list(REGISTRIES)
        async for event in self.objects.watch(REGISTRIES, since=listing.resource_version):
            status = event.object.get("status") or {}
            metadata = event.object["metadata"]
            for condition in status.get("conditions") or []:
                if (condition["type"], condition["status"]) == ("Available", "True"):
                    key = (metadata["namespace"], metadata["name"])
                    self.available.setdefault(key, asyncio.get_running_loop().time())
            async with self.news:
                self.news.notify_all()

    async def until(self, wanted: int) -> None:
        """Wait until so many registries are available."""
        async with self.news:
            await self.news.wait_for(lambda: len(self.available) >= wanted)


def deployed(obj: JsonObject) -> JsonObject | None:
    """Return the status of a Deployment whose pods all run; None when it has it."""
    replicas = obj["spec"].get("replicas", 1)
    numbers = dict.fromkeys(
        ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas
    ) | {"observedGeneration": obj["metadata"]["generation"]}
    status = obj.get("status") or {}
    if all(status.get(key, 0) == value for key, value in numbers.items()):
        return None
    return numbers | {
        "conditions": [_condition("Available") | {"reason": "MinimumReplicasAvailable"}]
    }


def bound(obj: JsonObject) -> JsonObject | None:
    """Return the status of a claim that has a volume."""
    status = obj.get("status") or {}
    return None if status.get("phase") == "Bound" else {**status, "phase": "Bound"}


def complete(obj: JsonObject) -> JsonObject | None:
    """Return the status of a Job that is done."""
    if (obj.get("status") or {}).get("succeeded"):
        return None
    now = rfc3339(SystemClock().now())
    conditions = [_condition("SuccessCriteriaMet"), _condition("Complete")]
    return {"succeeded": 1, "startTime": now, "completionTime": now, "conditions": conditions}


def admitted(obj: JsonObject) -> JsonObject | None:
    """Return the status of a Route that a router serves."""
    if (obj.get("status") or {}).get("ingress"):
        return None
    metadata = obj["metadata"]
    host = obj["spec"].get("host") or f"{metadata['name']}-{metadata['namespace']}.apps.example"
    ingress = {"host": host, "routerName": "default", "conditions": [_condition("Admitted")]}
    return {"ingress": [ingress]}


def _condition(kind: str) -> JsonObject:
    now = rfc3339(SystemClock().now())
    return {"type": kind, "status": "True", "lastTransitionTime": now}


async def _prepared(api: Api, objects: LocalObjects, namespaces: int) -> None:
    await install(objects, manifests.initial_objects(), registry=api.registry)
    definition = yaml.safe_load(
        (deployment_directory() / "crd" / "quayregistries.yaml").read_text()
    )
    await objects.create(DEFINITIONS, definition, manager=MANAGER)
    for number in range(namespaces):
        obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"team-{number}"}}
        await objects.create(NAMESPACES, obj, manager=MANAGER)


async def _create_registry(
    objects: LocalObjects, name: str, team: int, *, spec: JsonObject | None = None
) -> None:
    obj: JsonObject = {
        "apiVersion": "quay.redhat.com/v1",
        "kind": "QuayRegistry",
        "metadata": {"name": name, "namespace": f"team-{team}"},
    }
    await objects.create(REGISTRIES, obj | ({"spec": spec} if spec else {}), manager=MANAGER)


@dataclass(slots=True, kw_only=True)
class Story:
    """What the parent asks for, one after the other."""

    play: Play
    registries: int
    namespaces: int
    more: int = 0

    async def tell(self, command: str) -> JsonObject:
        """Do what a line says; return what is said about it."""
        match command:
            case "all":
                return await self._all()
            case "one":
                self.more += 1
                await _create_registry(self.play.objects, f"more-{self.more}", 0)
                await self.play.until(self.registries + self.more)
            case "mend":
                for number in range(BROKEN):
                    team = f"team-{number % self.namespaces}"
                    await self.play.objects.delete(REGISTRIES, f"broken-{number}", team)
            case _:
                raise Unsupported(f"nothing is known of {command}")
        return {"done": command}

    async def _all(self) -> JsonObject:
        began = asyncio.get_running_loop().time()
        objects = self.play.objects
        for number in range(BROKEN):
            spec: JsonObject = {"configBundleSecret": "absent"}
            await _create_registry(objects, f"broken-{number}", number % self.namespaces, spec=spec)
        for number in range(self.registries):
            name = f"registry-{number // self.namespaces}"
            await _create_registry(objects, name, number % self.namespaces)
        await self.play.until(self.registries)
        times = sorted(at - began for at in self.play.available.values())
        return {"first_seconds": times[0], "half_seconds": times[len(times) // 2]}


async def run(registries: int, namespaces: int) -> None:
    """Serve until the input ends."""
    # What is printed is for the parent: logs go elsewhere.
    configure_logging(debug=False)
    api = open_api(None, clock=SystemClock(), admin_token=TOKEN)
    objects = LocalObjects(api)
    await _prepared(api, objects, namespaces)
    server = await serve(api, node=NoMachine(), tls=None)
    play = Play(objects=objects)
    kinds = ((DEPLOYMENTS, deployed), (CLAIMS, bound), (JOBS, complete), (ROUTES, admitted))
    tasks = [asyncio.create_task(play.follow(kind, become)) for kind, become in kinds]
    tasks.append(asyncio.create_task(play.count()))
    story = Story(play=play, registries=registries, namespaces=namespaces)
    print(json.dumps({"address": server.address}), flush=True)  # noqa: T201 -- the parent reads it
    while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
        print(json.dumps(await story.tell(command)), flush=True)  # noqa: T201 -- as above
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await server.close()
    api.close()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1]), int(sys.argv[2])))
