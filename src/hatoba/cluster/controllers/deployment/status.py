"""What a Deployment reports: counts, Available, Progressing, ReplicaFailure.

Pure. Reasons and sentences are those that people and tools look for.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from hatoba.cluster.controllers.deployment.budget import (
    actual_of,
    available_of,
    maximum_unavailable,
    replicas_of,
)
from hatoba.cluster.controllers.values import (
    condition_of,
    find_condition,
    moment,
    name_of,
    status_of,
)
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject

AVAILABLE: Final = "Available"
PROGRESSING: Final = "Progressing"
REPLICA_FAILURE: Final = "ReplicaFailure"
CREATED_SET: Final = "NewReplicaSetCreated"
FOUND_SET: Final = "FoundNewReplicaSet"
UPDATED_SET: Final = "ReplicaSetUpdated"
COMPLETE: Final = "NewReplicaSetAvailable"
TIMED_OUT: Final = "ProgressDeadlineExceeded"
PAUSED: Final = "DeploymentPaused"
RESUMED: Final = "DeploymentResumed"
_NO_DEADLINE: Final = 2**31 - 1


def condition(kind: str, status: str, reason: str, message: str, *, now: datetime) -> JsonObject:
    """Return a condition that holds since now."""
    stamp = rfc3339(now)
    return {
        "type": kind,
        "status": status,
        "lastUpdateTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }


def with_condition(conditions: Sequence[JsonObject], new: JsonObject) -> list[JsonObject]:
    """Return the conditions with one set; one that says the same stays as it is."""
    before = find_condition(conditions, new["type"])
    if before is not None and before["status"] == new["status"]:
        if before.get("reason") == new["reason"]:
            return list(conditions)
        new = {**new, "lastTransitionTime": before["lastTransitionTime"]}
    return [*without_condition(conditions, new["type"]), new]


def without_condition(conditions: Sequence[JsonObject], kind: str) -> list[JsonObject]:
    """Return the conditions but those of a type."""
    return [item for item in conditions if item["type"] != kind]


def has_deadline(deployment: JsonObject) -> bool:
    """Whether progress is watched at all."""
    deadline = deployment["spec"].get("progressDeadlineSeconds")
    return deadline is not None and deadline != _NO_DEADLINE


def counted(
    deployment: JsonObject, new: JsonObject | None, old: Sequence[JsonObject], *, now: datetime
) -> JsonObject:
    """Return the status with fresh counts and Available; other conditions as before."""
    sets = [*old, *([new] if new else [])]
    before = status_of(deployment)
    wanted_by_sets = sum(map(replicas_of, sets))
    available = sum(map(available_of, sets))
    conditions = list(before.get("conditions") or ())
    if available >= replicas_of(deployment) - maximum_unavailable(deployment):
        reason, said, state = "MinimumReplicasAvailable", "has minimum availability.", "True"
    else:
        state, reason = "False", "MinimumReplicasUnavailable"
        said = "does not have minimum availability."
    conditions = with_condition(
        conditions, condition(AVAILABLE, state, reason, f"Deployment {said}", now=now)
    )
    counts = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": sum(map(actual_of, sets)),
        "updatedReplicas": actual_of(new) if new else 0,
        "readyReplicas": sum(int(status_of(item).get("readyReplicas") or 0) for item in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(wanted_by_sets - available, 0),
        "collisionCount": before.get("collisionCount"),
    }
    return {key: value for key, value in counts.items() if value} | {"conditions": conditions}


def is_complete(deployment: JsonObject, status: JsonObject) -> bool:
    """Whether every wanted pod is of the present template and available, and no other exists."""
    wanted = replicas_of(deployment)
    return bool(
        status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
        and status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    )


def _has_progressed(before: JsonObject, after: JsonObject) -> bool:
    def old_pods(status: JsonObject) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    return old_pods(after) < old_pods(before) or any(
        int(after.get(count, 0)) > int(before.get(count, 0))
        for count in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def _is_timed_out(deployment: JsonObject, *, now: datetime) -> bool:
    current = condition_of(deployment, PROGRESSING)
    if current is None or current.get("reason") == COMPLETE:
        return False
    if current.get("reason") == TIMED_OUT:
        return True
    deadline = timedelta(seconds=int(deployment["spec"]["progressDeadlineSeconds"]))
    return moment(current["lastUpdateTime"]) + deadline < now


def rolled(
    deployment: JsonObject, new: JsonObject | None, old: Sequence[JsonObject], *, now: datetime
) -> JsonObject:
    """Return the status in the course of a rollout, with Progressing and ReplicaFailure."""
    status = counted(deployment, new, old, now=now)
    conditions: list[JsonObject] = status["conditions"]
    current = condition_of(deployment, PROGRESSING)
    if not has_deadline(deployment):
        conditions = without_condition(conditions, PROGRESSING)
    elif not _was_complete(status, current):
        conditions = _with_progress(deployment, status, new, now=now)
    failure = _failure(new, old)
    if failure is None:
        conditions = without_condition(conditions, REPLICA_FAILURE)
    else:
        conditions = with_condition(conditions, failure)
    return status | {"conditions": conditions}


def _was_complete(status: JsonObject, current: JsonObject | None) -> bool:
    return (
        status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and current is not None
        and current.get("reason") == COMPLETE
    )


def _with_progress(
    deployment: JsonObject, status: JsonObject, new: JsonObject | None, *, now: datetime
) -> list[JsonObject]:
    conditions: list[JsonObject] = status["conditions"]
    who = f'ReplicaSet "{name_of(new)}"' if new else f'Deployment "{name_of(deployment)}"'
    if is_complete(deployment, status):
        text = f"{who} has successfully progressed."
        return with_condition(conditions, condition(PROGRESSING, "True", COMPLETE, text, now=now))
    if _has_progressed(status_of(deployment), status):
        fresh = condition(PROGRESSING, "True", UPDATED_SET, f"{who} is progressing.", now=now)
        current = condition_of(deployment, PROGRESSING)
        if current is not None and current["status"] == "True":
            fresh["lastTransitionTime"] = current["lastTransitionTime"]
        # Set even if it says the same: lastUpdateTime is what the deadline counts from.
        return [*without_condition(conditions, PROGRESSING), fresh]
    if _is_timed_out(deployment, now=now):
        text = f"{who} has timed out progressing."
        return with_condition(conditions, condition(PROGRESSING, "False", TIMED_OUT, text, now=now))
    return conditions


def _failure(new: JsonObject | None, old: Sequence[JsonObject]) -> JsonObject | None:
    for item in [*([new] if new else []), *old]:
        found = condition_of(item, REPLICA_FAILURE)
        if found is not None:
            stamp = found.get("lastTransitionTime")
            return {
                "type": REPLICA_FAILURE,
                "status": found["status"],
                "lastUpdateTime": stamp,
                "lastTransitionTime": stamp,
                "reason": found.get("reason", ""),
                "message": found.get("message", ""),
            }
    return None


def deadline_in(deployment: JsonObject, status: JsonObject, *, now: datetime) -> float | None:
    """Return the seconds after which a rollout that stands still must be called stuck."""
    current = find_condition(status.get("conditions") or (), PROGRESSING)
    if not has_deadline(deployment) or current is None:
        return None
    if is_complete(deployment, status) or current.get("reason") in {COMPLETE, TIMED_OUT}:
        return None
    deadline = timedelta(seconds=int(deployment["spec"]["progressDeadlineSeconds"]) + 1)
    left = moment(current["lastUpdateTime"]) + deadline - now
    return max(left.total_seconds(), 0.05)
