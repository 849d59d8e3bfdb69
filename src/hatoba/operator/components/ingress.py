"""The registry behind an Ingress, with the certificate that clients see.

Layers are larger than what ingress-nginx lets through by default; its annotations lift that, and
other controllers do not know them.
"""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import objects
from hatoba.operator.landscape import TlsSource
from hatoba.operator.model import Owned, RegistryPlan, Verdict

REGISTRY: Final = "quay"
EDITOR: Final = "quay-config-editor"
ISSUED: Final = "quay-issued-tls"
PAIR: Final = "quay-ingress-tls"
_UNLIMITED: Final = {
    "nginx.ingress.kubernetes.io/proxy-body-size": "0",
    "nginx.ingress.kubernetes.io/proxy-request-buffering": "off",
    "nginx.ingress.kubernetes.io/proxy-read-timeout": "1800",
    "nginx.ingress.kubernetes.io/proxy-send-timeout": "1800",
}


def ingress_objects(plan: RegistryPlan) -> Sequence[JsonObject]:
    """Return the Ingresses of registry and editor, and the Secret with their certificate."""
    if not plan.is_exposed:
        return []
    secret = _pair(plan)
    name = _secret_name(plan, secret)
    found = [_ingress(plan, REGISTRY, host=plan.public_host, to="quay-app", secret=name)]
    if plan.editor_host:
        found.append(_ingress(plan, EDITOR, host=plan.editor_host, to=EDITOR, secret=name))
    return [*([secret] if secret else []), *found]


def _pair(plan: RegistryPlan) -> JsonObject | None:
    """Return the Secret with the pair of the bundle, or with the operator's own."""
    if plan.tls_source is TlsSource.BUNDLE:
        data = {"tls.crt": plan.files["ssl.cert"], "tls.key": plan.files["ssl.key"]}
    elif plan.tls_source is TlsSource.SELF_SIGNED and plan.pair is not None:
        data = {"tls.crt": plan.pair.certificate, "tls.key": plan.pair.key}
    else:
        return None
    return objects.generated_secret(plan, PAIR, data, kind="kubernetes.io/tls")


def _secret_name(plan: RegistryPlan, secret: JsonObject | None) -> str:
    if secret is not None:
        return str(secret["metadata"]["name"])
    return plan.prefix + ISSUED if plan.tls_source is TlsSource.ISSUER else ""


def _ingress(plan: RegistryPlan, suffix: str, *, host: str, to: str, secret: str) -> JsonObject:
    backend = {"service": {"name": plan.prefix + to, "port": {"number": 80}}}
    obj = objects.make(
        plan,
        "Ingress",
        suffix,
        component="route",
        spec={
            "ingressClassName": plan.exposure.ingress_class,
            **({"tls": [{"hosts": [host], "secretName": secret}]} if secret else {}),
            "rules": [
                {
                    "host": host,
                    "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
                }
            ],
        },
    )
    obj["metadata"]["annotations"] |= _UNLIMITED
    return obj


def ingress_verdict(plan: RegistryPlan, owned: Owned) -> Verdict:
    """Tell whether a controller serves the registry's Ingress."""
    name = plan.prefix + REGISTRY
    found = owned.get("Ingress", name)
    if found is None:
        return Verdict.bad("Route not found", step=f"Ingress {name} is made with the next pass")
    if not (found.get("status", {}).get("loadBalancer") or {}).get("ingress"):
        return Verdict.bad(
            f"Route found but no ingress: Ingress {name} has no address",
            step=f"see that the controller of IngressClass {plan.exposure.ingress_class} runs and "
            "publishes one",
        )
    return Verdict.good(f"Ingress {name} serves {plan.public_host}")
