"""The Kubernetes API as the embedded cluster's own parts use it: the same verbs without HTTP.

Implemented over the API server's verbs (`hatoba.cluster.api.local`), used by controllers, kubelet
and router. No user of it may look behind it: no controller touches another one's memory.

Objects are JSON dictionaries and belong to the reader: what `get`, `list` and `watch` hand out
may be the cached original and must be deep-copied before it is changed.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from hatoba.kernel.json import JsonObject, JsonValue


@dataclass(slots=True, frozen=True, order=True)
class ResourceName:
    """A resource as API paths name it: the plural and its group ("" for the core group)."""

    plural: str
    group: str = ""


PODS: Final = ResourceName("pods")
SERVICES: Final = ResourceName("services")
ENDPOINTS: Final = ResourceName("endpoints")
SECRETS: Final = ResourceName("secrets")
CONFIG_MAPS: Final = ResourceName("configmaps")
SERVICE_ACCOUNTS: Final = ResourceName("serviceaccounts")
CLAIMS: Final = ResourceName("persistentvolumeclaims")
VOLUMES: Final = ResourceName("persistentvolumes")
NAMESPACES: Final = ResourceName("namespaces")
NODES: Final = ResourceName("nodes")
EVENTS: Final = ResourceName("events")
DEPLOYMENTS: Final = ResourceName("deployments", "apps")
REPLICA_SETS: Final = ResourceName("replicasets", "apps")
JOBS: Final = ResourceName("jobs", "batch")
ENDPOINT_SLICES: Final = ResourceName("endpointslices", "discovery.k8s.io")
AUTOSCALERS: Final = ResourceName("horizontalpodautoscalers", "autoscaling")
LEASES: Final = ResourceName("leases", "coordination.k8s.io")
INGRESSES: Final = ResourceName("ingresses", "networking.k8s.io")
ROUTES: Final = ResourceName("routes", "route.openshift.io")
DEFINITIONS: Final = ResourceName("customresourcedefinitions", "apiextensions.k8s.io")

Propagation = Literal["Background", "Foreground", "Orphan"]
PatchType = Literal[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
]


@dataclass(slots=True, frozen=True, kw_only=True)
class Listing:
    """The items of a list and the resource version from which a watch continues without a gap."""

    items: list[JsonObject]
    resource_version: str


@dataclass(slots=True, frozen=True, kw_only=True)
class WatchEvent:
    """One change, in the order of resource versions."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: JsonObject


class Objects(Protocol):
    """Read and write objects with the API server's own semantics.

    Every method raises `hatoba.cluster.api.status.StatusError` (kinds: NotFound, Conflict,
    InvalidInput, Gone ...) exactly where a remote client would get that Status. `namespace` is
    None for cluster-scoped resources, and in `list` and `watch` for all namespaces.
    """

    async def get(self, resource: ResourceName, name: str, namespace: str | None) -> JsonObject:
        """Return one object."""

    async def list(
        self,
        resource: ResourceName,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> Listing:
        """Return what matches both selectors (in the syntax of the query parameters)."""

    def watch(
        self, resource: ResourceName, namespace: str | None = None, *, since: str
    ) -> AsyncIterator[WatchEvent]:
        """Yield every change after the resource version `since`, until cancelled.

        Raises `StatusError` of kind Gone when that version is no longer remembered: list again.
        """

    async def create(
        self, resource: ResourceName, obj: JsonObject, *, manager: str, subresource: str = ""
    ) -> JsonObject:
        """Create the object in the namespace it names; `generateName` is honoured."""

    async def update(
        self, resource: ResourceName, obj: JsonObject, *, manager: str, subresource: str = ""
    ) -> JsonObject:
        """Replace the object, or only its `status` or `scale` subresource."""

    async def patch(
        self,
        resource: ResourceName,
        name: str,
        namespace: str | None,
        patch: JsonValue,
        *,
        type: PatchType,  # noqa: A002 -- the API's word
        manager: str,
        subresource: str = "",
        force: bool = False,
    ) -> JsonObject:
        """Patch the object, or apply to it on the server."""

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
        """Delete, with the precondition that the object still has this `uid`."""
