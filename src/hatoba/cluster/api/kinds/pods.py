"""Rules of pods."""

from typing import Final

from typing_extensions import override

from hatoba.cluster.api.documents import clone, reach, restore
from hatoba.cluster.api.kinds.defaults import default_pod_spec, default_requests
from hatoba.cluster.api.kinds.podspecs import validate_pod_spec
from hatoba.cluster.api.metadata import forbidden
from hatoba.cluster.api.status import Cause, Refused
from hatoba.cluster.api.store import Key, Store
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.objects import SERVICE_ACCOUNTS
from hatoba.kernel.ids import KUBERNETES_SUFFIX, random_text
from hatoba.kernel.json import JsonObject

DEFAULT_GRACE_SECONDS: Final = 30
ACCOUNT_DIRECTORY: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_FINISHED: Final = ("Succeeded", "Failed")
_NOT_READY_SECONDS: Final = 300
_TOKEN_SECONDS: Final = 3607
_MUTABLE: Final = (
    "spec: Forbidden: pod updates may not change fields other than"
    " `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


class PodRules(Strategy):
    """Pods die gracefully: a pod on a node stays until the kubelet has ended its containers."""

    is_graceful = True

    @override
    def default(self, obj: JsonObject) -> None:
        spec = obj.setdefault("spec", {})
        default_pod_spec(spec)
        default_requests(spec)
        spec.setdefault("enableServiceLinks", True)

    @override
    def admit_create(self, obj: JsonObject, store: Store) -> None:
        spec = obj["spec"]
        account = self._account(obj, store)
        wants_token = spec.get("automountServiceAccountToken")
        if wants_token is None:
            wants_token = account.get("automountServiceAccountToken", True)
        if wants_token:
            _mount_token(spec)
        _tolerate_node_troubles(spec)
        spec.setdefault("priority", 0)
        spec.setdefault("preemptionPolicy", "PreemptLowerPriority")

    def _account(self, obj: JsonObject, store: Store) -> JsonObject:
        spec, metadata = obj["spec"], obj["metadata"]
        name = spec.setdefault("serviceAccountName", "default")
        spec["serviceAccount"] = name
        namespace = metadata["namespace"]
        account = store.get(Key(SERVICE_ACCOUNTS, namespace, name))
        if account is None:
            about = self.resource.about(metadata.get("generateName") or metadata.get("name", ""))
            raise Refused(
                f"{about.title} is forbidden: error looking up service account"
                f' {namespace}/{name}: serviceaccount "{name}" not found',
                about=about,
            )
        return account

    @override
    def prepare_create(self, obj: JsonObject) -> None:
        super().prepare_create(obj)
        obj["status"] = {"phase": "Pending", "qosClass": quality_of_service(obj["spec"])}

    @override
    def prepare_update(self, new: JsonObject, old: JsonObject, *, subresource: str = "") -> None:
        if subresource != "binding":
            super().prepare_update(new, old, subresource=subresource)

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        return validate_pod_spec(obj["spec"], "spec")

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        causes = self.validate(new)
        if not causes and _frozen(new, old) != _frozen(old, old):
            return [forbidden("spec", _MUTABLE.removeprefix("spec: Forbidden: "))]
        return causes

    @override
    def grace_seconds(self, obj: JsonObject, asked: int | None) -> int:
        if not reach(obj, "spec", "nodeName") or reach(obj, "status", "phase") in _FINISHED:
            return 0
        if asked is not None:
            return max(asked, 0)
        configured = reach(obj, "spec", "terminationGracePeriodSeconds")
        return DEFAULT_GRACE_SECONDS if configured is None else int(configured)


def _frozen(new: JsonObject, old: JsonObject) -> JsonObject:
    """Return the specification without what may change in it."""
    spec = clone(new["spec"])
    for key in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"):
        spec.pop(key, None)
    if not old["spec"].get("nodeName"):
        restore(spec, old["spec"], "nodeName")
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        container.pop("image", None)
    return spec


def quality_of_service(spec: JsonObject) -> str:
    """Return the class by which a node under pressure chooses whom to evict.

    Spec: Kubernetes "Pod Quality of Service Classes".
    """
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    resources = [container.get("resources") or {} for container in containers]
    if not any(part.get("requests") or part.get("limits") for part in resources):
        return "BestEffort"
    for part in resources:
        limits, requests = part.get("limits") or {}, part.get("requests") or {}
        if not {"cpu", "memory"} <= set(limits) or any(
            requests.get(name, limits[name]) != limits[name] for name in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"


def _mount_token(spec: JsonObject) -> None:
    """Give every container without a mount there the account's token, as admission does."""
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    missing = [
        container
        for container in containers
        if all(m.get("mountPath") != ACCOUNT_DIRECTORY for m in container.get("volumeMounts") or [])
    ]
    if not missing:
        return
    volumes = spec.setdefault("volumes", [])
    name = next((v["name"] for v in volumes if v["name"].startswith("kube-api-access-")), None)
    if name is None:
        name = f"kube-api-access-{random_text(5, KUBERNETES_SUFFIX)}"
        volumes.append({"name": name, "projected": _token_sources()})
    for container in missing:
        container.setdefault("volumeMounts", []).append(
            {"name": name, "readOnly": True, "mountPath": ACCOUNT_DIRECTORY}
        )


def _token_sources() -> JsonObject:
    return {
        "sources": [
            {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }
            },
            {
                "downwardAPI": {
                    "items": [
                        {
                            "path": "namespace",
                            "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                        }
                    ]
                }
            },
        ],
        "defaultMode": 0o644,
    }


def _tolerate_node_troubles(spec: JsonObject) -> None:
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(t.get("key") in (key, None) for t in tolerations):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _NOT_READY_SECONDS,
                }
            )
