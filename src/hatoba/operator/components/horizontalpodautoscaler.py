"""`horizontalpodautoscaler`: from two pods of each kind upwards, by measured load."""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names, objects
from hatoba.operator.components.contract import ComponentType, Mounts, no_configuration
from hatoba.operator.model import Owned, RegistryPlan, Verdict

_KIND: Final = "horizontalpodautoscaler"
MOST_PODS: Final = 20
"""Of the registry, and of its mirror."""
REQUESTS_PER_POD: Final = 32
"""More requests in flight than so many, on average, ask for another pod."""


def _targets(plan: RegistryPlan) -> list[tuple[str, int]]:
    """Return (Deployment, most pods) of what runs and may grow."""
    return [
        ("quay-app", MOST_PODS),
        *([("clair-app", 10)] if plan.manages("clair") else []),
        *([("quay-mirror", MOST_PODS)] if plan.manages("mirror") else []),
    ]


def _objects(plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    found = [
        objects.autoscaler(plan, target, component=_KIND, maximum=maximum)
        for target, maximum in _targets(plan)
    ]
    if plan.capabilities.requests_measured:
        found[0]["spec"]["metrics"].append(_requests_in_flight())
    return found


def _requests_in_flight() -> JsonObject:
    """Return what an autoscaler asks a metrics adapter for.

    Only where the metric is known: an autoscaler that misses one of its metrics never scales down.
    """
    return {
        "type": "Pods",
        "pods": {
            "metric": {"name": names.IN_FLIGHT_METRIC},
            "target": {"type": "AverageValue", "averageValue": str(REQUESTS_PER_POD)},
        },
    }


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages(_KIND):
        return Verdict.unmanaged("Horizontal pod autoscaler not managed by the operator")
    for target, _ in _targets(plan):
        name = plan.prefix + target
        found = owned.get("HorizontalPodAutoscaler", name)
        if found is None:
            return Verdict.bad(
                "Horizontal pod autoscaler not found",
                step=f"HorizontalPodAutoscaler {name} is made with the next pass",
            )
        if not owned.belongs(found):
            return Verdict.bad(
                "Horizontal pod autoscaler not owned by QuayRegistry",
                step=f"delete or rename HorizontalPodAutoscaler {name}, which somebody else made",
                diagnosed=True,
            )
    return Verdict.good("Horizontal pod autoscaler found")


AUTOSCALER: Final = ComponentType(
    kind=_KIND,
    condition="ComponentHPAReady",
    objects=_objects,
    configuration=no_configuration,
    health=_health,
)
