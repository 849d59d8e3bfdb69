"""What a component shall have otherwise than the operator would give it. Pure.

Read from `spec.components[].overrides`, judged against what each kind supports, and handed on as
values; `tailoring` and `volumes` apply them. A wrong override is refused as a whole.

Source: Quay operator 3.12 and later, "ValidateOverrides"; its support table is `SUPPORT`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from hatoba.kernel import quantities
from hatoba.kernel.errors import InvalidInput
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.types import ComponentOverrides

_PODS: Final = frozenset({"quay", "clair", "mirror", "postgres", "redis", "clairpostgres"})
SUPPORT: Final[Mapping[str, frozenset[str]]] = {
    "affinity": frozenset({"quay", "clair", "mirror"}),
    "volumeSize": frozenset({"postgres", "clair", "clairpostgres"}),
    "storageClassName": frozenset({"postgres", "clair", "clairpostgres"}),
    "env": _PODS,
    "replicas": frozenset({"quay", "clair", "mirror"}),
    "resources": _PODS,
    "securityContext": frozenset({"quay", "mirror"}),
    "labels": _PODS | {"route"},
    "annotations": _PODS | {"route"},
}
"""Which kinds take which override, in the order in which they are judged."""


class OverrideInvalid(InvalidInput):
    """An override cannot be followed."""

    def __init__(self, fact: str, *, step: str) -> None:
        self.fact = fact
        self.step = step
        super().__init__(f"{fact}: {step}")


@dataclass(slots=True, frozen=True, kw_only=True)
class Overrides:
    """The overrides of one component; None and empty mean that nothing was asked for."""

    volume_size: str | None = None
    storage_class: str | None = None
    env: tuple[JsonObject, ...] = ()
    replicas: int | None = None
    affinity: JsonObject | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    security_context: JsonObject | None = None


NOTHING: Final = Overrides()


def read(kind: str, given: JsonObject, *, managed: bool, autoscaled: bool) -> Overrides:
    """Return the overrides of a component.

    Raises:
        OverrideInvalid: the kind does not take one of them, or it is not well-formed.
    """
    asked = {key: value for key, value in given.items() if value is not None}
    if not asked:
        return NOTHING
    if not managed:
        raise OverrideInvalid(
            f"cannot set overrides on unmanaged {kind}",
            step=f"take overrides out of {kind} in spec.components, or set `managed: true` there",
        )
    if autoscaled and asked.get("replicas", 0) != 0 and kind in SUPPORT["replicas"]:
        raise OverrideInvalid(
            "cannot override replicas with managed HPA",
            step=f"take replicas out of {kind} in spec.components, set it to 0, or set `managed: "
            "false` for horizontalpodautoscaler",
        )
    for name, kinds in SUPPORT.items():
        if name in asked and kind not in kinds:
            supported = [known for known in _ORDER if known in kinds]
            raise OverrideInvalid(
                f"component {kind} does not support {name} overrides",
                step=f"take {name} out of {kind} in spec.components; {', '.join(supported)} take "
                "it",
            )
    return _parsed(kind, asked)


_ORDER: Final = ("quay", *names.COMPONENT_ORDER, "clairpostgres")


def _parsed(kind: str, asked: JsonObject) -> Overrides:
    try:
        ComponentOverrides.model_validate(asked)
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise _wrong(kind, told) from error
    found = Overrides(
        volume_size=_text(asked.get("volumeSize")),
        storage_class=asked.get("storageClassName"),
        env=tuple(asked.get("env") or ()),
        replicas=asked.get("replicas"),
        affinity=asked.get("affinity"),
        labels=asked.get("labels") or {},
        annotations=asked.get("annotations") or {},
        resources={
            bound: {name: str(value) for name, value in amounts.items()}
            for bound, amounts in (asked.get("resources") or {}).items()
            if amounts
        },
        security_context=asked.get("securityContext"),
    )
    _check_own_words(kind, found)
    _check_bounds(kind, found.resources)
    twice = _repeated(variable["name"] for variable in found.env)
    if twice:
        raise _wrong(kind, f"env: {twice} stands there twice")
    return found


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _check_own_words(kind: str, found: Overrides) -> None:
    """Refuse labels and annotations by which the operator knows its own objects."""
    for word, keys in (("label", found.labels), ("annotation", found.annotations)):
        for key in keys:
            if key in names.OWN_WORDS or key.startswith(names.OWN_PREFIXES):
                raise _wrong(kind, f"{word}s: {key} belongs to the operator")


def _check_bounds(kind: str, resources: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse a request above its limit, which no pod can have."""
    limits = resources.get("limits", {})
    for name, wanted in resources.get("requests", {}).items():
        if name in limits and quantities.amount(wanted) > quantities.amount(limits[name]):
            raise _wrong(
                kind,
                f"resources: the request of {wanted} {name} is above the limit of {limits[name]}",
            )


def _repeated(values: Iterable[str]) -> str:
    seen = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return ""


def _wrong(kind: str, told: str) -> OverrideInvalid:
    return OverrideInvalid(
        f"component {kind}: {told}", step=f"correct the overrides of {kind} in spec.components"
    )
