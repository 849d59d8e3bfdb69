"""Where the cluster's objects live: SQLite for keeps, dictionaries for reading, and the history.

One writer, the event loop's thread: a transaction takes about 0.2 ms with a write-ahead log, less
than handing it to a thread would, and nothing can come between a check and the write it allows.
Every change gets the next number of one global sequence (`resourceVersion`). The history answers
watches that continue after a pause or a restart; it is read from SQLite and costs no memory.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from hatoba.cluster.api.status import Expired
from hatoba.cluster.objects import ResourceName
from hatoba.kernel.json import JsonObject

HISTORY_LENGTH: Final = 10_000
QUEUE_LENGTH: Final = 4_096
FIRST_VERSION: Final = 100
"""No cluster remembers its first versions; starting above 1 keeps `resourceVersion=1` expired."""
_TRIM_INTERVAL: Final = 1_000
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS objects (
    api_group TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    version INTEGER NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (api_group, plural, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changes (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL,
    api_group TEXT NOT NULL, plural TEXT NOT NULL, namespace TEXT NOT NULL,
    document BLOB NOT NULL, previous BLOB
);
"""

ChangeType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(slots=True, frozen=True, kw_only=True)
class Change:
    """One entry of the history; `previous` is the state before a modification."""

    version: int
    type: ChangeType
    resource: ResourceName
    namespace: str
    object: JsonObject
    previous: JsonObject | None = None


@dataclass(slots=True, frozen=True)
class Key:
    """Where one object lies; the namespace of cluster-scoped ones is ""."""

    resource: ResourceName
    namespace: str
    name: str


class Subscription:
    """The changes of one resource, in order, from some version on."""

    def __init__(self, resource: ResourceName, namespace: str | None, length: int) -> None:
        self.resource = resource
        self.namespace = namespace
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue(length + 1)
        self._length = length
        self._overrun = False

    def offer(self, change: Change) -> None:
        """Take a change; a reader that is too slow is cut off instead of filling the memory."""
        if self._overrun:
            return
        if self._queue.qsize() >= self._length:
            self._overrun = True
            self._queue.put_nowait(None)
            return
        self._queue.put_nowait(change)

    async def next(self) -> Change:
        """Wait for the next change.

        Raises:
            Expired: the reader was too slow and must list again.
        """
        change = await self._queue.get()
        if change is None:
            raise Expired("The watch fell too far behind: list again.")
        return change


