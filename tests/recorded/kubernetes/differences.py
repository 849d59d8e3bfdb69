"""Which recorded answers are not asked for, and which differ on purpose, with reasons."""

import re

from tests.recorded.kubernetes.recording import NOT_SERVED

OUT_OF_SCOPE = {
    "kubectl-auth": "RBAC, impersonation and reviews are not enforced by the embedded cluster",
    "expired-410": "the store was compacted by hand, between unrecorded writes",
}
ON_PURPOSE = [
    # (scenario, pattern on the exchange's title, reason)
]


def out_of_scope(scenario, exchange):
    """Return why an exchange is not compared, or nothing."""
    _, plural, _, subresource = exchange.place
    if plural in NOT_SERVED or any(part in NOT_SERVED for part in exchange.path.split("/")):
        return "kinds that are not served"
    if exchange.path.startswith("/openapi") or exchange.raw.get("_note"):
        return "bodies that were not recorded"
    if exchange.path in {"/api", "/apis", "/version", "/"} or plural == "":
        return "documents that list more groups than are served"
    if subresource in {"attach", "portforward", "exec", "log", "eviction", "proxy"}:
        return "needs running containers"
    if any(name.startswith("Impersonate") for name in exchange.headers):
        return "impersonation"
    if scenario in OUT_OF_SCOPE:
        return OUT_OF_SCOPE[scenario]
    if exchange.is_stream and float(exchange.raw.get("duration") or 0) > 15:
        return "takes too long"
    return None


def on_purpose(scenario, exchange):
    for where, pattern, reason in ON_PURPOSE:
        if where == scenario and re.search(pattern, exchange.title):
            return reason
    return None
