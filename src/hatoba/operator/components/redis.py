"""`redis`: user events, build logs and cache hints; its loss degrades the registry, no more."""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.components import deployments
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.model import Owned, RegistryPlan, Verdict

REDIS_NAME: Final = "quay-redis"
PORT: Final = 6379


def _objects(plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    pod = {
        "serviceAccountName": plan.prefix + REDIS_NAME,
        "containers": [
            {
                "name": "redis-master",
                "image": plan.settings.images.redis,
                "imagePullPolicy": "IfNotPresent",
                "ports": [{"containerPort": PORT, "protocol": "TCP"}],
                "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 2},
                "resources": objects.resources(("500m", "1Gi"), ("4", "16Gi")),
            }
        ],
    }
    return [
        objects.make(plan, "ServiceAccount", REDIS_NAME, component="redis"),
        objects.service(
            plan, REDIS_NAME, component="redis", label="redis", ports=[("redis", PORT, PORT)]
        ),
        objects.deployment(plan, REDIS_NAME, component="redis", label="redis", pod=pod),
    ]


def _configuration(plan: RegistryPlan) -> JsonObject:
    address = {"host": plan.prefix + REDIS_NAME, "port": PORT}
    return {"BUILDLOGS_REDIS": address, "USER_EVENTS_REDIS": dict(address)}


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("redis"):
        return Verdict.unmanaged("Redis not managed by the operator")
    return deployments.judge(
        owned,
        plan.prefix + REDIS_NAME,
        absent="Redis deployment not found",
        foreign="Redis deployment not owned by QuayRegistry",
    )


REDIS: Final = ComponentType(
    kind="redis",
    condition="ComponentRedisReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)
