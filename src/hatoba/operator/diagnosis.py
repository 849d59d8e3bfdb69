"""Find out why a workload does not come up, from what Kubernetes says about its parts. Pure.

The most telling cause wins: a volume that is not there before the pod that waits for it, a pod
that cannot start before one that merely is not ready. What changes with each attempt (counters,
back-off times, time stamps) is left out, so that the same trouble always reads the same.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.model import Owned

LONGEST_QUOTE: Final = 240
"""How many characters of somebody else's message are repeated."""
CRASHES: Final = 2
"""So many restarts after a failure are no accident any more."""

_PULLING: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImageNeverPull",
        "InvalidImageName",
        "ImageInspectError",
        "RegistryUnavailable",
    }
)
_CREATING: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)
CLAIM_REASONS: Final = ("ProvisioningFailed", "FailedBinding")
_MOUNT_REASONS: Final = ("FailedMount", "FailedAttachVolume")
_TIMES: Final = re.compile(
    r"^[\[(]?\d{4}-\d\d-\d\d[T ][\d:.,]+(Z|[+-]\d\d:?\d\d| [A-Z]{3,4})?[\])]?\s*"
)


@dataclass(slots=True, frozen=True, kw_only=True)
class Finding:
    """One cause, and what to do about it."""

    fact: str
    """Names the object."""
    step: str
    rank: int = 0
    """The lower, the more it explains."""


def condition_of(obj: JsonObject, kind: str) -> JsonObject | None:
    """Return the status condition of that type."""
    conditions = obj.get("status", {}).get("conditions") or []
    return next((found for found in conditions if found.get("type") == kind), None)


def of_workload(owned: Owned, obj: JsonObject) -> Finding | None:
    """Say why the pods of a Deployment or Job do not work; None when nothing tells."""
    refused = condition_of(obj, "ReplicaFailure")
    if refused is not None and refused.get("status") == "True":
        return Finding(
            fact=f"the cluster refuses pods of {obj['kind']} {obj['metadata']['name']} "
            f"({quoted(refused.get('message', ''))})",
            step="raise the quota or change the policy that it names",
        )
    pods = pods_of(owned, obj)
    for claim in _claims(obj):
        if found := of_claim(owned, claim, waiting=bool(pods)):
            return found
    progressing = condition_of(obj, "Progressing") or {}
    is_overdue = progressing.get("status") == "False"
    causes = [found for pod in pods for found in _of_pod(owned, pod, is_overdue=is_overdue)]
    return min(causes, key=lambda found: found.rank, default=None)


def of_claim(owned: Owned, name: str, *, waiting: bool = True) -> Finding | None:
    """Say why a claim has no volume; None when it has one, or will get one with its first pod."""
    claim = owned.get("PersistentVolumeClaim", name)
    if claim is None or claim.get("status", {}).get("phase") != "Pending":
        return None
    told = owned.told_about("PersistentVolumeClaim", name, CLAIM_REASONS)
    if not told and not waiting:
        return None
    wanted = claim.get("spec", {})
    named = wanted.get("storageClassName")
    storage_class = f"StorageClass {named}" if named else "a default StorageClass"
    modes = ", ".join(wanted.get("accessModes") or [])
    cause = f" ({quoted(told)})" if told else ""
    step = f"see that {storage_class} exists and provisions {modes} volumes"
    if modes == "ReadWriteMany":
        step += f", or set the annotation {names.ACCESS_MODE_ANNOTATION}: ReadWriteOnce"
    return Finding(fact=f"PersistentVolumeClaim {name} is pending{cause}", step=step)


def pods_of(owned: Owned, obj: JsonObject) -> list[JsonObject]:
    """Return the pods of a workload that are not on their way out, newest first."""
    spec = obj.get("spec", {})
    labels = (spec.get("selector") or {}).get("matchLabels") or (
        spec.get("template", {}).get("metadata", {}).get("labels") or {}
    )
    return [pod for pod in owned.pods(labels) if not pod["metadata"].get("deletionTimestamp")]


def is_crashing(pod: JsonObject) -> bool:
    """Tell whether a container fails again and again, also while it has its next try."""
    return any(
        container.get("restartCount", 0) >= CRASHES and _last_failure(container) is not None
        for container in _containers(pod)
    )


def _claims(obj: JsonObject) -> list[str]:
    volumes = obj.get("spec", {}).get("template", {}).get("spec", {}).get("volumes") or []
    return [
        str(volume["persistentVolumeClaim"]["claimName"])
        for volume in volumes
        if "persistentVolumeClaim" in volume
    ]


def _containers(pod: JsonObject) -> list[JsonObject]:
    status = pod.get("status", {})
    return [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]


