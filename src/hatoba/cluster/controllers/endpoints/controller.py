"""The Endpoints and EndpointSlice controllers, in one: both say the same twice."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from typing_extensions import override

from hatoba.cluster.controllers.endpoints.addresses import (
    MANAGED_BY,
    SERVICE_NAME,
    SLICE_CONTROLLER,
    Backend,
    backends,
    endpoints_for,
    has_endpoints,
    same_endpoints,
    same_slice,
    slice_object,
    slices_for,
)
from hatoba.cluster.controllers.runtime import Controller, Keys
from hatoba.cluster.controllers.selectors import matches_labels
from hatoba.cluster.controllers.values import (
    Key,
    created_at,
    is_controlled_by,
    is_deleting,
    key_of,
    labels_of,
    spec_of,
    thawed,
)
from hatoba.cluster.objects import (
    ENDPOINT_SLICES,
    ENDPOINTS,
    PODS,
    SERVICES,
    ResourceName,
)
from hatoba.kernel.errors import NotFound
from hatoba.kernel.json import JsonObject


class EndpointsController(Controller):
    """Keeps the addresses of every Service with a selector."""

    name = "endpoint-controller"

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {
            SERVICES: lambda obj: (key_of(obj),),
            PODS: self._of_pod,
            ENDPOINTS: lambda obj: (key_of(obj),),
            ENDPOINT_SLICES: self._of_slice,
        }

    def _of_pod(self, pod: JsonObject) -> Iterable[Key]:
        labels = labels_of(pod)
        return [
            key_of(service)
            for service in self.cache(SERVICES).items(key_of(pod).namespace)
            if matches_labels(spec_of(service).get("selector"), labels)
        ]

    def _of_slice(self, item: JsonObject) -> Iterable[Key]:
        labels = labels_of(item)
        if labels.get(MANAGED_BY) != SLICE_CONTROLLER or SERVICE_NAME not in labels:
            return ()
        return (Key(key_of(item).namespace, labels[SERVICE_NAME]),)

    @override
    async def reconcile(self, key: Key) -> float | None:
        service = self.cache(SERVICES).get(key)
        if service is None:
            # Slices are owned by the Service and collected; Endpoints only share its name.
            await self._forget(key)
            return None
        if is_deleting(service) or not has_endpoints(service):
            return None
        selector = spec_of(service)["selector"]
        found = backends(
            service,
            [
                pod
                for pod in self.cache(PODS).items(key.namespace)
                if matches_labels(selector, labels_of(pod))
            ],
        )
        await self._write_endpoints(key, service, found)
        await self._write_slices(key, service, found)
        return None

    async def _forget(self, key: Key) -> None:
        present = self.cache(ENDPOINTS).get(key)
        if present is not None and not is_deleting(present):
            with suppress(NotFound):
                await self.client.delete(ENDPOINTS, present)

    async def _write_endpoints(self, key: Key, service: JsonObject, found: list[Backend]) -> None:
        wanted = endpoints_for(service, found)
        present = self.cache(ENDPOINTS).get(key)
        if present is None:
            await self.client.create(ENDPOINTS, wanted)
        elif not same_endpoints(present, wanted):
            changed = thawed(present)
            changed["metadata"]["labels"] = wanted["metadata"].get("labels") or {}
            changed["subsets"] = wanted.get("subsets") or []
            await self.client.update(ENDPOINTS, changed)

    async def _write_slices(self, key: Key, service: JsonObject, found: list[Backend]) -> None:
        present = sorted(
            (
                item
                for item in self.cache(ENDPOINT_SLICES).items(key.namespace)
                if is_controlled_by(item, service) and not is_deleting(item)
            ),
            key=created_at,
        )
        wanted = [slice_object(service, content) for content in slices_for(service, found)]
        left = []
        for item in present:
            exact = next((content for content in wanted if same_slice(item, content)), None)
            if exact is not None:
                wanted.remove(exact)
            else:
                left.append(item)
        for content in wanted:
            family = content["addressType"]
            reused = next((item for item in left if item["addressType"] == family), None)
            if reused is None:
                await self.client.create(ENDPOINT_SLICES, content)
                continue
            left.remove(reused)
            changed = thawed(reused)
            changed["metadata"]["labels"] = content["metadata"]["labels"]
            changed["endpoints"], changed["ports"] = content["endpoints"], content["ports"]
            await self.client.update(ENDPOINT_SLICES, changed)
        for item in left:
            with suppress(NotFound):
                await self.client.delete(ENDPOINT_SLICES, item)
