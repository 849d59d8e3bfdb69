"""The scheduler of a cluster with one node: each pod goes there, or is told why it cannot.

What all pods request together is not counted, on purpose: a laptop with two cores carries a
registry whose pods were sized for a cluster. A single pod that asks for more than the whole node
offers is refused, as are unmatched selectors, untolerated taints and unbound claims.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import ClassVar, Final

from typing_extensions import override

from hatoba.cluster.controllers import quantities
from hatoba.cluster.controllers.events import Recorder
from hatoba.cluster.controllers.pods import is_finished
from hatoba.cluster.controllers.runtime import Context, Controller, Keys
from hatoba.cluster.controllers.values import (
    Key,
    condition_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    spec_of,
    status_of,
    uid_of,
)
from hatoba.cluster.objects import CLAIMS, NODES, PODS, ResourceName
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject

SCHEDULER: Final = "default-scheduler"
_SCHEDULED: Final = "PodScheduled"
_UNHELPFUL: Final = (
    "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
)
_NO_VICTIMS: Final = (
    "preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
)


class Scheduler(Controller):
    """Binds pods to the node."""

    name = SCHEDULER
    manager: ClassVar[str] = "kube-scheduler"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.recorder = Recorder(
            context.sink,
            component=SCHEDULER,
            host=f"{SCHEDULER}-{context.settings.node_name}",
            manager=self.manager,
        )

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {
            PODS: lambda pod: (key_of(pod),) if _is_waiting(pod) else (),
            NODES: lambda _: self._waiting(),
            CLAIMS: lambda claim: self._waiting(key_of(claim).namespace),
        }

    def _waiting(self, namespace: str | None = None) -> Iterable[Key]:
        return [key_of(pod) for pod in self.cache(PODS).items(namespace) if _is_waiting(pod)]

    @override
    async def reconcile(self, key: Key) -> float | None:
        pod = self.cache(PODS).get(key)
        if pod is None or not _is_waiting(pod):
            return None
        if spec_of(pod).get("schedulingGates"):
            await self._say(
                pod,
                "SchedulingGated",
                "Scheduling is blocked due to non-empty scheduling gates",
            )
            return None
        node = self.cache(NODES).get(Key("", self.settings.node_name))
        claims = {name_of(claim): claim for claim in self.cache(CLAIMS).items(key.namespace)}
        obstacle = why_not(pod, node, claims)
        if obstacle is None:
            await self._bind(pod)
        elif await self._say(pod, "Unschedulable", obstacle):
            self.recorder.warning(pod, "FailedScheduling", obstacle, action="Scheduling")
        return None

    async def _bind(self, pod: JsonObject) -> None:
        key, node = key_of(pod), self.settings.node_name
        await self.client.create(
            PODS,
            {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": key.name, "namespace": key.namespace},
                "target": {"kind": "Node", "name": node},
            },
            subresource="binding",
        )
        text = f"Successfully assigned {key.namespace}/{key.name} to {node}"
        self.recorder.normal(pod, "Scheduled", text, action="Binding")
        bound = await self.client.read(PODS, key)
        if bound is not None and uid_of(bound) == uid_of(pod):
            await self._set_condition(bound, {"status": "True"})

    async def _say(self, pod: JsonObject, reason: str, message: str) -> bool:
        """Set the condition; tell whether that was news."""
        before = condition_of(pod, _SCHEDULED)
        if before is not None and (before.get("reason"), before.get("message")) == (
            reason,
            message,
        ):
            return False
        await self._set_condition(pod, {"status": "False", "reason": reason, "message": message})
        return True

    async def _set_condition(self, pod: JsonObject, said: JsonObject) -> None:
        before = condition_of(pod, _SCHEDULED)
        if before is not None and before["status"] == said["status"]:
            since = before["lastTransitionTime"]
        else:
            since = rfc3339(self.clock.now())
        condition = {
            "type": _SCHEDULED,
            "lastProbeTime": None,
            "lastTransitionTime": since,
            **said,
        }
        status = status_of(pod)
        others = [item for item in status.get("conditions") or () if item["type"] != _SCHEDULED]
        await self.client.update_status(PODS, pod, {**status, "conditions": [*others, condition]})


def _is_waiting(pod: JsonObject) -> bool:
    spec = spec_of(pod)
    return (
        not spec.get("nodeName")
        and spec.get("schedulerName", SCHEDULER) == SCHEDULER
        and not is_deleting(pod)
        and not is_finished(pod)
    )


def why_not(
    pod: JsonObject, node: JsonObject | None, claims: Mapping[str, JsonObject]
) -> str | None:
    """Return why the pod cannot run on the node, in the scheduler's words, or None."""
    if node is None:
        return "no nodes available to schedule pods"
    claim_problem = _claim_problem(pod, claims)
    if claim_problem:
        return f"0/1 nodes are available: {claim_problem}. {_UNHELPFUL}"
    problem = _node_problem(pod, node)
    if problem:
        return f"0/1 nodes are available: 1 {problem}. {_UNHELPFUL}"
    lacking = _lacking(pod, node)
    if lacking:
        names = ", ".join(f"1 Insufficient {resource}" for resource in lacking)
        return f"0/1 nodes are available: {names}. {_NO_VICTIMS}"
    return None


