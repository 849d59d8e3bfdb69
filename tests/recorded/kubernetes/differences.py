"""Which recorded answers are not asked for, and which differ on purpose, with reasons."""

import re

from tests.recorded.kubernetes.recording import NOT_SERVED

LONGEST_WATCH_SECONDS = 15
OUT_OF_SCOPE = {
    "kubectl-auth": "the embedded cluster holds service accounts alone to their roles, and impersonates nobody",
    "expired-410": "the store was compacted by hand, between unrecorded writes",
}
_NO_REVISIONS = "nothing numbers the revisions of Deployments while this is replayed"
_COLLECTED = "the recorded garbage collector found a dangling owner between two steps"
ON_PURPOSE = [
    # (scenario, pattern on the exchange's title, reason)
    ("ssa-basic", r"^#(0|51|52) ", _COLLECTED),
    ("deletion", r"^#(42|49|51) ", _COLLECTED),
    (
        "cr-validation",
        r"^#(54|55) ",
        "the recording decoded the body, and with it the repeated key",
    ),
    ("cr-validation", r"^#41 ", "the recording lost the quotes of a body that is one string"),
    ("cr-validation", r"^#103 ", "entries of one second are in another order in the quoted object"),
    ("kubectl-get", r"^#93 ", "a Secret was made later, and nobody recorded it"),
    ("deploy-recreate-pause", r"^#(3[0-9]|4[0-9]) ", _NO_REVISIONS),
    ("deploy-adopt", r"^#(5|7) ", "nothing makes ReplicaSets and pods while this is replayed"),
    ("pod-lifecycle", r"^#(101|102|103|105) ", "pods are not scheduled while this is replayed"),
    ("job", r"^#48 ", "no Job ends while this is replayed"),
    ("pvc", r"^#(29|30) ", "Go's dump of two structures is not imitated"),
    ("job", r"^#21 ", "Go's dump of a structure is not imitated"),
    ("cr-validation", r"^#31 ", "rules do not run on an object of another kind"),
    ("cr-validation", r"^#32 ", "a version that is not served has no schema to warn from"),
    ("kubectl-create", r"^#38 ", "ownership of a request for a token is not kept"),
    ("deletion", r"^#21 ", "the making of the deleted object was not recorded"),
    ("pvc", r"^#33 ", "nothing protects claims while this is replayed"),
    ("service-endpoints", r"^#(10|17|24|25) ", "the chosen address happened to be taken"),
    (
        "cr-crud",
        r"^#(63|65) ",
        _NO_REVISIONS,
    ),
    ("namespace-delete", r"^#(15|17|25) ", "nothing empties namespaces while this is replayed"),
    (
        "limit-continue",
        r"^#(1|2|4|5) ",
        "a continued list goes on from the present, not a snapshot",
    ),
    ("limit-continue", r"^#(8|16|20) ", "the ConfigMaps of every namespace shift recorded pages"),
    ("crd-create", r"^#(0|3) ", "a custom resource is served when its definition is answered"),
    ("crd-create", r"^#(41|42|43|44|45|46) ", "custom resources go at once with their definition"),
    ("crd-create", r"^#(15|28) ", "rules are compiled without their types"),
    ("kubectl-create", r"^#(40|57|108) ", "only Kubernetes of OpenShift, or controllers, add this"),
    ("kubectl-create", r"^#(80|81|85) ", "names that were generated, or belong to every namespace"),
    ("kubectl-create", r"^#(96|97|98|118) ", "pods are not scheduled while this is replayed"),
    ("hpa", r"^#(24|25|26) ", "nothing autoscales while this is replayed"),
    ("hpa-single", r"^#20 ", "nothing autoscales while this is replayed"),
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
