"""The cluster process: API server, controllers, kubelet and router in one event loop.

Composition only: what each part does is in its own package. The process may be killed at any
moment: the store is durable, containers belong to their shims, and the next process takes over.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import structlog

from hatoba.cluster.api.assembly import Api, open_api
from hatoba.cluster.api.identity import ISSUER
from hatoba.cluster.api.local import LocalObjects, install
from hatoba.cluster.api.server import serve
from hatoba.cluster.blocks import Block, claim_block
from hatoba.cluster.catalog.programs import standard_catalog
from hatoba.cluster.controllers.events import EventSink, Recorder
from hatoba.cluster.controllers.informer import Informers
from hatoba.cluster.controllers.run import run_controllers
from hatoba.cluster.controllers.settings import ControllerSettings
from hatoba.cluster.credentials import Credentials, load_credentials, write_kubeconfig
from hatoba.cluster.home import Home, write_private
from hatoba.cluster.kubelet.addresses import Addresses, node_address, service_network
from hatoba.cluster.kubelet.agent import Kubelet
from hatoba.cluster.kubelet.context import KubeletSettings, NodeContext
from hatoba.cluster.kubelet.names import ServiceNames
from hatoba.cluster.kubelet.naming import keep_names
from hatoba.cluster.kubelet.processes import identify
from hatoba.cluster.machine import allocatable, node_name, register_node
from hatoba.cluster.manifests import initial_objects
from hatoba.cluster.router.service import run_router
from hatoba.kernel.clock import Clock, SystemClock

log = structlog.get_logger()

_TOKEN_LIFETIME: Final = timedelta(hours=2)
"""Renewed every half hour by the kubelet."""
_LOOPBACK: Final = "127.0.0.1"


@dataclass(slots=True, frozen=True, kw_only=True)
class ClusterOptions:
    """What the command line decides."""

    api_port: int = 0
    """0: the port of the last time, else the default one, else a free one."""
    restart_backoff: float = 10.0
    autoscaler_period: float = 15.0


async def run_cluster(home: Home, options: ClusterOptions, *, ready: asyncio.Event) -> None:
    """Run the cluster until cancelled; `ready` is set when it serves."""
    clock = SystemClock()
    home.prepare()
    remembered = home.remembered()
    block = claim_block(home.root, wanted=remembered.block)
    try:
        address = node_address(block.number)
        credentials = load_credentials(home, clock=clock, addresses=(address,))
        wanted = options.api_port or remembered.api_port
        port = _free_port(wanted)
        home.remember(replace(remembered, block=block.number, api_port=port))
        api = open_api(
            home.objects,
            clock=clock,
            admin_token=credentials.admin_token,
            service_network=service_network(block.number),
        )
        try:
            running = _Parts(home, options, api, credentials, block, clock, port)
            await running.run(ready)
        finally:
            api.close()
    finally:
        home.process.unlink(missing_ok=True)
        block.release()


def _free_port(wanted: int) -> int:
    """Return the wanted port when it is free, else any that is."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            # As asyncio's servers do: connections of a process that just ended do not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return 0


class _Parts:
    """Everything that runs in the process."""

    def __init__(
        self,
        home: Home,
        options: ClusterOptions,
        api: Api,
        credentials: Credentials,
        block: Block,
        clock: Clock,
        port: int,
    ) -> None:
        self.home = home
        self.options = options
        self.api = api
        self.credentials = credentials
        self.clock = clock
        self.port = port
        self.block = block
        self.address = node_address(block.number)
        self.node_name = node_name()
        self.objects = LocalObjects(api)
        self.informers = Informers(self.objects)
        self.sink = EventSink(self.objects, clock)
        self.names = ServiceNames(home.hosts)

    async def run(self, ready: asyncio.Event) -> None:
        await install(self.objects, initial_objects(), registry=self.api.registry)
        await register_node(self.objects, self.node_name, address=self.address, clock=self.clock)
        kubelet = Kubelet(self._context())
        try:
            async with self._serving(kubelet), asyncio.TaskGroup() as group:
                group.create_task(self.sink.run(), name="events")
                group.create_task(self._controllers(kubelet), name="controllers")
                group.create_task(keep_names(self.names, self.informers), name="names")
                group.create_task(kubelet.run(), name="kubelet")
                group.create_task(self._router(kubelet), name="router")
                ready.set()
        finally:
            await self.informers.close()

    @asynccontextmanager
    async def _serving(self, kubelet: Kubelet) -> AsyncIterator[None]:
        server = await serve(
            self.api, node=kubelet, tls=self.credentials.api, host=_LOOPBACK, port=self.port
        )
        try:
            write_kubeconfig(self.home, self.credentials, port=server.port)
            me = identify(os.getpid())
            state = {
                "pid": os.getpid(),
                "start_time": me.start_time if me else 0,
                "port": server.port,
                "address": self.address,
            }
            write_private(self.home.process, json.dumps(state))
            log.info("cluster.serving", port=server.port, node=self.node_name)
            yield
        finally:
            await server.close()

    async def _controllers(self, kubelet: Kubelet) -> None:
        await run_controllers(self.objects, kubelet, self.clock, self._settings())

    async def _router(self, kubelet: Kubelet) -> None:
        await run_router(
            self.objects,
            kubelet,
            clock=self.clock,
            settings=self._settings(),
            ssl_context=self.credentials.edge,
            state=self.home.root,
        )

    def _settings(self) -> ControllerSettings:
        return ControllerSettings(
            node_name=self.node_name,
            volumes=self.home.volumes,
            ca_pem=self.credentials.ca_pem,
            autoscaler_period=self.options.autoscaler_period,
        )

    def _context(self) -> NodeContext:
        return NodeContext(
            home=self.home,
            objects=self.objects,
            informers=self.informers,
            clock=self.clock,
            catalog=standard_catalog(self.home.catalog),
            recorder=Recorder(self.sink, component="kubelet", host=self.node_name),
            addresses=Addresses(self.block.number),
            settings=KubeletSettings(
                node_name=self.node_name,
                host_ip=self.address,
                api_host=_LOOPBACK,
                api_port=self.port,
                ca_pem=self.credentials.ca_pem,
                restart_backoff=self.options.restart_backoff,
                allocatable=allocatable(),
            ),
            issue_token=self._issue_token,
            name_variables=self.names.variables,
        )

    def _issue_token(self, namespace: str, account: str, audience: str) -> str:
        audiences = (audience,) if audience else (ISSUER,)
        issued = self.api.identities.issue(
            namespace, account, lifetime=_TOKEN_LIFETIME, audiences=audiences
        )
        return issued.token
