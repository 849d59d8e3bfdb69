"""Pods of machines that are no more.

A cluster's state may come to another machine, or its machine may get another name: what was bound
to the old node will never be reported again. Such pods are deleted at once, so that whoever owns
them makes new ones.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import structlog
from typing_extensions import override

from hatoba.cluster.controllers.runtime import Controller, Keys
from hatoba.cluster.controllers.values import Key, finalizers_of, key_of, spec_of
from hatoba.cluster.objects import NODES, PODS, ResourceName
from hatoba.kernel.errors import NotFound
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()


class StrayPods(Controller):
    """Deletes pods of nodes that do not exist."""

    name = "pod-garbage-collector"

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {PODS: lambda pod: (key_of(pod),), NODES: self._all_pods}

    def _all_pods(self, _: JsonObject) -> Iterable[Key]:
        return [key_of(pod) for pod in self.cache(PODS).items()]

    @override
    async def reconcile(self, key: Key) -> float | None:
        pod = self.cache(PODS).get(key)
        node = spec_of(pod).get("nodeName") if pod else None
        if pod is None or not node or self._exists(node):
            return None
        log.info("pod.stray", namespace=key.namespace, pod=key.name, node=node)
        with suppress(NotFound):
            if finalizers_of(pod):
                await self.client.update_status(
                    PODS, pod, {**(pod.get("status") or {}), "phase": "Failed"}
                )
            await self.client.delete(PODS, pod, grace_seconds=0)
        return None

    def _exists(self, node: str) -> bool:
        nodes = self.cache(NODES)
        # Before this machine has registered itself, nothing is known about any.
        is_registered = nodes.get(Key("", self.settings.node_name)) is not None
        return not is_registered or nodes.get(Key("", node)) is not None
