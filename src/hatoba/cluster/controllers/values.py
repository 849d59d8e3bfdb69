"""Reading Kubernetes objects: the small questions that every controller asks of them.

Objects from caches are shared: nothing here changes its argument.
"""

import copy
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from hatoba.kernel.json import JsonObject, JsonValue


class Key(NamedTuple):
    """The name of an object within its resource; the namespace of cluster-scoped ones is ""."""

    namespace: str
    name: str


def key_of(obj: JsonObject) -> Key:
    """Return the object's key."""
    meta = obj["metadata"]
    return Key(meta.get("namespace", ""), meta["name"])


def uid_of(obj: JsonObject) -> str:
    """Return the object's uid."""
    uid: str = obj["metadata"]["uid"]
    return uid


def name_of(obj: JsonObject) -> str:
    """Return the object's name."""
    name: str = obj["metadata"]["name"]
    return name


def version_of(obj: JsonObject) -> int:
    """Return the resource version; this server's are numbers of one sequence."""
    return int(obj["metadata"].get("resourceVersion") or 0)


def spec_of(obj: JsonObject) -> JsonObject:
    """Return the spec, empty when absent."""
    return obj.get("spec") or {}


def status_of(obj: JsonObject) -> JsonObject:
    """Return the status, empty when absent."""
    return obj.get("status") or {}


def labels_of(obj: JsonObject) -> Mapping[str, str]:
    """Return the labels, empty when absent."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: JsonObject) -> Mapping[str, str]:
    """Return the annotations, empty when absent."""
    return obj["metadata"].get("annotations") or {}


def finalizers_of(obj: JsonObject) -> list[str]:
    """Return the finalizers, empty when absent."""
    return list(obj["metadata"].get("finalizers") or ())


def owners_of(obj: JsonObject) -> list[JsonObject]:
    """Return the owner references, empty when absent."""
    return list(obj["metadata"].get("ownerReferences") or ())


def is_deleting(obj: JsonObject) -> bool:
    """Whether deletion was asked for and waits for a grace period or a finalizer."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def controller_of(obj: JsonObject) -> JsonObject | None:
    """Return the owner reference of the managing controller."""
    return next((owner for owner in owners_of(obj) if owner.get("controller")), None)


def is_controlled_by(obj: JsonObject, owner: JsonObject) -> bool:
    """Whether `owner` is the managing controller of the object."""
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == uid_of(owner)


def controller_reference(owner: JsonObject) -> JsonObject:
    """Return the owner reference a controller puts on what it creates."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition_of(obj: JsonObject, kind: str) -> JsonObject | None:
    """Return the status condition of a type."""
    return find_condition(status_of(obj).get("conditions") or (), kind)


def find_condition(conditions: Iterable[JsonObject], kind: str) -> JsonObject | None:
    """Return the condition of a type from a list."""
    return next((condition for condition in conditions if condition["type"] == kind), None)


def moment(text: str) -> datetime:
    """Read a Kubernetes timestamp, with or without fractions of a second."""
    return datetime.fromisoformat(text).astimezone(UTC)


def created_at(obj: JsonObject) -> str:
    """Return the creation timestamp; these sort as text."""
    text: str = obj["metadata"].get("creationTimestamp") or ""
    return text


def thawed(obj: JsonObject) -> JsonObject:
    """Return a copy that may be changed."""
    return copy.deepcopy(obj)


def without_empty(value: JsonValue) -> JsonValue:
    """Return the value without nulls and empty containers, for comparing what people meant."""
    if isinstance(value, dict):
        kept = {key: without_empty(item) for key, item in value.items()}
        return {
            key: item for key, item in kept.items() if item is not None and item not in ({}, [])
        }
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    return value
