"""OpenAPI v3 documents per group version, as kubectl reads them before it writes or explains.

Spec: Kubernetes API concepts, "OpenAPI V3". The paths carry only what clients look for: which kind
a PATCH is for and which query parameters it takes.
"""

import hashlib
from typing import Any, Final

import msgspec

from hatoba.cluster.api.discovery import groups
from hatoba.cluster.api.kinds.custom import CustomRules
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.formats.schema import REFERENCE_PREFIX, custom, definitions
from hatoba.kernel.json import JsonObject

_KINDS: Final = "x-kubernetes-group-version-kind"
_PATCH_PARAMETERS: Final = ("dryRun", "fieldManager", "fieldValidation", "force")


class OpenApi:
    """Serves the documents; they are made anew when the set of resources changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = -1
        self._documents: dict[str, bytes] = {}

    def _current(self) -> dict[str, bytes]:
        if self._generation != self._registry.generation:
            versions = [("", "v1")]
            versions += [(g, v) for g, names in groups(self._registry).items() for v in names]
            documents = {}
            for group, version in versions:
                path = f"apis/{group}/{version}" if group else f"api/{version}"
                documents[path] = msgspec.json.encode(self._document(group, version))
            self._documents = documents
            self._generation = self._registry.generation
        return self._documents

    def index(self) -> JsonObject:
        """Return the answer to `/openapi/v3`."""
        paths = {}
        for path, document in self._current().items():
            digest = hashlib.sha256(document).hexdigest()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
        return {"paths": paths}

    def document(self, path: str) -> bytes | None:
        """Return the document of `api/v1` or `apis/<group>/<version>`, None for another path."""
        return self._current().get(path)

    def _document(self, group: str, version: str) -> JsonObject:
        paths: JsonObject = {}
        schemas: JsonObject = {}
        for resource in self._registry:
            if resource.group == group and version in resource.versions:
                paths |= _paths(resource, version)
                schemas |= self._schemas(resource, version)
        return {
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": "v1.32.0+hatoba"},
            "paths": paths,
            "components": {"schemas": schemas},
        }

    def _schemas(self, resource: Resource, version: str) -> JsonObject:
        """Return the components that describe a kind, with all that they refer to."""
        kind = {"group": resource.group, "version": version, "kind": resource.kind}
        rules = self._registry.strategy(resource)
        if isinstance(rules, CustomRules):
            declared = rules.version(version)["schema"]["openAPIV3Schema"]
            document = {**custom(declared).raw, _KINDS: [kind]}
            name = ".".join([*reversed(resource.group.split(".")), version, resource.kind])
            return {name: document} | _closure(document)
        for name, document in definitions().items():
            if kind in document.get(_KINDS, ()):
                return {name: document} | _closure(document)
        return {}


def _closure(document: JsonObject) -> JsonObject:
    found: JsonObject = {}
    waiting: list[Any] = [document]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            reference = node.get("$ref")
            if isinstance(reference, str):
                name = reference.removeprefix(REFERENCE_PREFIX)
                if name not in found:
                    found[name] = definitions()[name]
                    waiting.append(found[name])
            waiting.extend(value for value in node.values() if isinstance(value, dict | list))
    return found


def _paths(resource: Resource, version: str) -> JsonObject:
    prefix = f"/apis/{resource.group}/{version}" if resource.group else f"/api/{version}"
    scope = "/namespaces/{namespace}" if resource.namespaced else ""
    kind = {"group": resource.group, "version": version, "kind": resource.kind}
    collection = f"{prefix}{scope}/{resource.plural}"
    return {
        collection: {
            "get": {"x-kubernetes-action": "list", "x-kubernetes-group-version-kind": kind},
            "post": {"x-kubernetes-action": "post", "x-kubernetes-group-version-kind": kind},
        },
        f"{collection}/{{name}}": {
            "get": {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": kind},
            "patch": {
                "x-kubernetes-action": "patch",
                "x-kubernetes-group-version-kind": kind,
                "parameters": [
                    {"name": name, "in": "query", "schema": {"type": "string"}}
                    for name in _PATCH_PARAMETERS
                ],
            },
        },
    }
