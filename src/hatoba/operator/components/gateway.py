"""The registry behind a Gateway: HTTPRoutes, or a TLSRoute where TLS is passed through.

Source: Gateway API v1, HTTPRoute; v1alpha2, TLSRoute.
"""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.diagnosis import quoted
from hatoba.operator.model import Owned, RegistryPlan, Verdict

REGISTRY: Final = "quay"
EDITOR: Final = "quay-config-editor"


def gateway_objects(plan: RegistryPlan) -> Sequence[JsonObject]:
    """Return the routes of the registry and, where a host is known for it, of its editor."""
    if not plan.is_exposed:
        return []
    found = [
        _route(plan, "TLSRoute", REGISTRY, host=plan.public_host, to="quay-app", port=443)
        if plan.passes_through
        else _route(plan, "HTTPRoute", REGISTRY, host=plan.public_host, to="quay-app", port=80)
    ]
    if plan.editor_host and not plan.passes_through:
        found.append(_route(plan, "HTTPRoute", EDITOR, host=plan.editor_host, to=EDITOR, port=80))
    return found


def _route(
    plan: RegistryPlan, kind: str, suffix: str, *, host: str, to: str, port: int
) -> JsonObject:
    gateway, listener = plan.exposure.gateway, plan.exposure.listener
    parent: JsonObject = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "namespace": gateway.namespace if gateway else "",
        "name": gateway.name if gateway else "",
        "sectionName": listener.name if listener else "",
    }
    return objects.make(
        plan,
        kind,
        suffix,
        component="route",
        spec={
            "parentRefs": [parent],
            "hostnames": [host],
            "rules": [{"backendRefs": [{"name": plan.prefix + to, "port": port}]}],
        },
    )


def gateway_verdict(plan: RegistryPlan, owned: Owned) -> Verdict:
    """Tell whether the Gateway took the registry's route."""
    kind = "TLSRoute" if plan.passes_through else "HTTPRoute"
    name = plan.prefix + REGISTRY
    found = owned.get(kind, name)
    if found is None:
        return Verdict.bad("Route not found", step=f"{kind} {name} is made with the next pass")
    parents = found.get("status", {}).get("parents") or []
    if not parents:
        return Verdict.bad(
            "Route found but no ingress",
            step=f"see that the controller of the Gateway runs and looks after {kind} {name}",
        )
    refusals = [
        quoted(str(condition.get("message") or condition.get("reason") or ""))
        for parent in parents
        for condition in parent.get("conditions") or []
        if condition.get("type") in ("Accepted", "ResolvedRefs")
        and condition.get("status") != "True"
    ]
    if refusals:
        return Verdict.bad(
            f"Route not fully admitted: {kind} {name} was refused ({'; '.join(refusals)})",
            step="change the Gateway's listener, or name another one in hatoba.dev/gateway",
            diagnosed=True,
        )
    return Verdict.good("Route admitted")
