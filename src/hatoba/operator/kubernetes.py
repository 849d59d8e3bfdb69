"""Every call that the operator makes to Kubernetes, over lightkube.

Objects are plain JSON dictionaries: what others wrote into them survives. Errors of the client
library become errors of ours here and nowhere else.
"""

import asyncio
import builtins
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import structlog
from lightkube import AsyncClient, KubeConfig
from lightkube.config.client_adapter import verify_cluster
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError
from lightkube.core.resource import NamespacedResource
from lightkube.generic_resource import (
    create_global_resource,
    create_namespaced_resource,
    get_generic_resource,
)
from lightkube.operators import exists, not_equal
from lightkube.types import CascadeType, PatchType
from prometheus_client import Counter
from typing_extensions import override

from hatoba.kernel.errors import (
    HatobaError,
    NotFound,
    Unavailable,
)
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.answers import translated

log = structlog.get_logger()

ALL_NAMESPACES: Final = "*"
REQUESTS: Final = Counter(
    "hatoba_operator_api_requests_total", "Requests to the Kubernetes API.", ["method", "code"]
)
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_SECONDS: Final = 30.0
_ABOUT: Final = "involvedObject.kind"
_IDLE_CONNECTIONS: Final = 20
_POOLS: Final = 31
"""Several times as many as workers, or these would often share one; a prime number, since hashes
of tasks are multiples of their size."""
WATCH_SECONDS: Final = 290
"""After so long the server ends a watch."""
WATCH_SILENCE_SECONDS: Final = 320.0
"""A watch that says nothing for longer than the server keeps one open may have lost its
connection unseen (a firewall forgot it, a machine vanished): who watches lists again then."""

_NAMESPACED: Final = {
    names.KIND: (names.GROUP, names.VERSION, "quayregistries"),
    names.BACKUP_KIND: (names.GROUP, names.VERSION, "quayregistrybackups"),
    names.RESTORE_KIND: (names.GROUP, names.VERSION, "quayregistryrestores"),
    "ServiceAccount": ("", "v1", "serviceaccounts"),
    "ConfigMap": ("", "v1", "configmaps"),
    "Secret": ("", "v1", "secrets"),
    "Service": ("", "v1", "services"),
    "Pod": ("", "v1", "pods"),
    "PersistentVolumeClaim": ("", "v1", "persistentvolumeclaims"),
    "Event": ("", "v1", "events"),
    "Deployment": ("apps", "v1", "deployments"),
    "Job": ("batch", "v1", "jobs"),
    "HorizontalPodAutoscaler": ("autoscaling", "v2", "horizontalpodautoscalers"),
    "Lease": ("coordination.k8s.io", "v1", "leases"),
    "Role": ("rbac.authorization.k8s.io", "v1", "roles"),
    "RoleBinding": ("rbac.authorization.k8s.io", "v1", "rolebindings"),
    "Route": ("route.openshift.io", "v1", "routes"),
    "HTTPRoute": ("gateway.networking.k8s.io", "v1", "httproutes"),
    "TLSRoute": ("gateway.networking.k8s.io", "v1alpha2", "tlsroutes"),
    "Gateway": ("gateway.networking.k8s.io", "v1", "gateways"),
    "Ingress": ("networking.k8s.io", "v1", "ingresses"),
    "Certificate": ("cert-manager.io", "v1", "certificates"),
    "ObjectBucketClaim": ("objectbucket.io", "v1alpha1", "objectbucketclaims"),
    "MetricValueList": ("custom.metrics.k8s.io", "v1beta1", "pods"),
    "ServiceMonitor": ("monitoring.coreos.com", "v1", "servicemonitors"),
    "PrometheusRule": ("monitoring.coreos.com", "v1", "prometheusrules"),
}
_GLOBAL: Final = {
    "Namespace": ("", "v1", "namespaces"),
    "IngressClass": ("networking.k8s.io", "v1", "ingressclasses"),
    "StorageClass": ("storage.k8s.io", "v1", "storageclasses"),
    "ClusterIssuer": ("cert-manager.io", "v1", "clusterissuers"),
    "APIServer": ("config.openshift.io", "v1", "apiservers"),
}


