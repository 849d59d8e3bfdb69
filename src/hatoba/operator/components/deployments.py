"""Judge a Deployment, for every component that has one.

Source: the messages of Quay's operator (package cmpstatus).
"""

from collections.abc import Iterable

from hatoba.kernel.json import JsonObject
from hatoba.operator.model import Owned, Verdict


def condition_of(obj: JsonObject, kind: str) -> JsonObject | None:
    """Return the status condition of that type."""
    conditions = obj.get("status", {}).get("conditions") or []
    return next((found for found in conditions if found.get("type") == kind), None)


def judge(owned: Owned, name: str, *, absent: str, foreign: str) -> Verdict:
    """Tell whether a Deployment has the pods that it should have."""
    found = owned.get("Deployment", name)
    if found is None:
        return Verdict.bad(absent)
    if not owned.belongs(found):
        return Verdict.bad(foreign)
    available = condition_of(found, "Available")
    if available is None:
        return Verdict.bad(f"Available condition not found for {name}")
    if available["status"] != "True":
        return Verdict.bad(f"Deployment {name}: {available.get('message', '')}")
    if not found["status"].get("availableReplicas", 0):
        return Verdict.bad(f"Deployment {name} has zero replicas available")
    return Verdict.good(f"Deployment {name} healthy")


def judge_all(owned: Owned, names: Iterable[str], *, good: str) -> Verdict:
    """Tell whether several Deployments have their pods; the first that has not is the verdict."""
    for name in names:
        verdict = judge(
            owned,
            name,
            absent=f"Deployment {name} not found",
            foreign=f"Deployment {name} not owned by QuayRegistry",
        )
        if not verdict.ready:
            return verdict
    return Verdict.good(good)


def rolled_out(found: JsonObject) -> bool:
    """Tell whether every pod of a Deployment is of its newest template, and available."""
    status = found.get("status", {})
    wanted: int = found["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= found["metadata"].get("generation", 0)
        and status.get("updatedReplicas", 0) == wanted
        and status.get("replicas", 0) == wanted
        and status.get("availableReplicas", 0) == wanted
    )
