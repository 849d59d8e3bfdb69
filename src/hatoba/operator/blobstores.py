"""Where blobs lie in a volume, and where they are moving. Pure.

They move when the annotation asks for another StorageClass. Steps, each read from what is there, so
that a pass that is cut off anywhere is followed by one that goes on:

1. a new claim, numbered, and a Job whose pod mounts both, beside the registry, which serves on;
2. a Job copies while the registry serves: blobs never change under their digests;
3. the registry's pods are replaced by ones that only read (`REGISTRY_STATE: readonly`);
4. once no other pod is left, a Job copies the rest and compares, with the database, too;
5. the Job has succeeded: the new claim is marked, and from then on is the one that counts. Pods get
   it one by one; both hold the same, and nobody writes until the last of them has it;
6. pods that write again. The old claim stays, named in the status, until it is released.

A Job that fails leaves the old claim in use, and pods that write.
"""

from dataclasses import replace
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.datastores import DataMove, DataStore
from hatoba.operator.diagnosis import of_claim, of_workload
from hatoba.operator.model import (
    DATA_STORE,
    Owned,
    Reason,
    RegistryPlan,
    Verdict,
)
from hatoba.operator.stores import (
    CHECK,
    COPY,
    FoundClaim,
    claims_of,
    class_of,
    failure_in,
    has_ended,
    progress,
)
from hatoba.operator.volumes import is_empty

FILL: Final = "-fill"
"""What the name of the Job ends with that copies while the registry serves."""
MOVE_LABEL: Final = DATA_STORE
"""What the component's label of pods of a move's Jobs begins with."""
_CLAIM: Final = "PersistentVolumeClaim"
_SERVING: Final = ("quay-app", "quay-mirror")
"""Pods that hold blobs for as long as they run."""
_READ_ONLY: Final = "pulls go on, pushes are refused"


def blob_store_of(plan: RegistryPlan, *, storage_class: str | None, owned: Owned) -> DataStore:
    """Return where blobs live that lie in a volume."""
    image = plan.settings.images.quay
    claims = claims_of(plan.name, DATA_STORE, owned)
    filled = [found for found in claims if found.filled]
    if not filled:
        return DataStore(claim=DATA_STORE, image=image)
    current = filled[-1]
    begun = next((found for found in claims if found.number > current.number), None)
    store = DataStore(
        claim=current.suffix,
        image=image,
        copied=current.number > 1,
        kept=tuple(found.suffix for found in filled[:-1]),
    )
    if store.copied and _old_holders(plan, store, owned):
        # One after the other: the next move begins when this one is done.
        return replace(store, settling=True, access_mode=_mode_of(filled[-2].live))
    if storage_class in (None, class_of(current.live)) or is_empty(current.live):
        return replace(store, abandoned=begun.suffix if begun else "")
    if begun is not None and not _fits(begun, storage_class):
        return replace(store, abandoned=begun.suffix)
    suffix = begun.suffix if begun is not None else f"{DATA_STORE}-{current.number + 1}"
    move = progress(DataMove(claim=suffix, image=image), plan.name, owned)
    return replace(
        store,
        access_mode=_mode_of(current.live),
        move=_filling(plan, move, owned, claim=plan.prefix + current.suffix),
    )


def _fits(begun: FoundClaim, storage_class: str | None) -> bool:
    return "deletionTimestamp" not in begun.live["metadata"] and storage_class == class_of(
        begun.live
    )


def _mode_of(claim: JsonObject) -> str:
    return str(next(iter(claim["spec"].get("accessModes") or []), ""))