def _of_pod(owned: Owned, pod: JsonObject, *, is_overdue: bool) -> Iterable[Finding]:
    name, status = pod["metadata"]["name"], pod.get("status", {})
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "Unschedulable":
        yield Finding(
            rank=1,
            fact=f"Pod {name} fits on no node ({quoted(scheduled.get('message', ''))})",
            step="make room, add a node, or ask for less in the component's resources",
        )
    for container in _containers(pod):
        yield from _of_container(pod, container)
    mounting = owned.told_about("Pod", name, _MOUNT_REASONS)
    if mounting and _waits(pod, {"ContainerCreating", "PodInitializing"}):
        yield Finding(
            rank=4,
            fact=f"Pod {name} cannot mount a volume ({quoted(mounting)})",
            step="create or repair the object that the message names",
        )
    unready = owned.told_about("Pod", name, ("Unhealthy",))
    if unready and _runs_unready(pod, is_overdue=is_overdue):
        yield Finding(
            rank=6,
            fact=f"Pod {name} runs but is not ready ({quoted(unready)})",
            step=f"read its log with {_logs(pod)}",
        )
    if status.get("reason") == "Evicted":
        yield Finding(
            rank=7,
            fact=f"Pod {name} was evicted ({quoted(status.get('message', ''))})",
            step="free what its node ran out of",
        )


def _of_container(pod: JsonObject, container: JsonObject) -> Iterable[Finding]:
    name = pod["metadata"]["name"]
    waiting = container.get("state", {}).get("waiting") or {}
    reason = waiting.get("reason", "")
    if reason in _PULLING:
        image = container.get("image") or _image(pod, container["name"])
        yield Finding(
            rank=2,
            fact=f"Pod {name} cannot get its image {image} ({_pull(reason)})",
            step="push the image, correct the operator's RELATED_IMAGE_COMPONENT_*, or give the "
            "pod's service account a pull secret",
        )
    elif reason in _CREATING:
        yield Finding(
            rank=3,
            fact=f"container {container['name']} of Pod {name} cannot be created "
            f"({quoted(waiting.get('message', reason))})",
            step="create or correct what the message names",
        )
    elif reason == "CrashLoopBackOff" or container.get("restartCount", 0) >= CRASHES:
        ended = _last_failure(container)
        if ended is not None:
            yield _crash(pod, container, ended)


def _pull(reason: str) -> str:
    """Say why, in words that stay the same while the kubelet tries and backs off in turn."""
    if reason == "InvalidImageName":
        return "that is no valid image name"
    return "the node was refused it, or cannot reach its registry"


def _crash(pod: JsonObject, container: JsonObject, ended: JsonObject) -> Finding:
    name, part = pod["metadata"]["name"], container["name"]
    if ended.get("reason") == "OOMKilled":
        return Finding(
            rank=5,
            fact=f"container {part} of Pod {name} is killed again and again for using more "
            "memory than its limit",
            step="raise the component's memory limit",
        )
    words = last_words(ended.get("message", ""))
    return Finding(
        rank=5,
        fact=f"container {part} of Pod {name} ends with exit code {ended.get('exitCode', '?')} "
        f"again and again{f' ({words})' if words else ''}",
        step=f"read its log with {_logs(pod, container=part, previous=True)}",
    )


def _last_failure(container: JsonObject) -> JsonObject | None:
    """Return how a container ended last, None when it has not failed."""
    for place in ("state", "lastState"):
        ended: JsonObject = container.get(place, {}).get("terminated") or {}
        if ended.get("exitCode"):
            return ended
    return None


def _waits(pod: JsonObject, reasons: set[str]) -> bool:
    return any(
        (container.get("state", {}).get("waiting") or {}).get("reason") in reasons
        for container in _containers(pod)
    )


def _runs_unready(pod: JsonObject, *, is_overdue: bool) -> bool:
    """Tell whether a container was well once, and is not now, or has had all its time.

    Starting up is no illness: each database fails its first probes. A pod was ready when it became
    unready after its container had started.
    """
    unready_since = str((condition_of(pod, "Ready") or {}).get("lastTransitionTime", ""))
    return any(
        running is not None
        and container.get("started")
        and not container.get("ready")
        and (is_overdue or unready_since > str(running.get("startedAt", "")))
        for container in pod.get("status", {}).get("containerStatuses") or []
        for running in [container.get("state", {}).get("running")]
    )


def _image(pod: JsonObject, container: str) -> str:
    specs: Sequence[JsonObject] = pod.get("spec", {}).get("containers") or []
    return next((str(spec["image"]) for spec in specs if spec["name"] == container), "")


def _logs(pod: JsonObject, *, container: str = "", previous: bool = False) -> str:
    metadata = pod["metadata"]
    choice = f" -c {container}" if container else ""
    return (
        f"kubectl -n {metadata.get('namespace', '')} logs {metadata['name']}{choice}"
        f"{' --previous' if previous else ''}"
    )


def last_words(message: str) -> str:
    """Return the last line that a program said, without its time."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return ""
    try:
        said = json.loads(lines[-1])
    except ValueError:
        return quoted(_TIMES.sub("", lines[-1]))
    if not isinstance(said, dict):
        return quoted(lines[-1])
    parts = [str(said[key]) for key in ("event", "message", "error") if said.get(key)]
    return quoted(": ".join(parts) or lines[-1])


def quoted(text: str) -> str:
    """Return somebody else's words as part of a sentence of ours."""
    flat = " ".join(text.split()).rstrip(".")
    return flat if len(flat) <= LONGEST_QUOTE else flat[: LONGEST_QUOTE - 1] + "…"
