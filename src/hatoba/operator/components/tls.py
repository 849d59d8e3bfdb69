"""`tls`: who holds the certificate.

Managed: the cluster's router terminates TLS with its own. Unmanaged: the bundle brings
`ssl.cert` and `ssl.key`, the Route passes TLS through, and the registry terminates it.
"""

from typing import Final

from hatoba.operator.components.contract import ComponentType, no_configuration, no_objects
from hatoba.operator.model import Owned, RegistryPlan, Verdict


def _health(plan: RegistryPlan, _owned: Owned) -> Verdict:
    if plan.manages("tls"):
        if {"ssl.cert", "ssl.key"} & plan.files.keys():
            return Verdict.bad(
                "TLS managed but config bundle contain certs",
                step=f"take ssl.cert and ssl.key out of Secret {plan.bundle_name}, or set "
                "`managed: false` for tls",
                diagnosed=True,
            )
        return Verdict.good("Using cluster wildcard certs")
    if plan.own_certificate:
        return Verdict.good("Config bundle contains certs")
    if not plan.capabilities.routes:
        return Verdict.unmanaged("TLS is not offered: the cluster has no Route API")
    return Verdict.bad(
        "TLS unmanaged but config bundle does not contain certs",
        step=f"put ssl.cert and ssl.key into Secret {plan.bundle_name}, or set `managed: true` "
        "for tls",
        diagnosed=True,
    )


TLS: Final = ComponentType(
    kind="tls",
    condition="ComponentTLSReady",
    objects=no_objects,
    configuration=no_configuration,
    health=_health,
)
