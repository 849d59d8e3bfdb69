"""The environment and the command line of a container, from its spec. Pure.

Kubernetes API: EnvVar, EnvFromSource, "Define Dependent Environment Variables". Paths below a
mount are rewritten by `mounts`, after this.
"""

import base64
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from hatoba.cluster.controllers.quantities import parse
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject

_REFERENCE: Final = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")
_KEY: Final = re.compile(r"(.+)\['(.+)'\]")


class ConfigurationMissing(HatobaError):
    """Something the container's spec refers to is not there (yet)."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Sources:
    """Where values come from: objects of the pod's namespace, and what the node knows."""

    config_map: Callable[[str], JsonObject | None]
    secret: Callable[[str], JsonObject | None]
    pod: JsonObject
    pod_ip: str
    host_ip: str
    allocatable: Mapping[str, str]


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; `$$` stands for a dollar, an unknown name stays as it is."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else variables.get(name, match.group(0))

    return _REFERENCE.sub(value, text)


def resolve_environment(container: JsonObject, sources: Sources) -> dict[str, str]:
    """Return the variables that the spec asks for, in its order.

    Raises:
        ConfigurationMissing: an object or key that is not optional does not exist.
    """
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix", "")
        for key, value in _bulk(source, sources).items():
            variables[prefix + key] = value
    for entry in container.get("env") or ():
        if entry.get("valueFrom"):
            found = _value_from(entry["valueFrom"], container, sources)
            if found is not None:
                variables[entry["name"]] = found
        else:
            variables[entry["name"]] = expand(entry.get("value") or "", variables)
    return variables


def command_line(
    container: JsonObject, variables: Mapping[str, str]
) -> tuple[list[str] | None, list[str] | None]:
    """Return command and args, expanded; None where the image's own apply."""

    def expanded(words: Sequence[str] | None) -> list[str] | None:
        return None if not words else [expand(word, variables) for word in words]

    return expanded(container.get("command")), expanded(container.get("args"))


def _bulk(source: JsonObject, sources: Sources) -> dict[str, str]:
    if reference := source.get("configMapRef"):
        found = _object("configmap", reference, sources)
        return {} if found is None else dict(found.get("data") or {})
    reference = source["secretRef"]
    found = _object("secret", reference, sources)
    return {} if found is None else {key: _text(value) for key, value in _items(found)}


def _items(secret: JsonObject) -> list[tuple[str, str]]:
    return list((secret.get("data") or {}).items())


def _text(encoded: str) -> str:
    return base64.b64decode(encoded).decode(errors="surrogateescape")


def _object(kind: str, reference: JsonObject, sources: Sources) -> JsonObject | None:
    get = sources.config_map if kind == "configmap" else sources.secret
    found = get(reference["name"])
    if found is None and not reference.get("optional"):
        raise ConfigurationMissing(f'{kind} "{reference["name"]}" not found')
    return found


def _value_from(origin: JsonObject, container: JsonObject, sources: Sources) -> str | None:
    if reference := origin.get("configMapKeyRef"):
        found = _object("configmap", reference, sources)
        return _key(found, reference, kind="ConfigMap", sources=sources)
    if reference := origin.get("secretKeyRef"):
        found = _object("secret", reference, sources)
        encoded = _key(found, reference, kind="Secret", sources=sources)
        return None if encoded is None else _text(encoded)
    if reference := origin.get("fieldRef"):
        return field_value(reference["fieldPath"], sources)
    if reference := origin.get("resourceFieldRef"):
        return resource_value(reference, container, sources.allocatable)
    raise ConfigurationMissing(f"unsupported source of a value: {', '.join(origin)}")


def _key(
    found: JsonObject | None, reference: JsonObject, *, kind: str, sources: Sources
) -> str | None:
    if found is None:
        return None
    value = (found.get("data") or {}).get(reference["key"])
    if value is None and not reference.get("optional"):
        namespace = sources.pod["metadata"]["namespace"]
        raise ConfigurationMissing(
            f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}"
        )
    return None if value is None else str(value)


def field_value(path: str, sources: Sources) -> str:
    """Return what the downward API shows at a field path.

    Raises:
        ConfigurationMissing: a path that the downward API does not offer.
    """
    meta, spec = sources.pod["metadata"], sources.pod["spec"]
    if match := _KEY.fullmatch(path):
        field, key = match.groups()
        if field in {"metadata.labels", "metadata.annotations"}:
            return str((meta.get(field.partition(".")[2]) or {}).get(key, ""))
    values = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta.get("uid", ""),
        "metadata.labels": _pairs(meta.get("labels")),
        "metadata.annotations": _pairs(meta.get("annotations")),
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.podIP": sources.pod_ip,
        "status.podIPs": sources.pod_ip,
        "status.hostIP": sources.host_ip,
        "status.hostIPs": sources.host_ip,
    }
    if path not in values:
        raise ConfigurationMissing(f"unsupported fieldPath: {path}")
    return str(values[path])


def _pairs(values: Mapping[str, str] | None) -> str:
    lines = []
    for key, value in sorted((values or {}).items()):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        lines.append(f'{key}="{escaped}"')
    return "\n".join(lines)


def resource_value(
    reference: JsonObject, container: JsonObject, allocatable: Mapping[str, str]
) -> str:
    """Return a request or limit in units of the divisor, rounded up.

    A limit that was not set is what the node offers.
    """
    kind, _, name = reference["resource"].partition(".")
    given = ((container.get("resources") or {}).get(kind) or {}).get(name)
    if given is None:
        given = allocatable.get(name, "0") if kind == "limits" else "0"
    divisor = parse(str(reference.get("divisor") or "1")) or Decimal(1)
    return str(math.ceil(parse(str(given)) / divisor))


def service_variables(services: Sequence[JsonObject]) -> dict[str, str]:
    """Return `NAME_SERVICE_HOST`, `NAME_SERVICE_PORT[_PORTNAME]` of services with an address."""
    variables: dict[str, str] = {}
    for service in services:
        address = service["spec"].get("clusterIP")
        ports = service["spec"].get("ports") or ()
        if not address or address == "None" or not ports:
            continue
        name = _variable(service["metadata"]["name"])
        variables[f"{name}_SERVICE_HOST"] = address
        variables[f"{name}_SERVICE_PORT"] = str(ports[0]["port"])
        for port in ports:
            if port.get("name"):
                variables[f"{name}_SERVICE_PORT_{_variable(port['name'])}"] = str(port["port"])
    return variables


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")
