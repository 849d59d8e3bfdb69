"""Schemas of CRDs themselves: whether they are structural, and their defaults fit.

Spec: Kubernetes "Specifying a structural schema"; sentences follow a 1.32 server. Not checked are
the rarer rules on value validation inside `anyOf` and its like.
"""

from collections.abc import Iterator
from typing import Any

from hatoba.cluster.api.status import Cause
from hatoba.cluster.formats.schema import Schema
from hatoba.cluster.formats.structural import apply_defaults, validate
from hatoba.kernel.json import JsonObject


def structural_errors(document: JsonObject, *, path: str) -> list[Cause]:
    """Return why an `openAPIV3Schema` is not a structural schema.

    `path` is where it stands: `spec.validation.openAPIV3Schema` while all versions share it.
    """
    if not document.get("type"):
        return [_required(f"{path}.type", "must not be empty at the root")]
    return list(_node_errors(document, path))


def _required(field: str, why: str) -> Cause:
    return Cause(reason="FieldValueRequired", message=f"Required value: {why}", field=field)


def _node_errors(node: JsonObject, path: str) -> Iterator[Cause]:
    yield from _list_errors(node, path)
    yield from _default_errors(node, path)
    for name, below in sorted((node.get("properties") or {}).items()):
        here = f"{path}.properties[{name}]"
        if _lacks_type(below):
            yield _required(f"{here}.type", "must not be empty for specified object fields")
        yield from _node_errors(below, here)
    items = node.get("items")
    if isinstance(items, dict):
        if _lacks_type(items):
            yield _required(f"{path}.items.type", "must not be empty for specified array items")
        yield from _node_errors(items, f"{path}.items")
    additional = node.get("additionalProperties")
    if isinstance(additional, dict):
        yield from _node_errors(additional, f"{path}.additionalProperties")


def _lacks_type(node: JsonObject) -> bool:
    return not (
        node.get("type")
        or node.get("x-kubernetes-int-or-string")
        or node.get("x-kubernetes-preserve-unknown-fields")
    )


def _list_errors(node: JsonObject, path: str) -> Iterator[Cause]:
    if node.get("x-kubernetes-list-type") == "map" and not node.get("x-kubernetes-list-map-keys"):
        yield _required(
            f"{path}.x-kubernetes-list-map-keys",
            "must not be empty if x-kubernetes-list-type is map",
        )
    if node.get("type") == "array" and not isinstance(node.get("items"), dict):
        yield _required(f"{path}.items", "must be specified")


def _default_errors(node: JsonObject, path: str) -> Iterator[Cause]:
    if "default" not in node or node["default"] is None:
        return
    value: Any = node["default"]
    holder = {"": value}
    schema = Schema({"type": "object", "properties": {"": node}})
    for cause in validate(apply_defaults(holder, schema), schema):
        yield Cause(reason=cause.reason, message=cause.message, field=f"{path}.default")
