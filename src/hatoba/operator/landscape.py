"""What a cluster offers: ways to reach a registry from outside, and volumes.

Values only, read from Gateways, IngressClasses, issuers and StorageClasses; `exposure` and
`volumes` choose among them. The cluster's TLS profile is in `tlsprofiles`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.tlsprofiles import TlsProfile


class Way(StrEnum):
    """How people outside the cluster reach the registry."""

    ROUTE = "Route"
    GATEWAY = "Gateway"
    INGRESS = "Ingress"
    SERVICE = "Service"


class TlsSource(StrEnum):
    """Where the certificate comes from that clients see."""

    CLUSTER = "cluster"
    """The router's own wildcard."""
    GATEWAY = "gateway"
    """That of the Gateway's listener."""
    BUNDLE = "bundle"
    """The pair that the user put into the bundle."""
    ISSUER = "issuer"
    """A pair that cert-manager keeps."""
    SELF_SIGNED = "self-signed"
    """A pair of the operator's own, which clients do not know."""
    NONE = "none"
    """There is no TLS."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Listener:
    """One port of a Gateway."""

    name: str
    protocol: str
    port: int
    hostname: str = ""
    passthrough: bool = False
    open_to: str = "Same"
    """Which namespaces' routes it takes: Same, All or Selector."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Gateway:
    """A Gateway of the Gateway API."""

    namespace: str
    name: str
    listeners: tuple[Listener, ...]
    domain: str = ""
    """What the annotation hatoba.dev/domain says."""

    @classmethod
    def read(cls, obj: JsonObject) -> "Gateway":
        """Parse the object."""
        metadata = obj["metadata"]
        return cls(
            namespace=str(metadata["namespace"]),
            name=str(metadata["name"]),
            listeners=tuple(map(_listener, obj.get("spec", {}).get("listeners") or [])),
            domain=_domain(metadata),
        )


def _listener(entry: JsonObject) -> Listener:
    routes = entry.get("allowedRoutes") or {}
    return Listener(
        name=str(entry.get("name", "")),
        protocol=str(entry.get("protocol", "")),
        port=int(entry.get("port") or 0),
        hostname=str(entry.get("hostname") or ""),
        passthrough=(entry.get("tls") or {}).get("mode") == "Passthrough",
        open_to=str((routes.get("namespaces") or {}).get("from") or "Same"),
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class IngressClass:
    """A class of Ingresses, and so the controller that serves them."""

    name: str
    is_default: bool = False
    domain: str = ""

    @classmethod
    def read(cls, obj: JsonObject) -> "IngressClass":
        """Parse the object."""
        metadata = obj["metadata"]
        annotations = metadata.get("annotations") or {}
        return cls(
            name=str(metadata["name"]),
            is_default=annotations.get("ingressclass.kubernetes.io/is-default-class") == "true",
            domain=_domain(metadata),
        )


def _domain(metadata: JsonObject) -> str:
    return str((metadata.get("annotations") or {}).get(names.DOMAIN_ANNOTATION) or "")


@dataclass(slots=True, frozen=True, kw_only=True)
class Issuer:
    """Who signs certificates for cert-manager."""

    kind: str
    name: str


@dataclass(slots=True, frozen=True, kw_only=True)
class StorageClass:
    """A sort of volumes."""

    name: str
    expands: bool = False
    """Whether a volume of it can grow."""

    @classmethod
    def read(cls, obj: JsonObject) -> "StorageClass":
        """Parse the object."""
        return cls(name=str(obj["metadata"]["name"]), expands=bool(obj.get("allowVolumeExpansion")))


@dataclass(slots=True, frozen=True, kw_only=True)
class Volume:
    """What a claim asks for."""

    size: str = "50Gi"
    storage_class: str | None = None
    """None: the cluster's default."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Capabilities:
    """Which optional APIs the cluster offers, and what is in them."""

    routes: bool = False
    object_buckets: bool = False
    monitoring: bool = False
    requests_measured: bool = False
    """Whether a metrics adapter tells how many requests the registry's pods have in flight."""
    http_routes: bool = False
    tls_routes: bool = False
    gateways: tuple[Gateway, ...] = ()
    ingress_classes: tuple[IngressClass, ...] = ()
    certificates: bool = False
    """Whether cert-manager's API is there."""
    issuers: tuple[Issuer, ...] = ()
    """Those that serve the whole cluster."""
    storage_classes: tuple[StorageClass, ...] = ()
    """Empty where they may not be seen."""
    tls_profile: TlsProfile | None = None
    """None where the cluster has none for all, or where it may not be seen."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Exposure:
    """What was chosen."""

    way: Way = Way.SERVICE
    asked: bool = False
    """Whether the user chose it; a Service that nobody asked for stays inside the cluster."""
    gateway: Gateway | None = None
    listener: Listener | None = None
    ingress_class: str = ""
    service_type: str = "ClusterIP"
    domain: str = ""
    """Below which hosts are free to choose; "" when the cluster tells none."""
    fixed_host: str = ""
    """The only host that the cluster serves this way."""
    editor_host: str = ""
    issuer: Issuer | None = None

    @property
    def is_outside(self) -> bool:
        """Whether people outside the cluster can be served at all."""
        return self.way is not Way.SERVICE or self.asked

    @property
    def port_suffix(self) -> str:
        """What people have to type behind the host."""
        if self.listener is None:
            return ""
        usual = 80 if self.listener.protocol == "HTTP" else 443
        return "" if self.listener.port == usual else f":{self.listener.port}"


def default_class(classes: Iterable[IngressClass]) -> IngressClass | None:
    """Return the class that an Ingress without one gets, or the only one there is."""
    found = tuple(classes)
    chosen = [one for one in found if one.is_default]
    if len(chosen) == 1:
        return chosen[0]
    return found[0] if len(found) == 1 else None
