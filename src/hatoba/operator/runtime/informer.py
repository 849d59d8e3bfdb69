"""A copy of all objects of one kind, kept current by list and watch.

A kind whose API is not there is looked for again every half minute: a cluster may get it later.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from hatoba.kernel.errors import HatobaError, NotFound
from hatoba.kernel.json import JsonObject
from hatoba.operator.kubernetes import Cluster

log = structlog.get_logger()

ABSENT_RETRY_SECONDS: Final = 30.0
LONGEST_RETRY_SECONDS: Final = 30.0


class Informer:
    """The objects of one kind."""

    def __init__(
        self,
        cluster: Cluster,
        kind: str,
        *,
        changed: Callable[[JsonObject], None],
        namespace: str = "",
        labelled: bool = True,
    ) -> None:
        self.kind = kind
        self.offered = False
        """Whether the cluster has the API."""
        self.synced = asyncio.Event()
        """Set once the first answer is in, be it that there is no such API."""
        self._cluster = cluster
        self._changed = changed
        self._scope = {"namespace": namespace, "labelled": labelled}
        self._objects: dict[tuple[str, str], JsonObject] = {}

    def objects(self) -> list[JsonObject]:
        """Return what is there; the objects are shared, nobody may change them."""
        return list(self._objects.values())

    async def run(self) -> None:
        """Keep the copy current until cancelled."""
        delay = 0.5
        while True:
            try:
                await self._follow()
                delay = 0.5
            except NotFound:
                self._set_offered(offered=False)
                await asyncio.sleep(ABSENT_RETRY_SECONDS)
            except HatobaError as error:
                log.warning("watch broke", kind=self.kind, error=error.message)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def _follow(self) -> None:
        listing = await self._cluster.list(self.kind, **self._scope)  # type: ignore[arg-type]
        self._replace_all(listing.items)
        self._set_offered(offered=True)
        events = self._cluster.watch(
            self.kind,
            since=listing.resource_version,
            **self._scope,  # type: ignore[arg-type]
        )
        async for event, obj in events:
            if event == "DELETED":
                self._objects.pop(_key(obj), None)
            else:
                self._objects[_key(obj)] = _trimmed(obj)
            self._changed(obj)

    def _set_offered(self, *, offered: bool) -> None:
        if offered != self.offered:
            log.debug("kind offered", kind=self.kind, offered=offered)
            self.offered = offered
        if not offered:
            self._replace_all([])
        self.synced.set()

    def _replace_all(self, items: list[JsonObject]) -> None:
        gone = dict(self._objects)
        self._objects = {}
        for obj in items:
            known = gone.pop(_key(obj), None)
            self._objects[_key(obj)] = _trimmed(obj)
            if known is None or _version(known) != _version(obj):
                self._changed(obj)
        for obj in gone.values():
            self._changed(obj)


def _key(obj: JsonObject) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _version(obj: JsonObject) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))


def _trimmed(obj: JsonObject) -> JsonObject:
    """Leave out what nobody asks for: who owns which field matters for Deployments alone."""
    if obj["kind"] != "Deployment":
        obj["metadata"].pop("managedFields", None)
    return obj
