"""What a registry leaves outside its namespace, where no owner reference reaches.

That is a dashboard among those of the cluster's console, and labels on the namespace that switch
monitoring on. The finalizer is set before either exists, and removed after both are gone.
"""

from hatoba.kernel.errors import Conflict
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.components.monitoring import dashboard_names, is_dashboard_of
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import OperatorSettings, RegistryPlan


class Outside:
    """Prepares and removes what owner references cannot."""

    def __init__(self, cluster: Cluster, *, settings: OperatorSettings) -> None:
        self._cluster = cluster
        self._settings = settings

    async def prepare(self, plan: RegistryPlan, registry: JsonObject) -> None:
        """Set finalizer and labels, if the registry is to be monitored."""
        if not plan.manages("monitoring"):
            return
        await self._set_finalizers(registry, finalizers_of(registry, is_monitored=True))
        namespace = await self._cluster.get("Namespace", plan.namespace)
        labels = namespace["metadata"].get("labels") or {}
        if labels.get(names.CLUSTER_MONITORING_LABEL) != "true":
            wanted = {names.CLUSTER_MONITORING_LABEL: "true", names.MANAGED_NAMESPACE_LABEL: "true"}
            await self._cluster.merge("Namespace", plan.namespace, {"metadata": {"labels": wanted}})

    async def clean_up(self, registry: JsonObject) -> None:
        """Remove what was prepared for a registry that is being deleted."""
        metadata = registry["metadata"]
        if names.FINALIZER not in (metadata.get("finalizers") or []):
            return
        if not self._settings.watch_namespace:
            await self._remove_labels(metadata["namespace"])
            for name in dashboard_names(metadata["name"], metadata["namespace"]):
                await self._remove_dashboard(name, metadata["namespace"])
        await self._set_finalizers(registry, finalizers_of(registry, is_monitored=False))

    async def _remove_dashboard(self, name: str, namespace: str) -> None:
        place = names.MONITORING_NAMESPACE
        found = await self._cluster.find("ConfigMap", name, namespace=place)
        if found is not None and is_dashboard_of(found, namespace):
            await self._cluster.delete("ConfigMap", name, namespace=place)

    async def _remove_labels(self, namespace: str) -> None:
        others = await self._cluster.list(names.KIND, namespace=namespace)
        found = await self._cluster.find("Namespace", namespace)
        if found is None or len(others.items) > 1:
            return
        if names.MANAGED_NAMESPACE_LABEL in (found["metadata"].get("labels") or {}):
            gone = dict.fromkeys((names.CLUSTER_MONITORING_LABEL, names.MANAGED_NAMESPACE_LABEL))
            await self._cluster.merge("Namespace", namespace, {"metadata": {"labels": gone}})

    async def _set_finalizers(self, registry: JsonObject, wanted: list[str]) -> None:
        metadata = registry["metadata"]
        if wanted == list(metadata.get("finalizers") or []):
            return
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": wanted}}
        changed = await self._cluster.merge(
            names.KIND, metadata["name"], patch, namespace=metadata["namespace"]
        )
        if changed["metadata"]["uid"] != metadata["uid"]:
            raise Conflict(f"{metadata['name']} was replaced by another registry of that name")
        registry["metadata"] = changed["metadata"]


def finalizers_of(registry: JsonObject, *, is_monitored: bool) -> list[str]:
    """Return a registry's finalizers, with ours if it leaves something outside its namespace."""
    present = list(registry["metadata"].get("finalizers") or [])
    if is_monitored == (names.FINALIZER in present):
        return present
    others = [found for found in present if found != names.FINALIZER]
    return [*others, names.FINALIZER] if is_monitored else others