@dataclass(slots=True, frozen=True, kw_only=True)
class Listing:
    """Objects, and the version from which a watch goes on without a gap."""

    items: list[JsonObject]
    resource_version: str


class Cluster:
    """The verbs, by kind. Raises the kinds of `kernel.errors` with the server's own message."""

    def __init__(
        self, client: AsyncClient, *, watch_silence_seconds: float = WATCH_SILENCE_SECONDS
    ) -> None:
        self._client = client
        self._silence = watch_silence_seconds
        self._resources: dict[str, Any] = {
            kind: _known(group, version, kind)
            or create_namespaced_resource(group, version, kind, plural)
            for kind, (group, version, plural) in _NAMESPACED.items()
        } | {
            kind: _known(group, version, kind)
            or create_global_resource(group, version, kind, plural)
            for kind, (group, version, plural) in _GLOBAL.items()
        }
        self.writes = 0
        """How many changing requests were sent; a converged pass adds none."""

    async def find(
        self, kind: str, name: str, *, namespace: str | None = None
    ) -> JsonObject | None:
        """Return an object, None when it does not exist."""
        try:
            return await self.get(kind, name, namespace=namespace)
        except NotFound:
            return None

    async def get(self, kind: str, name: str, *, namespace: str | None = None) -> JsonObject:
        """Return an object."""
        with translated():
            found = await self._client.get(self._resources[kind], name, **_in(namespace))
        return _typed(found, kind, self._resources[kind])

    async def list(
        self, kind: str, *, namespace: str = "", labelled: bool = False, name: str = ""
    ) -> Listing:
        """Return all objects of a kind; those of registries if `labelled`, or the one of a name."""
        return await self._list(
            kind, namespace, labelled=labelled, fields={"metadata.name": name} if name else None
        )

    async def events(self, *, namespace: str) -> Listing:
        """Return what happened in a namespace, but for what was said about registries as such.

        That was said by us, and of each registry there is more of it than of all else.
        """
        return await self._list("Event", namespace, fields={_ABOUT: not_equal(names.KIND)})

    async def _list(
        self, kind: str, namespace: str, *, fields: dict[str, Any] | None, labelled: bool = False
    ) -> Listing:
        with translated():
            pages = self._client.list(
                self._resources[kind],
                **_scope(self._resources[kind], namespace),
                labels={names.REGISTRY_LABEL: exists()} if labelled else None,
                fields=fields,
            )
            items = [_typed(item, kind, self._resources[kind]) async for item in pages]
        return Listing(items=items, resource_version=pages.resourceVersion)

    async def watch(
        self,
        kind: str,
        *,
        since: str,
        namespace: str = "",
        labelled: bool = False,
        name: str = "",
    ) -> AsyncIterator[tuple[str, JsonObject]]:
        """Yield (ADDED | MODIFIED | DELETED, object) until the connection fails or falls silent."""
        events = self._client.watch(
            self._resources[kind],
            **_scope(self._resources[kind], namespace),
            labels={names.REGISTRY_LABEL: exists()} if labelled else None,
            fields={"metadata.name": name} if name else None,
            resource_version=since,
            server_timeout=WATCH_SECONDS,
        )
        with translated():
            async with aclosing(_spoken(events, silence_seconds=self._silence)) as said:
                async for event, found in said:
                    if event != "BOOKMARK":
                        yield event, _typed(found, kind, self._resources[kind])

    async def measures(self, metric: str, *, namespace: str) -> bool:
        """Tell whether a metrics adapter knows this metric of some pod of the namespace.

        API: custom.metrics.k8s.io/v1beta1, `namespaces/NS/pods/*/METRIC`. An adapter that is not
        there measures nothing; one that fails is told of, and measures nothing either.
        """
        try:
            found = await self.find("MetricValueList", f"*/{metric}", namespace=namespace)
        except HatobaError as error:
            log.warning("metric not read", metric=metric, error=error.message)
            return False
        return found is not None and bool(found.get("items"))

    async def log(
        self, pod: str, container: str, *, namespace: str, lines: int
    ) -> builtins.list[str]:
        """Return the last lines that a container said."""
        with translated():
            said = self._client.log(
                pod, container=container, namespace=namespace, tail_lines=lines, newlines=False
            )
            return [line async for line in said]

    async def apply(self, obj: JsonObject, *, manager: str = names.FIELD_MANAGER) -> JsonObject:
        """Apply an object on the server, taking over fields that others set."""
        resource = self._resources[obj["kind"]]
        metadata = obj["metadata"]
        self.writes += 1
        with translated(obj["kind"], metadata["name"]):
            found = await self._client.patch(
                resource,
                metadata["name"],
                obj,
                patch_type=PatchType.APPLY,
                field_manager=manager,
                force=True,
                **_in(metadata.get("namespace")),
            )
        return _typed(found, obj["kind"], resource)

    async def create(self, obj: JsonObject) -> JsonObject:
        """Create an object.

        Raises:
            Conflict: it exists.
        """
        resource = self._resources[obj["kind"]]
        self.writes += 1
        metadata = obj["metadata"]
        with translated(obj["kind"], metadata.get("name") or metadata["generateName"]):
            found = await self._client.create(resource(obj), field_manager=names.FIELD_MANAGER)
        return _typed(found, obj["kind"], resource)

    async def replace(self, obj: JsonObject, *, subresource: str = "") -> JsonObject:
        """Replace an object, or its status, if it is still at the version that `obj` names."""
        resource = self._resources[obj["kind"]]
        target = resource.Status if subresource == "status" else resource
        self.writes += 1
        with translated(obj["kind"], obj["metadata"]["name"]):
            found = await self._client.replace(
                target(obj), obj["metadata"]["name"], field_manager=names.FIELD_MANAGER
            )
        return _typed(found, obj["kind"], resource)

    async def merge(
        self, kind: str, name: str, patch: JsonObject, *, namespace: str | None = None
    ) -> JsonObject:
        """Apply a JSON merge patch; a resourceVersion in it is a precondition."""
        self.writes += 1
        with translated(kind, name):
            found = await self._client.patch(
                self._resources[kind],
                name,
                patch,
                patch_type=PatchType.MERGE,
                field_manager=names.FIELD_MANAGER,
                **_in(namespace),
            )
        return _typed(found, kind, self._resources[kind])

    async def scale(self, name: str, replicas: int, *, namespace: str) -> None:
        """Set the number of a Deployment's pods, through its scale."""
        self.writes += 1
        with translated("Deployment", name):
            await self._client.patch(
                self._resources["Deployment"].Scale,
                name,
                {"spec": {"replicas": replicas}},
                namespace=namespace,
                patch_type=PatchType.MERGE,
                field_manager=names.SCALE_MANAGER,
            )

    async def delete(self, kind: str, name: str, *, namespace: str | None = None) -> None:
        """Delete an object, its dependents after it; one that is gone already is fine."""
        self.writes += 1
        try:
            with translated(kind, name):
                await self._client.delete(
                    self._resources[kind], name, cascade=CascadeType.BACKGROUND, **_in(namespace)
                )
        except NotFound:
            return


