"""From a Route or Ingress to the addresses of ready pods. Pure.

Source: route.openshift.io/v1 Route, networking.k8s.io/v1 Ingress, discovery.k8s.io/v1
EndpointSlice.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from hatoba.cluster.controllers.values import Key, key_of, spec_of
from hatoba.kernel.json import JsonObject

Termination = Literal["edge", "passthrough", "none"]
SERVICE_NAME_LABEL: Final = "kubernetes.io/service-name"
INGRESS_CLASS: Final = "hatoba"


@dataclass(slots=True, frozen=True, kw_only=True)
class Backend:
    """A port of a Service; `port` is a name or a number of the Service or of its pods."""

    service: Key
    port: str | int | None


@dataclass(slots=True, frozen=True, kw_only=True)
class PathRule:
    """Requests below `path` go to `backend`."""

    path: str
    backend: Backend


@dataclass(slots=True, frozen=True, kw_only=True)
class Edge:
    """What is to be served on one port."""

    name: str
    """Unique among all edges: kind, namespace and name."""
    termination: Termination
    redirects_insecure: bool
    rules: tuple[PathRule, ...]

    def backend_for(self, path: str) -> Backend | None:
        """Return the backend of the longest rule that covers the path."""
        covering = [rule for rule in self.rules if _covers(rule.path, path)]
        return max(covering, key=lambda rule: len(rule.path)).backend if covering else None


def edge_of_route(route: JsonObject) -> Edge:
    """Read a Route."""
    key, spec = key_of(route), spec_of(route)
    tls = spec.get("tls") or {}
    termination = tls.get("termination", "edge" if tls else "none")
    backend = Backend(
        service=Key(key.namespace, (spec.get("to") or {}).get("name", "")),
        port=(spec.get("port") or {}).get("targetPort"),
    )
    return Edge(
        name=f"route/{key.namespace}/{key.name}",
        termination=termination if termination in {"edge", "passthrough"} else "none",
        redirects_insecure=tls.get("insecureEdgeTerminationPolicy") == "Redirect",
        rules=(PathRule(path=spec.get("path") or "/", backend=backend),),
    )


def edge_of_ingress(ingress: JsonObject) -> Edge:
    """Read an Ingress; hosts are not told apart, since everything is `localhost` here."""
    key, spec = key_of(ingress), spec_of(ingress)
    rules = [
        PathRule(path=path.get("path") or "/", backend=_ingress_backend(key, path["backend"]))
        for rule in spec.get("rules") or ()
        for path in (rule.get("http") or {}).get("paths", ())
        if "service" in path["backend"]
    ]
    if "service" in (spec.get("defaultBackend") or {}):
        rules.append(PathRule(path="/", backend=_ingress_backend(key, spec["defaultBackend"])))
    return Edge(
        name=f"ingress/{key.namespace}/{key.name}",
        termination="edge" if spec.get("tls") else "none",
        redirects_insecure=bool(spec.get("tls")),
        rules=tuple(rules),
    )


def is_ours(ingress: JsonObject) -> bool:
    """Tell whether this Ingress asks for this controller."""
    name = spec_of(ingress).get("ingressClassName")
    return name in {None, INGRESS_CLASS}


def addresses(
    backend: Backend, *, service: JsonObject | None, slices: Iterable[JsonObject]
) -> list[tuple[str, int]]:
    """Return the (address, port) of each ready pod behind a backend, in a stable order."""
    wanted = _port_name(backend, service)
    found = set()
    for endpoint_slice in slices:
        labels = endpoint_slice["metadata"].get("labels") or {}
        if labels.get(SERVICE_NAME_LABEL) != backend.service.name:
            continue
        for port in endpoint_slice.get("ports") or ():
            if wanted not in {None, port.get("name") or "", port.get("port")}:
                continue
            found |= {(address, port["port"]) for address in _ready(endpoint_slice)}
    return sorted(found)


def _ready(endpoint_slice: JsonObject) -> list[str]:
    return [
        address
        for endpoint in endpoint_slice.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready", True)
        for address in endpoint["addresses"]
    ]


def _port_name(backend: Backend, service: JsonObject | None) -> str | int | None:
    """Return what names the port in slices: the Service port's name, or a pod's port number.

    Slices name their ports as the Service does; a number may mean the Service's port or, as a
    Route's targetPort, the pods' own.
    """
    for port in spec_of(service or {}).get("ports") or ():
        if backend.port in {port.get("name"), port.get("port"), port.get("targetPort")}:
            name: str = port.get("name") or ""
            return name
    return backend.port


def _ingress_backend(key: Key, backend: JsonObject) -> Backend:
    service = backend["service"]
    port = service.get("port") or {}
    return Backend(
        service=Key(key.namespace, service["name"]), port=port.get("name") or port.get("number")
    )


def _covers(rule: str, path: str) -> bool:
    prefix = rule.rstrip("/")
    return path == prefix or path.startswith(f"{prefix}/")
