"""Who has the number of a Deployment's pods, as its managed fields tell. Pure.

Asked by `apply`, which gives the number to a second field manager, and by components that have to
tell a number of the operator's own from a person's.
"""

from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names

OWN: Final = frozenset({names.FIELD_MANAGER, names.SCALE_MANAGER})
"""The operator's own field managers."""


def replica_owners(deployment: JsonObject) -> set[str]:
    """Return the field managers that hold `spec.replicas`."""
    return {
        str(entry.get("manager"))
        for entry in deployment["metadata"].get("managedFields") or []
        if "f:replicas" in (entry.get("fieldsV1") or {}).get("f:spec", {})
    }


def is_ours(deployment: JsonObject) -> bool:
    """Tell whether nobody but the operator has set the number."""
    return replica_owners(deployment) <= OWN


def handed_over(deployment: JsonObject) -> JsonObject | None:
    """Return what the second field manager applies to have the number; None: others have it too.

    Left out by its only owner, a number becomes the default. A version is named in it: of a later
    one the number is somebody's who has scaled since. With the uid it is an update only: of a
    Deployment that somebody deletes now, its replicas alone would be refused as an incomplete new
    one.
    """
    if replica_owners(deployment) != {names.FIELD_MANAGER}:
        return None
    metadata = deployment["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion")
    return {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "metadata": {key: metadata[key] for key in kept},
        "spec": {"replicas": deployment["spec"]["replicas"]},
    }
