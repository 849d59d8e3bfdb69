"""From a Service and its pods to addresses and ports.

The annotation with the time of the change, which only tells proxies how late they are, is left
out: nothing here would read it.
"""

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hatoba.cluster.controllers.pods import is_finished, is_ready
from hatoba.cluster.controllers.values import (
    Key,
    controller_reference,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    spec_of,
    status_of,
    uid_of,
)
from hatoba.kernel.json import JsonObject

HEADLESS: Final = "service.kubernetes.io/headless"
MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME: Final = "kubernetes.io/service-name"
SLICE_CONTROLLER: Final = "endpointslice-controller.k8s.io"
SLICE_SIZE: Final = 100

Ports = tuple[tuple[str, int, str, str | None], ...]
"""Name, number, protocol, application protocol."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Backend:
    """One pod behind a Service."""

    pod: JsonObject
    address: str
    ports: Ports
    is_ready: bool
    is_terminating: bool


def has_endpoints(service: JsonObject) -> bool:
    """Whether a Service's endpoints are ours to keep."""
    spec = spec_of(service)
    return bool(spec.get("selector")) and spec.get("type") != "ExternalName"


def is_headless(service: JsonObject) -> bool:
    """Whether the Service has no address of its own."""
    return spec_of(service).get("clusterIP") == "None"


def publishes_unready(service: JsonObject) -> bool:
    """Whether pods count as ready from their first moment to their last."""
    return bool(spec_of(service).get("publishNotReadyAddresses"))


def backends(service: JsonObject, pods: Iterable[JsonObject]) -> list[Backend]:
    """Return the pods that have an address and are not finished, in order of address."""
    found = []
    for pod in pods:
        address = status_of(pod).get("podIP")
        if not address or is_finished(pod):
            continue
        found.append(
            Backend(
                pod=pod,
                address=address,
                ports=_ports(service, pod),
                is_ready=is_ready(pod),
                is_terminating=is_deleting(pod),
            )
        )
    return sorted(found, key=lambda backend: (_number(backend.address), name_of(backend.pod)))


def _number(address: str) -> int:
    return int(ipaddress.ip_address(address))


def _ports(service: JsonObject, pod: JsonObject) -> Ports:
    found = []
    for port in spec_of(service).get("ports") or ():
        target = port.get("targetPort", port["port"])
        protocol = port.get("protocol", "TCP")
        number = target if isinstance(target, int) else _named_port(pod, target, protocol)
        if number is not None:
            found.append((port.get("name", ""), number, protocol, port.get("appProtocol")))
    return tuple(found)


def _named_port(pod: JsonObject, name: str, protocol: str) -> int | None:
    for container in spec_of(pod).get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("name") == name and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return int(name) if name.isdigit() else None


def _target(pod: JsonObject) -> JsonObject:
    return {
        "kind": "Pod",
        "namespace": key_of(pod).namespace,
        "name": name_of(pod),
        "uid": uid_of(pod),
    }


def _hostname(service: JsonObject, pod: JsonObject) -> dict[str, str]:
    spec = spec_of(pod)
    if spec.get("hostname") and spec.get("subdomain") == name_of(service):
        return {"hostname": spec["hostname"]}
    return {}


def endpoints_for(service: JsonObject, found: Sequence[Backend]) -> JsonObject:
    """Return the Endpoints object."""
    unready_too = publishes_unready(service)
    groups: dict[Ports, list[Backend]] = {}
    for backend in found:
        if backend.is_terminating and not unready_too:
            continue
        groups.setdefault(backend.ports, []).append(backend)
    subsets = [
        _subset(service, ports, members, unready_too=unready_too)
        for ports, members in sorted(groups.items())
        if ports or is_headless(service)
    ]
    key = key_of(service)
    labels = dict(labels_of(service))
    if is_headless(service):
        labels[HEADLESS] = ""
    made: JsonObject = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": key.name, "namespace": key.namespace},
    }
    if labels:
        made["metadata"]["labels"] = labels
    if subsets:
        made["subsets"] = subsets
    return made


