"""What a Job's pods mean for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from hatoba.cluster.controllers.pods import (
    FAILED,
    SUCCEEDED,
    is_finished,
    is_ready,
    phase_of,
    restarts_of,
)
from hatoba.cluster.controllers.values import (
    finalizers_of,
    find_condition,
    is_deleting,
    moment,
    spec_of,
    status_of,
    uid_of,
)
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject

TRACKING: Final = "batch.kubernetes.io/job-tracking"
COMPLETE: Final = "Complete"
FAILED_JOB: Final = "Failed"
SUSPENDED: Final = "Suspended"
SUCCESS_CRITERIA: Final = "SuccessCriteriaMet"
FAILURE_TARGET: Final = "FailureTarget"
LONGEST_BACKOFF: Final = 600.0


@dataclass(slots=True, frozen=True)
class End:
    """Why a Job is over."""

    is_success: bool
    reason: str
    message: str


REACHED: Final = End(True, "CompletionsReached", "Reached expected number of succeeded pods")
BACKOFF_EXCEEDED: Final = End(
    False, "BackoffLimitExceeded", "Job has reached the specified backoff limit"
)
DEADLINE_EXCEEDED: Final = End(
    False, "DeadlineExceeded", "Job was active longer than specified deadline"
)


@dataclass(slots=True, kw_only=True)
class Tally:
    """The Job's pods by what they are now."""

    active: list[JsonObject] = field(default_factory=list)
    terminating: list[JsonObject] = field(default_factory=list)
    succeeded: list[JsonObject] = field(default_factory=list)
    """Succeeded and not counted before."""
    failed: list[JsonObject] = field(default_factory=list)
    """Failed, or deleted before their end, and not counted before."""


def tally(job: JsonObject, pods: Sequence[JsonObject]) -> Tally:
    """Sort the Job's pods."""
    result = Tally()
    known = status_of(job).get("uncountedTerminatedPods") or {}
    noted = {*(known.get("succeeded") or ()), *(known.get("failed") or ())}
    for pod in pods:
        ended = is_finished(pod)
        if is_deleting(pod) and not ended:
            result.terminating.append(pod)
        if not ended and not is_deleting(pod):
            result.active.append(pod)
        elif TRACKING in finalizers_of(pod) and uid_of(pod) not in noted:
            (result.succeeded if phase_of(pod) == SUCCEEDED else result.failed).append(pod)
    return result


def end_of(job: JsonObject) -> JsonObject | None:
    """Return the condition that says that the Job is over."""
    for condition in status_of(job).get("conditions") or ():
        if condition["type"] in {COMPLETE, FAILED_JOB} and condition["status"] == "True":
            return dict(condition)
    return None


def is_suspended(job: JsonObject) -> bool:
    """Whether the Job should have no pods for now."""
    return bool(spec_of(job).get("suspend"))


def counts(job: JsonObject, result: Tally) -> tuple[int, int]:
    """Return how many pods have succeeded and failed so far, counted or not."""
    status = status_of(job)
    noted = status.get("uncountedTerminatedPods") or {}
    succeeded = int(status.get("succeeded") or 0) + len(noted.get("succeeded") or ())
    failed = int(status.get("failed") or 0) + len(noted.get("failed") or ())
    return succeeded + len(result.succeeded), failed + len(result.failed)


def verdict(job: JsonObject, result: Tally, *, now: datetime) -> End | None:
    """Return why the Job should end now, None when it should go on."""
    target = _target(job)
    if target is not None:
        return target
    spec = spec_of(job)
    succeeded, failed = counts(job, result)
    limit = int(spec.get("backoffLimit", 6))
    if failed > limit or _restarted_too_often(job, result.active, limit=limit):
        return BACKOFF_EXCEEDED
    remaining = deadline_in(job, now=now)
    if remaining is not None and remaining <= 0:
        return DEADLINE_EXCEEDED
    completions = spec.get("completions")
    if completions is None:
        # A work queue: the first success says that there is no work left.
        return REACHED if succeeded > 0 and not result.active else None
    return REACHED if succeeded >= int(completions) else None


def _target(job: JsonObject) -> End | None:
    conditions = status_of(job).get("conditions") or ()
    for kind, is_success in ((SUCCESS_CRITERIA, True), (FAILURE_TARGET, False)):
        condition = find_condition(conditions, kind)
        if condition is not None and condition["status"] == "True":
            return End(is_success, condition["reason"], condition["message"])
    return None


def _restarted_too_often(job: JsonObject, pods: Sequence[JsonObject], *, limit: int) -> bool:
    template = spec_of(job)["template"].get("spec") or {}
    if template.get("restartPolicy") != "OnFailure":
        return False
    restarts = sum(map(restarts_of, pods))
    return restarts > 0 if limit == 0 else restarts >= limit


