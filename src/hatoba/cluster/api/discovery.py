"""Discovery documents: which groups, versions and resources there are.

Spec: Kubernetes API concepts, "API Discovery"; both the aggregated form (kubectl 1.26 and later)
and the older one of a document per group version.
"""

import base64
import hashlib
from collections.abc import Iterable
from typing import Final

from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.resources import Resource
from hatoba.kernel.json import JsonObject

CLIENT_ADDRESS: Final = "0.0.0.0/0"
_WRITABLE: Final = ["get", "patch", "update"]
_SUBRESOURCES: Final[dict[str, JsonObject]] = {
    "status": {"verbs": _WRITABLE},
    "scale": {"verbs": _WRITABLE, "group": "autoscaling", "version": "v1", "kind": "Scale"},
    "finalize": {"verbs": ["update"]},
    "binding": {"verbs": ["create"], "kind": "Binding"},
    "log": {"verbs": ["get"]},
    "exec": {"verbs": ["create", "get"], "kind": "PodExecOptions"},
    "token": {
        "verbs": ["create"],
        "group": "authentication.k8s.io",
        "version": "v1",
        "kind": "TokenRequest",
    },
}
_GROUP_ORDER: Final = (
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "networking.k8s.io",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
)


def groups(registry: Registry) -> dict[str, list[str]]:
    """Return the named groups and their versions, preferred first."""
    found: dict[str, list[str]] = {}
    for resource in registry:
        versions = found.setdefault(resource.group, [])
        versions.extend(v for v in resource.versions if v not in versions)
    found.pop("", None)
    known = {group: found.pop(group) for group in _GROUP_ORDER if group in found}
    return known | {group: found[group] for group in sorted(found)}


def api_versions(address: str) -> JsonObject:
    """Return the answer to `/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": CLIENT_ADDRESS, "serverAddress": address}],
    }


def group_list(registry: Registry) -> JsonObject:
    """Return the answer to `/apis`."""
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group(name, versions) for name, versions in groups(registry).items()],
    }


def group_document(registry: Registry, group: str) -> JsonObject | None:
    """Return the answer to `/apis/<group>`, None for an unknown one."""
    versions = groups(registry).get(group)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, versions)} if versions else None


def _group(name: str, versions: list[str]) -> JsonObject:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _of_version(registry: Registry, group: str, version: str) -> list[Resource]:
    found = [r for r in registry if r.group == group and version in r.versions]
    return sorted(found, key=lambda resource: resource.plural)


def resource_list(registry: Registry, group: str, version: str) -> JsonObject | None:
    """Return the answer to `/apis/<group>/<version>`, None for an unknown one."""
    resources = _of_version(registry, group, version)
    if not resources:
        return None
    entries = [entry for resource in resources for entry in _legacy(resource)]
    head: JsonObject = {"kind": "APIResourceList"}
    if group:
        head["apiVersion"] = "v1"
    return {**head, "groupVersion": f"{group}/{version}".lstrip("/"), "resources": entries}


def _legacy(resource: Resource) -> Iterable[JsonObject]:
    entry: JsonObject = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if not resource.is_virtual:
        entry["storageVersionHash"] = _storage_hash(resource)
    yield entry
    for name in _ordered(resource):
        yield {
            "name": f"{resource.plural}/{name}",
            "singularName": "",
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            **_SUBRESOURCES[name],
        }


def _ordered(resource: Resource) -> list[str]:
    """Return the subresources as a real server lists them."""
    return sorted(resource.subresources, reverse=resource.is_custom)


def _storage_hash(resource: Resource) -> str:
    """Return the digest by which clients notice that objects are stored in another version."""
    text = f"{resource.group}/{resource.storage_version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def aggregated(registry: Registry, *, core: bool, version: str) -> JsonObject:
    """Return the whole of `/api` or `/apis` in one document."""
    versions = {"": ["v1"]} if core else groups(registry)
    items = []
    for group, of_group in versions.items():
        metadata: JsonObject = {"creationTimestamp": None}
        if group:
            metadata = {"name": group, **metadata}
        items.append(
            {
                "metadata": metadata,
                "versions": [
                    {
                        "version": name,
                        "resources": [_aggregate(r) for r in _of_version(registry, group, name)],
                        "freshness": "Current",
                    }
                    for name in of_group
                ],
            }
        )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": items,
    }


def _aggregate(resource: Resource) -> JsonObject:
    entry: JsonObject = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": name,
                "responseKind": {
                    "group": _SUBRESOURCES[name].get("group", ""),
                    "version": _SUBRESOURCES[name].get("version", ""),
                    "kind": _SUBRESOURCES[name].get("kind", resource.kind),
                },
                "verbs": _SUBRESOURCES[name]["verbs"],
            }
            for name in _ordered(resource)
        ]
    return entry
