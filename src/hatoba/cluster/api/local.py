"""The API in process: `Objects` for controllers, kubelet and router."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Final

from typing_extensions import override

from hatoba.cluster.api.assembly import Api
from hatoba.cluster.api.documents import clone
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.requests import Deletion, Selection, Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import AlreadyExists, ObjectNotFound
from hatoba.cluster.api.writing import Transform, key_of
from hatoba.cluster.objects import (
    Listing,
    Objects,
    PatchType,
    Propagation,
    ResourceName,
    WatchEvent,
)
from hatoba.kernel.json import JsonObject, JsonValue

INSTALLER: Final = "hatoba-bootstrap"


class LocalObjects(Objects):
    """The verbs of an `Api`, in the versions in which objects are stored."""

    def __init__(self, api: Api) -> None:
        self._api = api

    @override
    async def get(self, resource: ResourceName, name: str, namespace: str | None) -> JsonObject:
        found = self._api.registry.require(resource)
        return self._api.reader.get(found, key_of(found, name, namespace))

    @override
    async def list(
        self,
        resource: ResourceName,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> Listing:
        found = self._api.registry.require(resource)
        selection = Selection(namespace=namespace, labels=labels, fields=fields)
        items = self._api.reader.select(found, selection)
        return Listing(items=items, resource_version=str(self._api.reader.version))

    @override
    async def watch(
        self, resource: ResourceName, namespace: str | None = None, *, since: str
    ) -> AsyncIterator[WatchEvent]:
        found = self._api.registry.require(resource)
        selection = Selection(namespace=namespace)
        watch = self._api.reader.watch(found, selection, since=int(since))
        try:
            while True:
                yield await watch.next()
        finally:
            watch.close()

    @override
    async def create(
        self, resource: ResourceName, obj: JsonObject, *, manager: str, subresource: str = ""
    ) -> JsonObject:
        found = self._api.registry.require(resource)
        write = Write(manager=manager, subresource=subresource)
        namespace = obj["metadata"].get("namespace")
        if subresource == "binding":
            name = obj["metadata"]["name"]
            self._api.subresources.bind(found, name, namespace, obj, write=write)
            return obj
        return self._api.writer.create(found, clone(obj), namespace, write=write)

    @override
    async def update(
        self, resource: ResourceName, obj: JsonObject, *, manager: str, subresource: str = ""
    ) -> JsonObject:
        found = self._api.registry.require(resource)
        given = clone(obj)
        write = Write(manager=manager, subresource=subresource)
        metadata = obj["metadata"]
        return self._write(
            found, metadata["name"], metadata.get("namespace"), lambda _: given, write
        )

    @override
    async def patch(
        self,
        resource: ResourceName,
        name: str,
        namespace: str | None,
        patch: JsonValue,
        *,
        type: PatchType,
        manager: str,
        subresource: str = "",
        force: bool = False,
    ) -> JsonObject:
        found = self._api.registry.require(resource)
        write = Write(manager=manager, subresource=subresource, force=force)
        if type == "application/apply-patch+yaml":
            applied, _ = self._api.applier.apply(found, name, namespace, patch, write=write)
            return applied
        transform = self._api.patcher.transform(found, patch, kind=type)
        return self._write(found, name, namespace, transform, write)

    def _write(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        transform: Transform,
        write: Write,
    ) -> JsonObject:
        if write.subresource == "scale":
            return self._api.subresources.update_scale(
                resource, name, namespace, transform, write=write
            )
        return self._api.writer.update(resource, name, namespace, transform, write=write)

    @override
    async def delete(
        self,
        resource: ResourceName,
        name: str,
        namespace: str | None,
        *,
        propagation: Propagation | None = None,
        uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        found = self._api.registry.require(resource)
        deletion = Deletion(propagation=propagation, uid=uid, grace_seconds=grace_seconds)
        self._api.remover.delete(found, key_of(found, name, namespace), deletion=deletion)


async def install(objects: Objects, initial: Iterable[JsonObject], *, registry: Registry) -> None:
    """Create what is not there yet of a cluster's initial objects."""
    for obj in initial:
        group = obj["apiVersion"].rpartition("/")[0]
        resource = registry.of_kind(group, obj["kind"])
        if resource is None:
            raise ObjectNotFound(f"no resource is served for {obj['apiVersion']} {obj['kind']}")
        with contextlib.suppress(AlreadyExists):
            await objects.create(resource.name, obj, manager=INSTALLER)