def deadline_in(job: JsonObject, *, now: datetime) -> float | None:
    """Return the seconds until activeDeadlineSeconds are over; None without such a limit."""
    seconds, started = spec_of(job).get("activeDeadlineSeconds"), status_of(job).get("startTime")
    if seconds is None or not started or is_suspended(job):
        return None
    return (moment(started) + timedelta(seconds=int(seconds)) - now).total_seconds()


def expires_in(job: JsonObject, *, now: datetime) -> float | None:
    """Return the seconds until a finished Job is to be deleted; None without such a wish."""
    seconds, condition = spec_of(job).get("ttlSecondsAfterFinished"), end_of(job)
    if seconds is None or condition is None:
        return None
    ended = moment(condition["lastTransitionTime"])
    return (ended + timedelta(seconds=int(seconds)) - now).total_seconds()


def wanted_active(job: JsonObject, result: Tally) -> int:
    """Return how many pods should run now."""
    if is_suspended(job):
        return 0
    spec = spec_of(job)
    parallelism = int(spec.get("parallelism", 1))
    succeeded, _ = counts(job, result)
    completions = spec.get("completions")
    if completions is None:
        return len(result.active) if succeeded else parallelism
    return min(parallelism, max(int(completions) - succeeded, 0))


def backoff_in(pods: Sequence[JsonObject], *, base: float, now: datetime) -> float:
    """Return the seconds to wait after failures before another pod is created."""
    failures = [pod for pod in pods if phase_of(pod) == FAILED]
    last_success = max((_ended_at(pod) for pod in pods if phase_of(pod) == SUCCEEDED), default=None)
    recent = [at for at in map(_ended_at, failures) if last_success is None or at > last_success]
    if not recent:
        return 0.0
    pause = min(base * 2 ** (len(recent) - 1), LONGEST_BACKOFF)
    return max((max(recent) + timedelta(seconds=pause) - now).total_seconds(), 0.0)


def _ended_at(pod: JsonObject) -> datetime:
    times = [
        moment(state["finishedAt"])
        for container in status_of(pod).get("containerStatuses") or ()
        if (state := (container.get("state") or {}).get("terminated")) and state.get("finishedAt")
    ]
    return max(times, default=moment(pod["metadata"]["creationTimestamp"]))


def condition(kind: str, status: str, reason: str, message: str, *, now: datetime) -> JsonObject:
    """Return a condition that holds since now."""
    stamp = rfc3339(now)
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": stamp,
        "lastTransitionTime": stamp,
        "reason": reason,
        "message": message,
    }


def put(conditions: list[JsonObject], new: JsonObject) -> None:
    """Set a condition in place, keeping one that says the same."""
    for index, present in enumerate(conditions):
        if present["type"] == new["type"]:
            if (present["status"], present["reason"]) != (new["status"], new["reason"]):
                conditions[index] = new
            return
    conditions.append(new)


def report(
    job: JsonObject,
    pods: Sequence[JsonObject],
    result: Tally,
    conditions: list[JsonObject],
    *,
    start: str | None,
) -> JsonObject:
    """Return the status: counts as they are now, `uncounted` with what still waits."""
    status = status_of(job)
    noted = status.get("uncountedTerminatedPods") or {}
    uncounted = {
        "succeeded": [*(noted.get("succeeded") or ()), *map(uid_of, result.succeeded)],
        "failed": [*(noted.get("failed") or ()), *map(uid_of, result.failed)],
    }
    totals = {"succeeded": status.get("succeeded") or 0, "failed": status.get("failed") or 0}
    tracked = {uid_of(pod) for pod in pods if TRACKING in finalizers_of(pod)}
    for kind, uids in uncounted.items():
        settled = [uid for uid in uids if uid not in tracked]
        totals[kind] += len(settled)
        uncounted[kind] = [uid for uid in uids if uid in tracked]
    counted = {"active": len(result.active), **totals}
    written: JsonObject = {name: count for name, count in counted.items() if count}
    written |= {
        "terminating": len(result.terminating),
        "ready": sum(map(is_ready, result.active)),
        "uncountedTerminatedPods": {kind: uids for kind, uids in uncounted.items() if uids},
    }
    if conditions:
        written["conditions"] = conditions
    if start:
        written["startTime"] = start
    return written


def is_settled(status: JsonObject) -> bool:
    """Whether nothing runs any more and everything is counted."""
    return not (
        status.get("uncountedTerminatedPods") or status.get("active") or status.get("terminating")
    )
