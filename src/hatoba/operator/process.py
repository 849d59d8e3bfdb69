"""The operator's process: builds its parts, runs them, and ends them in order.

Readiness means that the informers have seen the cluster; a second replica is ready too, and
waits for the lease. On SIGTERM no new pass starts, running ones finish, and the lease is given
back, so that the next operator starts at once.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.backup.custody import Custody
from hatoba.operator.backup.receiving import Receiver
from hatoba.operator.endpoints import (
    health_application,
    metrics_application,
    reconfigure_application,
)
from hatoba.operator.kubernetes import Cluster, connected, load_configuration
from hatoba.operator.model import Images, OperatorSettings
from hatoba.operator.observe import LANDSCAPE_KINDS, WATCHED_KINDS, Observer
from hatoba.operator.reconciler import Reconciler
from hatoba.operator.reconfigure import Reconfigurer
from hatoba.operator.runtime.controller import Controller, Key, Limits
from hatoba.operator.runtime.election import DEADLINE_SECONDS, DURATION_SECONDS, Election
from hatoba.operator.runtime.informer import Informer, Scope, WatchRetry
from hatoba.operator.runtime.queue import QueueSettings, WorkQueue
from hatoba.operator.runtime.references import References
from hatoba.serving.listeners import listening

log = structlog.get_logger()

DRAIN_SECONDS: Final = 30.0
REST_SECONDS: Final = 0.1
"""What a pass writes comes back as events, and what the cluster makes of it as more of them: they
are looked at together, instead of one pass for each."""


@dataclass(slots=True, frozen=True, kw_only=True)
class ProcessSettings:
    """What the command line and the environment say about the process itself."""

    operator: OperatorSettings
    kubeconfig: str = ""
    service_account: Path
    identity: str
    elect: bool
    bind: str
    """Where the endpoints listen, unless an address names a host itself."""
    metrics_address: str = ":8080"
    health_address: str = ":8081"
    reconfigure_address: str = ":7071"


def operator_settings(environment: Mapping[str, str], *, namespace: str = "") -> OperatorSettings:
    """Read the operator's variables, with Quay's names."""
    defaults = Images()
    quay = environment.get("RELATED_IMAGE_COMPONENT_QUAY", defaults.quay)
    return OperatorSettings(
        quay_version=environment.get("QUAY_VERSION", names.DEFAULT_QUAY_VERSION),
        namespace=environment.get("MY_POD_NAMESPACE", ""),
        watch_namespace=namespace,
        endpoint_override=environment.get("DEV_OPERATOR_ENDPOINT", ""),
        images=Images(
            quay=quay,
            clair=environment.get("RELATED_IMAGE_COMPONENT_CLAIR", quay),
            postgres=environment.get("RELATED_IMAGE_COMPONENT_POSTGRES", defaults.postgres),
            clair_postgres=environment.get(
                "RELATED_IMAGE_COMPONENT_CLAIRPOSTGRES", defaults.clair_postgres
            ),
            redis=environment.get("RELATED_IMAGE_COMPONENT_REDIS", defaults.redis),
        ),
        skip_resource_requests=environment.get("SKIP_RESOURCE_REQUESTS", "") == "true",
        red_hat_branding=environment.get("QUAY_DEFAULT_BRANDING", "") == "redhat",
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Pace:
    """How much the operator does at once, and how long it waits after a failure."""

    queue: QueueSettings = field(default_factory=lambda: QueueSettings(rest_seconds=REST_SECONDS))
    limits: Limits = field(default_factory=Limits)
    watches: WatchRetry = field(default_factory=WatchRetry)


class Operator:
    """Informers, queue and workers over one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        *,
        settings: OperatorSettings,
        clock: Clock,
        pace: Pace | None = None,
    ) -> None:
        pace = pace or Pace()
        self.queue: WorkQueue[Key] = WorkQueue(pace.queue)
        scope = settings.watch_namespace
        self._registries = Informer(
            cluster,
            names.KIND,
            changed=self._registry_changed,
            scope=Scope(namespace=scope, labelled=False),
            retry=pace.watches,
        )
        self._owned = {
            kind: Informer(
                cluster,
                kind,
                changed=self._owned_changed,
                turned=self._cluster_changed,
                scope=Scope(namespace=scope),
                retry=pace.watches,
            )
            for kind in WATCHED_KINDS
        } | {
            kind: Informer(
                cluster,
                kind,
                changed=lambda _obj: self._cluster_changed(),
                turned=self._cluster_changed,
                scope=Scope(labelled=False),
                retry=pace.watches,
            )
            for kind in LANDSCAPE_KINDS
        }
        self.references = References(cluster, changed=self.queue.add, retry=pace.watches)
        observer = Observer(cluster, self._owned, settings=settings)
        self.reconciler = Reconciler(
            cluster, observer, self.references, settings=settings, clock=clock
        )
        self.controller = Controller(
            self.reconciler.reconcile, queue=self.queue, clock=clock, limits=pace.limits
        )
        self.custody = Custody(cluster, self._owned, settings=settings, clock=clock)

    @property
    def informers(self) -> tuple[Informer, ...]:
        """Everything that is watched."""
        return (self._registries, *self._owned.values(), *self.custody.informers)

    @property
    def is_ready(self) -> bool:
        """True when every informer has its first answer."""
        return all(informer.synced.is_set() for informer in self.informers)

    async def wait_ready(self) -> None:
        """Wait for that."""
        for informer in self.informers:
            await informer.synced.wait()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Keep the informers running for as long as the context lasts."""
        tasks = [asyncio.create_task(informer.run()) for informer in self.informers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.references.close()
            self.queue.close()
            self.custody.close()

    def _registry_changed(self, obj: JsonObject) -> None:
        metadata = obj["metadata"]
        key = (metadata["namespace"], metadata["name"])
        if (obj.get("status") or {}).get("conditions"):
            self.queue.has_begun(key)
        self.queue.add(key)
        self.custody.registry_changed(obj)

    def _cluster_changed(self) -> None:
        """Look at every registry again: the cluster offers something else than before."""
        for registry in self._registries.objects():
            self._registry_changed(registry)

    def _owned_changed(self, obj: JsonObject) -> None:
        metadata = obj["metadata"]
        self.custody.owned_changed(obj)
        name = str((metadata.get("labels") or {}).get(names.REGISTRY_LABEL, ""))
        namespace = str(metadata.get("namespace", ""))
        if self._registries.get(namespace, name) is not None:
            self.queue.add((namespace, name))
        elif namespace == names.MONITORING_NAMESPACE:
            self._dashboard_changed(metadata, name)

    def _dashboard_changed(self, metadata: JsonObject, name: str) -> None:
        """Look at the registry that a dashboard shows, not at every namesake of it.

        Older dashboards do not say where their registry is.
        """
        place = (metadata.get("annotations") or {}).get(names.PLACE_ANNOTATION)
        for registry in [self._registries.get(place, name)] if place else self._namesakes(name):
            if registry is not None:
                self._registry_changed(registry)

    def _namesakes(self, name: str) -> list[JsonObject]:
        return [one for one in self._registries.objects() if one["metadata"]["name"] == name]


async def run(settings: ProcessSettings, *, clock: Clock) -> None:
    """Run the operator until SIGTERM or SIGINT.

    Raises:
        LostLeadership: the process must end, since another one may act now.
        NoCluster: nothing says which cluster to talk to.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    configuration = load_configuration(
        kubeconfig=settings.kubeconfig, service_account=settings.service_account
    )
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(connected(configuration))
        operator = Operator(cluster, settings=settings.operator, clock=clock)
        for address, application in (
            (settings.health_address, health_application(lambda: operator.is_ready)),
            (settings.metrics_address, metrics_application()),
            (
                settings.reconfigure_address,
                reconfigure_application(Reconfigurer(cluster), Receiver(cluster)),
            ),
        ):
            host, port = split_address(address, bind=settings.bind)
            await stack.enter_async_context(listening(application, host=host, port=port))
        await stack.enter_async_context(operator.watching())
        await _lead(settings, cluster, operator, stopping=stopping, clock=clock)


