"""Rules of Services: addresses, ports and what may not change about them."""

import ipaddress
import secrets
from typing import Final

from typing_extensions import override

from hatoba.cluster.api.documents import clone
from hatoba.cluster.api.kinds.printing import go_strings
from hatoba.cluster.api.metadata import invalid, required, unsupported
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import Cause, Invalid
from hatoba.cluster.api.store import Change, Store
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.objects import SERVICES
from hatoba.kernel.json import JsonObject

HEADLESS: Final = "None"
DEFAULT_NETWORK: Final = "127.96.0.0/16"
_NODE_PORTS: Final = range(30_000, 32_768)
_TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES: Final = ("ClientIP", "None")
_OUTSIDE: Final = ("NodePort", "LoadBalancer")
_ADDRESS_MEMBERS: Final = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")
_PORT_OUTSIDE: Final = (
    "provided port is not in the valid range. The range of valid ports is 30000-32767"
)
_SAME_PORT: Final = "must be between 1 and 65535, inclusive"
_STICKY_SECONDS: Final = 10_800


class _Addresses:
    """The addresses of a store's Services, kept current.

    A look at all of them for each new one would cost more the more there are.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.taken = {_address(service) for service in store.members(SERVICES, None)}
        store.listen(self._changed)

    def _changed(self, change: Change) -> None:
        if change.resource != SERVICES:
            return
        if change.previous is not None:
            self.taken.discard(_address(change.previous))
        if change.type != "DELETED":
            self.taken.add(_address(change.object))


def _address(service: JsonObject) -> str:
    """Return a Service's address, "" for none."""
    return str(service["spec"].get("clusterIP") or "")