def _known(group: str, version: str, kind: str) -> Any:
    """Return the class of a kind that an earlier client registered; None for the first one."""
    find: Callable[[str, str], Any] = get_generic_resource
    return find(f"{group}/{version}".lstrip("/"), kind)


def _scope(resource: Any, namespace: str) -> dict[str, Any]:
    """Return in which namespace to look; a kind of the whole cluster knows none."""
    if not issubclass(resource, NamespacedResource):
        return {}
    return {"namespace": namespace or ALL_NAMESPACES}


def _in(namespace: str | None) -> dict[str, Any]:
    return {} if namespace is None else {"namespace": namespace}


def _typed(found: Any, kind: str, resource: Any) -> JsonObject:
    """Return a plain dictionary that names its kind: items of a list leave that out."""
    base = resource._api_info.resource  # noqa: SLF001 -- lightkube has no other way to ask
    return {**found, "apiVersion": base.api_version.lstrip("/"), "kind": kind}


async def _spoken(
    watch: AsyncIterable[Any], *, silence_seconds: float
) -> AsyncGenerator[Any, None]:
    """Yield what a watch says, until it has been silent for too long."""
    events = aiter(watch)
    while True:
        try:
            async with asyncio.timeout(silence_seconds):
                event = await anext(events)
        except (TimeoutError, StopAsyncIteration):
            return
        yield event


