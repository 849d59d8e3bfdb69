"""What the API shows of a pod, from what its containers do. Pure.

Kubernetes API: PodStatus; the phases and reasons are those of the kubelet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from hatoba.kernel.json import JsonObject

_OWN_CONDITIONS: Final = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
)
Phase = Literal["Pending", "Running", "Succeeded", "Failed"]


@dataclass(slots=True, frozen=True, kw_only=True)
class Waiting:
    """Not running, and why."""

    reason: str
    message: str = ""

    def state(self) -> JsonObject:
        """Return the ContainerState."""
        return {"waiting": _filled({"reason": self.reason, "message": self.message})}


@dataclass(slots=True, frozen=True, kw_only=True)
class Running:
    """Running since."""

    started_at: str

    def state(self) -> JsonObject:
        """Return the ContainerState."""
        return {"running": {"startedAt": self.started_at}}


@dataclass(slots=True, frozen=True, kw_only=True)
class Terminated:
    """Ended, and how."""

    exit_code: int
    reason: str
    started_at: str
    finished_at: str
    container_id: str
    signal: int = 0
    message: str = ""

    def state(self) -> JsonObject:
        """Return the ContainerState."""
        detail: JsonObject = {"exitCode": self.exit_code}
        detail |= _filled({"reason": self.reason, "message": self.message})
        detail |= {"startedAt": self.started_at, "finishedAt": self.finished_at}
        return {"terminated": detail | _filled({"containerID": self.container_id})}


State = Waiting | Running | Terminated


@dataclass(slots=True, frozen=True, kw_only=True)
class ContainerView:
    """One container as it is now."""

    name: str
    state: State
    last: Terminated | None = None
    is_ready: bool = False
    has_started: bool = False
    restarts: int = 0
    container_id: str = ""
    image_id: str = ""

    @property
    def has_succeeded(self) -> bool:
        """Whether it ended with code 0."""
        return isinstance(self.state, Terminated) and self.state.exit_code == 0


@dataclass(slots=True, frozen=True, kw_only=True)
class PodView:
    """The pod as the node sees it."""

    pod: JsonObject
    inits: Sequence[ContainerView]
    containers: Sequence[ContainerView]
    host_ip: str
    pod_ip: str
    start_time: str
    is_sandbox_ready: bool
    is_stopped: bool = False
    """Told to end: nothing will be restarted."""
    reason: str = ""
    message: str = ""


def is_sidecar(container: JsonObject) -> bool:
    """Tell whether an init container is one that keeps running beside the others."""
    return container.get("restartPolicy") == "Always"


def phase_of(view: PodView) -> Phase:
    """Return the phase that follows from the containers."""
    is_running = any(isinstance(one.state, Running) for one in (*view.inits, *view.containers))
    if view.reason:
        # Told to end from outside; over when nothing of it runs any more.
        return "Running" if is_running else "Failed"
    policy = view.pod["spec"].get("restartPolicy", "Always")
    return _init_phase(view, policy) or _main_phase(view, policy)


def _main_phase(view: PodView, policy: str) -> Phase:
    if any(isinstance(one.state, Running) for one in (*view.inits, *view.containers)):
        waits = any(isinstance(one.state, Waiting) and not one.last for one in view.containers)
        return "Pending" if waits else "Running"
    ended = [one for one in view.containers if isinstance(one.state, Terminated)]
    if len(ended) == len(view.containers) and ended and (view.is_stopped or policy != "Always"):
        if all(one.has_succeeded for one in ended):
            return "Succeeded"
        if policy == "Never" or view.is_stopped:
            return "Failed"
        return "Running"
    if any(isinstance(one.state, Waiting) and one.last is None for one in view.containers):
        return "Pending"
    return "Running"


def _init_phase(view: PodView, policy: str) -> Phase | None:
    specs = {one["name"]: one for one in view.pod["spec"].get("initContainers") or ()}
    for one in view.inits:
        if is_sidecar(specs[one.name]):
            if not one.has_started and not isinstance(one.state, Terminated):
                return "Pending"
            continue
        if one.has_succeeded:
            continue
        is_over = isinstance(one.state, Terminated) and (policy == "Never" or view.is_stopped)
        return "Failed" if is_over else "Pending"
    return None


def build_status(view: PodView, *, now: str) -> JsonObject:
    """Return the whole status; times of conditions that did not change are kept."""
    before = view.pod.get("status") or {}
    phase = phase_of(view)
    status: JsonObject = {"phase": phase}
    status["conditions"] = _conditions(view, phase, before.get("conditions") or (), now)
    status |= _filled({"message": view.message, "reason": view.reason, "hostIP": view.host_ip})
    if view.host_ip:
        status["hostIPs"] = [{"ip": view.host_ip}]
    if view.pod_ip:
        status |= {"podIP": view.pod_ip, "podIPs": [{"ip": view.pod_ip}]}
    status["startTime"] = view.start_time
    specs = view.pod["spec"]
    if view.inits:
        status["initContainerStatuses"] = [
            _container(one, spec)
            for one, spec in zip(view.inits, specs["initContainers"], strict=True)
        ]
    status["containerStatuses"] = [
        _container(one, spec)
        for one, spec in zip(view.containers, specs["containers"], strict=True)
    ]
    status["qosClass"] = before.get("qosClass") or quality_of(specs)
    return status


def _container(view: ContainerView, spec: JsonObject) -> JsonObject:
    status: JsonObject = {
        "name": view.name,
        "state": view.state.state(),
        "lastState": view.last.state() if view.last else {},
        "ready": view.is_ready,
        "restartCount": view.restarts,
        "image": spec["image"],
        "imageID": view.image_id,
    }
    status |= _filled({"containerID": view.container_id})
    status["started"] = view.has_started
    mounts = [_mount(mount) for mount in spec.get("volumeMounts") or ()]
    if mounts:
        status["volumeMounts"] = mounts
    return status


def _mount(mount: JsonObject) -> JsonObject:
    shown: JsonObject = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        shown |= {"readOnly": True, "recursiveReadOnly": "Disabled"}
    return shown


def _conditions(
    view: PodView, phase: Phase, before: Sequence[JsonObject], now: str
) -> list[JsonObject]:
    former = {condition["type"]: condition for condition in before}
    is_over = phase in {"Succeeded", "Failed"}
    ready = {"Succeeded": ("PodCompleted", ""), "Failed": ("PodFailed", "")}.get(phase)
    found = {
        "PodReadyToStartContainers": (view.is_sandbox_ready and not is_over, "", ""),
        "Initialized": _initialized(view, phase),
        "Ready": _readiness(view, ready),
        "ContainersReady": _readiness(view, ready),
    }
    conditions = [
        _condition(kind, found[kind], former=former.get(kind), now=now) for kind in _OWN_CONDITIONS
    ]
    others = [condition for condition in before if condition["type"] not in _OWN_CONDITIONS]
    if "PodScheduled" not in former:
        # No scheduler had a say: the pod named its node itself.
        others.append(_condition("PodScheduled", (True, "", ""), former=None, now=now))
    return conditions + others


def _condition(
    kind: str, verdict: tuple[bool, str, str], *, former: JsonObject | None, now: str
) -> JsonObject:
    is_true, reason, message = verdict
    text = "True" if is_true else "False"
    since = former["lastTransitionTime"] if former and former["status"] == text else now
    condition: JsonObject = {
        "type": kind,
        "status": text,
        "lastProbeTime": None,
        "lastTransitionTime": since,
    }
    return condition | _filled({"reason": reason, "message": message})


def _initialized(view: PodView, phase: Phase) -> tuple[bool, str, str]:
    specs = {one["name"]: one for one in view.pod["spec"].get("initContainers") or ()}
    open_ones = [
        one.name
        for one in view.inits
        if not (one.has_started if is_sidecar(specs[one.name]) else one.has_succeeded)
        and not (is_sidecar(specs[one.name]) and isinstance(one.state, Terminated))
    ]
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if open_ones:
        names = " ".join(open_ones)
        return False, "ContainersNotInitialized", f"containers with incomplete status: [{names}]"
    return True, "", ""


def _readiness(view: PodView, over: tuple[str, str] | None) -> tuple[bool, str, str]:
    if over is not None:
        return False, *over
    unready = [one.name for one in view.containers if not one.is_ready]
    if unready:
        names = " ".join(unready)
        return False, "ContainersNotReady", f"containers with unready status: [{names}]"
    return True, "", ""


def quality_of(spec: JsonObject) -> str:
    """Return the quality of service class that follows from requests and limits."""
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    given = [one.get("resources") or {} for one in containers]
    if not any(resources.get("requests") or resources.get("limits") for resources in given):
        return "BestEffort"
    for resources in given:
        limits: Mapping[str, str] = resources.get("limits") or {}
        requests: Mapping[str, str] = resources.get("requests") or limits
        if not {"cpu", "memory"} <= limits.keys() or any(
            requests.get(name, limits[name]) != limits[name] for name in ("cpu", "memory")
        ):
            return "Burstable"
    return "Guaranteed"


def backoff_text(seconds: float) -> str:
    """Return a duration as messages show it: 10s, 1m20s, 5m0s."""
    whole = int(seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def _filled(values: JsonObject) -> JsonObject:
    return {key: value for key, value in values.items() if value}