def _filling(plan: RegistryPlan, move: DataMove, owned: Owned, *, claim: str) -> DataMove:
    """Say how far the copies are."""
    copying = owned.get("Job", plan.job_name(move.claim + COPY))
    filling = owned.get("Job", plan.job_name(move.claim + FILL))
    if copying is not None or has_ended(filling, "Complete"):
        # Nobody begins what cannot end: once the last copy runs, it is waited for.
        if copying is not None:
            return replace(move, filled=True)
        held = _held(plan, owned, claim=claim)
        return replace(move, checked=True, filled=True, held=held, failure="", step="")
    if filling is None:
        return move
    return replace(move, checked=True, failure=failure_in(owned, filling), step="")


def _held(plan: RegistryPlan, owned: Owned, *, claim: str) -> str:
    """Return what has to end before nobody may write; "" when nothing has to."""
    if running := running_backups(owned.every("Job"), plan.name):
        return f"Job {running[0]} (a backup)"
    managed = _managed(plan)
    others = [
        pod["metadata"]["name"]
        for pod in owned.pods({})
        if mounts(pod, claim)
        and is_living(pod)
        and component_of(pod) not in managed
        and not component_of(pod).startswith(MOVE_LABEL)
    ]
    return (
        f"Pod {min(others)} (which is none of the registry's and has the volume)" if others else ""
    )


def running_backups(jobs: list[JsonObject], registry: str) -> list[str]:
    """Return the Jobs that make a backup of a registry."""
    return sorted(
        job["metadata"]["name"]
        for job in jobs
        if names.BACKUP_LABEL in (labels := job["metadata"].get("labels") or {})
        and labels.get(names.REGISTRY_LABEL) == registry
        and not (has_ended(job, "Complete") or has_ended(job, "Failed"))
    )


def _old_holders(plan: RegistryPlan, store: DataStore, owned: Owned) -> list[str]:
    """Return what still has another claim than the one that counts."""
    old = [plan.prefix + suffix for suffix in store.kept]
    managed = _managed(plan)
    found = [
        f"Deployment {plan.prefix}{base}"
        for base in managed
        if (live := owned.get("Deployment", plan.prefix + base)) is not None
        and any(mounts(live["spec"]["template"], claim) for claim in old)
    ]
    return found + [
        f"Pod {pod['metadata']['name']}"
        for pod in owned.pods({})
        if component_of(pod) in managed
        and is_living(pod)
        and any(mounts(pod, claim) for claim in old)
    ]


def _managed(plan: RegistryPlan) -> tuple[str, ...]:
    return _SERVING if plan.manages("mirror") else _SERVING[:1]


def component_of(pod: JsonObject) -> str:
    """Return which of the registry's workloads a pod belongs to."""
    return str((pod["metadata"].get("labels") or {}).get(names.COMPONENT_KEY, ""))


def mounts(pod: JsonObject, claim: str) -> bool:
    """Tell whether a pod, or the template of one, has a claim."""
    return any(
        (volume.get("persistentVolumeClaim") or {}).get("claimName") == claim
        for volume in (pod.get("spec") or {}).get("volumes") or []
    )


def is_living(pod: JsonObject) -> bool:
    """Tell whether a pod has not ended yet."""
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def only_reads(pod: JsonObject) -> bool:
    """Tell whether a pod, or the template of one, refuses pushes since blobs move."""
    return names.QUIET_ANNOTATION in (pod["metadata"].get("annotations") or {})


def verdict_of(plan: RegistryPlan, owned: Owned) -> Verdict | None:
    """Say that pushes are refused while blobs move; None when they are taken."""
    store = plan.store(DATA_STORE)
    if store.is_quiet and store.move is not None:
        return _copying(plan, owned, store.move)
    if store.settling:
        waits = ", ".join(_old_holders(plan, store, owned)[:3])
        return _moving(
            f"every pod gets {_CLAIM} {plan.prefix}{store.claim}, which holds all blobs: "
            f"{_READ_ONLY}",
            step=f"pushes are taken again once that is done (waits for {waits})",
        )
    late = [
        pod["metadata"]["name"]
        for pod in owned.pods({})
        if only_reads(pod) and is_living(pod) and "deletionTimestamp" not in pod["metadata"]
    ]
    if not late:
        return None
    return _moving(
        f"pods that refused pushes are being replaced (Pod {min(late)})",
        step="pushes are taken again once that is done",
    )


