"""Namespaces: furnished when they come, emptied when they go.

A new one gets the ServiceAccount `default` and the certificate authority; a deleted one loses all
its objects, and disappears when the last of them is gone. What still holds it is told in its
conditions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from typing_extensions import override

from hatoba.cluster.controllers.kinds import Kinds, Served
from hatoba.cluster.controllers.runtime import Context, Controller, Keys
from hatoba.cluster.controllers.values import (
    Key,
    finalizers_of,
    find_condition,
    is_deleting,
    key_of,
    name_of,
    status_of,
    thawed,
)
from hatoba.cluster.objects import (
    CONFIG_MAPS,
    DEFINITIONS,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    ResourceName,
)
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.errors import Conflict, HatobaError, NotFound
from hatoba.kernel.json import JsonObject

ROOT_CA: Final = "kube-root-ca.crt"
_RETRY_SECONDS: Final = 0.5
_Words = tuple[str, str, str, str]
"""Type, status, reason and message of a condition."""
_DISCOVERED: Final = (
    "NamespaceDeletionDiscoveryFailure",
    "False",
    "ResourcesDiscovered",
    "All resources successfully discovered",
)
_PARSED: Final = (
    "NamespaceDeletionGroupVersionParsingFailure",
    "False",
    "ParsedGroupVersions",
    "All legacy kube types successfully parsed",
)
_FINALIZER: Final = "kubernetes"


class NamespaceController(Controller):
    """Furnishes and empties namespaces."""

    name = "namespace-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.kinds = Kinds(self.cache(DEFINITIONS))

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {
            NAMESPACES: lambda obj: (key_of(obj),),
            SERVICE_ACCOUNTS: lambda obj: self._furniture(obj, "default"),
            CONFIG_MAPS: lambda obj: self._furniture(obj, ROOT_CA),
            DEFINITIONS: lambda _: (),
        }

    def _furniture(self, obj: JsonObject, name: str) -> Iterable[Key]:
        return (Key("", key_of(obj).namespace),) if name_of(obj) == name else ()

    @override
    async def reconcile(self, key: Key) -> float | None:
        namespace = self.cache(NAMESPACES).get(key)
        if namespace is None:
            return None
        if is_deleting(namespace):
            return await self._empty(namespace)
        await self._ensure(
            SERVICE_ACCOUNTS, _named("ServiceAccount", name="default", namespace=key.name)
        )
        authority = _named("ConfigMap", name=ROOT_CA, namespace=key.name)
        authority["data"] = {"ca.crt": self.settings.ca_pem}
        await self._ensure(CONFIG_MAPS, authority)
        return None

    async def _ensure(self, resource: ResourceName, wanted: JsonObject) -> None:
        present = self.cache(resource).get(key_of(wanted))
        if present is None:
            try:
                await self.client.create(resource, wanted)
            except Conflict:
                return
        elif "data" in wanted and present.get("data") != wanted["data"]:
            await self.client.update(resource, {**present, "data": wanted["data"]})

    async def _empty(self, namespace: JsonObject) -> float | None:
        if _FINALIZER not in ((namespace.get("spec") or {}).get("finalizers") or ()):
            return None
        left: dict[ResourceName, list[JsonObject]] = {}
        refused: list[str] = []
        for served in [served for served in self.kinds if served.namespaced]:
            try:
                remaining = await self._delete_all(served, name_of(namespace))
            except HatobaError as error:
                refused.append(error.message)
                continue
            if remaining:
                left[served.name] = remaining
        status = self._remaining(namespace, left, refused)
        await self.client.update_status(NAMESPACES, namespace, status)
        if left or refused:
            return _RETRY_SECONDS
        fresh = await self.client.read(NAMESPACES, key_of(namespace))
        if fresh is not None:
            changed = thawed(fresh)
            changed["spec"]["finalizers"] = [
                name for name in fresh["spec"]["finalizers"] if name != _FINALIZER
            ]
            await self.client.update(NAMESPACES, changed, subresource="finalize")
        return None

    async def _delete_all(self, served: Served, namespace: str) -> list[JsonObject]:
        for item in (await self.client.list(served.name, namespace)).items:
            if is_deleting(item):
                continue
            try:
                await self.client.delete(served.name, item, propagation="Background")
            except NotFound:
                continue
        return (await self.client.list(served.name, namespace)).items

    def _remaining(
        self,
        namespace: JsonObject,
        left: Mapping[ResourceName, list[JsonObject]],
        refused: list[str],
    ) -> JsonObject:
        said = (
            _DISCOVERED,
            _PARSED,
            _content_failure(name_of(namespace), left, refused),
            _content_remaining(left),
            _finalizers_remaining(left),
        )
        fresh = [self._condition(*words) for words in said]
        before = status_of(namespace)
        kept = before.get("conditions") or ()
        conditions = [_since(find_condition(kept, item["type"]), item) for item in fresh]
        return {**before, "conditions": conditions}

    def _condition(self, kind: str, status: str, reason: str, message: str) -> JsonObject:
        return {
            "type": kind,
            "status": status,
            "lastTransitionTime": rfc3339(self.clock.now()),
            "reason": reason,
            "message": message,
        }


def _named(kind: str, *, name: str, namespace: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
    }


def _since(before: JsonObject | None, item: JsonObject) -> JsonObject:
    if before is None or before["status"] != item["status"]:
        return item
    return {**item, "lastTransitionTime": before["lastTransitionTime"]}


def _content_failure(
    namespace: str, left: Mapping[ResourceName, list[JsonObject]], refused: list[str]
) -> _Words:
    kind = "NamespaceDeletionContentFailure"
    stuck = [
        f"unexpected items still remain in namespace: {namespace}"
        f" for gvr: {resource.group}/v1, Resource={resource.plural}"
        for resource, items in left.items()
        if not any(map(finalizers_of, items))
    ]
    failures = [*stuck, *refused]
    if not failures:
        text = "All content successfully deleted, may be waiting on finalization"
        return (kind, "False", "ContentDeleted", text)
    said = failures[0] if len(failures) == 1 else f"[{', '.join(failures)}]"
    text = f"Failed to delete all resource types, {len(failures)} remaining: {said}"
    return (kind, "True", "ContentDeletionFailed", text)


def _content_remaining(left: Mapping[ResourceName, list[JsonObject]]) -> _Words:
    kind = "NamespaceContentRemaining"
    if not left:
        return (kind, "False", "ContentRemoved", "All content successfully removed")
    counts = ", ".join(
        f"{resource.plural}.{resource.group} has {len(items)} resource instances"
        for resource, items in sorted(left.items())
    )
    return (kind, "True", "SomeResourcesRemain", f"Some resources are remaining: {counts}")


def _finalizers_remaining(left: Mapping[ResourceName, list[JsonObject]]) -> _Words:
    kind = "NamespaceFinalizersRemaining"
    finalizers = Counter(
        name for items in left.values() for item in items for name in finalizers_of(item)
    )
    if not finalizers:
        text = "All content-preserving finalizers finished"
        return (kind, "False", "ContentHasNoFinalizers", text)
    counts = ", ".join(
        f"{name} in {count} resource instances" for name, count in sorted(finalizers.items())
    )
    text = f"Some content in the namespace has finalizers remaining: {counts}"
    return (kind, "True", "SomeFinalizersRemain", text)
