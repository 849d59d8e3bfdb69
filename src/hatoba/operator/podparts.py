"""The parts of a pod that `overrides` take, as the QuayRegistry resource spells them.

The schema in deploy/crd is generated from these. What they let through, the cluster takes in a
Deployment: an override that is wrong is refused before anything that runs is touched.

Spec: Kubernetes API reference, core/v1: EnvVar, Affinity, ResourceRequirements, SecurityContext.
"""

# ruff: noqa: N815 -- wire names

import re
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from hatoba.kernel import quantities

_NAME: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY: Final = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}")
_LABEL_VALUE: Final = f"^({_NAME})?$"


def _quantity(given: object) -> str:
    if isinstance(given, bool) or not isinstance(given, (str, int)):
        raise ValueError("a quantity is text or a whole number")  # noqa: TRY004 -- pydantic's way
    if quantities.amount(given) < 0:
        raise ValueError(f"`{given}` is negative")
    # As it comes back from the API: written otherwise, it would seem changed in every pass.
    return quantities.canonical(given)


Quantity: TypeAlias = Annotated[
    str,
    BeforeValidator(_quantity),
    WithJsonSchema({"pattern": quantities.PATTERN, "x-kubernetes-int-or-string": True}),
]


def _keyed(given: dict[str, str]) -> dict[str, str]:
    for key in given:
        if not _LABEL_KEY.fullmatch(key):
            raise ValueError(f"`{key}` is no key of a label or an annotation")
    return given


Labels: TypeAlias = Annotated[
    dict[str, Annotated[str, Field(pattern=_LABEL_VALUE)]], AfterValidator(_keyed)
]
Annotations: TypeAlias = Annotated[dict[str, str], AfterValidator(_keyed)]


class Part(BaseModel):
    """A part of a pod; what it does not know is refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )


class _KeySelector(Part):
    key: str
    name: str | None = None
    optional: bool | None = None


class _FieldSelector(Part):
    fieldPath: str
    apiVersion: str | None = None


class _ResourceSelector(Part):
    resource: str
    containerName: str | None = None
    divisor: Quantity | None = None


class _VariableSource(Part):
    configMapKeyRef: _KeySelector | None = None
    secretKeyRef: _KeySelector | None = None
    fieldRef: _FieldSelector | None = None
    resourceFieldRef: _ResourceSelector | None = None


class Variable(Part):
    """An environment variable."""

    name: str = Field(min_length=1, pattern="^[^=]+$")
    value: str | None = None
    valueFrom: _VariableSource | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.value and self.valueFrom is not None:
            raise ValueError("value and valueFrom exclude each other")
        return self


class _Requirement(Part):
    key: str
    operator: str
    values: list[str] | None = None


class _NodeTerm(Part):
    matchExpressions: list[_Requirement] | None = None
    matchFields: list[_Requirement] | None = None


class _NodeSelector(Part):
    nodeSelectorTerms: list[_NodeTerm] = Field(min_length=1)


class _NodePreference(Part):
    preference: _NodeTerm
    weight: int = Field(ge=1, le=100, json_schema_extra={"format": "int32"})


class _NodeAffinity(Part):
    requiredDuringSchedulingIgnoredDuringExecution: _NodeSelector | None = None
    preferredDuringSchedulingIgnoredDuringExecution: list[_NodePreference] | None = None


class _LabelSelector(Part):
    matchLabels: dict[str, str] | None = None
    matchExpressions: list[_Requirement] | None = None


class _PodTerm(Part):
    topologyKey: str = Field(min_length=1)
    labelSelector: _LabelSelector | None = None
    namespaceSelector: _LabelSelector | None = None
    namespaces: list[str] | None = None
    matchLabelKeys: list[str] | None = None
    mismatchLabelKeys: list[str] | None = None


class _PodPreference(Part):
    podAffinityTerm: _PodTerm
    weight: int = Field(ge=1, le=100, json_schema_extra={"format": "int32"})


class _PodAffinity(Part):
    requiredDuringSchedulingIgnoredDuringExecution: list[_PodTerm] | None = None
    preferredDuringSchedulingIgnoredDuringExecution: list[_PodPreference] | None = None


class Affinity(Part):
    """On which nodes pods may run, or rather run."""

    nodeAffinity: _NodeAffinity | None = None
    podAffinity: _PodAffinity | None = None
    podAntiAffinity: _PodAffinity | None = None


class Resources(Part):
    """What a container is given at least and at most."""

    limits: dict[str, Quantity] | None = None
    requests: dict[str, Quantity] | None = None


class _Capabilities(Part):
    add: list[str] | None = None
    drop: list[str] | None = None


class _SelinuxOptions(Part):
    level: str | None = None
    role: str | None = None
    type: str | None = None
    user: str | None = None


class _Profile(Part):
    type: Literal["Localhost", "RuntimeDefault", "Unconfined"]
    localhostProfile: str | None = None


_Id: TypeAlias = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class SecurityContext(Part):
    """With which rights a container runs."""

    allowPrivilegeEscalation: bool | None = None
    appArmorProfile: _Profile | None = None
    capabilities: _Capabilities | None = None
    privileged: bool | None = None
    procMount: str | None = None
    readOnlyRootFilesystem: bool | None = None
    runAsGroup: _Id | None = None
    runAsNonRoot: bool | None = None
    runAsUser: _Id | None = None
    seLinuxOptions: _SelinuxOptions | None = None
    seccompProfile: _Profile | None = None
