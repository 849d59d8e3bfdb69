"""Look at a registry once, with the eyes of whoever asks: for `explain` and `diff`.

Nothing is written. What the asking person may not see is left out and told, since people who look
after a registry need not be those who look after the cluster.
"""

import asyncio
from collections.abc import Mapping

import structlog

from hatoba.kernel.errors import Forbidden, NotFound, Unauthenticated
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.components.monitoring import dashboard_name
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import OperatorSettings
from hatoba.operator.observation import Observation
from hatoba.operator.observe import LANDSCAPE_KINDS, WATCHED_KINDS, Observer
from hatoba.operator.runtime.informer import Informer, Scope

log = structlog.get_logger()


class Inspector:
    """Reads what concerns the registries of one namespace."""

    def __init__(self, cluster: Cluster, *, settings: OperatorSettings, namespace: str) -> None:
        self._cluster = cluster
        self.namespace = namespace
        self.is_outside_seen = True
        """False when objects in other namespaces are hidden from the asking person."""
        self._informers = _informers(cluster, namespace=namespace)
        self._observer = Observer(cluster, self._informers, settings=settings)

    async def load(self) -> None:
        """Read every kind once."""
        await asyncio.gather(*(informer.load() for informer in self._informers.values()))

    @property
    def unseen(self) -> Mapping[str, str]:
        """Kinds that the asking person may not see, and the cluster's words."""
        return self._observer.blind_spots()

    async def registry(self, name: str) -> JsonObject | None:
        """Return the QuayRegistry, None when there is none."""
        return await self._cluster.find(names.KIND, name, namespace=self.namespace)

    async def observe(self, registry: JsonObject) -> Observation:
        """Return what a plan needs to know.

        Raises:
            Forbidden: the asking person may not read the registry's Secrets.
        """
        found = await self._observer.observe(registry)
        dashboard = await self._dashboard(registry["metadata"]["name"])
        return found if dashboard is None else found.with_owned(found.owned.plus(dashboard))

    async def _dashboard(self, name: str) -> JsonObject | None:
        """Return the one object of a registry that lies in another namespace."""
        try:
            return await self._cluster.find(
                "ConfigMap", dashboard_name(name), namespace=names.MONITORING_NAMESPACE
            )
        except (Forbidden, Unauthenticated) as error:
            self.is_outside_seen = False
            log.info("dashboard left out", error=error.message)
            return None

    async def glance(self, registry: JsonObject) -> Observation:
        """Return what can be judged without reading Secrets, with the cluster's events."""
        found = self._observer.glance(registry)
        events = await self._observer.events(registry)
        return found.with_owned(found.owned.with_events(events))

    async def log(self, pod: str, container: str, *, lines: int) -> list[str]:
        """Return the last lines of a container; none before it begins, or unseen."""
        try:
            return await self._cluster.log(pod, container, namespace=self.namespace, lines=lines)
        except (NotFound, Forbidden, Unauthenticated):
            return []


def _informers(cluster: Cluster, *, namespace: str) -> dict[str, Informer]:
    def ignored(_obj: JsonObject) -> None:
        """Nothing follows from a change: everything is read once."""

    return {
        kind: Informer(cluster, kind, changed=ignored, scope=Scope(namespace=namespace))
        for kind in WATCHED_KINDS
    } | {
        kind: Informer(cluster, kind, changed=ignored, scope=Scope(labelled=False))
        for kind in LANDSCAPE_KINDS
    }