def _copying(plan: RegistryPlan, owned: Owned, move: DataMove) -> Verdict:
    job = owned.get("Job", plan.job_name(move.claim + COPY))
    what = _told(plan, move)
    if job is None:
        writing = [
            pod["metadata"]["name"]
            for pod in owned.pods({})
            if component_of(pod) in _SERVING and is_living(pod) and not only_reads(pod)
        ]
        waits = f" (waits for the end of Pod {min(writing)})" if writing else ""
        return _moving(
            f"the registry becomes read-only for {what}: {_READ_ONLY}",
            step=f"Job {plan.job_name(move.claim + COPY)} begins when no pod writes any "
            f"more{waits}",
        )
    name = job["metadata"]["name"]
    if (cause := of_workload(owned, job)) is not None:
        return Verdict.bad(
            f"Job {name} cannot finish {what}, meanwhile {_READ_ONLY}: {cause.fact}",
            step=cause.step,
            diagnosed=True,
            reason=Reason.STORAGE_MOVE,
        )
    return _moving(
        f"Job {name} finishes {what}: {_READ_ONLY}",
        step="pushes are taken again once every pod has the new volume",
    )


def _moving(fact: str, *, step: str) -> Verdict:
    return Verdict.bad(fact, step=step, reason=Reason.STORAGE_MOVE)


def remark_of(plan: RegistryPlan, owned: Owned) -> str:
    """Return what is to be known about blobs that pushes are taken for; "" when that is nothing."""
    store = plan.store(DATA_STORE)
    if store.move is not None:
        return failure_of(plan) or _preparation(plan, owned, store.move)
    kept = [plan.prefix + suffix for suffix in store.kept]
    kept = [name for name in kept if owned.get(_CLAIM, name) is not None]
    if not kept:
        return ""
    listed = ", ".join(kept)
    return (
        f"{_CLAIM} {listed} keeps the blobs from before the move: once all is well, release it by "
        f"the annotation {names.RELEASE_ANNOTATION}={listed} on the QuayRegistry"
    )


def _preparation(plan: RegistryPlan, owned: Owned, move: DataMove) -> str:
    claim, what = plan.prefix + move.claim, _told(plan, move)
    if move.held:
        return f"before pushes are refused for {what}, {move.held} has to end"
    if move.checked:
        name = plan.job_name(move.claim + FILL)
        job = owned.get("Job", name)
        cause = of_workload(owned, job) if job is not None else None
        trouble = f": {cause.fact}: {cause.step}" if cause is not None else ""
        return f"Job {name} copies for {what}, while the registry serves{trouble}"
    name = plan.job_name(move.claim + CHECK)
    text = f"before anything is copied for {what}, Job {name} tries both volumes"
    pending = of_claim(owned, claim)
    return f"{text}: {pending.fact}: {pending.step}" if pending is not None else text


def failure_of(plan: RegistryPlan) -> str:
    """Say why blobs stay where they were; "" when they do not have to."""
    store = plan.store(DATA_STORE)
    move = store.move
    if move is None or not move.failure:
        return ""
    suffix = (COPY if move.filled else FILL) if move.checked else CHECK
    job = plan.job_name(move.claim + suffix)
    step = move.step or (
        f"read its log with kubectl -n {plan.namespace} logs job/{job}, and delete it to try again"
    )
    return (
        f"{_CLAIM} {plan.prefix}{store.claim} serves on, since Job {job} failed at "
        f"{_told(plan, move)}: {move.failure}: {step}"
    )


def _told(plan: RegistryPlan, move: DataMove) -> str:
    store = plan.store(DATA_STORE)
    return f"the move of blobs ({plan.prefix}{store.claim} to {plan.prefix}{move.claim})"
