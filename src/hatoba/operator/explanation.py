"""A registry as a tree for people: components, objects, pods, and the one thing to do. Pure.

The verdicts are those that the operator writes into the status, made anew from what is there now.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names, status
from hatoba.operator.components import EVERY_COMPONENT
from hatoba.operator.diagnosis import condition_of, pods_of
from hatoba.operator.model import Owned, RegistryPlan, RolloutBlocked, Verdict

NOTHING_TO_DO: Final = "Nothing: the registry is well."
_ROOTS_FIRST: Final = (
    "postgres",
    "objectstorage",
    "redis",
    "route",
    "tls",
    "clairpostgres",
    "clair",
    "base",
    "mirror",
    "horizontalpodautoscaler",
    "monitoring",
)
"""What others stand on comes first: to mend it may mend them all."""
_SHOWN_KINDS: Final = (
    "PersistentVolumeClaim",
    "ObjectBucketClaim",
    "Deployment",
    "Job",
    "Route",
    "HTTPRoute",
    "TLSRoute",
    "Ingress",
    "Certificate",
    "HorizontalPodAutoscaler",
)


class Mark(StrEnum):
    """How something is."""

    WELL = "✓"
    WAITING = "…"
    ILL = "✗"
    OTHERS = "-"
    """Somebody else's job."""
    PLAIN = " "


@dataclass(slots=True, frozen=True, kw_only=True)
class Node:
    """One line, and what belongs to it."""

    mark: Mark
    text: str
    children: tuple["Node", ...] = ()


@dataclass(slots=True, frozen=True, kw_only=True)
class Explanation:
    """The tree and its conclusion."""

    tree: Node
    step: str
    is_well: bool


@dataclass(slots=True, frozen=True, kw_only=True)
class Case:
    """What an explanation is made of."""

    registry: JsonObject
    plan: RegistryPlan
    owned: Owned
    blocked: RolloutBlocked | None = None
    logs: Mapping[tuple[str, str], list[str]] = field(default_factory=dict)
    """(pod, container) -> its last lines."""


def explain(case: Case) -> Explanation:
    """Say how a registry is and what to do."""
    verdicts = status.verdicts_of(case.plan, case.owned)
    migration = status.migration_of(case.plan, case.owned)
    metadata = case.registry["metadata"]
    children = [_operator_line(case.registry)]
    if case.blocked is not None:
        children.append(
            Node(
                mark=Mark.ILL, text=f"rollout blocked ({case.blocked.reason}): {case.blocked.fact}"
            )
        )
    if not migration.done:
        text = migration.failure or status.MIGRATING_MESSAGE
        children.append(Node(mark=Mark.ILL if migration.failure else Mark.WAITING, text=text))
    children += [_component(case, kind, verdicts[kind]) for kind in verdicts]
    step = _step(case, verdicts, migration)
    tree = Node(
        mark=Mark.WELL if step == NOTHING_TO_DO else Mark.ILL,
        text=f"QuayRegistry {metadata['namespace']}/{metadata['name']}",
        children=tuple(child for child in children if child is not None),
    )
    return Explanation(tree=tree, step=step, is_well=step == NOTHING_TO_DO)


def unwell_containers(owned: Owned) -> list[tuple[str, str]]:
    """Return the (pod, container) whose last words may help."""
    return [
        (pod["metadata"]["name"], container["name"])
        for component in EVERY_COMPONENT
        for obj in _objects(owned, component.kind)
        for pod in _pods(owned, obj)
        for container in _statuses(pod)
        if not _is_fine(pod, container)
    ]


def _step(case: Case, verdicts: Mapping[str, Verdict], migration: status.Migration) -> str:
    """Choose the one thing that comes before all others."""
    if case.blocked is not None:
        return _sentence(case.blocked.step)
    unready = [kind for kind in _ROOTS_FIRST if kind in verdicts and not verdicts[kind].ready]
    for kind in unready:
        if verdicts[kind].diagnosed:
            return _sentence(verdicts[kind].step)
    _, unmoved = status.unmoved(case.plan) or ("", "")
    if failure := migration.failure or unmoved:
        return _sentence(failure.rpartition(": ")[2])
    generation = case.registry["metadata"].get("generation")
    if (case.registry.get("status") or {}).get("observedGeneration") != generation:
        return "Wait for the operator; if it does not come, see that its Deployment runs."
    if unready:
        return f"Wait: {verdicts[unready[0]].message}."
    return NOTHING_TO_DO if migration.done else "Wait for the migration of the database."


def _sentence(step: str) -> str:
    return f"{step[:1].upper()}{step[1:]}."


def _operator_line(registry: JsonObject) -> Node | None:
    """Say whether the operator has seen what is asked now; None when it has."""
    generation = registry["metadata"].get("generation")
    seen = (registry.get("status") or {}).get("observedGeneration")
    if seen == generation:
        return None
    return Node(
        mark=Mark.WAITING,
        text=f"the operator has not answered to generation {generation} yet (last: {seen})",
    )


