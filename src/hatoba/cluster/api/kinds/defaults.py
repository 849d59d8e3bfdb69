"""Defaults of pods and pod templates.

Spec: Kubernetes API reference, PodSpec and Container; the same values that a real server writes
into what it stores, since clients compare what they applied with what they read back.
"""

import re
from typing import Any, Final

from hatoba.kernel.json import JsonObject

_REFERENCE: Final = re.compile(
    r"(?:[a-zA-Z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
)
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_FILE_MODE: Final = 0o644
_HOST_PATH_MODE_KINDS: Final = ("secret", "configMap", "downwardAPI", "projected")


def default_pod_spec(spec: JsonObject) -> None:
    """Fill in the defaults of a pod's specification, in place."""
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    spec.setdefault("schedulerName", "default-scheduler")
    _mirror_account(spec)
    for container in _containers(spec):
        _default_container(container)
    for volume in spec.get("volumes") or []:
        _default_volume(volume)


def _mirror_account(spec: JsonObject) -> None:
    """Keep the deprecated twin of `serviceAccountName` equal to it."""
    if account := spec.get("serviceAccountName"):
        spec["serviceAccount"] = account
    elif account := spec.get("serviceAccount"):
        spec["serviceAccountName"] = account


def _containers(spec: JsonObject) -> list[JsonObject]:
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _default_container(container: JsonObject) -> None:
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", _pull_policy(container.get("image", "")))
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for name in _PROBES:
        if container.get(name):
            _default_probe(container[name])
    for handler in (container.get("lifecycle") or {}).values():
        if isinstance(handler, dict) and handler.get("httpGet"):
            _default_http(handler["httpGet"])
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            reference.setdefault("apiVersion", "v1")


def default_requests(spec: JsonObject) -> None:
    """Let a pod (not a template) ask for what it is limited to, in place."""
    for container in _containers(spec):
        limits = container["resources"].get("limits") or {}
        if limits:
            requests = container["resources"].setdefault("requests", {})
            for name, quantity in limits.items():
                requests.setdefault(name, quantity)


def _pull_policy(image: str) -> str:
    if "@" in image or _REFERENCE.fullmatch(image) is None:
        return "IfNotPresent"
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return "Always" if not colon or tag == "latest" else "IfNotPresent"


def _default_probe(probe: JsonObject) -> None:
    for key, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(key):
            probe[key] = value
    if probe.get("httpGet"):
        _default_http(probe["httpGet"])
    if probe.get("grpc") is not None:
        probe["grpc"].setdefault("service", "")


def _default_http(action: JsonObject) -> None:
    action.setdefault("path", "/")
    action.setdefault("scheme", "HTTP")


def _default_volume(volume: JsonObject) -> None:
    sources = [key for key in volume if key != "name"]
    if not sources:
        volume["emptyDir"] = {}
    for kind in _HOST_PATH_MODE_KINDS:
        if volume.get(kind) is not None:
            volume[kind].setdefault("defaultMode", _FILE_MODE)
    if volume.get("hostPath") is not None:
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources") or []:
        if source.get("serviceAccountToken"):
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
    for item in _field_items(volume):
        if item.get("fieldRef"):
            item["fieldRef"].setdefault("apiVersion", "v1")


def _field_items(volume: JsonObject) -> list[Any]:
    sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
    return [
        item for source in sources for item in (source.get("downwardAPI") or {}).get("items") or []
    ]


def default_template(template: JsonObject) -> None:
    """Fill in the defaults of a pod template, in place."""
    metadata = template.setdefault("metadata", {})
    metadata.setdefault("creationTimestamp", None)
    if template.get("spec") is not None:
        default_pod_spec(template["spec"])