class NoCluster(Unavailable):
    """Nothing says which cluster to talk to."""


def load_configuration(*, kubeconfig: str, service_account: Path) -> KubeConfig:
    """Find the cluster: an explicit kubeconfig, the pod's own account, or the user's default.

    Raises:
        NoCluster: none of them is there.
    """
    try:
        if kubeconfig:
            return KubeConfig.from_file(kubeconfig)
        if (service_account / "token").is_file():
            return KubeConfig.from_service_account(service_account)
        return KubeConfig.from_env()
    except (ConfigError, OSError, KeyError) as error:
        raise NoCluster(f"no cluster to talk to: {error}") from error


class _Counted(httpx2.AsyncBaseTransport):
    """Counts requests by method and answer; 0 stands for none."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        code = 0
        try:
            answer = await self._transport.handle_async_request(request)
            code = answer.status_code
            return answer
        finally:
            REQUESTS.labels(request.method, str(code)).inc()

    @override
    async def aclose(self) -> None:
        await self._transport.aclose()


class Apart(httpx2.AsyncBaseTransport):
    """Gives watches a pool of their own.

    A pool looks at each of its connections for each request. Every registry has a watch, and so a
    connection: in one pool, the cost of a request would grow with the number of registries.
    """

    def __init__(
        self, *, requests: httpx2.AsyncBaseTransport, watches: httpx2.AsyncBaseTransport
    ) -> None:
        self._requests = requests
        self._watches = watches

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        lasts = request.url.params.get("watch") == "true"
        return await (self._watches if lasts else self._requests).handle_async_request(request)

    @override
    async def aclose(self) -> None:
        await self._requests.aclose()
        await self._watches.aclose()


class Spread(httpx2.AsyncBaseTransport):
    """Gives each task a pool, so that a pool has hardly more than one connection.

    A pool looks at all its connections for each request and for each answer, and asks the system
    about the idle ones. Whose pool it is, is a matter of chance; two tasks may share one.
    """

    def __init__(self, pools: Sequence[httpx2.AsyncBaseTransport]) -> None:
        self._pools = pools

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        pool = self._pools[hash(asyncio.current_task()) % len(self._pools)]
        return await pool.handle_async_request(request)

    @override
    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.aclose()


Around = Callable[[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport]


def _nothing_around(transport: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
    return transport


@asynccontextmanager
async def connected(
    configuration: KubeConfig, *, around: Around = _nothing_around
) -> AsyncIterator[Cluster]:
    """Open a client for as long as the context lasts.

    `around` may put something between the client and the network.
    """
    single = configuration.get()
    if single is None:
        raise NoCluster("the kubeconfig has no current context")
    context = verify_cluster(
        single.cluster, single.user or User(), single.abs_file, trust_env=False
    )
    # Every registry's bundle has a watch, and so a connection, of its own: the library's default
    # of a hundred connections would let the hundredth registry wait for ever.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=_IDLE_CONNECTIONS)
    watches, *pools = (
        httpx2.AsyncHTTPTransport(verify=context, trust_env=False, limits=limits)
        for _ in range(1 + _POOLS)
    )
    async with AsyncClient(
        config=configuration,
        timeout=httpx2.Timeout(_TIMEOUT_SECONDS),
        trust_env=False,
        transport=around(_Counted(Apart(requests=Spread(pools), watches=watches))),
    ) as client:
        yield Cluster(client)
