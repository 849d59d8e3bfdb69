"""The QuayRegistry resource, as its users see it; the CRD in deploy/ is generated from this.

Wire names are copied bit for bit from `quay.redhat.com/v1`. The cluster itself refuses what could
never be rolled out; under an older definition the operator answers it with a condition.
"""

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from hatoba.operator.podparts import (
    Affinity,
    Annotations,
    Labels,
    Part,
    Quantity,
    Resources,
    SecurityContext,
    Variable,
)

ComponentKind: TypeAlias = Literal[
    "quay",
    "postgres",
    "clair",
    "redis",
    "horizontalpodautoscaler",
    "objectstorage",
    "route",
    "mirror",
    "monitoring",
    "tls",
    "clairpostgres",
]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ComponentOverrides(Part):
    """What shall be otherwise than the operator would have it."""

    volumeSize: Quantity | None = None  # noqa: N815 -- wire name
    """Size of the component's volume. It can grow, and never shrink."""
    storageClassName: str | None = Field(default=None, min_length=1)  # noqa: N815 -- wire name
    """StorageClass of the component's volume, chosen before there is one."""
    env: list[Variable] | None = None
    """Variables of the component's containers, added to the operator's own or instead of these."""
    replicas: int | None = Field(
        default=None, ge=0, le=2**31 - 1, json_schema_extra={"format": "int32", "nullable": True}
    )
    """How many pods there are. Beside a managed horizontalpodautoscaler only 0."""
    affinity: Affinity | None = None
    """On which nodes the component's pods run."""
    labels: Labels | None = None
    """Labels of the component's Deployment and pods, or of its Route."""
    annotations: Annotations | None = None
    """Annotations of the component's Deployment and pods, or of its Route."""
    resources: Resources | None = None
    """What the component's containers are given at least and at most."""
    securityContext: SecurityContext | None = None  # noqa: N815 -- wire name
    """With which rights the component's containers run."""


class SecretReference(_Wire):
    """A Secret in the namespace of the registry."""

    name: str
    """Its name."""


class ComponentEntry(_Wire):
    """One capability of the registry, and whose job it is."""

    kind: ComponentKind
    """Which capability it is."""
    managed: bool
    """Whether the operator runs this component. False: the configuration bundle says where it is,
    or the registry does without."""
    overrides: ComponentOverrides | None = None
    """What shall be otherwise than the operator would have it; for a managed component only."""
    secretRef: SecretReference | None = None  # noqa: N815 -- wire name
    """The Secret of type kubernetes.io/tls that holds the certificate, instead of ssl.cert and
    ssl.key in the configuration bundle; for an unmanaged `tls` only."""


class QuayRegistrySpec(_Wire):
    """The desired state of a registry."""

    configBundleSecret: str | None = None  # noqa: N815 -- wire name
    """Name of a Secret in the same namespace whose key config.yaml configures the registry. The
    operator creates one when this is empty."""
    components: list[ComponentEntry] | None = None
    """The components of the registry. Kinds that are left out are added, managed where the cluster
    supports them."""


class Condition(_Wire):
    """One observation about the registry."""

    type: str | None = None
    """What is observed."""
    status: Literal["True", "False", "Unknown"] | None = None
    """Whether it is so."""
    reason: str | None = None
    """One word on why."""
    message: str | None = None
    """A sentence on why."""
    lastUpdateTime: str | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "date-time"}
    )
    """When this condition last said something new."""
    lastTransitionTime: str | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "date-time"}
    )
    """When its status last changed."""


class QuayRegistryStatus(_Wire):
    """The observed state of a registry."""

    currentVersion: str | None = None  # noqa: N815 -- wire name
    """The version of Quay whose schema the database has."""
    registryEndpoint: str | None = None  # noqa: N815 -- wire name
    """Where the registry is served."""
    configEditorEndpoint: str | None = None  # noqa: N815 -- wire name
    """Where the config editor is served."""
    configEditorCredentialsSecret: str | None = None  # noqa: N815 -- wire name
    """Name of the Secret with the config editor's user name and password."""
    lastUpdated: str | None = None  # noqa: N815 -- wire name
    """When this status was last written."""
    observedGeneration: int | None = Field(  # noqa: N815 -- wire name
        default=None, json_schema_extra={"format": "int64"}
    )
    """The generation of the spec that this status is about."""
    conditions: list[Condition] | None = None
    """Observations about the registry."""
    unhealthyComponents: dict[str, list[Condition]] | None = None  # noqa: N815 -- wire name
    """What is wrong, by component; empty when nothing is."""


class QuayRegistry(_Wire):
    """A container registry."""

    spec: QuayRegistrySpec | None = None
    """The desired state."""
    status: QuayRegistryStatus | None = None
    """The observed state."""
