"""What the operator's process runs for backups and restorations: informers, queues, workers."""

import asyncio
from collections.abc import Mapping

from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.backup.backups import Backups
from hatoba.operator.backup.places import Places
from hatoba.operator.backup.restores import Restores
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import OperatorSettings
from hatoba.operator.runtime.controller import Controller, Key, Limits
from hatoba.operator.runtime.informer import Informer, Scope
from hatoba.operator.runtime.queue import WorkQueue


class Custody:
    """Looks after QuayRegistryBackups and QuayRegistryRestores.

    A cluster that does not have these kinds is looked at again now and then, and works without.
    """

    def __init__(
        self,
        cluster: Cluster,
        informers: Mapping[str, Informer],
        *,
        settings: OperatorSettings,
        clock: Clock,
    ) -> None:
        places = Places(cluster, informers)
        self.backups = Backups(cluster, places, clock=clock)
        self.restores = Restores(cluster, places, settings=settings, clock=clock)
        self._queues: dict[str, WorkQueue[Key]] = {
            names.BACKUP_KIND: WorkQueue(),
            names.RESTORE_KIND: WorkQueue(),
        }
        scope = Scope(namespace=settings.watch_namespace, labelled=False)
        self._informers = {
            kind: Informer(cluster, kind, changed=self._changed, scope=scope)
            for kind in self._queues
        }
        self._controllers = (
            Controller(
                self.backups.reconcile,
                queue=self._queues[names.BACKUP_KIND],
                clock=clock,
                limits=Limits(workers=1),
            ),
            Controller(
                self.restores.reconcile,
                queue=self._queues[names.RESTORE_KIND],
                clock=clock,
                limits=Limits(workers=1),
            ),
        )

    @property
    def informers(self) -> tuple[Informer, ...]:
        """What is watched for this."""
        return tuple(self._informers.values())

    async def run(self) -> None:
        """Work until `stop` is called."""
        async with asyncio.TaskGroup() as group:
            for controller in self._controllers:
                group.create_task(controller.run())

    def stop(self) -> None:
        """Begin nothing more."""
        for controller in self._controllers:
            controller.stop()

    def close(self) -> None:
        """End the queues."""
        for queue in self._queues.values():
            queue.close()

    def owned_changed(self, obj: JsonObject) -> None:
        """Look again at whoever an object belongs to."""
        metadata = obj["metadata"]
        name = (metadata.get("labels") or {}).get(names.BACKUP_LABEL)
        if name is None:
            return
        place = (str(metadata.get("namespace", "")), str(name))
        for kind, informer in self._informers.items():
            if informer.get(*place) is not None:
                self._queues[kind].add(place)

    def registry_changed(self, registry: JsonObject) -> None:
        """Look again at what is about a registry."""
        metadata = registry["metadata"]
        for kind, informer in self._informers.items():
            for found in informer.objects():
                wanted = (found.get("spec") or {}).get("registryName")
                if (found["metadata"]["namespace"], wanted) == (
                    metadata["namespace"],
                    metadata["name"],
                ):
                    self._queues[kind].add((metadata["namespace"], found["metadata"]["name"]))

    def _changed(self, obj: JsonObject) -> None:
        metadata = obj["metadata"]
        self._queues[obj["kind"]].add((metadata["namespace"], metadata["name"]))
