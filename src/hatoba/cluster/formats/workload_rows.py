"""Table cells of pods and of what makes pods: what `kubectl get` shows as READY, STATUS, TARGETS.

Spec: the columns of a Kubernetes 1.32 server; the status of a pod is the reason of the container
that holds it up, if there is one.
"""

from datetime import datetime
from typing import Any, Final

from hatoba.cluster.formats.durations import age, human_duration, parse_time
from hatoba.cluster.formats.rows import NONE, UNSET, Cells, age_of, name_of
from hatoba.kernel.json import JsonObject

_UNKNOWN: Final = "<unknown>"
_GATED: Final = "SchedulingGated"


def pod(obj: JsonObject, now: datetime) -> Cells:
    """A Pod."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    ready, reason, restarts, last = _pod_state(obj)
    total = len(spec.get("containers") or ()) + len(_sidecars(spec))
    shown = str(restarts)
    if restarts and last is not None:
        shown = f"{restarts} ({human_duration((now - last).total_seconds())} ago)"
    return [
        name_of(obj),
        f"{ready}/{total}",
        reason,
        shown,
        age_of(obj, now),
        status.get("podIP") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _gates(obj),
    ]


def pod_conditions(obj: JsonObject) -> list[JsonObject]:
    """Return the conditions of a pod's table row: only finished pods have one."""
    phase = obj.get("status", {}).get("phase")
    messages = {"Succeeded": "The pod has completed successfully.", "Failed": "The pod failed."}
    if phase not in messages:
        return []
    return [{"type": "Completed", "status": "True", "reason": phase, "message": messages[phase]}]


def _gates(obj: JsonObject) -> str:
    gates = obj.get("spec", {}).get("readinessGates")
    if not gates:
        return NONE
    met = sum(_condition(obj, gate["conditionType"]) for gate in gates)
    return f"{met}/{len(gates)}"


def _condition(obj: JsonObject, kind: str) -> bool:
    conditions = obj.get("status", {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def _sidecars(spec: JsonObject) -> set[str]:
    return {
        container["name"]
        for container in spec.get("initContainers") or ()
        if container.get("restartPolicy") == "Always"
    }


def _pod_state(obj: JsonObject) -> tuple[int, str, int, datetime | None]:
    """Return ready containers, the status word, restarts, and when the last one ended."""
    status = obj.get("status", {})
    reason = status.get("reason") or _gated(status) or status.get("phase") or ""
    inits = status.get("initContainerStatuses") or []
    sidecars = _sidecars(obj.get("spec", {}))
    held, ready = _initializing(obj, inits, sidecars)
    counted = list(inits)
    if held:
        reason = held
    if not held or _condition(obj, "Initialized"):
        containers = status.get("containerStatuses") or []
        counted = [c for c in inits if c["name"] in sidecars] + containers
        ready += sum(bool(c.get("ready") and "running" in c.get("state", {})) for c in containers)
        reason = _running_reason(obj, containers, reason)
    if obj["metadata"].get("deletionTimestamp") and status.get("phase") not in {
        "Succeeded",
        "Failed",
    }:
        reason = "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    restarts = sum(c.get("restartCount", 0) for c in counted)
    return ready, reason, restarts, _last_end(counted)


def _gated(status: JsonObject) -> str:
    conditions = status.get("conditions") or ()
    held = any(c["type"] == "PodScheduled" and c.get("reason") == _GATED for c in conditions)
    return _GATED if held else ""


def _initializing(obj: JsonObject, inits: list[JsonObject], sidecars: set[str]) -> tuple[str, int]:
    """Return what init containers wait for ("" when they are done), and ready sidecars."""
    ready = 0
    for index, container in enumerate(inits):
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if container["name"] in sidecars and container.get("started"):
            ready += bool(container.get("ready"))
            continue
        if ended is not None:
            return f"Init:{_ended_reason(ended)}", ready
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}", ready
        return f"Init:{index}/{len(obj['spec'].get('initContainers') or ())}", ready
    return "", ready


def _ended_reason(ended: JsonObject) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _running_reason(obj: JsonObject, containers: list[JsonObject], reason: str) -> str:
    running = False
    for container in reversed(containers):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = _ended_reason(ended)
        elif container.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running" if _condition(obj, "Ready") else "NotReady"
    return reason


def _last_end(containers: list[JsonObject]) -> datetime | None:
    ends = [
        parse_time(ended["finishedAt"])
        for container in containers
        if (ended := (container.get("lastState") or {}).get("terminated"))
        and ended.get("finishedAt")
    ]
    return max(ends, default=None)


def _containers(template: JsonObject) -> tuple[str, str]:
    found = template.get("spec", {}).get("containers") or ()
    return ",".join(c["name"] for c in found), ",".join(c.get("image", "") for c in found)


def selector_text(selector: JsonObject | None) -> str:
    """Return a label selector object as people write it."""
    if not selector:
        return NONE
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or ():
        values = ",".join(sorted(one.get("values") or ()))
        parts.append(
            {
                "In": f"{one['key']} in ({values})",
                "NotIn": f"{one['key']} notin ({values})",
                "Exists": one["key"],
                "DoesNotExist": f"!{one['key']}",
            }[one["operator"]]
        )
    return ",".join(sorted(parts)) or NONE


def deployment(obj: JsonObject, now: datetime) -> Cells:
    """A Deployment."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        name_of(obj),
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 1)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        age_of(obj, now),
        *_containers(spec.get("template", {})),
        selector_text(spec.get("selector")),
    ]


def replica_set(obj: JsonObject, now: datetime) -> Cells:
    """A ReplicaSet."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    return [
        name_of(obj),
        spec.get("replicas", 1),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        age_of(obj, now),
        *_containers(spec.get("template", {})),
        selector_text(spec.get("selector")),
    ]


