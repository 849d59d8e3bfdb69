"""Between the version an object is stored in and the one a caller speaks.

Custom resources and most built-in kinds differ in `apiVersion` only (conversion `None` of CRDs);
the autoscaler's v1 and the two views on events have a form of their own.
"""

from hatoba.cluster.api.events import from_new_event, to_new_event
from hatoba.cluster.api.kinds.autoscalers import from_v1, to_v1
from hatoba.cluster.api.resources import Resource
from hatoba.kernel.json import JsonObject


def to_version(obj: JsonObject, *, resource: Resource, version: str | None) -> JsonObject:
    """Return the object as the caller's version has it; it may share parts with `obj`."""
    wanted = resource.api_version(version)
    if obj.get("apiVersion") == wanted:
        return obj
    if wanted == "autoscaling/v1":
        return to_v1(obj)
    if wanted == "events.k8s.io/v1":
        return to_new_event(obj)
    return {**obj, "apiVersion": wanted}


def from_version(obj: JsonObject, *, resource: Resource, version: str | None) -> JsonObject:
    """Return the object as it is stored; it may share parts with `obj`."""
    spoken = resource.api_version(version)
    if spoken == "autoscaling/v1":
        obj = from_v1(obj)
    elif spoken == "events.k8s.io/v1":
        return {**from_new_event(obj), "apiVersion": "v1", "kind": resource.kind}
    return {**obj, "apiVersion": resource.api_version(), "kind": resource.kind}
