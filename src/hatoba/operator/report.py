"""Write a registry's status, and an event for each condition that turned."""

from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.events import Events
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.status import Report, compute, is_trouble, transitions


class Reporter:
    """Tells people how a registry is."""

    def __init__(self, cluster: Cluster, *, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._events = Events(cluster, kind=names.KIND, clock=clock)

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
        for condition in transitions(previous, status, report):
            await self._events.tell(registry, condition, is_warning=is_trouble(previous, condition))
