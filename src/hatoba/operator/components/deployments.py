"""Judge a Deployment, for every component that has one.

Source: the messages of Quay's operator (package cmpstatus). What it says is followed by the cause,
where one is known, and by what to do.
"""

from collections.abc import Iterable

from hatoba.kernel.json import JsonObject
from hatoba.operator.diagnosis import CLAIM_REASONS, condition_of, of_claim, of_workload, quoted
from hatoba.operator.model import Owned, Reason, RegistryPlan, Verdict
from hatoba.operator.stores import remark_of, verdict_of
from hatoba.operator.volumes import growth_of


def judge(owned: Owned, name: str, *, absent: str, foreign: str) -> Verdict:
    """Tell whether a Deployment has the pods that it should have."""
    found = owned.get("Deployment", name)
    if found is None:
        return Verdict.bad(absent, step=f"Deployment {name} is made with the next pass")
    if not owned.belongs(found):
        return Verdict.bad(
            foreign,
            step=f"delete or rename Deployment {name}, which somebody else made",
            diagnosed=True,
        )
    available = condition_of(found, "Available")
    if available is None or available["status"] != "True":
        fact = f"Available condition not found for {name}"
        if available is not None:
            fact = f"Deployment {name}: {quoted(available.get('message', ''))}"
        return _unwell(owned, found, fact)
    if not found["status"].get("availableReplicas", 0):
        return _idle(owned, found, f"Deployment {name} has zero replicas available")
    if (stuck := _stuck(owned, found)) is not None:
        return Verdict.good(f"Deployment {name} serves with pods of before: {stuck}")
    return Verdict.good(f"Deployment {name} healthy")


def _unwell(owned: Owned, found: JsonObject, fact: str) -> Verdict:
    cause = of_workload(owned, found)
    if cause is not None:
        return Verdict.bad(f"{fact}: {cause.fact}", step=cause.step, diagnosed=True)
    metadata = found["metadata"]
    describe = f"kubectl -n {metadata['namespace']} describe deployment {metadata['name']}"
    return Verdict.bad(fact, step=f"its pods are starting; if that lasts, see {describe}")


def _idle(owned: Owned, found: JsonObject, fact: str) -> Verdict:
    if found["spec"].get("replicas", 1):
        return _unwell(owned, found, fact)
    metadata = found["metadata"]
    scale = f"kubectl -n {metadata['namespace']} scale deployment {metadata['name']} --replicas=2"
    return Verdict.bad(fact, step=f"it is scaled to zero; for pods: {scale}")


def judge_stopped(owned: Owned, name: str, *, falling: str, stopped: str) -> Verdict | None:
    """Judge a Deployment that the overrides want without pods; None when it is not there.

    Source: Quay operator 3.12 and later, "scaled down".
    """
    found = owned.get("Deployment", name)
    if found is None or not owned.belongs(found):
        return None
    if found["spec"].get("replicas", 1) or found.get("status", {}).get("replicas", 0):
        return Verdict.bad(falling, step=f"the pods of Deployment {name} end")
    return Verdict.good(stopped)


def _stuck(owned: Owned, found: JsonObject) -> str | None:
    """Say why a rollout does not go on although enough pods serve; None when it does."""
    progressing = condition_of(found, "Progressing")
    if progressing is None or progressing.get("status") != "False":
        return None
    cause = of_workload(owned, found)
    if cause is None:
        return f"the rollout is stuck ({quoted(progressing.get('message', ''))})"
    return f"the rollout is stuck, {cause.fact}: {cause.step}"


def judge_claim(owned: Owned, name: str, *, claim: str, component: str) -> Verdict | None:
    """Say what keeps a database's claim from having a volume; None when that is not the matter.

    Source: Quay operator 3.10 and later, reasons PVCPending and PVCProvisioningFailed.
    """
    if owned.get("Deployment", name) is None:
        return None
    found = owned.get("PersistentVolumeClaim", claim)
    if found is None:
        return Verdict.bad(
            f"PersistentVolumeClaim {claim} not found", step="it is made with the next pass"
        )
    if found.get("status", {}).get("phase") != "Pending":
        return None
    told = owned.told_about("PersistentVolumeClaim", claim, CLAIM_REASONS)
    cause = of_claim(owned, claim)
    step = cause.step if cause is not None else ""
    if told:
        return Verdict.bad(
            f"{component} PVC {claim} provisioning failed: {quoted(told)}",
            step=step,
            diagnosed=True,
            reason=Reason.CLAIM_FAILED,
        )
    return Verdict.bad(
        f"{component} PersistentVolumeClaim {claim} is pending",
        step=step,
        reason=Reason.CLAIM_PENDING,
    )


def judge_database(
    plan: RegistryPlan, owned: Owned, base: str, *, component: str, shown: str
) -> Verdict:
    """Tell whether a database serves: its move, its claim, its Deployment, in this order.

    Args:
        plan: the plan.
        owned: what is there.
        base: name of the Deployment without the registry's prefix.
        component: how messages call it.
        shown: how they call its Deployment.
    """
    if (moving := verdict_of(plan, owned, base)) is not None:
        return moving
    name, claim = plan.prefix + base, plan.prefix + plan.store(base).claim
    if (pending := judge_claim(owned, name, claim=claim, component=component)) is not None:
        return pending
    verdict = judge(
        owned, name, absent=f"{shown} not found", foreign=f"{shown} not owned by QuayRegistry"
    )
    if not verdict.ready:
        return verdict
    found = owned.get("PersistentVolumeClaim", claim)
    told = (growth_of(owned, found) if found is not None else "", remark_of(plan, owned, base))
    return Verdict.good(": ".join([verdict.message, *filter(None, told)]))


def judge_all(owned: Owned, names: Iterable[str], *, good: str) -> Verdict:
    """Tell whether several Deployments have their pods; the first that has not is the verdict."""
    remark = ""
    for name in names:
        verdict = judge(
            owned,
            name,
            absent=f"Deployment {name} not found",
            foreign=f"Deployment {name} not owned by QuayRegistry",
        )
        if not verdict.ready:
            return verdict
        if verdict.message != f"Deployment {name} healthy":
            remark = verdict.message
    return Verdict.good(remark or good)


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
