"""What stays when nobody asks for it any more: of components, and Secrets that still are in use.

Pure. Turning a component to unmanaged removes nothing: its data is the user's, and what runs may
still be needed while he moves away from it.
"""

from collections.abc import Iterator
from typing import Final

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.operator import names
from hatoba.operator.model import Owned, RegistryPlan

_TOLD_KINDS: Final = (
    "Deployment",
    "PersistentVolumeClaim",
    "ObjectBucketClaim",
    "HorizontalPodAutoscaler",
    "Route",
)


def left_behind(plan: RegistryPlan, owned: Owned, component: str) -> str:
    """Say what an unmanaged component has left; "" when that is nothing."""
    found = [
        f"{obj['kind']} {obj['metadata']['name']}"
        for kind in _TOLD_KINDS
        for obj in owned.of_kind(kind)
        if (obj["metadata"].get("annotations") or {}).get(names.COMPONENT_KEY) == component
        and not _is_of_scanner_database(plan, obj)
    ]
    if not found:
        return ""
    return (
        f"{', '.join(found)} stay as they are: delete them when nothing needs them, or set "
        f"`managed: true` for {component} to have them looked after again"
    )


def _is_of_scanner_database(plan: RegistryPlan, obj: JsonObject) -> bool:
    return plan.manages("clairpostgres") and obj["metadata"]["name"].endswith("clair-postgres")


def secrets_in_use(owned: Owned) -> set[str]:
    """Return the Secrets that pods of any owned Deployment need to start."""
    return {
        name
        for obj in owned.of_kind("Deployment")
        for name in _secret_names(obj.get("spec", {}).get("template", {}).get("spec", {}))
    }


def _secret_names(part: JsonValue) -> Iterator[str]:
    if isinstance(part, list):
        for entry in part:
            yield from _secret_names(entry)
    elif isinstance(part, dict):
        for key in ("secret", "secretKeyRef", "secretRef"):
            if isinstance(found := part.get(key), dict):
                yield str(found.get("secretName") or found.get("name") or "")
        for entry in part.values():
            yield from _secret_names(entry)
