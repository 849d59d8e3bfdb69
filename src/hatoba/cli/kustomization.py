"""Render a kustomization to the objects that `kubectl kustomize` would print.

So that the command line applies the files of `deploy/` without kubectl. It knows the fields that
these files use (resources, components, inline JSON patches, namespace, images) and refuses any
other, rather than leave one out; a test compares every overlay with kubectl.

Source: kustomize "Kustomization file"; RFC 6902 for patches.
"""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import yaml

from hatoba.kernel.errors import InvalidInput
from hatoba.kernel.json import JsonObject, JsonValue

FILE: Final = "kustomization.yaml"
_FIELDS: Final = frozenset(
    {"apiVersion", "kind", "resources", "components", "patches", "namespace", "images"}
)
_CLUSTER_SCOPED: Final = frozenset(
    {"Namespace", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
)


class KustomizationInvalid(InvalidInput):
    """A file that is not a kustomization, or asks for what is not offered here."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path}: {why}")


def render(directory: Path) -> list[JsonObject]:
    """Return the objects of a kustomization, in the order in which the files name them.

    Raises:
        KustomizationInvalid: a file cannot be understood.
    """
    return _accumulated(directory, [])


def _accumulated(directory: Path, objects: list[JsonObject]) -> list[JsonObject]:
    """Add what a kustomization or component brings, and change what it changes."""
    path = directory / FILE
    content = _load(path)
    for name in content.get("resources") or ():
        objects += _resources(directory / name)
    for name in content.get("components") or ():
        objects = _accumulated(directory / name, objects)
    for entry in content.get("patches") or ():
        _patch(path, entry, objects)
    if namespace := content.get("namespace"):
        set_namespace(objects, namespace)
    for entry in content.get("images") or ():
        set_image(objects, entry["name"], _reference(path, entry))
    return objects


def _load(path: Path) -> JsonObject:
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise KustomizationInvalid(path, str(error)) from error
    if not isinstance(content, dict) or content.get("kind") not in ("Kustomization", "Component"):
        raise KustomizationInvalid(path, "not a Kustomization or Component")
    if unknown := sorted(content.keys() - _FIELDS):
        raise KustomizationInvalid(path, f"not offered here: {', '.join(unknown)}")
    return content


def _resources(path: Path) -> list[JsonObject]:
    if path.is_dir():
        return render(path)
    try:
        return [document for document in yaml.safe_load_all(path.read_text()) if document]
    except (OSError, yaml.YAMLError) as error:
        raise KustomizationInvalid(path, str(error)) from error


def _patch(path: Path, entry: JsonObject, objects: Sequence[JsonObject]) -> None:
    target = entry.get("target") or {}
    if set(entry) != {"target", "patch"} or set(target) != {"kind", "name"}:
        raise KustomizationInvalid(path, "a patch needs a target (kind, name) and a patch")
    operations = yaml.safe_load(entry["patch"])
    if not isinstance(operations, list):
        raise KustomizationInvalid(path, "only patches of JSON operations are offered here")
    for obj in objects:
        if obj["kind"] == target["kind"] and obj["metadata"]["name"] == target["name"]:
            for operation in operations:
                _operate(path, operation, obj)


def _operate(path: Path, operation: JsonObject, obj: JsonObject) -> None:
    """Carry out `add` or `replace` on an object.

    Spec: RFC 6902 4.1, 4.3; RFC 6901 4.
    """
    pointer = str(operation.get("path", ""))
    *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    value = copy.deepcopy(operation.get("value"))
    try:
        holder: JsonValue = obj
        for part in parents:
            holder = holder[int(part)] if isinstance(holder, list) else holder[part]
        match operation.get("op"), holder:
            case "add", list() if last == "-":
                holder.append(value)
            case "add", list():
                holder.insert(int(last), value)
            case "replace", list():
                holder[int(last)] = value
            case "add", dict():
                holder[last] = value
            case "replace", dict() if last in holder:
                holder[last] = value
            case _:
                raise KustomizationInvalid(path, f"cannot {operation.get('op')} at {pointer}")
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise KustomizationInvalid(path, f"{pointer} is not there: {error}") from error


def _reference(path: Path, entry: JsonObject) -> str:
    if unknown := sorted(entry.keys() - {"name", "newName", "newTag", "digest"}):
        raise KustomizationInvalid(path, f"not offered here: images.{', '.join(unknown)}")
    name = entry.get("newName", entry["name"])
    if "digest" in entry:
        return f"{name}@{entry['digest']}"
    return f"{name}:{entry['newTag']}" if "newTag" in entry else str(name)


def set_namespace(objects: Sequence[JsonObject], namespace: str) -> None:
    """Move all objects into a namespace, and what refers to accounts among them."""
    for obj in objects:
        if obj["kind"] == "Namespace":
            obj["metadata"]["name"] = namespace
        elif obj["kind"] not in _CLUSTER_SCOPED:
            obj["metadata"]["namespace"] = namespace
    for subject in _subjects(objects):
        subject["namespace"] = namespace


def _subjects(objects: Sequence[JsonObject]) -> Iterator[JsonObject]:
    accounts = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "ServiceAccount"}
    for obj in objects:
        if obj["kind"] in ("RoleBinding", "ClusterRoleBinding"):
            for subject in obj.get("subjects") or ():
                if subject["kind"] == "ServiceAccount" and subject["name"] in accounts:
                    yield subject


def set_image(objects: Sequence[JsonObject], name: str, reference: str) -> None:
    """Let the containers that run an image of this name run another one.

    A reference without tag or digest keeps the tag.
    """
    for obj in objects:
        pod = ((obj.get("spec") or {}).get("template") or {}).get("spec") or {}
        for container in (*(pod.get("initContainers") or ()), *(pod.get("containers") or ())):
            found, tag = _split(container["image"])
            if found == name:
                given = _split(reference)
                container["image"] = reference if given[1] else reference + tag


def _split(reference: str) -> tuple[str, str]:
    """Return name and `:tag` or `@digest`; a port in the host is no tag."""
    if "@" in reference:
        name, _, digest = reference.partition("@")
        return name, f"@{digest}"
    name, colon, tag = reference.rpartition(":")
    return (name, f":{tag}") if colon and "/" not in tag else (reference, "")
