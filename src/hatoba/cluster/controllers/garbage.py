"""The garbage collector: what is owned goes when its owners are gone.

Background: an object whose owners are all absent is deleted. Foreground: an owner with the
finalizer `foregroundDeletion` waits for the dependents that block it. Orphan: an owner with the
finalizer `orphan` lets its dependents go free. An owner counts as absent only after it was asked
for by name and its uid was compared; an owner of a kind nobody knows is left alone.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from typing_extensions import override

from hatoba.cluster.controllers.informer import Handler
from hatoba.cluster.controllers.kinds import Kinds, defined_by
from hatoba.cluster.controllers.runtime import Context, Controller, Keys
from hatoba.cluster.controllers.values import (
    Key,
    finalizers_of,
    is_deleting,
    key_of,
    owners_of,
    thawed,
    uid_of,
)
from hatoba.cluster.objects import DEFINITIONS, Propagation, ResourceName
from hatoba.kernel.errors import NotFound
from hatoba.kernel.json import JsonObject

FOREGROUND: Final = "foregroundDeletion"
ORPHAN: Final = "orphan"
_REMEMBERED: Final = 4_096


@dataclass(slots=True, frozen=True)
class Place:
    """Where an object of the graph lies."""

    resource: ResourceName
    key: Key


@dataclass(slots=True, kw_only=True)
class Graph:
    """Who exists and who owns whom, by uid."""

    places: dict[str, Place] = field(default_factory=dict)
    dependents: dict[str, set[str]] = field(default_factory=dict)

    def put(self, place: Place, old: JsonObject | None, new: JsonObject) -> None:
        """Record an object's present state."""
        uid = uid_of(new)
        self.places[uid] = place
        before = {owner["uid"] for owner in owners_of(old)} if old else set()
        after = {owner["uid"] for owner in owners_of(new)}
        self._unlink(uid, before - after)
        for owner in after:
            self.dependents.setdefault(owner, set()).add(uid)

    def remove(self, old: JsonObject) -> None:
        """Forget an object that is gone."""
        uid = uid_of(old)
        self.places.pop(uid, None)
        self._unlink(uid, {owner["uid"] for owner in owners_of(old)})

    def _unlink(self, uid: str, owners: set[str]) -> None:
        for owner in owners:
            remaining = self.dependents.get(owner)
            if remaining is not None:
                remaining.discard(uid)
                if not remaining:
                    del self.dependents[owner]


@dataclass(slots=True, kw_only=True)
class Verdict:
    """An object's owner references, by what became of the owners."""

    solid: list[JsonObject] = field(default_factory=list)
    dangling: list[JsonObject] = field(default_factory=list)
    waiting: list[JsonObject] = field(default_factory=list)
    """Owners in foreground deletion, which wait for this object."""


