"""Admit Routes and Ingresses and keep one listener for each.

As an OpenShift cluster does, it fills in a Route's host and reports in its status where it is
served; since ports differ here, the annotation `hatoba.dev/external-port` says which.
"""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import ClassVar, Final

import aiohttp
import structlog
from typing_extensions import override

from hatoba.cluster.controllers.events import EventSink
from hatoba.cluster.controllers.informer import Informers
from hatoba.cluster.controllers.runtime import Context, Controller, Keys, supervise
from hatoba.cluster.controllers.settings import ControllerSettings
from hatoba.cluster.controllers.values import (
    Key,
    annotations_of,
    key_of,
    spec_of,
    status_of,
    thawed,
)
from hatoba.cluster.node import Node
from hatoba.cluster.objects import (
    ENDPOINT_SLICES,
    INGRESSES,
    ROUTES,
    SERVICES,
    Objects,
    ResourceName,
)
from hatoba.cluster.router.listener import EdgeListener
from hatoba.cluster.router.ports import Ports
from hatoba.cluster.router.proxy import Proxy, open_session
from hatoba.cluster.router.targets import (
    Edge,
    addresses,
    edge_of_ingress,
    edge_of_route,
    is_ours,
)
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

HOST: Final = "localhost"
PORT_ANNOTATION: Final = "hatoba.dev/external-port"
ROUTER_NAME: Final = "default"
CLOSE_GRACE_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Served:
    edge: Edge
    port: int
    listener: EdgeListener


class Router:
    """The listeners of all edges."""

    def __init__(
        self,
        informers: Informers,
        *,
        ports: Ports,
        session: aiohttp.ClientSession,
        ssl_context: ssl.SSLContext,
    ) -> None:
        self._informers = informers
        self._ports = ports
        self._session = session
        self._ssl = ssl_context
        self._served: dict[str, _Served] = {}
        self._turn = count()

    async def serve(self, edge: Edge) -> int:
        """Serve an edge as it is now; returns its port. Nothing happens where nothing changed."""
        served = self._served.get(edge.name)
        if served is not None and served.edge == edge:
            return served.port
        if served is not None:
            await self._stop(edge.name)
        port, sockets = self._ports.open(edge.name)

        def choose(path: str) -> Sequence[tuple[str, int]]:
            return self._pods(edge, path)

        scheme = "http" if edge.termination == "none" else "https"
        proxy = Proxy(self._session, choose=choose, port=port, scheme=scheme)
        listener = EdgeListener(
            termination=edge.termination,
            redirects_insecure=edge.redirects_insecure,
            handler=proxy,
            choose=choose,
            ssl_context=self._ssl,
        )
        listener.start(sockets)
        self._served[edge.name] = _Served(edge, port, listener)
        log.info("edge served", edge=edge.name, port=port)
        return port

    async def end(self, name: str) -> None:
        """Stop serving an edge that does not exist any more, and free its port."""
        if name in self._served:
            await self._stop(name)
            log.info("edge ended", edge=name)
        self._ports.forget(name)

    async def close(self) -> None:
        """Stop serving all edges; their ports stay assigned."""
        await asyncio.gather(*(self._stop(name) for name in list(self._served)))

    async def _stop(self, name: str) -> None:
        await self._served.pop(name).listener.close(grace_seconds=CLOSE_GRACE_SECONDS)

    def _pods(self, edge: Edge, path: str) -> Sequence[tuple[str, int]]:
        """Return the ready pods for a path, each time beginning with the next one."""
        backend = edge.backend_for(path)
        if backend is None:
            return ()
        service = self._informers.of(SERVICES).get(backend.service)
        slices = self._informers.of(ENDPOINT_SLICES).items(backend.service.namespace)
        found = addresses(backend, service=service, slices=slices)
        if not found:
            return ()
        first = next(self._turn) % len(found)
        return [*found[first:], *found[:first]]


class RouteController(Controller):
    """Admits Routes."""

    name: ClassVar[str] = "router"
    manager: ClassVar[str] = "openshift-router"
    router: Router

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {ROUTES: lambda route: [key_of(route)]}

    @override
    async def prepare(self) -> None:
        await self.informers.synced([SERVICES, ENDPOINT_SLICES])

    @override
    async def reconcile(self, key: Key) -> float | None:
        route = self.cache(ROUTES).get(key)
        if route is None:
            await self.router.end(f"route/{key.namespace}/{key.name}")
            return None
        port = await self.router.serve(edge_of_route(route))
        await self._admit(route, port)
        return None

    async def _admit(self, route: JsonObject, port: int) -> None:
        wanted = thawed(route)
        wanted["spec"]["host"] = spec_of(route).get("host") or HOST
        wanted["metadata"].setdefault("annotations", {})[PORT_ANNOTATION] = str(port)
        if (wanted["spec"], annotations_of(wanted)) != (route["spec"], annotations_of(route)):
            # The change comes back as an event, and the status is written in that pass.
            await self.client.update(ROUTES, wanted)
            return
        if (
            status_of(route).get("ingress")
            and status_of(route)["ingress"][0]["host"] == (wanted["spec"]["host"])
        ):
            return
        status = {"ingress": [self._admission(wanted["spec"]["host"])]}
        await self.client.update_status(ROUTES, route, status)
        self.recorder.normal(route, "Admitted", f"served on port {port} of {HOST}")

    def _admission(self, host: str) -> JsonObject:
        return {
            "host": host,
            "routerName": ROUTER_NAME,
            "routerCanonicalHostname": HOST,
            "wildcardPolicy": "None",
            "conditions": [
                {
                    "type": "Admitted",
                    "status": "True",
                    "lastTransitionTime": rfc3339(self.clock.now()),
                }
            ],
        }


class IngressController(Controller):
    """Serves Ingresses of our class."""

    name: ClassVar[str] = "ingress"
    manager: ClassVar[str] = "hatoba-ingress"
    router: Router

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {INGRESSES: lambda ingress: [key_of(ingress)]}

    @override
    async def reconcile(self, key: Key) -> float | None:
        ingress = self.cache(INGRESSES).get(key)
        if ingress is None or not is_ours(ingress):
            await self.router.end(f"ingress/{key.namespace}/{key.name}")
            return None
        port = await self.router.serve(edge_of_ingress(ingress))
        balancer = {"ingress": [{"hostname": HOST, "ports": [{"port": port, "protocol": "TCP"}]}]}
        if status_of(ingress).get("loadBalancer") != balancer:
            await self.client.update_status(INGRESSES, ingress, {"loadBalancer": balancer})
        return None


async def run_router(
    objects: Objects,
    node: Node,
    *,
    clock: Clock,
    settings: ControllerSettings,
    ssl_context: ssl.SSLContext,
    state: Path,
    hosts: Sequence[str] = ("127.0.0.1", "::1"),
    preferred: Sequence[int] = range(8443, 8543),
) -> None:
    """Serve every Route and Ingress until cancelled; ports are kept in `<state>/routes.json`."""
    informers = Informers(objects)
    sink = EventSink(objects, clock)
    context = Context(
        objects=objects, informers=informers, sink=sink, node=node, clock=clock, settings=settings
    )
    ports = Ports(state / "routes.json", hosts=hosts, preferred=preferred)
    async with open_session() as session:
        router = Router(informers, ports=ports, session=session, ssl_context=ssl_context)
        controllers: list[RouteController | IngressController] = [
            RouteController(context),
            IngressController(context),
        ]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(sink.run())
                for controller in controllers:
                    controller.router = router
                    group.create_task(supervise(controller), name=controller.name)
        finally:
            await router.close()
            await informers.close()
