"""A copy of all objects of one kind, kept current by list and watch.

A kind whose API is not there is looked for again every half minute: a cluster may get it later.
So is a kind that the operator may not see; `fault` says so meanwhile.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from hatoba.kernel.errors import Forbidden, HatobaError, NotFound, Unauthenticated
from hatoba.kernel.json import JsonObject
from hatoba.operator.kubernetes import Cluster, Listing

log = structlog.get_logger()

ABSENT_RETRY_SECONDS: Final = 30.0
FORBIDDEN_RETRY_SECONDS: Final = 10.0
LONGEST_RETRY_SECONDS: Final = 30.0


def _nothing() -> None:
    """Nobody wants to know."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Scope:
    """Which objects of a kind to copy."""

    namespace: str = ""
    """"" means all."""
    labelled: bool = True
    """Only those that carry a registry's label."""
    name: str = ""
    """Only the one of this name."""


class Informer:
    """The objects of one kind."""

    def __init__(
        self,
        cluster: Cluster,
        kind: str,
        *,
        changed: Callable[[JsonObject], None],
        turned: Callable[[], None] = _nothing,
        scope: Scope,
    ) -> None:
        self.kind = kind
        self.offered = False
        """Whether the cluster has the API, and lets the operator see it."""
        self.fault = ""
        """Why the operator may not see it; "" when it may."""
        self.synced = asyncio.Event()
        """Set once the first answer is in, be it that there is no such API."""
        self._cluster = cluster
        self._changed = changed
        self._turned = turned
        self._scope = scope
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
                self._replace_all([])
                self._turn(offered=False, fault="")
                await asyncio.sleep(ABSENT_RETRY_SECONDS)
            except (Forbidden, Unauthenticated) as error:
                # What was seen before stays: a lost permission is no reason to call pods gone.
                if self.fault != error.message:
                    log.warning("watch forbidden", kind=self.kind, error=error.message)
                self._turn(offered=False, fault=error.message)
                await asyncio.sleep(FORBIDDEN_RETRY_SECONDS)
            except HatobaError as error:
                log.warning("watch broke", kind=self.kind, error=error.message)
                await asyncio.sleep(delay)
                delay = min(delay * 2, LONGEST_RETRY_SECONDS)

    async def load(self) -> None:
        """Fill the copy once, for those who look and leave."""
        try:
            await self._list()
        except NotFound:
            self._turn(offered=False, fault="")
        except (Forbidden, Unauthenticated) as error:
            self._turn(offered=False, fault=error.message)

    async def _list(self) -> Listing:
        listing = await self._cluster.list(
            self.kind,
            namespace=self._scope.namespace,
            labelled=self._scope.labelled,
            name=self._scope.name,
        )
        self._replace_all(listing.items)
        self._turn(offered=True, fault="")
        return listing

    async def _follow(self) -> None:
        listing = await self._list()
        events = self._cluster.watch(
            self.kind,
            since=listing.resource_version,
            namespace=self._scope.namespace,
            labelled=self._scope.labelled,
            name=self._scope.name,
        )
        async for event, obj in events:
            if event == "DELETED":
                self._objects.pop(_key(obj), None)
            else:
                self._objects[_key(obj)] = _trimmed(obj)
            self._changed(obj)

    def _turn(self, *, offered: bool, fault: str) -> None:
        """Note whether the kind can be seen; who depends on it is told when that changes."""
        news = self.synced.is_set() and (offered, fault) != (self.offered, self.fault)
        self.offered, self.fault = offered, fault
        self.synced.set()
        if news:
            log.info("kind turned", kind=self.kind, offered=offered, fault=fault)
            self._turned()

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
    if obj["kind"] == "Pod":
        containers = obj["spec"].get("containers") or []
        obj["spec"] = {
            "nodeName": obj["spec"].get("nodeName", ""),
            "containers": [{"name": c["name"], "image": c.get("image", "")} for c in containers],
        }
    return obj
