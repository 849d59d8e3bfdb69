"""What controllers ask of pods, and how they make them from a template."""

import copy
import math
from datetime import datetime, timedelta

from hatoba.cluster.controllers.values import (
    annotations_of,
    condition_of,
    controller_reference,
    created_at,
    is_deleting,
    moment,
    name_of,
    spec_of,
    status_of,
)
from hatoba.kernel.json import JsonObject

SUCCEEDED = "Succeeded"
FAILED = "Failed"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_PHASE_RANK = {"Pending": 0, "Unknown": 1, "Running": 2}


def phase_of(pod: JsonObject) -> str:
    """Return the phase, Pending when nobody has reported yet."""
    phase: str = status_of(pod).get("phase") or "Pending"
    return phase


def is_finished(pod: JsonObject) -> bool:
    """Whether the pod's containers ended for good."""
    return phase_of(pod) in {SUCCEEDED, FAILED}


def is_active(pod: JsonObject) -> bool:
    """Whether the pod counts as a replica: neither finished nor being deleted."""
    return not is_finished(pod) and not is_deleting(pod)


def is_ready(pod: JsonObject) -> bool:
    """Whether the pod reports that it can serve."""
    condition = condition_of(pod, "Ready")
    return condition is not None and condition["status"] == "True"


def ready_since(pod: JsonObject) -> datetime | None:
    """Return since when the pod is ready, None when it is not."""
    condition = condition_of(pod, "Ready")
    if condition is None or condition["status"] != "True":
        return None
    since = condition.get("lastTransitionTime")
    return moment(since) if since else None


def available_in(pod: JsonObject, *, minimum: int, now: datetime) -> timedelta | None:
    """Return how long until the pod has been ready for `minimum` seconds; None when not ready."""
    if not is_ready(pod):
        return None
    if minimum == 0:
        return timedelta()
    since = ready_since(pod)
    if since is None:
        return None
    return max(since + timedelta(seconds=minimum) - now, timedelta())


def is_available(pod: JsonObject, *, minimum: int, now: datetime) -> bool:
    """Whether the pod has been ready long enough."""
    return available_in(pod, minimum=minimum, now=now) == timedelta()


def restarts_of(pod: JsonObject) -> int:
    """Return how often the pod's containers were started again, all together."""
    status = status_of(pod)
    return sum(
        int(container.get("restartCount") or 0)
        for member in ("initContainerStatuses", "containerStatuses")
        for container in status.get(member) or ()
    )


def removal_rank(pod: JsonObject, *, now: datetime) -> tuple[float, ...]:
    """Return a sort key: the pods whose loss costs least come first."""
    since = ready_since(pod)
    ready_for = (now - since).total_seconds() if since else 0.0
    created = created_at(pod)
    age = (now - moment(created)).total_seconds() if created else 0.0
    try:
        cost = int(annotations_of(pod).get(DELETION_COST, "0"))
    except ValueError:
        cost = 0
    return (
        1 if spec_of(pod).get("nodeName") else 0,
        _PHASE_RANK.get(phase_of(pod), 3),
        1 if is_ready(pod) else 0,
        cost,
        # Ages are compared by magnitude, so that pods of one rollout are not always lost in order.
        math.floor(math.log2(max(ready_for, 1))),
        -restarts_of(pod),
        math.floor(math.log2(max(age, 1))),
        age,
    )


def from_template(template: JsonObject, *, owner: JsonObject) -> JsonObject:
    """Return the pod that a controller's template describes, to be named by the server."""
    meta = template.get("metadata") or {}
    prefix = name_of(owner)
    metadata: JsonObject = {
        "generateName": f"{prefix}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [controller_reference(owner)],
    }
    for member in ("labels", "annotations", "finalizers"):
        if meta.get(member):
            metadata[member] = copy.deepcopy(meta[member])
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": copy.deepcopy(template.get("spec") or {}),
    }
