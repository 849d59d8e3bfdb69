"""The resources that the API serves: built-in ones from a table, others from CRDs.

A `Resource` is one collection in the store; `versions` are the API versions it is served in, the
first is the one it is stored in. Discovery, routing, admission and the verbs all read this table.
"""

from dataclasses import dataclass, field
from typing import Final

from hatoba.cluster.api.status import About
from hatoba.cluster.objects import ResourceName

ALL_VERBS: Final = (
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
)
_STATUS: Final = frozenset({"status"})
_SCALED: Final = frozenset({"status", "scale"})


@dataclass(slots=True, frozen=True, kw_only=True)
class Resource:
    """One kind of object as the API serves it."""

    name: ResourceName
    kind: str
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: frozenset[str] = field(default=frozenset())
    has_generation: bool = False
    stored_as: ResourceName | None = None
    """Where the objects lie when another group's resource is only a view on them."""
    stored_version: str = ""
    list_kind: str = ""
    deprecations: tuple[tuple[str, str], ...] = ()
    """Versions that are served with a warning, and the warning."""
    is_custom: bool = False
    selectable_fields: tuple[str, ...] = ()
    is_virtual: bool = False
    """Whether the objects are computed, not stored."""
    answers_deletion_with_object: bool = False
    """Whether DELETE answers the object even when it is gone at once."""

    @property
    def plural(self) -> str:
        """The last segment of a collection's path."""
        return self.name.plural

    @property
    def group(self) -> str:
        """The API group, "" for core."""
        return self.name.group

    @property
    def storage(self) -> ResourceName:
        """The key of the collection in the store."""
        return self.stored_as or self.name

    @property
    def storage_version(self) -> str:
        """The version in which objects are kept."""
        return self.stored_version or self.versions[0]

    def api_version(self, version: str | None = None) -> str:
        """`group/version`, or only the version in the core group."""
        chosen = version or self.storage_version
        return f"{self.group}/{chosen}" if self.group else chosen

    def about(self, name: str = "") -> About:
        """Name an object by its resource (as storage errors do)."""
        return About(name=name, group=self.group, kind=self.plural)

    def about_kind(self, name: str = "") -> About:
        """Name an object by its kind (as validation errors do)."""
        return About(name=name, group=self.storage.group, kind=self.kind)


def _core(plural: str, kind: str, short: str = "", **more: object) -> Resource:
    return _resource(plural, kind, "", short, **more)


def _resource(plural: str, kind: str, group: str, short: str = "", **more: object) -> Resource:
    short_names = tuple(short.split())
    return Resource(
        name=ResourceName(plural, group),
        kind=kind,
        short_names=short_names,
        singular=kind.lower(),
        list_kind=f"{kind}List",
        **more,  # type: ignore[arg-type]  # the table below is the only caller
    )


_ALL: Final = ("all",)
_APIEXTENSIONS: Final = ("api-extensions",)
_RBAC: Final = "rbac.authorization.k8s.io"
_NETWORKING: Final = "networking.k8s.io"

BUILTINS: Final = (
    _core("configmaps", "ConfigMap", "cm"),
    _core("endpoints", "Endpoints", "ep"),
    _core("events", "Event", "ev"),
    _core(
        "namespaces",
        "Namespace",
        "ns",
        namespaced=False,
        subresources=frozenset({"status", "finalize"}),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    ),
    _core("nodes", "Node", "no", namespaced=False, subresources=_STATUS),
    _core(
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        "pvc",
        answers_deletion_with_object=True,
        subresources=_STATUS,
    ),
    _core(
        "persistentvolumes",
        "PersistentVolume",
        "pv",
        answers_deletion_with_object=True,
        namespaced=False,
        subresources=_STATUS,
    ),
    _core(
        "pods",
        "Pod",
        "po",
        answers_deletion_with_object=True,
        categories=_ALL,
        subresources=frozenset({"status", "binding", "log", "exec"}),
    ),
    _core("secrets", "Secret"),
    _core(
        "serviceaccounts",
        "ServiceAccount",
        "sa",
        answers_deletion_with_object=True,
        subresources=frozenset({"token"}),
    ),
    _core(
        "services",
        "Service",
        "svc",
        answers_deletion_with_object=True,
        categories=_ALL,
        subresources=_STATUS,
    ),
    _resource(
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "apiextensions.k8s.io",
        "crd crds",
        namespaced=False,
        categories=_APIEXTENSIONS,
        subresources=_STATUS,
        has_generation=True,
    ),
    _resource(
        "deployments",
        "Deployment",
        "apps",
        "deploy",
        categories=_ALL,
        subresources=_SCALED,
        has_generation=True,
    ),
    _resource(
        "replicasets",
        "ReplicaSet",
        "apps",
        "rs",
        categories=_ALL,
        subresources=_SCALED,
        has_generation=True,
    ),
    _resource(
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "autoscaling",
        "hpa",
        versions=("v2", "v1"),
        categories=_ALL,
        subresources=_STATUS,
    ),
    _resource("jobs", "Job", "batch", categories=_ALL, subresources=_STATUS, has_generation=True),
    _resource("leases", "Lease", "coordination.k8s.io"),
    _resource("endpointslices", "EndpointSlice", "discovery.k8s.io", has_generation=True),
    _resource("events", "Event", "events.k8s.io", "ev", stored_as=ResourceName("events")),
    _resource("ingressclasses", "IngressClass", _NETWORKING, namespaced=False, has_generation=True),
    _resource(
        "ingresses", "Ingress", _NETWORKING, "ing", subresources=_STATUS, has_generation=True
    ),
    _resource("clusterrolebindings", "ClusterRoleBinding", _RBAC, namespaced=False),
    _resource("clusterroles", "ClusterRole", _RBAC, namespaced=False),
    _resource("rolebindings", "RoleBinding", _RBAC),
    _resource("roles", "Role", _RBAC),
    _resource(
        "priorityclasses",
        "PriorityClass",
        "scheduling.k8s.io",
        "pc",
        namespaced=False,
        has_generation=True,
    ),
    _resource(
        "storageclasses",
        "StorageClass",
        "storage.k8s.io",
        "sc",
        namespaced=False,
        answers_deletion_with_object=True,
    ),
)


def _virtual(plural: str, kind: str, group: str, **more: object) -> Resource:
    more.setdefault("verbs", ("create",))
    return _resource(plural, kind, group, "", is_virtual=True, **more)


_AUTHENTICATION: Final = "authentication.k8s.io"
_AUTHORIZATION: Final = "authorization.k8s.io"
_METRICS: Final = "metrics.k8s.io"
VIRTUAL: Final = (
    _virtual("selfsubjectreviews", "SelfSubjectReview", _AUTHENTICATION, namespaced=False),
    _virtual("tokenreviews", "TokenReview", _AUTHENTICATION, namespaced=False),
    _virtual("localsubjectaccessreviews", "LocalSubjectAccessReview", _AUTHORIZATION),
    _virtual(
        "selfsubjectaccessreviews", "SelfSubjectAccessReview", _AUTHORIZATION, namespaced=False
    ),
    _virtual("selfsubjectrulesreviews", "SelfSubjectRulesReview", _AUTHORIZATION, namespaced=False),
    _virtual("subjectaccessreviews", "SubjectAccessReview", _AUTHORIZATION, namespaced=False),
    _virtual("pods", "PodMetrics", _METRICS, versions=("v1beta1",), verbs=("get", "list")),
    _virtual(
        "nodes",
        "NodeMetrics",
        _METRICS,
        versions=("v1beta1",),
        verbs=("get", "list"),
        namespaced=False,
    ),
)
