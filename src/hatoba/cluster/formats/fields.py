"""Field selectors: parsing, and which fields each kind offers.

Spec: Kubernetes "Field Selectors"; the fields per kind and the refusals are those of a 1.32 server.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal

from hatoba.cluster.api.status import BadRequest
from hatoba.kernel.json import JsonObject

_METADATA: Final = frozenset({"metadata.name", "metadata.namespace"})
_OBJECT: Final = ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid")
_OFFERED: Final = {
    ("", "Pod"): frozenset(
        {
            "spec.hostNetwork",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "status.nominatedNodeName",
            "status.phase",
            "status.podIP",
            "status.podIPs",
        }
    ),
    ("", "Node"): frozenset({"spec.unschedulable"}),
    ("", "Namespace"): frozenset({"status.phase"}),
    ("", "Secret"): frozenset({"type"}),
    ("", "Service"): frozenset({"spec.clusterIP", "spec.type"}),
    ("", "Event"): frozenset(
        {"reason", "reportingComponent", "source", "type"}
        | {f"involvedObject.{name}" for name in _OBJECT}
    ),
    ("events.k8s.io", "Event"): frozenset(
        {"reason", "reportingController", "type"} | {f"regarding.{name}" for name in _OBJECT}
    ),
    ("batch", "Job"): frozenset({"status.successful"}),
}
_BOOLEANS: Final = frozenset({"spec.hostNetwork", "spec.unschedulable"})
_NUMBERS: Final = {"status.successful": "status.succeeded"}


@dataclass(slots=True, frozen=True, kw_only=True)
class FieldRequirement:
    """One condition on a field."""

    path: str
    operator: Literal["=", "!="]
    value: str


@dataclass(slots=True, frozen=True)
class FieldSelector:
    """Conditions that all must be met, on fields that the kind offers."""

    requirements: tuple[FieldRequirement, ...] = ()

    def matches(self, obj: JsonObject) -> bool:
        """Whether the object is selected."""
        return all(
            (field_value(obj, one.path) == one.value) == (one.operator == "=")
            for one in self.requirements
        )

    def exact(self, path: str) -> str | None:
        """Return the one value that a field must have, None when it may have several."""
        for one in self.requirements:
            if one.path == path and one.operator == "=":
                return one.value
        return None


def parse_fields(
    text: str, *, group: str, kind: str, is_custom: bool = False, selectable: Iterable[str] = ()
) -> FieldSelector:
    """Parse the query parameter `fieldSelector` for a kind.

    `selectable` are the JSON paths of a CRD's `selectableFields`.

    Raises:
        BadRequest: the text is not a selector or names a field that the kind does not offer.
    """
    refuse = _refusal(group, kind, is_custom=is_custom, selectable=selectable)
    found = []
    for term in _terms(text):
        if term:
            path, operator, value = _split(term, text)
            refuse(path)
            found.append(FieldRequirement(path=path, operator=operator, value=value))
    return FieldSelector(tuple(found))


def _terms(text: str) -> list[str]:
    return re.findall(r"(?:\\.|[^,\\])+", text)


def _split(term: str, text: str) -> tuple[str, Literal["=", "!="], str]:
    found = re.match(r"((?:\\.|[^=!\\]|!(?!=))*)(!=|==|=)(.*)", term, re.DOTALL)
    if found is None:
        raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
    path, operator, value = found.groups()
    return path, "!=" if operator == "!=" else "=", re.sub(r"\\(.)", r"\1", value)


def _refusal(
    group: str, kind: str, *, is_custom: bool, selectable: Iterable[str]
) -> Callable[[str], None]:
    own = {path.removeprefix(".") for path in selectable}
    offered = _METADATA | _OFFERED.get((group, kind), frozenset()) | own

    def refuse(path: str) -> None:
        if path in offered:
            return
        if is_custom or (group, kind) in _OFFERED:
            raise BadRequest(f"field label not supported: {path}")
        raise BadRequest(
            f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'
        )

    return refuse


def field_value(obj: JsonObject, path: str) -> str:
    """Return a field as selectors compare it; what is absent is empty.

    Events may be in either of their two API forms.
    """
    if path in _BOOLEANS:
        return "true" if _reach(obj, path) else "false"
    if path in _NUMBERS:
        return str(_reach(obj, _NUMBERS[path]) or 0)
    if path in {"source", "reportingComponent", "reportingController"}:
        return _reporter(obj, path)
    if path.startswith(("involvedObject.", "regarding.")):
        name = path.partition(".")[2]
        about = obj.get("involvedObject") or obj.get("regarding") or {}
        return str(about.get(name) or "")
    found = _reach(obj, path)
    if isinstance(found, bool):
        return "true" if found else "false"
    return "" if found is None else str(found)


def _reporter(obj: JsonObject, path: str) -> str:
    reporting = obj.get("reportingComponent") or obj.get("reportingController") or ""
    if path == "source":
        source = obj.get("source") or obj.get("deprecatedSource") or {}
        return str(source.get("component") or reporting)
    return str(reporting)


def _reach(obj: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(name)
    return obj
