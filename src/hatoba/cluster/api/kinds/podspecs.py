"""What is valid in a pod's specification, alone or in a template.

The checks are those whose refusals were recorded from a real server, and whatever the kubelet
relies on; the rest of PodSpec is accepted as it is.
"""

from collections import Counter
from decimal import Decimal
from typing import Any, Final

from hatoba.cluster.api.metadata import (
    duplicate,
    forbidden,
    invalid,
    label_sentences,
    required,
    unsupported,
)
from hatoba.cluster.api.quantities import parse_quantity
from hatoba.cluster.api.status import Cause
from hatoba.kernel.json import JsonObject

_RESTART: Final = ("Always", "OnFailure", "Never")
_PULL: Final = ("Always", "IfNotPresent", "Never")
_PORT_SENTENCE: Final = "must be between 1 and 65535, inclusive"
_SOURCE_ORDER: Final = (
    "emptyDir",
    "hostPath",
    "secret",
    "nfs",
    "persistentVolumeClaim",
    "downwardAPI",
    "configMap",
    "projected",
    "csi",
    "ephemeral",
)
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")


def validate_pod_spec(spec: JsonObject, field: str) -> list[Cause]:
    """Return what is wrong with a specification that has its defaults."""
    volumes = spec.get("volumes") or []
    causes = _validate_volumes(volumes, f"{field}.volumes")
    names = {volume.get("name") for volume in volumes if len(_sources(volume)) == 1}
    if not spec.get("containers"):
        causes.append(required(f"{field}.containers"))
    seen: set[str] = set()
    for key in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(key) or []):
            here = f"{field}.{key}[{index}]"
            causes += _validate_name(container.get("name", ""), here, seen)
            causes += _validate_container(container, here, names)
    policy = spec.get("restartPolicy")
    if policy not in _RESTART:
        causes.append(unsupported(f"{field}.restartPolicy", policy or "", _RESTART))
    return causes


def _validate_name(name: str, here: str, seen: set[str]) -> list[Cause]:
    if not name:
        return [required(f"{here}.name")]
    causes = [invalid(f"{here}.name", f'"{name}"', s) for s in label_sentences(name)]
    if name in seen:
        causes.append(duplicate(f"{here}.name", f'"{name}"'))
    seen.add(name)
    return causes


def _validate_container(container: JsonObject, here: str, volumes: set[str | None]) -> list[Cause]:
    causes: list[Cause] = []
    if not container.get("image"):
        causes.append(required(f"{here}.image"))
    causes += _validate_ports(container.get("ports") or [], f"{here}.ports")
    causes += _validate_env(container.get("env") or [], f"{here}.env")
    causes += _validate_mounts(container, here, volumes)
    for probe in _PROBES:
        if container.get(probe) is not None:
            causes += _validate_probe(container[probe], f"{here}.{probe}", probe)
    pull = container.get("imagePullPolicy")
    if pull not in _PULL:
        causes.append(unsupported(f"{here}.imagePullPolicy", pull or "", _PULL))
    return causes + validate_resources(container.get("resources") or {}, f"{here}.resources")


def _validate_ports(ports: list[JsonObject], field: str) -> list[Cause]:
    causes = []
    names = Counter(port["name"] for port in ports if port.get("name"))
    for index, port in enumerate(ports):
        here = f"{field}[{index}]"
        number = port.get("containerPort")
        if number is None or number == 0:
            causes.append(required(f"{here}.containerPort"))
        elif not 1 <= number <= 65_535:
            causes.append(invalid(f"{here}.containerPort", str(number), _PORT_SENTENCE))
        name = port.get("name", "")
        if names[name] > 1 and name in [p.get("name") for p in ports[:index]]:
            causes.append(duplicate(f"{here}.name", f'"{name}"'))
        if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
            causes.append(
                unsupported(f"{here}.protocol", port.get("protocol", ""), ("SCTP", "TCP", "UDP"))
            )
    return causes


def _validate_env(variables: list[JsonObject], field: str) -> list[Cause]:
    causes = []
    for index, variable in enumerate(variables):
        name = variable.get("name", "")
        if not name:
            causes.append(required(f"{field}[{index}].name"))
        elif "=" in name or not name.isprintable():
            causes.append(
                invalid(
                    f"{field}[{index}].name",
                    f'"{name}"',
                    "a valid environment variable name must consist only of printable ASCII"
                    " characters other than '='",
                )
            )
    return causes


def _validate_mounts(container: JsonObject, here: str, volumes: set[str | None]) -> list[Cause]:
    causes = []
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or []):
        field = f"{here}.volumeMounts[{index}]"
        name, path = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            causes.append(required(f"{field}.name"))
        elif name not in volumes:
            causes.append(
                Cause(
                    reason="FieldValueNotFound",
                    message=f'Not found: "{name}"',
                    field=f"{field}.name",
                )
            )
        if not path:
            causes.append(required(f"{field}.mountPath"))
        elif path in paths:
            causes.append(invalid(f"{field}.mountPath", f'"{path}"', "must be unique"))
        paths.add(path)
    return causes


def _validate_probe(probe: JsonObject, here: str, kind: str) -> list[Cause]:
    actions = [name for name in ("exec", "httpGet", "tcpSocket", "grpc") if probe.get(name)]
    causes = []
    if not actions:
        causes.append(required(here, "must specify a handler type"))
    causes += [
        forbidden(f"{here}.{name}", "may not specify more than 1 handler type")
        for name in actions[1:]
    ]
    for key in ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"):
        if (probe.get(key) or 0) < 0:
            causes.append(
                invalid(f"{here}.{key}", str(probe[key]), "must be greater than or equal to 0")
            )
    if kind != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        causes.append(
            invalid(f"{here}.successThreshold", str(probe["successThreshold"]), "must be 1")
        )
    return causes


def _validate_volumes(volumes: list[JsonObject], field: str) -> list[Cause]:
    causes = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{field}[{index}]"
        causes += _validate_name(volume.get("name", ""), here, seen)
        causes += [
            forbidden(f"{here}.{name}", "may not specify more than 1 volume type")
            for name in _sources(volume)[1:]
        ]
    return causes


def _sources(volume: JsonObject) -> list[str]:
    found = [key for key in volume if key != "name" and volume[key] is not None]
    order = {name: place for place, name in enumerate(_SOURCE_ORDER)}
    return sorted(found, key=lambda name: order.get(name, len(order)))


def validate_resources(resources: JsonObject, field: str) -> list[Cause]:
    """Return what is wrong with requests and limits."""
    causes = []
    limits, requests = (_numbers(resources.get(key)) for key in ("limits", "requests"))
    for kind, named in (("limits", limits), ("requests", requests)):
        causes += [
            invalid(
                f"{field}.{kind}[{name}]",
                f'"{resources[kind][name]}"',
                "must be greater than or equal to 0",
            )
            for name, value in named.items()
            if value < 0
        ]
    for name, asked in requests.items():
        if name in limits and asked > limits[name]:
            causes.append(
                invalid(
                    f"{field}.requests",
                    f'"{resources["requests"][name]}"',
                    f"must be less than or equal to {name} limit of {resources['limits'][name]}",
                )
            )
    return causes


def _numbers(quantities: Any) -> dict[str, Decimal]:
    return {name: parse_quantity(str(text)) for name, text in (quantities or {}).items()}
