"""Put the operator and a QuayRegistry into a cluster and show how it goes.

The second half of `hatoba up`. It does what a person could do with `kubectl apply --server-side`
and `kubectl get -w`, through the kubeconfig alone: it knows nothing of the embedded cluster.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml
from lightkube import ApiError, Client, KubeConfig
from lightkube.resources.core_v1 import Pod
from rich.console import Console

from hatoba.cli.applying import (
    POLL_SECONDS,
    DeploymentFailed,
    QuayRegistry,
    apply,
    in_order,
    plain,
)
from hatoba.cli.installing import suitable_overlay, wait_available
from hatoba.cli.manifests import OPERATOR_NAMESPACE, Wanted, operator_documents
from hatoba.cli.progress import Progress, summary
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject

FIELD_MANAGER: Final = "hatoba-up"
BLOCKED_PATIENCE_SECONDS: Final = 20.0
"""How long a blocked rollout may last before it is called a failure: objects settle in seconds."""
LOG_LINES: Final = 15
BRIEF_LINES: Final = 5
FAILED_RESTARTS: Final = 2
_FAILURES: Final = {
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "RunContainerError",
}


@dataclass(slots=True, frozen=True, kw_only=True)
class Target:
    """The QuayRegistry to wait for."""

    namespace: str
    name: str


def deploy(
    kubeconfig: Path,
    *,
    registry_file: Path | None,
    console: Console,
    timeout_seconds: float = 300.0,
) -> None:
    """Apply the operator, then the registry's file, and return when the registry is available.

    Idempotent: applying the same files again changes nothing, and says so.

    Raises:
        DeploymentFailed: with the last log lines of the pod concerned.
    """
    client = Client(KubeConfig.from_file(kubeconfig), field_manager=FIELD_MANAGER)
    documents = _documents(registry_file) if registry_file is not None else []
    target = _target(documents) if registry_file is not None else None
    with console.status("installing the operator"):
        wanted = Wanted(overlay=suitable_overlay(client))
        changes = _changes(client, operator_documents(wanted))
    console.print("operator  installed" if changes else "operator  is installed already")
    if target is None:
        _wait_for_operator(client, timeout_seconds=timeout_seconds)
        console.print("operator  ready")
        return
    changes += _changes(client, documents)
    registry = _registry(client, target)
    if not changes and _is_available(registry):
        console.print("registry  is available already, nothing was changed")
    else:
        registry = _wait_for_registry(client, target, console, timeout_seconds=timeout_seconds)
    text = summary(registry, kubeconfig=kubeconfig, target=(target.namespace, target.name))
    # Lines that people copy must not be broken.
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def _changes(client: Client, documents: Sequence[JsonObject]) -> int:
    return sum(apply(client, document) != "unchanged" for document in in_order(documents))


def _wait_for_operator(client: Client, *, timeout_seconds: float) -> None:
    try:
        wait_available(client, OPERATOR_NAMESPACE, timeout_seconds=timeout_seconds)
    except DeploymentFailed as failed:
        failed.details = _troubles(client, OPERATOR_NAMESPACE)
        raise


def _documents(file: Path) -> list[JsonObject]:
    return in_order([document for document in yaml.safe_load_all(file.read_text()) if document])


def _target(documents: Sequence[JsonObject]) -> Target:
    for document in documents:
        if document["kind"] == "QuayRegistry":
            meta = document["metadata"]
            return Target(namespace=meta.get("namespace", "default"), name=meta["name"])
    raise DeploymentFailed("the file holds no QuayRegistry")


def _wait_for_registry(
    client: Client, target: Target, console: Console, *, timeout_seconds: float
) -> JsonObject:
    deadline = time.monotonic() + timeout_seconds
    blocked_since: float | None = None
    with Progress(console) as progress:
        while time.monotonic() < deadline:
            registry = _registry(client, target)
            progress.show(registry, _pods(client, target.namespace))
            if _is_available(registry):
                return registry
            blocked = _condition(registry, "RolloutBlocked")
            if blocked.get("status") != "True":
                blocked_since = None
            elif blocked_since is None:
                blocked_since = time.monotonic()
            elif time.monotonic() - blocked_since > BLOCKED_PATIENCE_SECONDS:
                raise DeploymentFailed(
                    f"the rollout is blocked: {blocked.get('reason')}: {blocked.get('message')}"
                )
            time.sleep(POLL_SECONDS)
    raise DeploymentFailed(
        f"{target.name} is not available after {timeout_seconds:.0f} s",
        details=_troubles(client, target.namespace) or _troubles(client, OPERATOR_NAMESPACE),
    )


def _registry(client: Client, target: Target) -> JsonObject:
    try:
        found = client.get(QuayRegistry, target.name, namespace=target.namespace)
    except ApiError as error:
        raise DeploymentFailed(f"{target.name}: {error.status.message}") from error
    return plain(found)


def _pods(client: Client, namespace: str) -> list[JsonObject]:
    try:
        return [pod.to_dict() for pod in client.list(Pod, namespace=namespace)]
    except ApiError as error:
        raise DeploymentFailed(f"pods cannot be listed: {error.status.message}") from error


def _condition(registry: JsonObject, kind: str) -> JsonObject:
    conditions = (registry.get("status") or {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == kind), {})


def _is_available(registry: JsonObject) -> bool:
    return _condition(registry, "Available").get("status") == "True"


def _is_ready(pod: JsonObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _troubles(client: Client, namespace: str) -> str:
    """Return, for each pod that is neither ready nor done, why and its last log lines.

    Those that only wait for others come first and are brief: what is wrong stands at the end.
    """
    waiting, failing = [], []
    for pod in _pods(client, namespace):
        status = pod.get("status") or {}
        if _is_ready(pod) or status.get("phase") == "Succeeded":
            continue
        if _is_failing(status):
            failing.append(_trouble(client, pod, lines=LOG_LINES))
        else:
            waiting.append(_trouble(client, pod, lines=BRIEF_LINES))
    return "\n".join(waiting + failing)


def _trouble(client: Client, pod: JsonObject, *, lines: int) -> str:
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    try:
        said = list(client.log(name, namespace=namespace, tail_lines=lines))
    except (ApiError, HatobaError) as error:
        said = [f"(no log: {error})"]
    heading = f"pod {name}: {_reason(pod.get('status') or {})}"
    return "\n".join([heading, *(f"    {line.rstrip()}" for line in said)])


def _is_failing(status: JsonObject) -> bool:
    for container in _containers(status):
        state = container.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason")
        if reason in _FAILURES or container.get("restartCount", 0) >= FAILED_RESTARTS:
            return True
    return status.get("phase") == "Failed"


def _containers(status: JsonObject) -> list[JsonObject]:
    return [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]


def _reason(status: JsonObject) -> str:
    for container in _containers(status):
        state = container.get("state") or {}
        for phase in ("waiting", "terminated"):
            if state.get(phase) and state[phase].get("reason") != "Completed":
                found = state[phase]
                return f"{found.get('reason')}: {found.get('message') or ''}".rstrip(": ")
    return status.get("message") or f"{status.get('phase', 'Pending')}, not ready"
