"""What pods may ask for and do not get here: told in an event instead of left out in silence."""

from collections.abc import Iterator
from typing import Final

from hatoba.kernel.json import JsonObject

_POD_FIELDS: Final = ("hostNetwork", "hostPID", "hostIPC", "hostAliases", "dnsConfig", "hostname")
_CONTAINER_FIELDS: Final = ("stdin", "tty", "volumeDevices")
_SECURITY_FIELDS: Final = ("runAsUser", "runAsGroup", "fsGroup", "readOnlyRootFilesystem")


def ignored_fields(pod: JsonObject) -> list[str]:
    """Return the paths of fields that are set and have no effect."""
    spec = pod["spec"]
    found = [f"spec.{name}" for name in _POD_FIELDS if spec.get(name)]
    found += _security("spec", spec)
    for kind in ("initContainers", "containers"):
        for one in spec.get(kind) or ():
            found += _container(f"spec.{kind}{{{one['name']}}}", one)
    return found


def _container(path: str, container: JsonObject) -> Iterator[str]:
    yield from (f"{path}.{name}" for name in _CONTAINER_FIELDS if container.get(name))
    if (container.get("lifecycle") or {}).get("postStart"):
        yield f"{path}.lifecycle.postStart"
    yield from _security(path, container)


def _security(path: str, holder: JsonObject) -> Iterator[str]:
    given = holder.get("securityContext") or {}
    yield from (f"{path}.securityContext.{name}" for name in _SECURITY_FIELDS if given.get(name))
