"""Events are notes, not history: each goes an hour after it was last written."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

from typing_extensions import override

from hatoba.cluster.controllers.runtime import Controller, Keys
from hatoba.cluster.controllers.values import Key, created_at, moment
from hatoba.cluster.objects import EVENTS, ResourceName
from hatoba.kernel.errors import Conflict, NotFound
from hatoba.kernel.json import JsonObject


class EventExpiry(Controller):
    """Deletes old Events.

    No cache is kept for them: they are many, and one look a minute is enough.
    """

    name = "event-expiry"

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {}

    @override
    async def run(self) -> None:
        while True:
            await asyncio.sleep(self.settings.expiry_period)
            await self.sweep()

    @override
    async def reconcile(self, key: Key) -> float | None:
        raise NotImplementedError

    async def sweep(self) -> None:
        """Delete what is too old now."""
        limit = self.clock.now() - timedelta(seconds=self.settings.event_ttl)
        for event in (await self.client.list(EVENTS)).items:
            if moment(_last_seen(event)) < limit:
                with suppress(NotFound, Conflict):
                    await self.client.delete(EVENTS, event)


def _last_seen(event: JsonObject) -> str:
    series = event.get("series") or {}
    times = [
        event.get("lastTimestamp"),
        event.get("eventTime"),
        series.get("lastObservedTime"),
        created_at(event),
    ]
    return max(time for time in times if time)