class Store:
    """All objects, and their history."""

    def __init__(
        self, path: Path | None, *, history: int = HISTORY_LENGTH, queue: int = QUEUE_LENGTH
    ) -> None:
        """Open or create the database; without a path it lives in memory."""
        self._database = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        self._history = history
        self._queue = queue
        self._subscriptions: dict[tuple[ResourceName, str | None], set[Subscription]] = {}
        """By resource and namespace: a change costs no look at those who watch something else."""
        self._listeners: list[Callable[[Change], None]] = []
        self._objects: dict[ResourceName, dict[tuple[str, str], JsonObject]] = {}
        self._load()

    def _load(self) -> None:
        rows = self._database.execute(
            "SELECT api_group, plural, namespace, name, document FROM objects"
        )
        for group, plural, namespace, name, document in rows:
            collection = self._objects.setdefault(ResourceName(plural, group), {})
            collection[namespace, name] = msgspec.json.decode(document)
        newest, oldest = self._database.execute(
            "SELECT max(version), min(version) FROM changes"
        ).fetchone()
        self._version: int = newest or FIRST_VERSION
        self._horizon: int = (oldest or FIRST_VERSION + 1) - 1

    def close(self) -> None:
        """Release the database."""
        self._database.close()

    @property
    def version(self) -> int:
        """The number of the newest change."""
        return self._version

    @property
    def horizon(self) -> int:
        """The oldest version from which a watch can continue."""
        return self._horizon

    @property
    def watchers(self) -> int:
        """How many subscriptions are open."""
        return sum(map(len, self._subscriptions.values()))

    def get(self, key: Key) -> JsonObject | None:
        """Return the object itself: not to be changed."""
        return self._objects.get(key.resource, {}).get((key.namespace, key.name))

    def members(self, resource: ResourceName, namespace: str | None) -> list[JsonObject]:
        """Return the objects ordered by namespace and name: not to be changed."""
        collection = self._objects.get(resource, {})
        keys = sorted(key for key in collection if namespace is None or key[0] == namespace)
        return [collection[key] for key in keys]

    def members_at(
        self, resource: ResourceName, namespace: str | None, version: int
    ) -> list[JsonObject]:
        """Return the objects as they were at a version, by undoing what happened since.

        Raises:
            Expired: that version is no longer remembered.
        """
        objects = {
            (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj
            for obj in self.members(resource, namespace)
        }
        for change in reversed(list(self.changes(resource, namespace, version))):
            place = (change.namespace, change.object["metadata"]["name"])
            if change.previous is None:
                objects.pop(place, None)
            else:
                objects[place] = change.previous
        return [objects[place] for place in sorted(objects)]

    def has_any(self, resource: ResourceName, namespace: str) -> bool:
        """Whether the namespace holds an object of the resource."""
        return any(key[0] == namespace for key in self._objects.get(resource, {}))

    def refresh(
        self, resource: ResourceName, transform: Callable[[JsonObject], JsonObject]
    ) -> None:
        """Show the objects of a resource differently from now on, without a change of version."""
        collection = self._objects.get(resource, {})
        for place, document in collection.items():
            collection[place] = transform(document)

    def put(self, key: Key, document: JsonObject) -> JsonObject:
        """Keep a new state, which from now on belongs to the store, and tell the watchers."""
        previous = self.get(key)
        version = self._version + 1
        document["metadata"]["resourceVersion"] = str(version)
        change = Change(
            version=version,
            type="ADDED" if previous is None else "MODIFIED",
            resource=key.resource,
            namespace=key.namespace,
            object=document,
            previous=previous,
        )
        encoded = msgspec.json.encode(document)
        self._commit(key, change, encoded)
        self._objects.setdefault(key.resource, {})[key.namespace, key.name] = document
        self._publish(change)
        return document

    def remove(self, key: Key) -> JsonObject:
        """Forget an object; watchers see its last state with a version of its own."""
        version = self._version + 1
        last = self._objects[key.resource][key.namespace, key.name]
        final = {**last, "metadata": {**last["metadata"], "resourceVersion": str(version)}}
        change = Change(
            version=version,
            type="DELETED",
            resource=key.resource,
            namespace=key.namespace,
            object=final,
            previous=last,
        )
        self._commit(key, change, None)
        del self._objects[key.resource][key.namespace, key.name]
        self._publish(change)
        return final

    def _commit(self, key: Key, change: Change, document: bytes | None) -> None:
        place = (key.resource.group, key.resource.plural, key.namespace, key.name)
        previous = msgspec.json.encode(change.previous) if change.previous else None
        recorded = msgspec.json.encode(change.object) if document is None else document
        database = self._database
        database.execute("BEGIN IMMEDIATE")
        try:
            if document is None:
                database.execute(
                    "DELETE FROM objects"
                    " WHERE api_group = ? AND plural = ? AND namespace = ? AND name = ?",
                    place,
                )
            else:
                database.execute(
                    "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?, ?)",
                    (*place, change.version, document),
                )
            database.execute(
                "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)",
                (change.version, change.type, *place[:3], recorded, previous),
            )
        except BaseException:
            database.execute("ROLLBACK")
            raise
        database.execute("COMMIT")
        self._version = change.version
        if change.version % _TRIM_INTERVAL == 0:
            self.compact(change.version - self._history)

    def compact(self, horizon: int) -> None:
        """Forget all changes up to and including the version `horizon`."""
        if horizon <= self._horizon:
            return
        self._database.execute(
            "DELETE FROM changes WHERE version <= ? AND version < ?", (horizon, self._version)
        )
        self._horizon = min(horizon, self._version - 1)

    def _publish(self, change: Change) -> None:
        for namespace in (change.namespace, None):
            for subscription in self._subscriptions.get((change.resource, namespace), ()):
                subscription.offer(change)
        for listener in self._listeners:
            listener(change)

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Call `listener` after each change, before the writer goes on; it may write itself."""
        self._listeners.append(listener)

    def changes(
        self, resource: ResourceName, namespace: str | None, since: int
    ) -> Iterable[Change]:
        """Return the remembered changes after `since`.

        Raises:
            Expired: some of them are no longer remembered.
        """
        if since < self._horizon:
            raise Expired(f"too old resource version: {since} ({self._horizon})")
        if since >= self._version:
            return []
        rows = self._database.execute(
            "SELECT version, type, namespace, document, previous FROM changes"
            " WHERE version > ? AND api_group = ? AND plural = ? ORDER BY version",
            (since, resource.group, resource.plural),
        )
        return [
            Change(
                version=version,
                type=kind,
                resource=resource,
                namespace=place,
                object=msgspec.json.decode(document),
                previous=msgspec.json.decode(previous) if previous else None,
            )
            for version, kind, place, document, previous in rows
            if namespace is None or place == namespace
        ]

    def subscribe(
        self, resource: ResourceName, namespace: str | None, since: int
    ) -> tuple[Iterable[Change], Subscription]:
        """Return what happened after `since` and a subscription to what will; no gap between."""
        backlog = self.changes(resource, namespace, since)
        subscription = Subscription(resource, namespace, self._queue)
        self._subscriptions.setdefault((resource, namespace), set()).add(subscription)
        return backlog, subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription."""
        place = (subscription.resource, subscription.namespace)
        others = self._subscriptions.get(place, set())
        others.discard(subscription)
        if not others:
            self._subscriptions.pop(place, None)
