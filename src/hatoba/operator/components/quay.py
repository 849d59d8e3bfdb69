"""`base`: what every registry has: the registry itself, its migration Job and the config editor.

It is no entry of `spec.components`; it cannot be unmanaged.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Final

from hatoba.kernel import quantities
from hatoba.kernel.json import JsonObject
from hatoba.operator import names, objects
from hatoba.operator.backup.jobs import restoring
from hatoba.operator.components import deployments
from hatoba.operator.components.configured import (
    CONFIG_PATH,
    SERVICE_CA,
    configuration_mounts,
    configuration_volumes,
    registry_variables,
)
from hatoba.operator.components.contract import ComponentType, Mounts, no_configuration
from hatoba.operator.components.objectstorage import storage_mounts, storage_volumes, with_blobs
from hatoba.operator.model import Owned, RegistryPlan, Verdict
from hatoba.operator.replicas import is_ours

APP: Final = "quay-app"
EDITOR: Final = "quay-config-editor"
UPGRADE: Final = "quay-app-upgrade"

WORKER_COUNTS: Final = (
    {"name": "WORKER_COUNT_WEB", "value": "4"},
    {"name": "WORKER_COUNT_SECSCAN", "value": "2"},
    {"name": "WORKER_COUNT_REGISTRY", "value": "8"},
)
_ASKED: Final = ("WORKER_COUNT_REGISTRY", "WORKER_COUNT_WEB", "WORKER_COUNT")
"""Which of them the registry follows: the largest that is given."""
_CPUS: Final = "HATOBA_CPUS"
"""In a limited container a process sees all CPUs of its node; this says how many are its own."""
APP_CPUS: Final = "2"


READINESS_PATH: Final = "/health/instance"
LIVENESS_PATH: Final = "/healthz"
"""Answers while a pod waits for its database, too, or for a migration: a restart would not help.

