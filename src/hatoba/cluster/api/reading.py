"""Get, list and watch: how objects leave the store.

What is handed out may be the cached original: callers must not change it.
"""

from collections import deque

from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.requests import Selection
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.selection import Selector
from hatoba.cluster.api.status import Cause, ObjectNotFound, VersionTooLarge
from hatoba.cluster.api.store import Change, Key, Store
from hatoba.cluster.objects import WatchEvent
from hatoba.kernel.json import JsonObject


class Reader:
    """Reads objects."""

    def __init__(self, store: Store, *, registry: Registry) -> None:
        self._store = store
        self._registry = registry

    @property
    def version(self) -> int:
        """The newest resource version."""
        return self._store.version

    def get(self, resource: Resource, key: Key) -> JsonObject:
        """Return one object.

        Raises:
            ObjectNotFound: it is not there.
        """
        obj = self._store.get(key)
        if obj is None:
            raise ObjectNotFound.named(resource.about(key.name))
        return obj

    def select(self, resource: Resource, selection: Selection) -> list[JsonObject]:
        """Return the matching objects ordered by namespace and name."""
        selector = Selector.of(resource, selection)
        objects = self._store.members(resource.storage, selection.namespace)
        return [obj for obj in objects if selector.matches(obj)]

    def select_at(
        self, resource: Resource, selection: Selection, version: int
    ) -> "list[JsonObject]":
        """Return what matched at a version.

        Raises:
            Expired: that version is no longer remembered.
        """
        selector = Selector.of(resource, selection)
        objects = self._store.members_at(resource.storage, selection.namespace, version)
        return [obj for obj in objects if selector.matches(obj)]

    def watch(self, resource: Resource, selection: Selection, *, since: int) -> "Watch":
        """Begin to watch the changes after `since`, as seen through the selection.

        Raises:
            Expired: `since` is older than the history.
        """
        selector = Selector.of(resource, selection)
        return Watch(self._store, resource, selection.namespace, selector, since)

    def check_version(self, version: int) -> None:
        """Refuse a version from the future.

        Raises:
            VersionTooLarge: this server has not reached it.
        """
        if version > self._store.version:
            raise VersionTooLarge(
                f"Timeout: Too large resource version: {version}, current: {self._store.version}",
                causes=[
                    Cause(reason="ResourceVersionTooLarge", message="Too large resource version")
                ],
                retry_after_seconds=1,
            )


class Watch:
    """The events of one watch; to be closed.

    An object that begins to match is ADDED, one that ceases to is DELETED (in its former shape,
    with the new version).
    """

    def __init__(
        self,
        store: Store,
        resource: Resource,
        namespace: str | None,
        selector: Selector,
        since: int,
    ) -> None:
        self._store = store
        self._selector = selector
        backlog, self._subscription = store.subscribe(resource.storage, namespace, since)
        self._backlog = deque(backlog)

    async def next(self) -> WatchEvent:
        """Wait for the next event that is seen through the selection.

        Raises:
            Expired: the reader was too slow.
        """
        while True:
            if self._backlog:
                change = self._backlog.popleft()
            else:
                change = await self._subscription.next()
            if (event := _seen(change, self._selector)) is not None:
                return event

    def close(self) -> None:
        """Stop listening."""
        self._store.unsubscribe(self._subscription)


def _seen(change: Change, selector: Selector) -> WatchEvent | None:
    matches = selector.matches(change.object)
    if change.type != "MODIFIED" or change.previous is None:
        return WatchEvent(type=change.type, object=change.object) if matches else None
    matched = selector.matches(change.previous)
    if matches:
        return WatchEvent(type="MODIFIED" if matched else "ADDED", object=change.object)
    if matched:
        version = change.object["metadata"]["resourceVersion"]
        metadata = {**change.previous["metadata"], "resourceVersion": version}
        return WatchEvent(type="DELETED", object={**change.previous, "metadata": metadata})
    return None
