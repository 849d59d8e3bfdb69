"""`tls`: who holds the certificate that clients see.

Managed: the cluster's router, its Gateway, cert-manager, or in want of these the operator with a
pair that it signs itself. Unmanaged: the bundle brings `ssl.cert` and `ssl.key`, or a Secret of the
user's that the entry names.
"""

from collections.abc import Sequence
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names, objects
from hatoba.operator.components.contract import ComponentType, Mounts, no_configuration
from hatoba.operator.components.ingress import ISSUED
from hatoba.operator.diagnosis import condition_of, quoted
from hatoba.operator.landscape import Issuer, TlsSource, Way
from hatoba.operator.model import Owned, RegistryPlan, Verdict


def _objects(plan: RegistryPlan, _mounts: Mounts) -> Sequence[JsonObject]:
    issuer = plan.exposure.issuer
    if plan.tls_source is not TlsSource.ISSUER or issuer is None:
        return []
    return [_certificate(plan, issuer)]


def _certificate(plan: RegistryPlan, issuer: Issuer) -> JsonObject:
    """Return the request to cert-manager; its Secret carries our label, so that it is watched."""
    hosts = [plan.public_host]
    if plan.editor_host and plan.exposure.way is Way.INGRESS:
        hosts.append(plan.editor_host)
    return objects.make(
        plan,
        "Certificate",
        ISSUED,
        component="tls",
        spec={
            "secretName": plan.prefix + ISSUED,
            "secretTemplate": {"labels": {names.REGISTRY_LABEL: plan.name}},
            "dnsNames": hosts,
            "issuerRef": {
                "group": "cert-manager.io",
                "kind": issuer.kind,
                "name": issuer.name,
            },
        },
    )


def _health(plan: RegistryPlan, owned: Owned) -> Verdict:
    if plan.manages("tls") and {"ssl.cert", "ssl.key"} & plan.files.keys():
        return Verdict.bad(
            "TLS managed but config bundle contain certs",
            step=f"take ssl.cert and ssl.key out of Secret {plan.bundle_name}, or set "
            "`managed: false` for tls",
            diagnosed=True,
        )
    source = plan.tls_source
    if source is TlsSource.BUNDLE:
        return Verdict.good(
            "Using externally managed TLS certificate"
            if plan.tls_secret
            else "Config bundle contains certs"
        )
    if source is TlsSource.ISSUER:
        return _issued(plan, owned)
    if plan.manages("tls"):
        return Verdict.good(_words(plan))
    if source in (TlsSource.NONE, TlsSource.GATEWAY):
        return Verdict.unmanaged(_words(plan))
    return Verdict.bad(
        "TLS unmanaged but config bundle does not contain certs",
        step=f"put ssl.cert and ssl.key into Secret {plan.bundle_name}, or set `managed: true` "
        "for tls",
        diagnosed=True,
    )


def _words(plan: RegistryPlan) -> str:
    source = plan.tls_source
    if source is TlsSource.CLUSTER:
        return "Using cluster wildcard certs"
    if source is TlsSource.GATEWAY:
        gateway = plan.exposure.gateway
        where = f"{gateway.namespace}/{gateway.name}" if gateway else ""
        if plan.own_certificate:
            return (
                f"Using the certificate of Gateway {where}: it has no TLS listener with mode "
                "Passthrough, so ssl.cert of the config bundle is not what clients see"
            )
        return f"Using the certificate of Gateway {where}"
    if source is TlsSource.SELF_SIGNED:
        return (
            f"Using a self-signed certificate for {plan.public_host}, which clients do not trust: "
            f"put ssl.cert and ssl.key into Secret {plan.bundle_name}, or install cert-manager and "
            f"name an issuer in {names.ISSUER_ANNOTATION}"
        )
    return "TLS is not offered: clients reach the registry over plain HTTP"


def _issued(plan: RegistryPlan, owned: Owned) -> Verdict:
    name = plan.prefix + ISSUED
    found = owned.get("Certificate", name)
    if found is None:
        return Verdict.bad(
            "TLS certificate not found", step=f"Certificate {name} is made with the next pass"
        )
    ready = condition_of(found, "Ready")
    if ready is not None and ready.get("status") == "True":
        issuer = plan.exposure.issuer
        return Verdict.good(
            f"Using the certificate of {issuer.kind} {issuer.name}" if issuer else ""
        )
    told = quoted(str((ready or {}).get("message") or "cert-manager has not answered yet"))
    return Verdict.bad(
        f"TLS certificate not issued: Certificate {name} is not ready ({told})",
        step=f"see kubectl -n {plan.namespace} describe certificate {name}",
        diagnosed=ready is not None,
    )


TLS: Final = ComponentType(
    kind="tls",
    condition="ComponentTLSReady",
    objects=_objects,
    configuration=no_configuration,
    health=_health,
)
