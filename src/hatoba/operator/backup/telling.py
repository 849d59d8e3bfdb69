"""Write the status of a backup or a restoration, and an event for each condition that turned."""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject
from hatoba.operator.backup import conditions
from hatoba.operator.backup.conditions import READY
from hatoba.operator.events import Events
from hatoba.operator.kubernetes import Cluster

BLOBS_MISSING: Final = "BlobsMissing"
SUSPENDED: Final = "Suspended"


class Teller:
    """Tells people how resources of one kind are."""

    def __init__(self, cluster: Cluster, *, kind: str, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._events = Events(cluster, kind=kind, clock=clock)

    async def tell(self, obj: JsonObject, status: JsonObject, said: Sequence[JsonObject]) -> None:
        """Write a status with these conditions if it says something new.

        Raises:
            Conflict: somebody changed the resource in between; the next pass tells.
        """
        before = obj.get("status") or {}
        known = before.get("conditions")
        timed = conditions.timed(known, said, now=self._clock.now())
        status = {**status, "conditions": timed}
        if status == before:
            return
        await self._cluster.replace({**obj, "status": status}, subresource="status")
        for one in said:
            if _is_news(conditions.found(known, one["type"]), one):
                await self._events.tell(obj, one, is_warning=_is_trouble(one))


def _is_news(before: JsonObject | None, now: JsonObject) -> bool:
    if before is None:
        return not (now["type"] == READY and now["status"] == "True")
    return any(before[key] != now[key] for key in ("status", "reason"))


def _is_trouble(said: JsonObject) -> bool:
    if said["reason"] == SUSPENDED:
        return False
    return bool(said["status"] == "False" or said["reason"] == BLOBS_MISSING)
