"""Builders of the objects that components render: the transforms that all of them share.

Pure. Names get the registry's prefix, and every object its labels, annotations and owner. What
makes a component special is in `components`.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence

from hatoba.config.components import FIELD_GROUPS
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.landscape import Volume
from hatoba.operator.model import DATA_KINDS, RegistryPlan
from hatoba.operator.texts import sorted_json

API_VERSIONS: Mapping[str, str] = {
    "ServiceAccount": "v1",
    "ConfigMap": "v1",
    "Secret": "v1",
    "Service": "v1",
    "PersistentVolumeClaim": "v1",
    "Deployment": "apps/v1",
    "Job": "batch/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "ObjectBucketClaim": "objectbucket.io/v1alpha1",
    "Route": "route.openshift.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "TLSRoute": "gateway.networking.k8s.io/v1alpha2",
    "Ingress": "networking.k8s.io/v1",
    "Certificate": "cert-manager.io/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
    "PrometheusRule": "monitoring.coreos.com/v1",
}

BLOBS = "objectstorage"
"""The component that holds them, whose only Jobs are those that move them."""
APP_LABEL = {"app": "quay"}
"""On what the quay image itself needs, beside the registry's label."""


def make(
    plan: RegistryPlan,
    kind: str,
    suffix: str,
    *,
    component: str = "",
    label: str = "",
    app: bool = False,
    **content: object,
) -> JsonObject:
    """Return an object named `<registry>-<suffix>`; `content` is its other top-level fields."""
    owners = [] if plan.retained and kind in DATA_KINDS else [owner(plan.name, uid=plan.uid)]
    return {
        "apiVersion": API_VERSIONS[kind],
        "kind": kind,
        "metadata": {
            "name": plan.prefix + suffix,
            "namespace": plan.namespace,
            "labels": labels(plan, label=label, app=app),
            "annotations": annotations(plan)
            | ({names.COMPONENT_KEY: component} if component else {}),
            **({"ownerReferences": owners} if owners else {}),
        },
        **content,
    }


def owner(registry: str, *, uid: str) -> JsonObject:
    """Return the reference that lets the cluster collect an object with its registry."""
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "name": registry, "uid": uid}


def labels(plan: RegistryPlan, *, label: str = "", app: bool = False) -> dict[str, str]:
    """Return the labels of an object, which are the selector of its pods too."""
    return {
        names.REGISTRY_LABEL: plan.name,
        **({names.COMPONENT_KEY: label} if label else {}),
        **(APP_LABEL if app else {}),
    }


def annotations(plan: RegistryPlan) -> dict[str, str]:
    """Return the annotations that every object carries."""
    groups = [
        FIELD_GROUPS[entry.kind]
        for entry in plan.components
        if entry.managed and entry.kind in FIELD_GROUPS
    ]
    return {
        names.FIELD_GROUPS_ANNOTATION: ",".join(groups),
        names.HOSTNAME_ANNOTATION: plan.hostname,
        names.BUILDER_HOSTNAME_ANNOTATION: plan.builder_hostname,
        names.OPERATOR_ENDPOINT_ANNOTATION: plan.settings.endpoint,
    }


def service(
    plan: RegistryPlan,
    suffix: str,
    *,
    component: str,
    label: str,
    ports: Sequence[tuple[str, int, int]],
    app: bool = False,
    selects: str = "",
) -> JsonObject:
    """Return a ClusterIP Service; `ports` are (name, port, target port)."""
    return make(
        plan,
        "Service",
        suffix,
        component=component,
        label=label,
        app=app,
        spec={
            "type": "ClusterIP",
            "selector": labels(plan, label=selects or label, app=app),
            "ports": [
                {"name": name, "port": port, "targetPort": target, "protocol": "TCP"}
                for name, port, target in ports
            ],
        },
    )


def deployment(
    plan: RegistryPlan,
    suffix: str,
    *,
    component: str,
    label: str,
    pod: JsonObject,
    strategy: JsonObject | None = None,
    app: bool = False,
    annotate_pods: bool = False,
) -> JsonObject:
    """Return a Deployment without `replicas`: these belong to another field manager.

    Annotations are left off pods by default, so that a host name that changes does not restart a
    database.
    """
    metadata: JsonObject = {"labels": labels(plan, label=label, app=app)}
    if annotate_pods:
        metadata["annotations"] = annotations(plan)
    return make(
        plan,
        "Deployment",
        suffix,
        component=component,
        label=label,
        app=app,
        spec={
            "selector": {"matchLabels": labels(plan, label=label, app=app)},
            "strategy": strategy or {"type": "RollingUpdate"},
            "template": {"metadata": metadata, "spec": _pod(plan, pod)},
        },
    )


