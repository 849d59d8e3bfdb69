"""The words of the operator's contract: labels, annotations, kinds, reasons.

Source: Quay operator 3.6.0, unless an attribute says otherwise. Names under `hatoba.dev/` are
ours.
"""

import hashlib
import re
from typing import Final

GROUP: Final = "quay.redhat.com"
VERSION: Final = "v1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "QuayRegistry"

DEFAULT_QUAY_VERSION: Final = "3.6.0"
BACKUP_KIND: Final = "QuayRegistryBackup"
RESTORE_KIND: Final = "QuayRegistryRestore"
FIELD_MANAGER: Final = "quay-operator"
SCALE_MANAGER: Final = "quay-operator-scale"
"""Owns `spec.replicas` alone, so that an apply never carries it."""

REGISTRY_LABEL: Final = "quay-operator/quayregistry"
COMPONENT_KEY: Final = "quay-component"
"""Both a label (which pods) and an annotation (which component), with different values."""
FIELD_GROUPS_ANNOTATION: Final = "quay-managed-fieldgroups"
HOSTNAME_ANNOTATION: Final = "quay-registry-hostname"
BUILDER_HOSTNAME_ANNOTATION: Final = "quay-buildmanager-hostname"
OPERATOR_ENDPOINT_ANNOTATION: Final = "quay-operator-service-endpoint"
EXTERNAL_PORT_ANNOTATION: Final = "hatoba.dev/external-port"
EXPOSURE_ANNOTATION: Final = "hatoba.dev/exposure"
"""On a QuayRegistry: Route, Gateway, Ingress or Service."""
GATEWAY_ANNOTATION: Final = "hatoba.dev/gateway"
"""On a QuayRegistry: namespace/name of a Gateway."""
INGRESS_CLASS_ANNOTATION: Final = "hatoba.dev/ingress-class"
SERVICE_TYPE_ANNOTATION: Final = "hatoba.dev/service-type"
"""On a QuayRegistry: ClusterIP, NodePort or LoadBalancer."""
ISSUER_ANNOTATION: Final = "hatoba.dev/issuer"
"""On a QuayRegistry: ClusterIssuer/name or Issuer/name of cert-manager."""
EDITOR_HOST_ANNOTATION: Final = "hatoba.dev/config-editor-host"
ACCESS_MODE_ANNOTATION: Final = "hatoba.dev/datastore-access"
"""On a QuayRegistry: ReadWriteMany or ReadWriteOnce, for the volume with blobs."""
DATA_STORE_LABEL: Final = "hatoba.dev/datastore"
"""On pods that mount a volume with blobs which one node at a time can have."""
DOMAIN_ANNOTATION: Final = "hatoba.dev/domain"
"""On a Gateway or an IngressClass: below which domain names resolve to it."""
RECLAIM_ANNOTATION: Final = "hatoba.dev/reclaim"
"""On a QuayRegistry: delete or retain, what becomes of its data when it is deleted."""
DATA_STORE_SIZE_ANNOTATION: Final = "hatoba.dev/datastore-size"
"""On a QuayRegistry: a quantity, for the volume with blobs."""
DATA_STORE_CLASS_ANNOTATION: Final = "hatoba.dev/datastore-class"
"""On a QuayRegistry: a StorageClass, for the volume with blobs."""
RELEASE_ANNOTATION: Final = "hatoba.dev/release-volume"
"""On a QuayRegistry: names of claims from before a move, with commas, that may be deleted."""
IMAGE_ANNOTATION: Final = "hatoba.dev/postgres-image"
"""On a database's claim: the image whose PostgreSQL wrote its data."""
COPIED_ANNOTATION: Final = "hatoba.dev/copied"
"""On a claim: its data was copied there as a whole, and is the one that counts."""
QUIET_ANNOTATION: Final = "hatoba.dev/read-only-for-move"
"""On pods of the registry: they refuse pushes, since blobs move to another volume."""
STOPPED_ANNOTATION: Final = "hatoba.dev/stopped-for-move"
"""On a database's Deployment: the operator has scaled it to zero, and will scale it up again."""
CLASS_ANNOTATION: Final = "hatoba.dev/storage-class"
"""On a claim: the StorageClass that was asked for; the default class is the cluster's choice."""
APPLIED_ANNOTATION: Final = "hatoba.dev/applied"
"""Digest of what was applied last; with it a converged object costs no request."""
GENERATED_ANNOTATION: Final = "hatoba.dev/generated-from"
"""On Secrets named by content: the name without the digest."""
PLACE_ANNOTATION: Final = "hatoba.dev/namespace"
"""On a dashboard, which lies elsewhere: the namespace of its registry."""
VERSION_ANNOTATION: Final = "hatoba.dev/quay-version"
"""On Jobs: the version that they bring the database to."""

