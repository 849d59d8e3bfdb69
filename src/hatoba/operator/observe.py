"""Find out what is there for one registry.

Owned objects come from the informers. The registry itself, its bundle and its keys are read
live: acting on old copies of these would write old secrets.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Final, get_args

import structlog

from hatoba.kernel.errors import HatobaError, NotFound
from hatoba.kernel.json import JsonObject
from hatoba.operator import keys, names
from hatoba.operator.components.monitoring import dashboard_names
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.landscape import Capabilities, Gateway, IngressClass, Issuer, StorageClass
from hatoba.operator.model import DATA_STORE, Bucket, Kind, OperatorSettings, Owned
from hatoba.operator.observation import Observation, tls_secret_of
from hatoba.operator.runtime.informer import Informer
from hatoba.operator.runtime.references import Reference
from hatoba.operator.tlsprofiles import APISERVER, TlsProfile

log = structlog.get_logger()


WATCHED_KINDS: Final[tuple[str, ...]] = (*get_args(Kind), "Pod")
"""What the operator makes, and the pods that come of it: they say why something is not well."""
FACT_SECONDS: Final = 10.0
"""For so long it is believed what the cluster said of its monitoring: every pass of every registry
would else ask the same."""
LANDSCAPE_KINDS: Final = (
    "Gateway",
    "IngressClass",
    "ClusterIssuer",
    "StorageClass",
    "APIServer",
)
"""What others made in the cluster, and decides how a registry is reached."""


class Observer:
    """Looks at the cluster on behalf of a pass."""

    def __init__(
        self, cluster: Cluster, informers: Mapping[str, Informer], *, settings: OperatorSettings
    ) -> None:
        self._cluster = cluster
        self._informers = informers
        self._settings = settings
        self._facts: dict[tuple[str, str], tuple[float, bool]] = {}
        """(question, namespace) -> until when its answer counts, and the answer."""

    async def observe(self, registry: JsonObject) -> Observation:
        """Return all that a plan needs to know."""
        metadata = registry["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        bundle, fault = await self._secret(str(registry["spec"]["configBundleSecret"]), namespace)
        tls_secret, tls_fault = await self._secret(tls_secret_of(registry), namespace)
        stored = await self._cluster.find("Secret", keys.secret_name(name), namespace=namespace)
        owned = self.owned(registry)
        return Observation(
            registry=registry,
            bundle=bundle,
            bundle_error=fault,
            tls_secret=tls_secret,
            tls_error=tls_fault,
            stored_keys=keys.decode(stored) if stored is not None else {},
            capabilities=await self._capabilities(namespace),
            owned=owned,
            restore=await self._restore(registry),
            bucket=await self._bucket(owned, f"{name}-{DATA_STORE}", namespace),
        )

    def glance(self, registry: JsonObject) -> Observation:
        """Return what can be told without asking: enough to judge pods, not to plan."""
        return Observation(
            registry=registry,
            capabilities=self._landscape(),
            owned=self.owned(registry),
        )

    def references(self, registry: JsonObject) -> list[Reference]:
        """Return the objects without a label of ours that decide how a registry looks."""
        metadata = registry["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        bundle = str((registry.get("spec") or {}).get("configBundleSecret") or "")
        wanted = [("Secret", bundle), ("Secret", tls_secret_of(registry))]
        if self._offered("ObjectBucketClaim"):
            wanted += [("Secret", f"{name}-{DATA_STORE}"), ("ConfigMap", f"{name}-{DATA_STORE}")]
        return [
            Reference(kind=kind, namespace=namespace, name=found) for kind, found in wanted if found
        ]

    async def events(self, registry: JsonObject) -> list[JsonObject]:
        """Return what the cluster told about the objects of a registry's namespace.

        They only explain what the objects' states say: without them a message is shorter.
        """
        try:
            listing = await self._cluster.events(namespace=registry["metadata"]["namespace"])
        except HatobaError as error:
            log.warning("events not read", error=error.message)
            return []
        return listing.items

    def blind_spots(self) -> dict[str, str]:
        """Return the kinds that the operator may not see, and what the cluster says about it."""
        return {kind: found.fault for kind, found in self._informers.items() if found.fault}

    def owned(self, registry: JsonObject) -> Owned:
        """Return what exists for a registry, as far as the informers know."""
        metadata = registry["metadata"]
        name, place = metadata["name"], metadata["namespace"]
        mine = (
            obj
            for kind, informer in self._informers.items()
            if kind not in LANDSCAPE_KINDS
            for obj in informer.objects_of(name, namespace=place)
        )
        # By name: in that one namespace lie the dashboards of all registries of this name.
        shown = (
            self._informers["ConfigMap"].get(names.MONITORING_NAMESPACE, dashboard)
            for dashboard in dashboard_names(name, place)
        )
        return Owned((*mine, *filter(None, shown)), owner_uid=metadata["uid"])

    async def _restore(self, registry: JsonObject) -> JsonObject | None:
        metadata = registry["metadata"]
        given = (metadata.get("annotations") or {}).get(names.RESTORE_ANNOTATION, "")
        if not given or (registry.get("status") or {}).get("currentVersion"):
            return None
        return await self._cluster.find(
            names.RESTORE_KIND, given.partition("/")[0], namespace=metadata["namespace"]
        )

    async def _secret(self, wanted: str, namespace: str) -> tuple[JsonObject | None, str]:
        """Return a Secret that the spec names, or why it is not there."""
        if not wanted:
            return None, ""
        try:
            return await self._cluster.get("Secret", wanted, namespace=namespace), ""
        except NotFound as error:
            return None, error.message

    async def _capabilities(self, namespace: str) -> Capabilities:
        monitoring = (
            not self._settings.watch_namespace
            and self._offered("ServiceMonitor")
            and self._offered("PrometheusRule")
            and await self._fact("monitoring", "", self._has_monitoring)
        )
        measured = await self._fact(
            "measures",
            namespace,
            lambda: self._cluster.measures(names.IN_FLIGHT_METRIC, namespace=namespace),
        )
        return replace(self._landscape(), monitoring=monitoring, requests_measured=measured)

    async def _has_monitoring(self) -> bool:
        return await self._cluster.find("Namespace", names.MONITORING_NAMESPACE) is not None

    async def _fact(self, question: str, place: str, ask: Callable[[], Awaitable[bool]]) -> bool:
        """Ask what hardly ever changes and cannot be watched, but not in each pass."""
        now = asyncio.get_running_loop().time()
        until, known = self._facts.get((question, place), (now, False))
        if until > now:
            return known
        found = await ask()
        self._facts[question, place] = (now + FACT_SECONDS, found)
        return found

    def _landscape(self) -> Capabilities:
        """Return what the informers know of the cluster."""
        seen = {kind: self._informers[kind].objects() for kind in LANDSCAPE_KINDS}
        return Capabilities(
            routes=self._offered("Route"),
            object_buckets=self._offered("ObjectBucketClaim"),
            http_routes=self._offered("HTTPRoute"),
            tls_routes=self._offered("TLSRoute"),
            gateways=tuple(map(Gateway.read, sorted(seen["Gateway"], key=_place))),
            ingress_classes=tuple(map(IngressClass.read, sorted(seen["IngressClass"], key=_place))),
            certificates=self._offered("Certificate"),
            issuers=tuple(
                Issuer(kind="ClusterIssuer", name=obj["metadata"]["name"])
                for obj in sorted(seen["ClusterIssuer"], key=_place)
            ),
            storage_classes=tuple(map(StorageClass.read, sorted(seen["StorageClass"], key=_place))),
            tls_profile=next(
                (
                    TlsProfile.read(obj)
                    for obj in seen["APIServer"]
                    if obj["metadata"]["name"] == APISERVER
                ),
                None,
            ),
        )

    def _offered(self, kind: str) -> bool:
        return self._informers[kind].offered

    async def _bucket(self, owned: Owned, claim: str, namespace: str) -> Bucket | None:
        """Read the address and credentials that a bound claim was given."""
        if owned.get("ObjectBucketClaim", claim) is None:
            return None
        secret = await self._cluster.find("Secret", claim, namespace=namespace)
        config = await self._cluster.find("ConfigMap", claim, namespace=namespace)
        if secret is None or config is None:
            return None
        try:
            return Bucket(
                host=config["data"]["BUCKET_HOST"],
                name=config["data"]["BUCKET_NAME"],
                access_key=base64.b64decode(secret["data"]["AWS_ACCESS_KEY_ID"]).decode(),
                secret_key=base64.b64decode(secret["data"]["AWS_SECRET_ACCESS_KEY"]).decode(),
            )
        except KeyError as error:
            raise BucketIncomplete(f"bucket claim {claim} lacks {error}") from error


def _place(obj: JsonObject) -> tuple[str, str]:
    metadata = obj["metadata"]
    return str(metadata.get("namespace", "")), str(metadata["name"])


class BucketIncomplete(HatobaError):
    """The provisioner has not filled in the claim's Secret and ConfigMap yet."""