class ServiceRules(Strategy):
    """A Service gets an address of its own unless it asks for none."""

    def __init__(self, resource: Resource, *, network: str = DEFAULT_NETWORK) -> None:
        super().__init__(resource)
        self._network = ipaddress.IPv4Network(network)
        self._addresses: _Addresses | None = None

    @override
    def initial_status(self) -> JsonObject:
        return {"loadBalancer": {}}

    @override
    def default(self, obj: JsonObject) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("type", "ClusterIP")
        spec.setdefault("sessionAffinity", "None")
        if spec["sessionAffinity"] == "ClientIP" and not spec.get("sessionAffinityConfig"):
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _STICKY_SECONDS}}
        for port in spec.get("ports") or []:
            port.setdefault("protocol", "TCP")
            if port.get("targetPort") in (None, 0, "") and "port" in port:
                port["targetPort"] = port["port"]
        if spec["type"] != "ExternalName":
            spec.setdefault("internalTrafficPolicy", "Cluster")
        if spec["type"] in _OUTSIDE:
            spec.setdefault("externalTrafficPolicy", "Cluster")
        if spec["type"] == "LoadBalancer":
            spec.setdefault("allocateLoadBalancerNodePorts", True)

    @override
    def admit_create(self, obj: JsonObject, store: Store) -> None:
        spec = obj["spec"]
        if self.validate(obj):
            # Refused a moment later, together with what is wrong with the metadata.
            return
        self._allocate(obj, store)
        if spec["type"] in _OUTSIDE:
            self._allocate_ports(obj, store)

    @override
    def admit_update(self, new: JsonObject, old: JsonObject, store: Store) -> None:
        spec, former = new["spec"], old["spec"]
        if spec["type"] == "ExternalName":
            for key in (*_ADDRESS_MEMBERS, "internalTrafficPolicy"):
                spec.pop(key, None)
            return
        if not spec.get("clusterIP") and former.get("clusterIP"):
            kept = clone({key: former[key] for key in _ADDRESS_MEMBERS if key in former})
            new["spec"] = spec = {**kept, **spec, "clusterIP": kept["clusterIP"]}
        elif not spec.get("clusterIP"):
            self._allocate(new, store)
        if spec["type"] in _OUTSIDE:
            _keep_node_ports(spec, former)
            self._allocate_ports(new, store)
            return
        for port in spec.get("ports") or []:
            port.pop("nodePort", None)
        spec.pop("externalTrafficPolicy", None)
        spec.pop("allocateLoadBalancerNodePorts", None)

    def _allocate(self, obj: JsonObject, store: Store) -> None:
        spec = obj["spec"]
        if spec["type"] == "ExternalName":
            return
        asked = spec.get("clusterIP")
        if asked != HEADLESS:
            taken = self._taken(store)
            spec["clusterIP"] = self._chosen(obj, asked, taken) if asked else self._free(taken)
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def _taken(self, store: Store) -> set[str]:
        if self._addresses is None or self._addresses.store is not store:
            self._addresses = _Addresses(store)
        return self._addresses.taken

    def _chosen(self, obj: JsonObject, asked: str, taken: set[str]) -> str:
        why = None
        if ipaddress.ip_address(asked) not in self._network:
            why = (
                f"the provided IP ({asked}) is not in the valid range. The range of valid IPs is"
                f" {self._network}"
            )
        elif asked in taken:
            why = "provided IP is already allocated"
        if why is None:
            return asked
        cause = invalid(
            "spec.clusterIPs", go_strings([asked]), f"failed to allocate IP {asked}: {why}"
        )
        raise Invalid.of(self.resource.about_kind(obj["metadata"]["name"]), [cause])

    def _free(self, taken: set[str]) -> str:
        size = self._network.num_addresses
        while True:
            address = str(self._network[1 + secrets.randbelow(size - 2)])
            if address not in taken:
                return address

    def _allocate_ports(self, obj: JsonObject, store: Store) -> None:
        ports = obj["spec"].get("ports") or []
        name = obj["metadata"]["name"], obj["metadata"].get("namespace")
        taken = {
            port["nodePort"]
            for service in store.members(SERVICES, None)
            if (service["metadata"]["name"], service["metadata"].get("namespace")) != name
            for port in service["spec"].get("ports") or []
            if port.get("nodePort")
        }
        for index, port in enumerate(ports):
            number = port.get("nodePort")
            why = None
            if number and number not in _NODE_PORTS:
                why = _PORT_OUTSIDE
            elif number and number in taken:
                why = "provided port is already allocated"
            if why:
                cause = invalid(f"spec.ports[{index}].nodePort", str(number), why)
                raise Invalid.of(self.resource.about_kind(name[0]), [cause])
            while not number or number in taken:
                number = secrets.choice(_NODE_PORTS)
            taken.add(number)
            port["nodePort"] = number

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        spec = obj["spec"]
        causes: list[Cause] = []
        ports = spec.get("ports") or []
        headless = spec.get("clusterIP") == HEADLESS
        if not ports and not headless and spec["type"] != "ExternalName":
            causes.append(required("spec.ports"))
        for index, port in enumerate(ports):
            causes += _validate_port(port, f"spec.ports[{index}]", is_only=len(ports) == 1)
        if spec["type"] not in _TYPES:
            causes.append(unsupported("spec.type", spec["type"], _TYPES))
        if spec["sessionAffinity"] not in _AFFINITIES:
            causes.append(unsupported("spec.sessionAffinity", spec["sessionAffinity"], _AFFINITIES))
        address = spec.get("clusterIP")
        if address and not headless and not _is_address(address):
            sentence = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            causes.append(invalid("spec.clusterIPs[0]", f'"{address}"', sentence))
        if spec["type"] == "ExternalName" and not spec.get("externalName"):
            causes.append(required("spec.externalName"))
        return causes

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        causes = self.validate(new)
        former, address = (obj["spec"].get("clusterIP") for obj in (old, new))
        stays = "ExternalName" not in (new["spec"]["type"], old["spec"]["type"])
        if stays and former and address != former:
            causes.append(
                invalid("spec.clusterIPs[0]", go_strings([address]), "may not change once set")
            )
        return causes


def _keep_node_ports(spec: JsonObject, former: JsonObject) -> None:
    known = {(p.get("protocol"), p.get("port")): p.get("nodePort") for p in former.get("ports", [])}
    for port in spec.get("ports") or []:
        kept = known.get((port.get("protocol"), port.get("port")))
        if kept and not port.get("nodePort"):
            port["nodePort"] = kept


def _validate_port(port: JsonObject, here: str, *, is_only: bool) -> list[Cause]:
    causes = []
    if not is_only and not port.get("name"):
        causes.append(required(f"{here}.name"))
    if not 1 <= port.get("port", 0) <= 65_535:
        causes.append(invalid(f"{here}.port", str(port.get("port", 0)), _SAME_PORT))
    if port["protocol"] not in ("TCP", "UDP", "SCTP"):
        causes.append(unsupported(f"{here}.protocol", port["protocol"], ("SCTP", "TCP", "UDP")))
    target = port.get("targetPort")
    if isinstance(target, int) and not 1 <= target <= 65_535:
        causes.append(invalid(f"{here}.targetPort", str(target), _SAME_PORT))
    return causes


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
