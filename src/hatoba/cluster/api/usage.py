"""`metrics.k8s.io`: what pods and the node use, measured by the kubelet.

Spec: Kubernetes "Resource metrics pipeline", metrics.k8s.io/v1beta1.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from hatoba.cluster.api.exchange import Exchange
from hatoba.cluster.api.reading import Reader
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.requests import Selection
from hatoba.cluster.api.status import About, ObjectNotFound
from hatoba.cluster.node import Node, Usage
from hatoba.cluster.objects import NODES, PODS
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject

GROUP: Final = "metrics.k8s.io"
API_VERSION: Final = f"{GROUP}/v1beta1"


class Metrics:
    """Answers for the resource metrics API."""

    def __init__(self, reader: Reader, *, registry: Registry, node: Node) -> None:
        self._reader = reader
        self._registry = registry
        self._node = node

    def answer(self, exchange: Exchange) -> JsonObject:
        """Return the metrics of one pod or node, or of all.

        Raises:
            ObjectNotFound: nothing was measured yet.
        """
        target = exchange.target
        is_pods = target.plural == "pods"
        selection = Selection(
            namespace=target.namespace, labels=exchange.request.query.get("labelSelector", "")
        )
        items = self._pods(selection) if is_pods else self._nodes(selection)
        kind = "PodMetrics" if is_pods else "NodeMetrics"
        if not target.name:
            return {
                "kind": f"{kind}List",
                "apiVersion": API_VERSION,
                "metadata": {},
                "items": items,
            }
        for item in items:
            if item["metadata"]["name"] == target.name:
                return {"kind": kind, "apiVersion": API_VERSION, **item}
        raise ObjectNotFound.named(About(name=target.name, group=GROUP, kind=target.plural))

    def _pods(self, selection: Selection) -> list[JsonObject]:
        items = []
        for pod in self._reader.select(self._registry.require(PODS), selection):
            metadata = pod["metadata"]
            measured = self._node.usage(metadata["namespace"], metadata["name"])
            if measured:
                items.append({**_head(metadata, measured), "containers": _containers(measured)})
        return items

    def _nodes(self, selection: Selection) -> list[JsonObject]:
        pods = self._reader.select(self._registry.require(PODS), Selection())
        items = []
        for node in self._reader.select(self._registry.require(NODES), selection):
            name = node["metadata"]["name"]
            measured = [
                usage
                for pod in pods
                if pod["spec"].get("nodeName") == name
                for usage in self._node.usage(pod["metadata"]["namespace"], pod["metadata"]["name"])
            ]
            if measured:
                items.append({**_head(node["metadata"], measured), "usage": _sum(measured)})
        return items


def _head(metadata: JsonObject, measured: Sequence[Usage]) -> JsonObject:
    newest = max(measured, key=lambda usage: usage.at)
    kept = ("name", "namespace", "labels", "creationTimestamp")
    return {
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "timestamp": rfc3339(datetime.fromtimestamp(newest.at, UTC)),
        "window": f"{newest.window_seconds:.3f}s",
    }


def _containers(measured: Sequence[Usage]) -> list[JsonObject]:
    return [{"name": usage.container, "usage": _sum([usage])} for usage in measured]


def _sum(measured: Sequence[Usage]) -> JsonObject:
    return {
        "cpu": f"{sum(usage.cpu_nanocores for usage in measured)}n",
        "memory": f"{sum(usage.memory_bytes for usage in measured) // 1024}Ki",
    }
