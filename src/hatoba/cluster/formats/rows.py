"""Table cells of the built-in kinds other than workloads.

One function per kind: an object and the present moment in, cells in the order of the columns in
`data/columns.json` out. Workloads (pods, deployments, jobs, autoscalers) are in `workload_rows`.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

from hatoba.cluster.formats.durations import UNKNOWN, age
from hatoba.kernel.json import JsonObject

Cells: TypeAlias = list[Any]
Row: TypeAlias = Callable[[JsonObject, datetime], Cells]
NONE: Final = "<none>"
UNSET: Final = "<unset>"
_ROLE_LABEL: Final = "node-role.kubernetes.io/"
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_ACCESS: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def name_of(obj: JsonObject) -> str:
    """Return the object's name."""
    found: str = obj["metadata"]["name"]
    return found


def age_of(obj: JsonObject, now: datetime) -> str:
    """Return how old the object is."""
    return age(obj["metadata"].get("creationTimestamp"), now)


def pairs(labels: Mapping[str, str] | None) -> str:
    """Return `a=1,b=2`, or `<none>`."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _phase(obj: JsonObject) -> str:
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return str(obj.get("status", {}).get("phase") or "")


def _limited(found: list[str], total: int) -> str:
    text = ",".join(found[:total])
    return f"{text} + {len(found) - total} more..." if len(found) > total else text


def plain(obj: JsonObject, now: datetime) -> Cells:  # noqa: ARG001 -- a row like the others
    """Kinds without columns of their own: the name and when it was created."""
    return [name_of(obj), obj["metadata"].get("creationTimestamp")]


def service(obj: JsonObject, now: datetime) -> Cells:
    """A Service."""
    spec = obj.get("spec", {})
    return [
        name_of(obj),
        spec.get("type", "ClusterIP"),
        spec.get("clusterIP") or NONE,
        _external(obj),
        ",".join(map(_port, spec.get("ports") or ())) or NONE,
        age_of(obj, now),
        pairs(spec.get("selector")),
    ]


def _port(port: JsonObject) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port['port']}{node_port}/{port.get('protocol', 'TCP')}"


def _external(obj: JsonObject) -> str:
    spec = obj.get("spec", {})
    own: list[str] = spec.get("externalIPs") or []
    match spec.get("type", "ClusterIP"):
        case "ExternalName":
            return str(spec.get("externalName") or NONE)
        case "LoadBalancer":
            return ",".join([*_ingress_addresses(obj), *own]) or "<pending>"
        case _:
            return ",".join(own) or NONE


def _ingress_addresses(obj: JsonObject) -> Iterable[str]:
    entries = obj.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return filter(None, (entry.get("ip") or entry.get("hostname") for entry in entries))


def endpoints(obj: JsonObject, now: datetime) -> Cells:
    """An Endpoints object."""
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [entry["ip"] for entry in subset.get("addresses") or ()]
        ports = subset.get("ports")
        if ports:
            found += [f"{address}:{port['port']}" for port in ports for address in addresses]
        else:
            found += addresses
    return [name_of(obj), _limited(found, 3) or NONE, age_of(obj, now)]


def endpoint_slice(obj: JsonObject, now: datetime) -> Cells:
    """An EndpointSlice."""
    ports = [str(port["port"]) if port.get("port") else "*" for port in obj.get("ports") or ()]
    addresses = [a for entry in obj.get("endpoints") or () for a in entry.get("addresses") or ()]
    return [
        name_of(obj),
        obj.get("addressType"),
        _limited(ports, 3) or UNSET,
        _limited(addresses, 3) or UNSET,
        age_of(obj, now),
    ]


def claim(obj: JsonObject, now: datetime) -> Cells:
    """A PersistentVolumeClaim."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    bound = bool(spec.get("volumeName"))
    return [
        name_of(obj),
        _phase(obj),
        spec.get("volumeName") or "",
        (status.get("capacity") or {}).get("storage", "") if bound else "",
        _access_modes(status) if bound else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or UNSET,
        age_of(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def _access_modes(holder: JsonObject) -> str:
    modes = holder.get("accessModes") or ()
    return ",".join(short for mode, short in _ACCESS.items() if mode in modes)


def volume(obj: JsonObject, now: datetime) -> Cells:
    """A PersistentVolume."""
    spec = obj.get("spec", {})
    claimed = spec.get("claimRef")
    return [
        name_of(obj),
        (spec.get("capacity") or {}).get("storage", ""),
        _access_modes(spec),
        spec.get("persistentVolumeReclaimPolicy") or "",
        _phase(obj),
        f"{claimed['namespace']}/{claimed['name']}" if claimed else "",
        spec.get("storageClassName") or "",
        spec.get("volumeAttributesClassName") or UNSET,
        obj.get("status", {}).get("reason") or "",
        age_of(obj, now),
        spec.get("volumeMode") or UNSET,
    ]


def secret(obj: JsonObject, now: datetime) -> Cells:
    """A Secret."""
    return [name_of(obj), obj.get("type", ""), len(obj.get("data") or ()), age_of(obj, now)]


def config_map(obj: JsonObject, now: datetime) -> Cells:
    """A ConfigMap."""
    count = len(obj.get("data") or ()) + len(obj.get("binaryData") or ())
    return [name_of(obj), count, age_of(obj, now)]


def event(obj: JsonObject, now: datetime) -> Cells:
    """An Event in either of its API forms."""
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    series = obj.get("series") or {}
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    kind = str(about.get("kind") or "").lower()
    return [
        age(series.get("lastObservedTime") or last, now),
        obj.get("type", ""),
        obj.get("reason", ""),
        f"{kind}/{about['name']}" if about.get("name") else kind,
        about.get("fieldPath", ""),
        _source(obj),
        str(obj.get("message") or obj.get("note") or "").strip(),
        age(first, now),
        series.get("count") or count,
        name_of(obj),
    ]


def _source(obj: JsonObject) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = (
        source.get("component") or obj.get("reportingComponent") or obj.get("reportingController")
    )
    host = source.get("host") or obj.get("reportingInstance")
    return f"{component or ''}, {host}" if host else str(component or "")


def node(obj: JsonObject, now: datetime) -> Cells:
    """A Node."""
    status = obj.get("status", {})
    info = status.get("nodeInfo") or {}
    return [
        name_of(obj),
        _node_state(obj),
        _roles(obj),
        age_of(obj, now),
        info.get("kubeletVersion", ""),
        _address(status, "InternalIP"),
        _address(status, "ExternalIP"),
        info.get("osImage") or UNKNOWN,
        info.get("kernelVersion") or UNKNOWN,
        info.get("containerRuntimeVersion") or UNKNOWN,
    ]


def _node_state(obj: JsonObject) -> str:
    conditions = obj.get("status", {}).get("conditions") or ()
    ready = next((c["status"] for c in conditions if c["type"] == "Ready"), None)
    state = {"True": "Ready", None: "Unknown"}.get(ready, "NotReady")
    return f"{state},SchedulingDisabled" if obj.get("spec", {}).get("unschedulable") else state


def _roles(obj: JsonObject) -> str:
    labels = obj["metadata"].get("labels") or {}
    roles = {key.removeprefix(_ROLE_LABEL) for key in labels if key.startswith(_ROLE_LABEL)}
    roles |= {value for key, value in labels.items() if key == "kubernetes.io/role"}
    return ",".join(sorted(filter(None, roles))) or NONE


def _address(status: JsonObject, kind: str) -> str:
    found = (a["address"] for a in status.get("addresses") or () if a["type"] == kind)
    return next(found, NONE)


def namespace(obj: JsonObject, now: datetime) -> Cells:
    """A Namespace."""
    return [name_of(obj), obj.get("status", {}).get("phase", ""), age_of(obj, now)]


def ingress(obj: JsonObject, now: datetime) -> Cells:
    """An Ingress."""
    spec = obj.get("spec", {})
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    return [
        name_of(obj),
        spec.get("ingressClassName") or NONE,
        _limited(hosts, 3) or "*",
        ",".join(_ingress_addresses(obj)),
        "80, 443" if spec.get("tls") else "80",
        age_of(obj, now),
    ]


def ingress_class(obj: JsonObject, now: datetime) -> Cells:
    """An IngressClass."""
    spec = obj.get("spec", {})
    parameters = spec.get("parameters")
    shown = NONE
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters['kind']}{group}/{parameters['name']}"
    return [name_of(obj), spec.get("controller", ""), shown, age_of(obj, now)]


def lease(obj: JsonObject, now: datetime) -> Cells:
    """A Lease."""
    return [name_of(obj), obj.get("spec", {}).get("holderIdentity") or "", age_of(obj, now)]


def binding(obj: JsonObject, now: datetime) -> Cells:
    """A RoleBinding or ClusterRoleBinding."""
    subjects = obj.get("subjects") or ()
    accounts = (s for s in subjects if s["kind"] == "ServiceAccount")
    return [
        name_of(obj),
        f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}",
        age_of(obj, now),
        ", ".join(s["name"] for s in subjects if s["kind"] == "User"),
        ", ".join(s["name"] for s in subjects if s["kind"] == "Group"),
        ", ".join(f"{s.get('namespace', '')}/{s['name']}" for s in accounts),
    ]


def service_account(obj: JsonObject, now: datetime) -> Cells:
    """A ServiceAccount."""
    return [name_of(obj), len(obj.get("secrets") or ()), age_of(obj, now)]


def storage_class(obj: JsonObject, now: datetime) -> Cells:
    """A StorageClass."""
    annotations = obj["metadata"].get("annotations") or {}
    default = " (default)" if annotations.get(_DEFAULT_CLASS) == "true" else ""
    return [
        name_of(obj) + default,
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy") or "Delete",
        obj.get("volumeBindingMode") or "Immediate",
        bool(obj.get("allowVolumeExpansion")),
        age_of(obj, now),
    ]


def priority_class(obj: JsonObject, now: datetime) -> Cells:
    """A PriorityClass."""
    return [
        name_of(obj),
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        age_of(obj, now),
        obj.get("preemptionPolicy") or "PreemptLowerPriority",
    ]