def _claim_problem(pod: JsonObject, claims: Mapping[str, JsonObject]) -> str | None:
    for volume in spec_of(pod).get("volumes") or ():
        source = volume.get("persistentVolumeClaim")
        if not source:
            continue
        name = source["claimName"]
        claim = claims.get(name)
        if claim is None:
            return f'persistentvolumeclaim "{name}" not found'
        if is_deleting(claim):
            return f'persistentvolumeclaim "{name}" is being deleted'
        if status_of(claim).get("phase") != "Bound":
            return "pod has unbound immediate PersistentVolumeClaims"
    return None


def _node_problem(pod: JsonObject, node: JsonObject) -> str | None:
    spec, labels = spec_of(pod), labels_of(node)
    if spec_of(node).get("unschedulable") and not _tolerates(
        spec, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return "node(s) were unschedulable"
    for taint in spec_of(node).get("taints") or ():
        if taint["effect"] in {"NoSchedule", "NoExecute"} and not _tolerates(spec, taint):
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    wanted: Mapping[str, str] = spec.get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in wanted.items()) or not _fits_affinity(
        spec, node
    ):
        return "node(s) didn't match Pod's node affinity/selector"
    return None


def _fits_affinity(spec: JsonObject, node: JsonObject) -> bool:
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    return any(
        all(_fits(rule, labels_of(node)) for rule in term.get("matchExpressions") or ())
        and all(
            _fits(rule, {"metadata.name": name_of(node)}) for rule in term.get("matchFields") or ()
        )
        for term in required.get("nodeSelectorTerms") or ()
        if term
    )


def _fits(rule: JsonObject, labels: Mapping[str, str]) -> bool:
    operator, value = rule["operator"], labels.get(rule["key"])
    values: list[str] = rule.get("values") or []
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator in {"Gt", "Lt"}:
        if value is None or not value.lstrip("-").isdigit():
            return False
        return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
    return (value is not None) == bool(operator == "Exists")


def _tolerates(spec: JsonObject, taint: JsonObject) -> bool:
    for toleration in spec.get("tolerations") or ():
        if toleration.get("effect") not in {None, "", taint["effect"]}:
            continue
        key = toleration.get("key")
        if toleration.get("operator") == "Exists":
            if not key or key == taint["key"]:
                return True
        elif key == taint["key"] and toleration.get("value", "") == taint.get("value", ""):
            return True
    return False


def requested(pod: JsonObject) -> dict[str, Decimal]:
    """Return what the pod asks for: its containers together, or one init container if larger."""
    spec = spec_of(pod)
    total: dict[str, Decimal] = {}
    for container in spec.get("containers") or ():
        for name, amount in _requests(container).items():
            total[name] = total.get(name, Decimal()) + amount
    for container in spec.get("initContainers") or ():
        for name, amount in _requests(container).items():
            total[name] = max(total.get(name, Decimal()), amount)
    return total


def _requests(container: JsonObject) -> dict[str, Decimal]:
    resources = (container.get("resources") or {}).get("requests") or {}
    return {name: quantities.parse(amount) for name, amount in resources.items()}


def _lacking(pod: JsonObject, node: JsonObject) -> list[str]:
    offered = status_of(node).get("allocatable") or {}
    return sorted(
        name
        for name, amount in requested(pod).items()
        if amount > 0 and amount > quantities.parse(offered.get(name, 0))
    )
