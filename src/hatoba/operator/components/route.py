"""`route`: how people outside the cluster reach the registry and its config editor.

By a Route, a Gateway, an Ingress or a Service: `exposure` has chosen. Without SERVER_HOSTNAME in
the bundle a Route's host stays empty: the cluster chooses one, and the configuration is rendered
with what it admitted.
"""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names, objects
from hatoba.operator.components.contract import ComponentType, Mounts
from hatoba.operator.components.gateway import gateway_objects, gateway_verdict
from hatoba.operator.components.ingress import ingress_objects, ingress_verdict
from hatoba.operator.components.outward import outward_objects, outward_verdict
from hatoba.operator.diagnosis import quoted
from hatoba.operator.landscape import Way
from hatoba.operator.model import Owned, RegistryPlan, Verdict

REGISTRY_ROUTE: Final = "quay"
EDITOR_ROUTE: Final = "quay-config-editor"


def admitted_endpoint(route: JsonObject) -> str | None:
    """Return `host` or `host:port` of a Route, None before a router admitted it."""
    for ingress in route.get("status", {}).get("ingress") or []:
        admitted = any(
            found.get("type") == "Admitted" and found.get("status") == "True"
            for found in ingress.get("conditions") or []
        )
        if admitted and ingress.get("host"):
            annotations = route["metadata"].get("annotations") or {}
            port = annotations.get(names.EXTERNAL_PORT_ANNOTATION, "443")
            return f"{ingress['host']}" if port == "443" else f"{ingress['host']}:{port}"
    return None


def _route(
    plan: RegistryPlan, suffix: str, *, label: str, to: str, port: str, host: str, passthrough: bool
) -> JsonObject:
    return objects.make(
        plan,
        "Route",
        suffix,
        component="route",
        label=label,
        spec={
            **({"host": host} if host else {}),
            "to": {"kind": "Service", "name": plan.prefix + to},
            "port": {"targetPort": port},
            "tls": {
                "termination": "passthrough" if passthrough else "edge",
                "insecureEdgeTerminationPolicy": "Redirect",
            },
        },
    )


def _routes(plan: RegistryPlan) -> Sequence[JsonObject]:
    wanted = str(plan.config.get("SERVER_HOSTNAME", "")).partition(":")[0]
    own = plan.own_certificate
    return [
        _route(
            plan,
            REGISTRY_ROUTE,
            label="quay-app-route",
            to="quay-app",
            port="https" if own else "http",
            host=wanted,
            passthrough=own,
        ),
        _route(
            plan,
            "quay-builder",
            label="quay-builder-route",
            to="quay-app",
            port="grpc",
            host=plan.builder_hostname,
            passthrough=own,
        ),
        _route(
            plan,
            EDITOR_ROUTE,
            label="quay-config-route",
            to="quay-config-editor",
            port="http",
            host="",
            passthrough=False,
        ),
    ]


def _objects(plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    return _OBJECTS[plan.exposure.way](plan)


def _configuration(plan: RegistryPlan) -> JsonObject:
    return {
        "SERVER_HOSTNAME": plan.hostname,
        "PREFERRED_URL_SCHEME": plan.scheme,
        "EXTERNAL_TLS_TERMINATION": plan.scheme == "https" and not plan.ends_tls_itself,
    }


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if not plan.manages("route"):
        if plan.capabilities.routes or "SERVER_HOSTNAME" in plan.config:
            return Verdict.unmanaged("Route is not managed by the operator")
        return Verdict.unmanaged(
            "Route is not managed by the operator: the cluster has no Route, Gateway or default "
            f"IngressClass, so set SERVER_HOSTNAME in Secret {plan.bundle_name} to the host by "
            "which people reach the registry"
        )
    if plan.exposure.way is not Way.ROUTE and not plan.is_exposed:
        return Verdict.good(
            f"Route not made: {plan.exposure.way} tells no host name, the registry is reached "
            f"inside the cluster only: set SERVER_HOSTNAME in Secret {plan.bundle_name}"
        )
    return _VERDICTS[plan.exposure.way](plan, owned)


def _route_verdict(plan: RegistryPlan, owned: Owned) -> Verdict:
    name = plan.prefix + REGISTRY_ROUTE
    found = owned.get("Route", name)
    if found is None:
        return Verdict.bad("Route not found", step=f"Route {name} is made with the next pass")
    ingresses = found.get("status", {}).get("ingress")
    if not ingresses:
        return Verdict.bad(
            "Route found but no ingress",
            step=f"see that the cluster's router runs and looks after Route {name}",
        )
    if admitted_endpoint(found) is None:
        told = [str(c.get("message", "")) for i in ingresses for c in i.get("conditions") or []]
        return Verdict.bad(
            f"Route not fully admitted: Route {name} was refused ({quoted('; '.join(told))})",
            step=f"set SERVER_HOSTNAME in Secret {plan.bundle_name} to a host that it allows",
            diagnosed=True,
        )
    return Verdict.good("Route admitted")


_OBJECTS: Final = {
    Way.ROUTE: _routes,
    Way.GATEWAY: gateway_objects,
    Way.INGRESS: ingress_objects,
    Way.SERVICE: outward_objects,
}
_VERDICTS: Final = {
    Way.ROUTE: _route_verdict,
    Way.GATEWAY: gateway_verdict,
    Way.INGRESS: ingress_verdict,
    Way.SERVICE: outward_verdict,
}

ROUTE: Final = ComponentType(
    kind="route",
    condition="ComponentRouteReady",
    objects=_objects,
    configuration=_configuration,
    health=_health,
)