Quay asks /health/instance for all three, and so ends pods that only wait.
"""


def _probe(plan: RegistryPlan, path: str, **timing: int) -> JsonObject:
    if plan.ends_tls_itself:
        target: JsonObject = {"port": 8443, "scheme": "HTTPS"}
    else:
        target = {"port": 8080, "scheme": "HTTP"}
    return {"httpGet": {"path": path, **target}, **timing}


def _app_pod(plan: RegistryPlan, mounts: Mounts) -> JsonObject:
    return {
        "serviceAccountName": plan.prefix + APP,
        "terminationGracePeriodSeconds": 600,
        "containers": [
            {
                "name": APP,
                "image": plan.settings.images.quay,
                "args": ["registry", "serve"],
                "env": [
                    *registry_variables(mounts),
                    *map(dict, WORKER_COUNTS),
                    objects.resource_variable(_CPUS, "limits.cpu"),
                ],
                "ports": [
                    {"containerPort": port, "protocol": "TCP"} for port in (8443, 8080, 8081, 9091)
                ],
                "startupProbe": _probe(
                    plan, LIVENESS_PATH, timeoutSeconds=20, periodSeconds=2, failureThreshold=75
                ),
                "readinessProbe": _probe(
                    plan, READINESS_PATH, timeoutSeconds=10, periodSeconds=5, failureThreshold=3
                ),
                "livenessProbe": _probe(
                    plan, LIVENESS_PATH, timeoutSeconds=10, periodSeconds=15, failureThreshold=10
                ),
                "resources": objects.resources((APP_CPUS, "8Gi"), (APP_CPUS, "8Gi")),
                "volumeMounts": [*configuration_mounts(), *storage_mounts(plan)],
            }
        ],
        "volumes": [*configuration_volumes(plan, mounts), *storage_volumes(plan)],
    }


def workers_of_pod(plan: RegistryPlan) -> int:
    """Return how many workers a pod of the registry runs at most: as many as it has CPUs.

    `worker_limit` in `cli/registry` counts the same from the variables.
    """
    wanted = plan.overridden("quay")
    given = {one["name"]: str(one.get("value", "")) for one in (*WORKER_COUNTS, *wanted.env)}
    limit = wanted.resources.get("limits", {}).get("cpu", APP_CPUS)
    cpus = max(1, math.ceil(quantities.amount(limit)))
    # What stands elsewhere, in a ConfigMap perhaps, may be any number.
    texts = [given[name] for name in _ASKED if name in given]
    return min(cpus, max(1, *(int(text) if text.isdigit() else cpus for text in texts)))


def _editor_pod(plan: RegistryPlan, mounts: Mounts) -> JsonObject:
    return {
        "containers": [
            {
                "name": EDITOR,
                "image": plan.settings.images.quay,
                "args": ["editor", "serve"],
                "env": [
                    {"name": "QUAY_CONFIG_PATH", "value": CONFIG_PATH},
                    {"name": "QUAYCONF", "value": CONFIG_PATH},
                    {"name": "DEBUGLOG", "value": "false"},
                    objects.secret_variable(
                        "QUAY_PASSWORD", secret=mounts.editor_credentials, key="password"
                    ),
                    objects.field_variable("MY_POD_NAMESPACE", "metadata.namespace"),
                    objects.field_variable("MY_POD_NAME", "metadata.name"),
                    objects.field_variable(
                        "QUAY_OPERATOR_ENDPOINT",
                        f"metadata.annotations['{names.OPERATOR_ENDPOINT_ANNOTATION}']",
                    ),
                    objects.field_variable(
                        "QUAY_CONFIG_READ_ONLY_FIELD_GROUPS",
                        f"metadata.annotations['{names.FIELD_GROUPS_ANNOTATION}']",
                    ),
                ],
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 2},
                "volumeMounts": configuration_mounts(),
            }
        ],
        "volumes": configuration_volumes(plan, mounts),
    }


def _upgrade_pod(plan: RegistryPlan, mounts: Mounts) -> JsonObject:
    """Return the pod that migrates; for a registry from a backup, one that restores it first."""
    pod = _migrating_pod(plan, mounts)
    if plan.restoration is None:
        return pod
    container = pod["containers"][0]
    mounted = [*container["volumeMounts"], *storage_mounts(plan)]
    pod["containers"] = [{**container, "volumeMounts": mounted}]
    pod["volumes"] += storage_volumes(plan)
    return restoring(
        pod,
        plan.restoration.vault,
        registry=plan.name,
        backup=plan.restoration.backup,
    )


def _migrating_pod(plan: RegistryPlan, mounts: Mounts) -> JsonObject:
    return {
        "serviceAccountName": plan.prefix + APP,
        "restartPolicy": "OnFailure",
        "containers": [
            {
                "name": UPGRADE,
                "image": plan.settings.images.quay,
                "args": ["registry", "migrate"],
                "env": registry_variables(mounts),
                "resources": objects.resources(("1", "3Gi"), ("2", "8Gi")),
                "volumeMounts": configuration_mounts(),
            }
        ],
        "volumes": configuration_volumes(plan, mounts),
    }


def _services(plan: RegistryPlan) -> list[JsonObject]:
    return [
        objects.service(
            plan,
            APP,
            component="base",
            label=APP,
            app=True,
            ports=[
                ("https", 443, 8443),
                ("http", 80, 8080),
                ("http-direct", 8080, 8080),
                ("jwtproxy", 8081, 8081),
                ("grpc", 55443, 55443),
            ],
        ),
        objects.service(
            plan,
            EDITOR,
            component="base",
            label=EDITOR,
            app=True,
            ports=[("http", 80, 8080), ("http-direct", 8080, 8080)],
        ),
    ]


def _service_ca(plan: RegistryPlan) -> JsonObject:
    """Return the ConfigMap into which OpenShift writes its service authority."""
    obj = objects.make(plan, "ConfigMap", SERVICE_CA, component="base", app=True)
    obj["metadata"]["annotations"]["service.beta.openshift.io/inject-cabundle"] = "true"
    return obj


def _app(plan: RegistryPlan, mounts: Mounts) -> JsonObject:
    pod = _app_pod(plan, mounts)
    obj = objects.deployment(
        plan, APP, component="base", label=APP, app=True, annotate_pods=True, pod=pod
    )
    return with_blobs(plan, with_authorities(plan, obj))


def with_authorities(plan: RegistryPlan, deployment: JsonObject) -> JsonObject:
    """Have pods replaced when the service authority is another one: they read it as they start.

    Quay: the last eight characters of a digest, in an annotation of that name.
    """
    if not plan.service_authorities:
        return deployment
    text = json.dumps(plan.service_authorities, sort_keys=True)
    note = {SERVICE_CA: hashlib.sha256(text.encode()).hexdigest()[-8:]}
    for metadata in (deployment["metadata"], deployment["spec"]["template"]["metadata"]):
        metadata["annotations"] = {**(metadata.get("annotations") or {}), **note}
    return deployment


def _objects(plan: RegistryPlan, mounts: Mounts) -> Sequence[JsonObject]:
    return [
        objects.make(plan, "ServiceAccount", APP, component="base", app=True),
        _service_ca(plan),
        *_services(plan),
        objects.job(
            plan,
            UPGRADE,
            component="base",
            label=UPGRADE,
            pod_label=UPGRADE,
            pod=_upgrade_pod(plan, mounts),
        ),
        _app(plan, mounts),
        objects.deployment(
            plan,
            EDITOR,
            component="base",
            label=EDITOR,
            app=True,
            annotate_pods=True,
            pod=_editor_pod(plan, mounts),
        ),
    ]


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    good = "Quay component healthy"
    names = [plan.prefix + suffix for suffix in (APP, EDITOR)]
    if plan.overridden("quay").replicas == 0:
        falling = "Quay component is being scaled down"
        stopped = deployments.judge_stopped(owned, names[0], falling=falling, stopped=good)
        if stopped is not None and not stopped.ready:
            return stopped
        names.pop(0) if stopped is not None else None
        return deployments.judge_all(owned, names, good=good)
    return _waiting(plan, owned) or deployments.judge_all(owned, names, good=good)


def _waiting(plan: RegistryPlan, owned: Owned) -> Verdict | None:
    """Say what the registry's pods wait for where it was the operator that gave them none."""
    found = owned.get("Deployment", plan.prefix + APP)
    if found is None or not owned.belongs(found):
        return None
    if found["spec"].get("replicas", 1) or not is_ours(found):
        return None
    return Verdict.bad(
        f"Deployment {plan.prefix}{APP} has zero replicas available",
        step=f"its pods start once Job {plan.job_name(UPGRADE)} has migrated the database",
    )


QUAY: Final = ComponentType(
    kind="base",
    condition="ComponentQuayReady",
    objects=_objects,
    configuration=no_configuration,
    health=_health,
)
