"""A copy of all objects of one kind, kept current by list and watch.

A kind whose API is not there is looked for again every half minute: a cluster may get it later.
So is a kind that the operator may not see; `fault` says so meanwhile.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter

from hatoba.kernel.errors import Forbidden, Gone, HatobaError, NotFound, Unauthenticated
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.answers import Throttled
from hatoba.operator.kubernetes import Cluster, Listing

log = structlog.get_logger()

ABSENT_RETRY_SECONDS: Final = 30.0
FORBIDDEN_RETRY_SECONDS: Final = 10.0
LONGEST_RETRY_SECONDS: Final = 30.0
FIRST_RETRY_SECONDS: Final = 0.5

BROKEN: Final = Counter(
    "hatoba_operator_watch_failures_total", "Watches that ended in a failure.", ["kind"]
)


Place = tuple[str, str]
"""Namespace and name."""


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


@dataclass(slots=True, frozen=True, kw_only=True)
class WatchRetry:
    """How long to wait before a watch that broke is begun anew: longer each time."""

    first_seconds: float = FIRST_RETRY_SECONDS
    longest_seconds: float = LONGEST_RETRY_SECONDS


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
        retry: WatchRetry | None = None,
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
        self._retry = retry or WatchRetry()
        self._patience_seconds = 0.0
        """How long the API has asked to be left alone."""
        self._objects: dict[Place, JsonObject] = {}
        self._labelled: dict[Place, dict[Place, JsonObject]] = {}
        """The same objects by their namespace and the registry that their label names."""

    def get(self, namespace: str, name: str) -> JsonObject | None:
        """Return one object, None when it is not there."""
        return self._objects.get((namespace, name))

    def objects_of(self, registry: str, *, namespace: str) -> list[JsonObject]:
        """Return what carries the label of a registry in a namespace."""
        return list(self._labelled.get((namespace, registry), {}).values())

    def objects(self) -> list[JsonObject]:
        """Return what is there; the objects are shared, nobody may change them."""
        return list(self._objects.values())

    async def run(self) -> None:
        """Keep the copy current until cancelled."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            delay = await self._try()
            if loop.time() - began > self._retry.longest_seconds:
                # It worked for a while: what happened long ago is no reason to wait long.
                failures = 0
            if delay is None:
                failures += 1
                delay = self._retry.first_seconds * 2.0 ** min(failures - 1, 16)
            await asyncio.sleep(self._pause(delay))

    def _pause(self, wanted: float) -> float:
        """Return for how long to wait; what the API asked for goes beyond our own limit."""
        return max(min(wanted, self._retry.longest_seconds), self._patience_seconds)

    async def _try(self) -> float | None:
        """Follow until that ends; return after how long to begin anew, None after a failure."""
        self._patience_seconds = 0.0
        try:
            await self._follow()
        except Gone as error:
            # A version is kept for minutes only: list again, nothing is wrong.
            log.debug("watch expired", kind=self.kind, error=error.message)
            return self._retry.first_seconds
        except NotFound:
            self._replace_all([])
            self._turn(offered=False, fault="")
            return ABSENT_RETRY_SECONDS
        except (Forbidden, Unauthenticated) as error:
            # What was seen before stays: a lost permission is no reason to call pods gone.
            if self.fault != error.message:
                log.warning("watch forbidden", kind=self.kind, error=error.message)
            self._turn(offered=False, fault=error.message)
            return FORBIDDEN_RETRY_SECONDS
        except HatobaError as error:
            BROKEN.labels(self.kind).inc()
            log.warning("watch broke", kind=self.kind, error=error.message)
            if isinstance(error, Throttled):
                self._patience_seconds = float(error.retry_after_seconds or 0)
            return None
        except Exception:
            # A copy that nobody keeps current any more would be believed for ever.
            BROKEN.labels(self.kind).inc()
            log.exception("watch crashed", kind=self.kind)
            return None
        return 0.0

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
            self._forget(_key(obj))
            if event != "DELETED":
                self._remember(obj)
            self._changed(obj)

    def _remember(self, obj: JsonObject) -> None:
        key = _key(obj)
        self._objects[key] = _trimmed(obj)
        self._labelled.setdefault(_label(obj), {})[key] = obj

    def _forget(self, key: Place) -> None:
        known = self._objects.pop(key, None)
        if known is None:
            return
        mine = self._labelled[_label(known)]
        del mine[key]
        if not mine:
            del self._labelled[_label(known)]

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
        self._objects, self._labelled = {}, {}
        for obj in items:
            known = gone.pop(_key(obj), None)
            self._remember(obj)
            if known is None or _version(known) != _version(obj):
                self._changed(obj)
        for obj in gone.values():
            self._changed(obj)


_CLAIM: Final = "persistentVolumeClaim"


def _key(obj: JsonObject) -> Place:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _label(obj: JsonObject) -> Place:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), (metadata.get("labels") or {}).get(
        names.REGISTRY_LABEL, ""
    )


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
            "volumes": [v for v in obj["spec"].get("volumes") or [] if _CLAIM in v],
        }
    return obj
