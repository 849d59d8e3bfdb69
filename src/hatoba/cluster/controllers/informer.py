"""Caches of whole resources, kept current by watches and shared by all controllers.

After its own write a controller waits until the cache has seen it, so that decisions are never
made on a state older than the decider's last deed. (Elsewhere this needs bookkeeping of expected
events; here writer and watch share one process.)
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import structlog

from hatoba.cluster.controllers.values import Key, is_deleting, key_of, uid_of, version_of
from hatoba.cluster.objects import Objects, ResourceName
from hatoba.kernel.errors import Gone, HatobaError, NotFound
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

Handler = Callable[[JsonObject | None, JsonObject | None], None]
"""Called with the state before and after a change; None stands for absent."""

_CATCH_UP_SECONDS: Final = 10.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0


class Informer:
    """The cached objects of one resource."""

    def __init__(self, objects: Objects, resource: ResourceName) -> None:
        self._objects = objects
        self.resource = resource
        self._items: dict[Key, JsonObject] = {}
        self._handlers: list[Handler] = []
        self._version = 0
        self._synced = asyncio.Event()
        self._changed = asyncio.Condition()

    def subscribe(self, handler: Handler) -> None:
        """Call `handler` for every change from now on, and now for what is already cached."""
        self._handlers.append(handler)
        for item in list(self._items.values()):
            handler(None, item)

    def unsubscribe(self, handler: Handler) -> None:
        """End what `subscribe` began."""
        self._handlers.remove(handler)

    def get(self, key: Key) -> JsonObject | None:
        """Return the cached object."""
        return self._items.get(key)

    def items(self, namespace: str | None = None) -> list[JsonObject]:
        """Return the cached objects, of one namespace or of all."""
        if namespace is None:
            return list(self._items.values())
        return [item for key, item in self._items.items() if key.namespace == namespace]

    async def synced(self) -> None:
        """Wait until the first list is in."""
        await self._synced.wait()

    async def caught_up(self, written: JsonObject) -> None:
        """Wait until the cache is at least as new as this object."""
        key, version = key_of(written), version_of(written)

        def is_there() -> bool:
            cached = self._items.get(key)
            return self._version >= version or (
                cached is not None and version_of(cached) >= version
            )

        await self._until(is_there)

    async def deletion_seen(self, key: Key, *, uid: str) -> None:
        """Wait until the cache shows this object gone or going."""

        def is_there() -> bool:
            cached = self._items.get(key)
            return cached is None or uid_of(cached) != uid or is_deleting(cached)

        await self._until(is_there)

    async def _until(self, is_there: Callable[[], bool]) -> None:
        if is_there():
            return
        try:
            async with asyncio.timeout(_CATCH_UP_SECONDS), self._changed:
                await self._changed.wait_for(is_there)
        except TimeoutError:
            log.warning("cache.behind", resource=self.resource.plural)

    async def run(self) -> None:
        """Keep the cache current until cancelled."""
        pause = _FIRST_PAUSE
        while True:
            try:
                version = await self._relist()
                pause = _FIRST_PAUSE
                await self._follow(version)
            except Gone:
                log.debug("watch.expired", resource=self.resource.plural)
            except NotFound:
                # The resource is not served (any more): a CRD that was deleted, or not yet made.
                await self._replace({}, version=self._version)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except HatobaError as error:
                log.warning("watch.failed", resource=self.resource.plural, error=error.message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            except Exception:
                log.exception("watch.crashed", resource=self.resource.plural)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    async def _relist(self) -> str:
        listing = await self._objects.list(self.resource)
        found = {key_of(item): item for item in listing.items}
        await self._replace(found, version=int(listing.resource_version or 0))
        return listing.resource_version

    async def _replace(self, found: dict[Key, JsonObject], *, version: int) -> None:
        before, self._items = self._items, found
        self._version = version
        for key, item in before.items():
            if key not in found:
                self._tell(item, None)
        for key, item in found.items():
            old = before.get(key)
            if old is None or version_of(old) != version_of(item):
                self._tell(old, item)
        self._synced.set()
        await self._notify()

    async def _follow(self, version: str) -> None:
        async for event in self._objects.watch(self.resource, since=version):
            self._version = max(self._version, version_of(event.object))
            if event.type != "BOOKMARK":
                key = key_of(event.object)
                old = self._items.get(key)
                if event.type == "DELETED":
                    self._items.pop(key, None)
                    self._tell(old or event.object, None)
                else:
                    self._items[key] = event.object
                    self._tell(old, event.object)
            await self._notify()

    def _tell(self, old: JsonObject | None, new: JsonObject | None) -> None:
        for handler in self._handlers:
            handler(old, new)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class Informers:
    """The informers of a process: one per resource, started when first asked for."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._informers: dict[ResourceName, Informer] = {}
        self._tasks: dict[ResourceName, asyncio.Task[None]] = {}

    def of(self, resource: ResourceName) -> Informer:
        """Return the resource's informer, running."""
        informer = self._informers.get(resource)
        if informer is None:
            informer = self._informers[resource] = Informer(self._objects, resource)
            self._tasks[resource] = asyncio.create_task(
                informer.run(), name=f"informer {resource.plural}"
            )
        return informer

    def existing(self, resource: ResourceName) -> Informer | None:
        """Return the resource's informer when there is one."""
        return self._informers.get(resource)

    def drop(self, resource: ResourceName) -> None:
        """End the informer of a resource that is not served any more."""
        self._informers.pop(resource, None)
        task = self._tasks.pop(resource, None)
        if task is not None:
            task.cancel()

    async def synced(self, resources: Iterable[ResourceName]) -> None:
        """Wait until these resources are listed."""
        for resource in resources:
            await self.of(resource).synced()

    async def close(self) -> None:
        """End all informers."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self._informers.clear()
