"""Writing with the caches in step: each method returns when the shared cache shows its effect."""

from collections.abc import Sequence

from hatoba.cluster.controllers.informer import Informers
from hatoba.cluster.controllers.values import Key, key_of, thawed, uid_of
from hatoba.cluster.objects import Listing, Objects, Propagation, ResourceName
from hatoba.kernel.errors import NotFound
from hatoba.kernel.json import JsonObject


class Client:
    """One controller's way to write; `manager` is its name in `managedFields`."""

    def __init__(self, objects: Objects, informers: Informers, *, manager: str) -> None:
        self._objects = objects
        self._informers = informers
        self._manager = manager

    async def read(self, resource: ResourceName, key: Key) -> JsonObject | None:
        """Return the stored object itself, not the cached one; None when absent."""
        try:
            return await self._objects.get(resource, key.name, key.namespace or None)
        except NotFound:
            return None

    async def list(self, resource: ResourceName, namespace: str | None = None) -> Listing:
        """Return the stored objects themselves."""
        return await self._objects.list(resource, namespace)

    async def create(
        self, resource: ResourceName, obj: JsonObject, *, subresource: str = ""
    ) -> JsonObject:
        """Create the object."""
        made = await self._objects.create(
            resource, obj, manager=self._manager, subresource=subresource
        )
        if not subresource:
            await self._caught_up(resource, made)
        return made

    async def update(
        self, resource: ResourceName, obj: JsonObject, *, subresource: str = ""
    ) -> JsonObject:
        """Replace the object; its resourceVersion guards against lost updates."""
        written = await self._objects.update(
            resource, obj, manager=self._manager, subresource=subresource
        )
        if subresource != "scale":
            await self._caught_up(resource, written)
        return written

    async def update_status(
        self, resource: ResourceName, obj: JsonObject, status: JsonObject
    ) -> JsonObject:
        """Replace the object's status when it differs."""
        if obj.get("status") == status:
            return obj
        return await self.update(resource, {**obj, "status": status}, subresource="status")

    async def set_finalizers(
        self, resource: ResourceName, obj: JsonObject, finalizers: Sequence[str]
    ) -> None:
        """Replace the finalizers; without any left, a deleted object goes."""
        copy = thawed(obj)
        copy["metadata"]["finalizers"] = list(finalizers)
        await self.update(resource, copy)

    async def delete(
        self,
        resource: ResourceName,
        obj: JsonObject,
        *,
        propagation: Propagation | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        """Delete exactly this object (a namesake with another uid stays)."""
        key, uid = key_of(obj), uid_of(obj)
        await self._objects.delete(
            resource,
            key.name,
            key.namespace or None,
            propagation=propagation,
            uid=uid,
            grace_seconds=grace_seconds,
        )
        informer = self._informers.existing(resource)
        if informer is not None:
            await informer.deletion_seen(key, uid=uid)

    async def _caught_up(self, resource: ResourceName, written: JsonObject) -> None:
        informer = self._informers.existing(resource)
        if informer is not None and "resourceVersion" in written.get("metadata", {}):
            await informer.caught_up(written)