IN_FLIGHT_METRIC: Final = "hatoba_registry_requests_in_flight"
"""Of each pod of the registry, when the cluster's metrics adapter offers it."""
RESTORE_ANNOTATION: Final = "hatoba.dev/restore"
"""On a QuayRegistry: the QuayRegistryRestore whose backup its database comes from."""
BACKUP_LABEL: Final = "hatoba.dev/backup"
"""On Jobs and their pods: the QuayRegistryBackup or QuayRegistryRestore that they belong to."""

FINALIZER: Final = "quay-operator/finalizer"
CLUSTER_MONITORING_LABEL: Final = "openshift.io/cluster-monitoring"
MANAGED_NAMESPACE_LABEL: Final = "quay-operator/managed-label"
MONITORING_NAMESPACE: Final = "openshift-config-managed"

COMPONENT_ORDER: Final = (
    "postgres",
    "clair",
    "redis",
    "horizontalpodautoscaler",
    "objectstorage",
    "route",
    "mirror",
    "monitoring",
    "tls",
)
"""The order in which kinds that the user did not list are appended to the spec."""

LATER_KINDS: Final = ("quay", "clairpostgres")
"""Kinds of Quay's operator 3.7 and later. They may be listed and are never filled in: without an
entry, the registry itself is managed, and the scanner's database is whenever the scanner is."""

REQUIRED_KINDS: Final = frozenset({"postgres", "redis", "objectstorage", "route", "tls"})
"""Kinds that need configuration in the bundle when they are unmanaged; `tls` since 3.6.3."""

OVERRIDABLE_KINDS: Final = frozenset({"route", "mirror"})
"""Kinds whose keys may stand in the bundle although the operator manages them."""

OWN_WORDS: Final = frozenset(
    {
        REGISTRY_LABEL,
        COMPONENT_KEY,
        FIELD_GROUPS_ANNOTATION,
        HOSTNAME_ANNOTATION,
        BUILDER_HOSTNAME_ANNOTATION,
        OPERATOR_ENDPOINT_ANNOTATION,
        "app",
    }
)
OWN_PREFIXES: Final = ("hatoba.dev/", "quay-operator/")
"""Labels and annotations that overrides leave alone: objects and pods are found by them."""

LONGEST_LABEL: Final = 63
"""Characters of a Service's name, of a label's value (which a Job's name becomes on its pods), and
of each part of a host name. Spec: RFC 1123 2.1, Kubernetes "Object Names and IDs"."""
MAXIMUM_NAME_LENGTH: Final = 43
"""`<name>-quay-config-editor` has to fit into that, being the name of a Service."""
MAXIMUM_BACKUP_NAME_LENGTH: Final = 40
"""Of a QuayRegistryBackup or QuayRegistryRestore, after which Jobs are named."""
NAME_FORM: Final = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
"""What the name of a Service may be, and so that of a registry: no dot, and no digit first."""
_DIGEST_LENGTH: Final = 8

NEEDED_KINDS: Final = frozenset(
    {
        "ServiceAccount",
        "ConfigMap",
        "Secret",
        "Service",
        "PersistentVolumeClaim",
        "Deployment",
        "Job",
        "HorizontalPodAutoscaler",
    }
)
"""Kinds without which no registry can be looked after; others are optional parts of a cluster."""


def fitting(text: str, *, end: str = "") -> str:
    """Return `text` followed by `end`, within the bound of labels.

    A longer text is cut, and a digest of it tells it from others that are cut alike.
    """
    if len(text) + len(end) <= LONGEST_LABEL:
        return text + end
    digest = hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
    room = LONGEST_LABEL - len(end) - _DIGEST_LENGTH - 1
    return f"{text[:room].rstrip('-')}-{digest}{end}"


def job_name(registry: str, suffix: str) -> str:
    """Return the name of a registry's Job: its pods carry it as a label."""
    return fitting(registry, end=f"-{suffix}")


def name_fault(name: str) -> str:
    """Say why there can be no registry of this name; "" when there can."""
    if len(name) > MAXIMUM_NAME_LENGTH:
        return f"the name {name} is longer than {MAXIMUM_NAME_LENGTH} characters"
    if re.fullmatch(NAME_FORM, name) is None:
        return (
            f"no Service can be named after {name}: letters, digits and hyphens can, a letter first"
        )
    return ""
