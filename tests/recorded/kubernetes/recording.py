"""Recorded exchanges with a Kubernetes 1.32 API server, one scenario per file."""

import json
from dataclasses import dataclass
from urllib.parse import unquote_plus

NOT_SERVED = frozenset(
    {
        "statefulsets",
        "daemonsets",
        "cronjobs",
        "networkpolicies",
        "poddisruptionbudgets",
        "replicationcontrollers",
        "resourcequotas",
        "limitranges",
        "apiservices",
        "componentstatuses",
        "podtemplates",
        "controllerrevisions",
        "csinodes",
        "csidrivers",
        "volumeattachments",
        "certificatesigningrequests",
        "flowschemas",
        "prioritylevelconfigurations",
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "runtimeclasses",
        "localsubjectaccessreviews",
        "subjectaccessreviews",
        "tokenreviews",
    }
)


@dataclass(frozen=True)
class Exchange:
    """One request and its recorded answer."""

    number: int
    raw: dict

    @property
    def method(self):
        return self.raw["method"]

    @property
    def path(self):
        return self.raw["path"]

    @property
    def query(self):
        return self.raw.get("query", "")

    @property
    def headers(self):
        return self.raw.get("request_headers", {})

    @property
    def request(self):
        return self.raw.get("request_body")

    @property
    def status(self):
        return self.raw["status"]

    @property
    def answer(self):
        return self.raw.get("response_body")

    @property
    def warnings(self):
        return self.raw.get("response_headers", {}).get("Warning") or []

    @property
    def is_stream(self):
        return isinstance(self.answer, list)

    @property
    def is_write(self):
        return self.method != "GET" and "dryRun" not in self.query and self.status < 300

    @property
    def place(self):
        """(namespace, plural, name, subresource) that the path names, empty where it does not."""
        parts = self.path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in {"status", "finalize"}:
            namespace, rest = rest[1], rest[2:]
        rest += [""] * (3 - len(rest))
        return namespace, rest[0], rest[1], rest[2]

    @property
    def title(self):
        where = f"{self.path}?{unquote_plus(self.query)}" if self.query else self.path
        return f"#{self.number} {self.raw['step'][:60]!r} {self.method} {where}"


def read(path):
    with path.open() as lines:
        return [Exchange(number, json.loads(line)) for number, line in enumerate(lines)]


def namespaces(exchanges):
    """Return the namespaces of a scenario that were made before it was recorded."""
    made = {
        e.answer["metadata"]["name"]
        for e in exchanges
        if e.method == "POST" and e.path == "/api/v1/namespaces" and e.status == 201
    }
    seen = set()
    for exchange in exchanges:
        parts = exchange.path.split("/")
        if "namespaces" in parts[:-1]:
            seen.add(parts[parts.index("namespaces") + 1])
    absent = {"nons", "nope"} | made
    return sorted(seen - absent - {"default", "kube-system", "kube-public", "kube-node-lease"})
