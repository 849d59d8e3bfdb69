"""`mirror`: the pods that copy repositories from other registries on a schedule.

They wait in an init container until the registry answers, and so until the database is migrated.
"""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components import deployments, quay
from hatoba.operator.components.configured import (
    configuration_mounts,
    configuration_volumes,
    registry_variables,
)
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.components.objectstorage import storage_mounts, storage_volumes, with_blobs
from hatoba.operator.model import Owned, RegistryPlan, Verdict

MIRROR_NAME: Final = "quay-mirror"


def _pod(plan: RegistryPlan, mounts: Mounts) -> JsonObject:
    health = f"http://{plan.prefix}{quay.APP}:8080/health/instance"
    return {
        "serviceAccountName": plan.prefix + quay.APP,
        "initContainers": [
            {
                "name": "quay-mirror-init",
                "image": plan.settings.images.quay,
                "args": ["registry", "wait-for", health],
            }
        ],
        "containers": [
            {
                "name": MIRROR_NAME,
                "image": plan.settings.images.quay,
                "args": ["registry", "worker", "mirror"],
                "env": [
                    *registry_variables(mounts),
                    {"name": "ENSURE_NO_MIGRATION", "value": "true"},
                ],
                "resources": objects.resources(("500m", "512Mi"), ("1", "2Gi")),
                "volumeMounts": [*configuration_mounts(), *storage_mounts(plan)],
            }
        ],
        "volumes": [*configuration_volumes(plan, mounts), *storage_volumes(plan)],
    }


def _objects(plan: RegistryPlan, mounts: Mounts) -> Sequence[JsonObject]:
    obj = objects.deployment(
        plan,
        MIRROR_NAME,
        component="mirror",
        label=MIRROR_NAME,
        strategy={
            "type": "RollingUpdate",
            "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
        },
        annotate_pods=True,
        pod=_pod(plan, mounts),
    )
    return [with_blobs(plan, quay.with_authorities(plan, obj))]


def _configuration(_plan: RegistryPlan) -> JsonObject:
    return {
        "FEATURE_REPO_MIRROR": True,
        "REPO_MIRROR_INTERVAL": 30,
        "REPO_MIRROR_TLS_VERIFY": True,
    }


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("mirror"):
        return Verdict.unmanaged("Mirror not managed by the operator")
    name = plan.prefix + MIRROR_NAME
    if plan.overridden("mirror").replicas == 0:
        stopped = deployments.judge_stopped(
            owned,
            name,
            falling="Mirror component is being scaled down",
            stopped="Mirror manually scaled down",
        )
        if stopped is not None:
            return stopped
    return deployments.judge(
        owned,
        name,
        absent="Mirror deployment not found",
        foreign="Mirror deployment not owned by QuayRegistry",
    )


MIRROR: Final = ComponentType(
    kind="mirror",
    condition="ComponentMirrorReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)