def job(
    plan: RegistryPlan,
    suffix: str,
    *,
    component: str,
    label: str,
    pod: JsonObject,
    pod_label: str = "",
    backoff_limit: int = 6,
) -> JsonObject:
    """Return a Job that is bound to the version it prepares the database for."""
    obj = make(
        plan,
        "Job",
        suffix,
        component=component,
        label=label,
        app=component == "base",
        spec={
            "backoffLimit": backoff_limit,
            "template": {
                "metadata": {"labels": labels(plan, label=pod_label, app=component == "base")},
                "spec": _pod(plan, pod),
            },
        },
    )
    obj["metadata"]["name"] = plan.job_name(suffix)
    obj["metadata"]["annotations"][names.VERSION_ANNOTATION] = plan.settings.quay_version
    return obj


def is_of_blobs(job: JsonObject) -> bool:
    """Tell whether a Job moves blobs."""
    return bool((job["metadata"].get("annotations") or {}).get(names.COMPONENT_KEY) == BLOBS)


def _pod(plan: RegistryPlan, pod: JsonObject) -> JsonObject:
    """Return the pod as every pod of a registry is: its last words tell why it failed."""
    kept = dict(pod)
    for field in ("initContainers", "containers"):
        if field in pod:
            kept[field] = [_container(plan, container) for container in pod[field]]
    return kept


def _container(plan: RegistryPlan, container: JsonObject) -> JsonObject:
    told = {"terminationMessagePolicy": "FallbackToLogsOnError", **container}
    if plan.settings.skip_resource_requests:
        told.pop("resources", None)
    return told


def generated_secret(
    plan: RegistryPlan, suffix: str, data: Mapping[str, bytes], *, kind: str = "Opaque"
) -> JsonObject:
    """Return a Secret whose name ends in a digest of its content.

    A change of content is a change of name, which rolls out every pod that mounts it, and leaves
    the old one in place for the pods that still run with it.
    """
    encoded = {key: base64.b64encode(value).decode() for key, value in sorted(data.items())}
    name = plan.prefix + suffix
    identity = {"data": encoded, "kind": "Secret", "name": name, "type": kind}
    obj = make(plan, "Secret", suffix, type=kind, data=encoded)
    obj["metadata"]["name"] = f"{name}-{content_suffix(identity)}"
    obj["metadata"]["annotations"] = {names.GENERATED_ANNOTATION: name}
    return obj


def content_suffix(value: JsonObject) -> str:
    """Return ten characters that depend on the content alone.

    Source: kustomize's name suffix: hexadecimal with the characters that could spell a word (and
    look-alikes) replaced.
    """
    text = sorted_json(value)
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    return digest.translate(str.maketrans("013ae", "ghkmt"))


def secret_variable(name: str, *, secret: str, key: str) -> JsonObject:
    """Return an environment variable that is read from a Secret."""
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def field_variable(name: str, path: str) -> JsonObject:
    """Return an environment variable that is read from the pod itself."""
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def resource_variable(name: str, resource: str) -> JsonObject:
    """Return an environment variable that is a bound of the container, in whole units."""
    origin = {"resource": resource, "divisor": "1"}
    return {"name": name, "valueFrom": {"resourceFieldRef": origin}}


def resources(requests: tuple[str, str], limits: tuple[str, str] | None = None) -> JsonObject:
    """Return requests and limits, each as (cpu, memory)."""
    wanted: JsonObject = {"requests": {"cpu": requests[0], "memory": requests[1]}}
    if limits is not None:
        wanted["limits"] = {"cpu": limits[0], "memory": limits[1]}
    return wanted


def claim(
    plan: RegistryPlan,
    suffix: str,
    *,
    component: str,
    label: str,
    access_mode: str = "ReadWriteOnce",
) -> JsonObject:
    """Return a claim; of 50 GiB of the default storage class, unless the plan says otherwise."""
    volume = plan.volumes.get(suffix, Volume())
    obj = make(
        plan,
        "PersistentVolumeClaim",
        suffix,
        component=component,
        label=label,
        spec={
            "accessModes": [access_mode],
            "resources": {"requests": {"storage": volume.size}},
        },
    )
    if volume.storage_class is not None:
        obj["metadata"]["annotations"][names.CLASS_ANNOTATION] = volume.storage_class
        obj["spec"]["storageClassName"] = volume.storage_class
    return obj


def autoscaler(plan: RegistryPlan, target: str, *, component: str, maximum: int) -> JsonObject:
    """Return an autoscaler of two to `maximum` pods at 90 % of requested memory and CPU."""
    return make(
        plan,
        "HorizontalPodAutoscaler",
        target,
        component=component,
        spec={
            "minReplicas": 2,
            "maxReplicas": maximum,
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": plan.prefix + target,
            },
            "metrics": [
                {
                    "type": "Resource",
                    "resource": {
                        "name": resource,
                        "target": {"type": "Utilization", "averageUtilization": 90},
                    },
                }
                for resource in ("memory", "cpu")
            ],
        },
    )