def _component(case: Case, kind: str, verdict: Verdict) -> Node:
    title = "quay" if kind == "base" else kind
    if kind != "base" and not case.plan.manages(kind):
        return Node(mark=Mark.OTHERS, text=f"{title}: {verdict.message}")
    mark = Mark.WELL if verdict.ready else (Mark.ILL if verdict.diagnosed else Mark.WAITING)
    return Node(
        mark=mark,
        text=f"{title}: {verdict.message}",
        children=tuple(
            _object(case, obj, is_wanted=verdict.ready) for obj in _objects(case.owned, kind)
        ),
    )


def _objects(owned: Owned, component: str) -> Iterable[JsonObject]:
    return [
        obj
        for kind in _SHOWN_KINDS
        for obj in owned.of_kind(kind)
        if (obj["metadata"].get("annotations") or {}).get(names.COMPONENT_KEY) == component
    ]


def _pods(owned: Owned, obj: JsonObject) -> list[JsonObject]:
    return pods_of(owned, obj) if obj["kind"] in ("Deployment", "Job") else []


def _object(case: Case, obj: JsonObject, *, is_wanted: bool) -> Node:
    """Show an object; `is_wanted` says that its component is as the spec asks for."""
    kind, name = obj["kind"], obj["metadata"]["name"]
    if kind == "Deployment":
        mark, state = _of_deployment(obj, is_wanted=is_wanted, is_migrating=case.plan.migrating)
    else:
        mark, state = _STATES.get(kind, _exists)(obj)
    text = f"{kind} {name}{f'  {state}' if state else ''}"
    pods = tuple(_pod(case, pod) for pod in _pods(case.owned, obj))
    return Node(mark=mark, text=text, children=pods)


def _exists(_obj: JsonObject) -> tuple[Mark, str]:
    return Mark.WELL, ""


def _of_deployment(obj: JsonObject, *, is_wanted: bool, is_migrating: bool) -> tuple[Mark, str]:
    """Call well what has every pod that it should have, of its present form, and no other.

    None of none is well only where the spec wants none: else pods are missing that something has
    yet to ask for.
    """
    found, wanted = obj.get("status", {}), obj.get("spec", {}).get("replicas", 1)
    ready, updated = found.get("readyReplicas", 0), found.get("updatedReplicas", 0)
    state = f"{ready}/{wanted} ready"
    if found.get("observedGeneration", 0) < obj["metadata"].get("generation", 0):
        return Mark.WAITING, f"{state}, not seen by the cluster yet"
    if found.get("replicas", 0) > wanted and not wanted:
        return Mark.WAITING, f"{state}, its pods end"
    if not wanted and is_wanted:
        return Mark.WELL, f"{state}, as asked for"
    if not wanted:
        why = "until the database is migrated" if is_migrating else "scaled to zero"
        return Mark.WAITING, f"{state}, {why}"
    if updated < wanted:
        return Mark.WAITING, f"{state}, {updated} of {wanted} new"
    return (Mark.WELL if ready >= wanted else Mark.WAITING), state


def _of_job(obj: JsonObject) -> tuple[Mark, str]:
    failed = condition_of(obj, "Failed")
    if failed is not None and failed.get("status") == "True":
        return Mark.ILL, "failed"
    done = bool(obj.get("status", {}).get("succeeded"))
    return (Mark.WELL, "complete") if done else (Mark.WAITING, "running")


def _of_claim(obj: JsonObject) -> tuple[Mark, str]:
    phase = str(obj.get("status", {}).get("phase") or "not seen yet")
    return (Mark.WELL if phase == "Bound" else Mark.WAITING), phase


_STATES: Final = {
    "Job": _of_job,
    "PersistentVolumeClaim": _of_claim,
    "ObjectBucketClaim": _of_claim,
}


def _statuses(pod: JsonObject) -> list[JsonObject]:
    found = pod.get("status", {})
    return [*(found.get("initContainerStatuses") or []), *(found.get("containerStatuses") or [])]


def _is_fine(pod: JsonObject, container: JsonObject) -> bool:
    ended = container.get("state", {}).get("terminated") or {}
    done = bool(ended) and not ended.get("exitCode")
    return bool(container.get("ready")) or done or pod["status"].get("phase") == "Succeeded"


def _pod(case: Case, pod: JsonObject) -> Node:
    name, statuses = pod["metadata"]["name"], _statuses(pod)
    fine = bool(statuses) and all(_is_fine(pod, container) for container in statuses)
    restarts = sum(int(container.get("restartCount", 0)) for container in statuses)
    reasons = [_reason(container) for container in statuses if not _is_fine(pod, container)]
    told = ", ".join(filter(None, reasons)) or pod["status"].get("phase", "")
    again = f", {restarts} restarts" if restarts else ""
    lines = [
        Node(mark=Mark.PLAIN, text=f"{container['name']}| {line}")
        for container in statuses
        for line in case.logs.get((name, container["name"]), [])
    ]
    mark = Mark.WELL if fine else Mark.WAITING
    return Node(mark=mark, text=f"Pod {name}  {told}{again}", children=tuple(lines))


def _reason(container: JsonObject) -> str:
    state = container.get("state", {})
    held = state.get("waiting") or state.get("terminated") or {}
    return str(held.get("reason") or ("not ready" if "running" in state else ""))
