"""The registry behind a Service of its own, for clusters that have nothing else."""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.model import Owned, RegistryPlan, Verdict

REGISTRY: Final = "quay"


def outward_objects(plan: RegistryPlan) -> Sequence[JsonObject]:
    """Return the Service, if the user asked for one."""
    if not plan.exposure.asked:
        return []
    obj = objects.service(
        plan,
        REGISTRY,
        component="route",
        label="quay-app-service",
        app=True,
        selects="quay-app",
        ports=[("https", 443, 8443), ("http", 80, 8080)],
    )
    obj["spec"]["type"] = plan.exposure.service_type
    return [obj]


def address_of(service: JsonObject) -> str | None:
    """Return the host or address that a load balancer gave to a Service."""
    found = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
    return next((one.get("hostname") or one.get("ip") for one in found), None)


def outward_verdict(plan: RegistryPlan, owned: Owned) -> Verdict:
    """Tell whether the Service can be reached."""
    name, kind = plan.prefix + REGISTRY, plan.exposure.service_type
    found = owned.get("Service", name)
    if found is None:
        return Verdict.bad("Route not found", step=f"Service {name} is made with the next pass")
    if kind == "LoadBalancer" and address_of(found) is None:
        return Verdict.bad(
            f"Route found but no ingress: Service {name} has no address",
            step="see that the cluster has a load balancer, or choose another hatoba.dev/service-"
            "type",
        )
    return Verdict.good(f"Service {name} of type {kind} serves the registry")
