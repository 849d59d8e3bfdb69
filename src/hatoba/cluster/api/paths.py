"""What a path and a method ask for.

Spec: Kubernetes API concepts, "Resource URIs": `/api/v1` or `/apis/<group>/<version>`, then
`[namespaces/<namespace>/]<plural>[/<name>[/<subresource>]]`.
"""

from dataclasses import dataclass
from typing import Final

_NAMESPACE_DOORS: Final = ("status", "finalize")
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(slots=True, frozen=True, kw_only=True)
class Target:
    """A resource path, taken apart."""

    group: str
    version: str
    plural: str = ""
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    watch_prefix: bool = False
    """The deprecated form `/watch/...`."""

    def verb(self, method: str, *, watch: bool) -> str:
        """Return the API verb, as authorisation names it."""
        if method in ("GET", "HEAD"):
            if watch or self.watch_prefix:
                return "watch"
            return "get" if self.name else "list"
        verb = _VERBS.get(method, "")
        return "deletecollection" if verb == "delete" and not self.name else verb


def parse_path(path: str) -> Target | None:
    """Take a path apart; None when it is no resource path."""
    segments = path.strip("/").split("/")
    if segments[:1] == ["api"] and len(segments) >= 2:
        group, version, rest = "", segments[1], segments[2:]
    elif segments[:1] == ["apis"] and len(segments) >= 3:
        group, version, rest = segments[1], segments[2], segments[3:]
    else:
        return None
    watch_prefix = rest[:1] == ["watch"]
    if watch_prefix:
        rest = rest[1:]
    namespace: str | None = None
    if rest[:1] == ["namespaces"] and len(rest) >= 3 and not _namespace_door(rest):
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = (*rest[:3], "", "", "")[:3]
    if len(rest) > 3:
        subresource = "/".join(rest[2:])
    return Target(
        group=group,
        version=version,
        plural=plural,
        namespace=namespace,
        name=name,
        subresource=subresource,
        watch_prefix=watch_prefix,
    )


def _namespace_door(rest: list[str]) -> bool:
    return len(rest) == 3 and rest[2] in _NAMESPACE_DOORS
