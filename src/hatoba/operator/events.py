"""Events: what turned, told once in the place where `kubectl describe` looks.

The same news told again raises the count of the event that told it first, as `kubectl` expects.
"""

from collections import OrderedDict
from typing import Final

import structlog

from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.errors import HatobaError, NotFound
from hatoba.kernel.ids import KUBERNETES_SUFFIX, random_text
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.kubernetes import Cluster

log = structlog.get_logger()

LONGEST_MESSAGE: Final = 1024
"""The API refuses events with a longer message."""
KNOWN_EVENTS: Final = 1024
"""Of so many events it is remembered that they were told, to count repetitions."""


class Events:
    """Tells events of one kind of resource."""

    def __init__(self, cluster: Cluster, *, kind: str, clock: Clock) -> None:
        self._cluster = cluster
        self._kind = kind
        self._clock = clock
        self._told: OrderedDict[tuple[str, ...], tuple[str, int]] = OrderedDict()
        """(uid, Normal or Warning, condition's type, reason, message) -> (name of the Event, how
        often it happened)."""

    async def tell(self, obj: JsonObject, condition: JsonObject, *, is_warning: bool) -> None:
        """Log that a condition turned, and create an event or count one up that said the same."""
        metadata = obj["metadata"]
        log.info(
            "condition changed",
            kind=self._kind,
            namespace=metadata["namespace"],
            name=metadata["name"],
            type=condition["type"],
            status=condition["status"],
            reason=condition["reason"],
        )
        # The same words are news of another kind when something was well in between.
        kind = "Warning" if is_warning else "Normal"
        words = (condition["type"], condition["reason"], condition["message"])
        said = (metadata["uid"], kind, *words)
        name, count = self._told.get(said, ("", 0))
        try:
            if name and await self._counted(obj, name, count + 1):
                self._told[said] = (name, count + 1)
                return
            event = self._event(obj, condition, is_warning=is_warning)
            await self._cluster.create(event)
            self._told[said] = (event["metadata"]["name"], 1)
        except HatobaError as error:
            # An event is a courtesy; the status says the same.
            log.warning("event not recorded", reason=condition["reason"], error=error.message)
        while len(self._told) > KNOWN_EVENTS:
            self._told.popitem(last=False)

    async def _counted(self, obj: JsonObject, name: str, count: int) -> bool:
        """Raise an event's count; False when the cluster has forgotten it."""
        patch = {"count": count, "lastTimestamp": rfc3339(self._clock.now())}
        try:
            await self._cluster.merge("Event", name, patch, namespace=obj["metadata"]["namespace"])
        except NotFound:
            return False
        return True

    def _event(self, obj: JsonObject, condition: JsonObject, *, is_warning: bool) -> JsonObject:
        metadata = obj["metadata"]
        now = rfc3339(self._clock.now())
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name']}.{random_text(16, KUBERNETES_SUFFIX)}",
                "namespace": metadata["namespace"],
            },
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": self._kind,
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
            },
            "reason": condition["reason"],
            "message": condition["message"][:LONGEST_MESSAGE],
            "type": "Warning" if is_warning else "Normal",
            "source": {"component": "quayregistry-controller"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