def job(obj: JsonObject, now: datetime) -> Cells:
    """A Job."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    succeeded = status.get("succeeded", 0)
    if spec.get("completions") is not None:
        completions = f"{succeeded}/{spec['completions']}"
    elif (spec.get("parallelism") or 0) > 1:
        completions = f"{succeeded}/1 of {spec['parallelism']}"
    else:
        completions = f"{succeeded}/1"
    return [
        name_of(obj),
        _job_state(obj),
        completions,
        _job_duration(status, now),
        age_of(obj, now),
        *_containers(spec.get("template", {})),
        selector_text(spec.get("selector")),
    ]


def _job_state(obj: JsonObject) -> str:
    for kind in ("Complete", "Failed"):
        if _condition(obj, kind):
            return kind
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if _condition(obj, kind):
            return kind
    return "Running"


def _job_duration(status: JsonObject, now: datetime) -> str:
    if not status.get("startTime"):
        return ""
    end = parse_time(status["completionTime"]) if status.get("completionTime") else now
    return age(status["startTime"], end)


def autoscaler(obj: JsonObject, now: datetime) -> Cells:
    """A HorizontalPodAutoscaler of autoscaling/v2 or v1."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    target = spec.get("scaleTargetRef", {})
    least = spec.get("minReplicas")
    return [
        name_of(obj),
        f"{target.get('kind')}/{target.get('name')}",
        _targets(spec, status),
        UNSET if least is None else str(least),
        spec.get("maxReplicas"),
        status.get("currentReplicas", 0),
        age_of(obj, now),
    ]


def _targets(spec: JsonObject, status: JsonObject) -> str:
    wanted = spec.get("targetCPUUtilizationPercentage")
    if wanted is not None:
        current = status.get("currentCPUUtilizationPercentage")
        return f"cpu: {_UNKNOWN if current is None else f'{current}%'}/{wanted}%"
    specs = spec.get("metrics") or []
    if not specs:
        return NONE
    currents = status.get("currentMetrics") or []
    shown = [
        _target(metric, currents[i] if i < len(currents) else {}) for i, metric in enumerate(specs)
    ]
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text


def _target(metric: JsonObject, current: JsonObject) -> str:
    kind = metric["type"][0].lower() + metric["type"][1:]
    source: JsonObject = metric.get(kind, {})
    target: JsonObject = source.get("target", {})
    found: JsonObject = (current or {}).get(kind, {}).get("current", {})
    if kind in {"resource", "containerResource"}:
        if "averageValue" in target:
            return (
                f"{source['name']}: {found.get('averageValue', _UNKNOWN)}/{target['averageValue']}"
            )
        return (
            f"{source['name']}: {_percent(found.get('averageUtilization'), _UNKNOWN)}"
            f"/{_percent(target.get('averageUtilization'), '<auto>')}"
        )
    if "averageValue" in target:
        suffix = "" if kind == "pods" else " (avg)"
        return f"{found.get('averageValue', _UNKNOWN)}/{target['averageValue']}{suffix}"
    return f"{found.get('value', _UNKNOWN)}/{target.get('value', _UNKNOWN)}"


def _percent(value: Any, otherwise: str) -> str:
    return otherwise if value is None else f"{value}%"