async def _lead(
    settings: ProcessSettings,
    cluster: Cluster,
    operator: Operator,
    *,
    stopping: asyncio.Event,
    clock: Clock,
) -> None:
    """Work while the lease is ours."""
    if not settings.elect:
        await _work(operator, stopping, asyncio.get_running_loop().create_future())
        return
    election = Election(
        cluster,
        namespace=settings.operator.namespace or "default",
        identity=settings.identity,
        clock=clock,
    )
    acquiring = asyncio.ensure_future(election.acquire())
    if not await _first(acquiring, stopping):
        return
    keeping = asyncio.ensure_future(election.keep())
    try:
        await _work(operator, stopping, keeping)
    finally:
        keeping.cancel()
        await election.release()


async def _first(task: "asyncio.Future[None]", stopping: asyncio.Event) -> bool:
    """Wait for a task, False when the process shall stop first."""
    waiting = asyncio.create_task(stopping.wait())
    futures: set[asyncio.Future[Any]] = {task, waiting}
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    return False


async def _work(
    operator: Operator, stopping: asyncio.Event, keeping: "asyncio.Future[None]"
) -> None:
    """Reconcile until told to stop, or until the lease is lost."""
    await operator.wait_ready()
    log.info("operator works")
    working = asyncio.ensure_future(
        asyncio.gather(operator.controller.run(), operator.custody.run())
    )
    waiting = asyncio.create_task(stopping.wait())
    futures: set[asyncio.Future[Any]] = {working, waiting, keeping}
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    operator.controller.stop()
    operator.custody.stop()
    log.info("operator stops")
    # Whoever lost the Lease has to be done before another one may act.
    patience = DURATION_SECONDS - DEADLINE_SECONDS - 1 if keeping.done() else DRAIN_SECONDS
    try:
        async with asyncio.timeout(patience):
            await working
    except TimeoutError:
        log.warning("passes cut off", after_seconds=patience)
    if keeping.done():
        keeping.result()


def split_address(address: str, *, bind: str) -> tuple[str, int]:
    """Read `:8080` or `127.0.0.1:8080`."""
    host, _, port = address.rpartition(":")
    return host or bind, int(port)