class GarbageCollector(Controller):
    """Deletes dependents, in the order that was asked for."""

    name = "garbage-collector-controller"
    workers: ClassVar[int] = 4

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.kinds = Kinds(self.cache(DEFINITIONS))
        self._graph = Graph()
        self._handlers: dict[ResourceName, Handler] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        """Uids of objects that went lately; none of them ever comes back."""

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {DEFINITIONS: lambda _: ()}

    @override
    async def prepare(self) -> None:
        self._graph = Graph()
        self._handlers.clear()
        for served in list(self.kinds.owning()):
            self._observe(served.name)
        self.cache(DEFINITIONS).subscribe(self._definition_changed)

    @override
    async def run(self) -> None:
        try:
            await super().run()
        finally:
            self.cache(DEFINITIONS).unsubscribe(self._definition_changed)
            for resource, handler in self._handlers.items():
                self.cache(resource).unsubscribe(handler)

    def _observe(self, resource: ResourceName) -> None:
        if resource in self._handlers:
            return

        def changed(old: JsonObject | None, new: JsonObject | None) -> None:
            self._changed(resource, old, new)

        self._handlers[resource] = changed
        self.cache(resource).subscribe(changed)

    def _definition_changed(self, old: JsonObject | None, new: JsonObject | None) -> None:
        if new is not None:
            served = defined_by(new)
            if served is not None:
                self._observe(served.name)
        elif old is not None:
            served = defined_by(old)
            if served is not None and served.name in self._handlers:
                # Its last objects went with it, but their events may not have come yet.
                for item in self.cache(served.name).items():
                    self._changed(served.name, item, None)
                del self._handlers[served.name]
                self.informers.drop(served.name)

    def _changed(
        self, resource: ResourceName, old: JsonObject | None, new: JsonObject | None
    ) -> None:
        if old is not None and (new is None or uid_of(new) != uid_of(old)):
            self._graph.remove(old)
            self._remember_gone(uid_of(old))
            self._look_at(*self._graph.dependents.get(uid_of(old), ()))
            self._look_at(*(owner["uid"] for owner in owners_of(old)))
            old = None
        if new is None:
            return
        self._graph.put(Place(resource, key_of(new)), old, new)
        if old is None or _links(old) != _links(new):
            uid = uid_of(new)
            self._look_at(uid, *(owner["uid"] for owner in owners_of(old or new)))
            if is_deleting(new):
                self._look_at(*self._graph.dependents.get(uid, ()))

    def _remember_gone(self, uid: str) -> None:
        self._gone[uid] = None
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)

    def _look_at(self, *uids: str) -> None:
        for uid in uids:
            self.queue.add(Key("", uid))

    @override
    async def reconcile(self, key: Key) -> float | None:
        place = self._graph.places.get(key.name)
        obj = self.cache(place.resource).get(place.key) if place else None
        if place is None or obj is None or uid_of(obj) != key.name:
            return None
        if is_deleting(obj):
            finalizers = finalizers_of(obj)
            if ORPHAN in finalizers:
                await self._orphan_dependents(place, obj)
            elif FOREGROUND in finalizers:
                await self._finish_foreground(place, obj)
        elif owners_of(obj):
            await self._judge(place, obj)
        return None

    def _dependents(self, uid: str) -> list[tuple[Place, JsonObject]]:
        found = []
        for dependent in sorted(self._graph.dependents.get(uid, ())):
            place = self._graph.places[dependent]
            obj = self.cache(place.resource).get(place.key)
            if obj is not None and uid_of(obj) == dependent:
                found.append((place, obj))
        return found

    async def _orphan_dependents(self, place: Place, owner: JsonObject) -> None:
        for where, dependent in self._dependents(uid_of(owner)):
            await self._drop_owners(where, dependent, {uid_of(owner)})
        await self._drop_finalizer(place, owner, ORPHAN)

    async def _finish_foreground(self, place: Place, owner: JsonObject) -> None:
        uid = uid_of(owner)
        blocking = [
            dependent
            for _, dependent in self._dependents(uid)
            if any(
                reference["uid"] == uid and reference.get("blockOwnerDeletion")
                for reference in owners_of(dependent)
            )
        ]
        if blocking:
            self._look_at(*map(uid_of, blocking))
        else:
            await self._drop_finalizer(place, owner, FOREGROUND)

    async def _drop_finalizer(self, place: Place, obj: JsonObject, finalizer: str) -> None:
        fresh = await self.client.read(place.resource, place.key)
        if fresh is None or uid_of(fresh) != uid_of(obj):
            return
        left = [name for name in finalizers_of(fresh) if name != finalizer]
        await self.client.set_finalizers(place.resource, fresh, left)

    async def _judge(self, place: Place, obj: JsonObject) -> None:
        verdict = await self._verdict(obj)
        if verdict.solid:
            absent = {owner["uid"] for owner in (*verdict.dangling, *verdict.waiting)}
            if absent:
                await self._drop_owners(place, obj, absent)
            return
        propagation: Propagation = "Background"
        if verdict.waiting and self._graph.dependents.get(uid_of(obj)):
            # The owner waits for the whole tree, so this branch has to wait for its leaves too.
            propagation = "Foreground"
        elif ORPHAN in finalizers_of(obj):
            propagation = "Orphan"
        elif FOREGROUND in finalizers_of(obj):
            propagation = "Foreground"
        try:
            await self.client.delete(place.resource, obj, propagation=propagation)
        except NotFound:
            return

    async def _verdict(self, obj: JsonObject) -> Verdict:
        verdict = Verdict()
        for reference in owners_of(obj):
            owner = await self._owner(obj, reference)
            if owner is None:
                verdict.dangling.append(reference)
            elif (
                reference.get("blockOwnerDeletion")
                and is_deleting(owner)
                and FOREGROUND in finalizers_of(owner)
            ):
                verdict.waiting.append(reference)
            else:
                verdict.solid.append(reference)
        return verdict

    async def _owner(self, obj: JsonObject, reference: JsonObject) -> JsonObject | None:
        """Return the owner, the object itself for one that cannot be known, None when absent."""
        if reference["uid"] in self._gone:
            return None
        served = self.kinds.named(reference)
        if served is None:
            return obj
        namespace = key_of(obj).namespace
        if served.namespaced and not namespace:
            self.recorder.warning(
                obj,
                "OwnerRefInvalidNamespace",
                f"ownerRef [{reference['apiVersion']}/{reference['kind']}, namespace: ,"
                f" name: {reference['name']}, uid: {reference['uid']}]"
                ' does not exist in namespace ""',
            )
            return obj
        key = Key(namespace if served.namespaced else "", reference["name"])
        cached = self.cache(served.name).get(key)
        if cached is not None and uid_of(cached) == reference["uid"]:
            return cached
        fresh = await self.client.read(served.name, key)
        if fresh is not None and uid_of(fresh) == reference["uid"]:
            return fresh
        return None

    async def _drop_owners(self, place: Place, obj: JsonObject, uids: set[str]) -> None:
        fresh = await self.client.read(place.resource, place.key)
        if fresh is None or uid_of(fresh) != uid_of(obj):
            return
        changed = thawed(fresh)
        changed["metadata"]["ownerReferences"] = [
            owner for owner in owners_of(fresh) if owner["uid"] not in uids
        ]
        await self.client.update(place.resource, changed)


def _links(obj: JsonObject) -> tuple[object, ...]:
    meta = obj["metadata"]
    return (meta.get("ownerReferences"), meta.get("finalizers"), meta.get("deletionTimestamp"))
