"""Which recorded answers are not asked for, and which differ on purpose, with reasons."""

import re

from tests.recorded.kubernetes.recording import NOT_SERVED

LONGEST_WATCH_SECONDS = 15
OUT_OF_SCOPE = {
    "kubectl-auth": "RBAC, impersonation and reviews are not enforced by the embedded cluster",
    "expired-410": "the store was compacted by hand, between unrecorded writes",
}
_COLLECTED = "the recorded garbage collector found a dangling owner between two steps"
_NO_PODS = "nothing runs pods while this is replayed, so that scales are of no replicas"
ON_PURPOSE = [
    # (scenario, pattern on the exchange's title, reason)
    ("ssa-basic", r"^#(0|51|52) ", _COLLECTED),
    ("deletion", r"^#(42|49|51) ", _COLLECTED),
    ("ssa-kubectl", r"^#30 ", _NO_PODS),
    ("hpa", r"^#(24|25|26) ", "nothing autoscales while this is replayed"),
    ("hpa-single", r"^#20 ", "nothing autoscales while this is replayed"),
    ("hpa-single", r"^#9 ", _NO_PODS),
    ("kubectl-edit-misc", r"^#(35|43|44|66) ", _NO_PODS),
]


_RULES = [
    ("kinds that are not served", lambda e: NOT_SERVED & {e.place[1], *e.path.split("/")}),
    (
        "bodies that were not recorded",
        lambda e: (
            e.path.startswith("/openapi") or e.raw.get("_note") or "response_body" not in e.raw
        ),
    ),
    (
        "documents that list more groups than are served",
        lambda e: not e.place[1] or e.path in {"/api", "/apis", "/version", "/"},
    ),
    (
        "needs running containers",
        lambda e: e.place[3] in {"attach", "portforward", "exec", "log", "eviction", "proxy"},
    ),
    ("impersonation", lambda e: any(name.startswith("Impersonate") for name in e.headers)),
    (
        "takes too long",
        lambda e: e.is_stream and float(e.raw.get("duration") or 0) > LONGEST_WATCH_SECONDS,
    ),
]


def out_of_scope(scenario, exchange):
    """Return why an exchange is not compared, or nothing."""
    if scenario in OUT_OF_SCOPE:
        return OUT_OF_SCOPE[scenario]
    return next((reason for reason, applies in _RULES if applies(exchange)), None)


def on_purpose(scenario, exchange):
    for where, pattern, reason in ON_PURPOSE:
        if where == scenario and re.search(pattern, exchange.title):
            return reason
    return None