def _subset(
    service: JsonObject, ports: Ports, members: Iterable[Backend], *, unready_too: bool
) -> JsonObject:
    ready: list[JsonObject] = []
    unready: list[JsonObject] = []
    for backend in members:
        address: JsonObject = {"ip": backend.address, "targetRef": _target(backend.pod)}
        address |= _hostname(service, backend.pod)
        if spec_of(backend.pod).get("nodeName"):
            address["nodeName"] = spec_of(backend.pod)["nodeName"]
        (ready if backend.is_ready or unready_too else unready).append(address)
    subset: JsonObject = {}
    if ready:
        subset["addresses"] = ready
    if unready:
        subset["notReadyAddresses"] = unready
    if ports:
        subset["ports"] = [_port(port) for port in ports]
    return subset


def _port(port: Ports | tuple[str, int, str, str | None]) -> JsonObject:
    name, number, protocol, application = port
    written: JsonObject = {"port": number, "protocol": protocol}
    if name:
        written["name"] = name
    if application:
        written["appProtocol"] = application
    return written


@dataclass(slots=True, frozen=True, kw_only=True)
class Slice:
    """What one EndpointSlice should hold."""

    family: str
    ports: list[JsonObject] | None
    endpoints: list[JsonObject]


def slices_for(service: JsonObject, found: Sequence[Backend]) -> list[Slice]:
    """Return the contents of the Service's slices; at least one, be it empty."""
    groups: dict[tuple[str, Ports], list[JsonObject]] = {}
    for backend in found:
        family = "IPv6" if ":" in backend.address else "IPv4"
        groups.setdefault((family, backend.ports), []).append(_endpoint(service, backend))
    made = [
        Slice(
            family=family,
            ports=[{"name": "", **_port(port)} for port in ports],
            endpoints=members[start : start + SLICE_SIZE],
        )
        for (family, ports), members in sorted(groups.items())
        for start in range(0, len(members), SLICE_SIZE)
    ]
    return made or [Slice(family="IPv4", ports=None, endpoints=[])]


def _endpoint(service: JsonObject, backend: Backend) -> JsonObject:
    endpoint: JsonObject = {
        "addresses": [backend.address],
        "conditions": {
            "ready": publishes_unready(service)
            or (backend.is_ready and not backend.is_terminating),
            "serving": backend.is_ready,
            "terminating": backend.is_terminating,
        },
        "targetRef": _target(backend.pod),
    }
    endpoint |= _hostname(service, backend.pod)
    if spec_of(backend.pod).get("nodeName"):
        endpoint["nodeName"] = spec_of(backend.pod)["nodeName"]
    return endpoint


def slice_labels(service: JsonObject) -> dict[str, str]:
    """Return the labels of a Service's slices."""
    labels = {
        **labels_of(service),
        MANAGED_BY: SLICE_CONTROLLER,
        SERVICE_NAME: name_of(service),
    }
    if is_headless(service):
        labels[HEADLESS] = ""
    return labels


def slice_object(service: JsonObject, content: Slice) -> JsonObject:
    """Return an EndpointSlice to be named by the server."""
    key: Key = key_of(service)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{key.name}-",
            "namespace": key.namespace,
            "labels": slice_labels(service),
            "ownerReferences": [controller_reference(service)],
        },
        "addressType": content.family,
        "endpoints": content.endpoints,
        "ports": content.ports,
    }


def same_slice(present: JsonObject, wanted: JsonObject) -> bool:
    """Whether an EndpointSlice already says what it should."""
    return all(
        (present.get(member) or None) == (wanted[member] or None)
        for member in ("addressType", "endpoints", "ports")
    ) and dict(labels_of(present)) == dict(labels_of(wanted))


def same_endpoints(present: JsonObject, wanted: JsonObject) -> bool:
    """Whether an Endpoints object already says what it should."""
    mine: Mapping[str, str] = labels_of(wanted)
    return (present.get("subsets") or []) == (wanted.get("subsets") or []) and dict(
        labels_of(present)
    ) == dict(mine)
