"""Write a registry's status, and an event for each condition that says something new."""

import structlog

from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.ids import KUBERNETES_SUFFIX, random_text
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import Reason
from hatoba.operator.status import Report, changed_conditions, compute

log = structlog.get_logger()

_WARNINGS = {
    Reason.CREATION_FAILED,
    Reason.CONFIG_INVALID,
    Reason.ROUTE_DEPENDENCY,
    Reason.OBJECT_STORAGE_DEPENDENCY,
    Reason.MONITORING_DEPENDENCY,
    Reason.MIGRATIONS_FAILED,
}


class Reporter:
    """Tells people how a registry is."""

    def __init__(self, cluster: Cluster, *, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock

    async def report(self, registry: JsonObject, report: Report) -> None:
        """Write the status if it says something new.

        Raises:
            Conflict: somebody changed the registry in between; the next pass tells.
        """
        previous = registry.get("status") or {}
        status = compute(previous, report, now=self._clock.now())
        if status is previous:
            return
        await self._cluster.replace({**registry, "status": status}, subresource="status")
        for condition in changed_conditions(previous, status):
            log.info(
                "condition changed",
                namespace=registry["metadata"]["namespace"],
                name=registry["metadata"]["name"],
                type=condition["type"],
                status=condition["status"],
                reason=condition["reason"],
            )
            if condition["type"] in ("Available", "RolloutBlocked"):
                await self._record(registry, condition)

    async def _record(self, registry: JsonObject, condition: JsonObject) -> None:
        metadata = registry["metadata"]
        now = rfc3339(self._clock.now())
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{random_text(16, KUBERNETES_SUFFIX)}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "reason": condition["reason"],
            "message": condition["message"],
            "type": "Warning" if condition["reason"] in _WARNINGS else "Normal",
            "source": {"component": "quayregistry-controller"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._cluster.create(event)
        except HatobaError as error:
            # An event is a courtesy; the status says the same.
            log.warning("event not recorded", reason=condition["reason"], error=error.message)
