"""Where each managed database lives, and where it is moving. Pure.

A database moves when its server's image brings another major version of PostgreSQL, whose data the
old one's programs alone can read, or when its volume shall be of another class. Steps, each read
from what is there, so that a pass that is cut off anywhere is followed by one that goes on:

1. a new claim, numbered, and a Job whose pod starts the new image on it, beside the database that
   serves on: what cannot be had is found before anything is stopped;
2. the Deployment is scaled to zero: the registry answers 503, nobody writes;
3. a Job in whose pod both servers run and everything is copied and compared (`hatoba registry
   copy-database`);
4. the Job has succeeded: the new claim is marked, and from then on is the database's; the
   Deployment gets it and the new image, and is scaled up;
5. the old claim stays, named in the status, until the user releases it by an annotation.

A Job that fails leaves the old claim untouched, and the Deployment runs with it and the old image.

Source: Quay operator 3.9 and later, "pgupgrade": the reasons of conditions, and that the server's
image tells the version.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.datastores import DataMove, DataStore
from hatoba.operator.diagnosis import condition_of, of_claim, of_workload, quoted
from hatoba.operator.model import (
    Images,
    Owned,
    Reason,
    RegistryPlan,
    Verdict,
)
from hatoba.operator.overrides import NOTHING, Overrides
from hatoba.operator.volumes import is_empty

DATABASES: Final = {"quay-database": "postgres", "clair-postgres": "clairpostgres"}
"""Deployment without the registry's prefix -> kind whose overrides count."""
IN_PROGRESS: Final = "running postgres update operations"
COPY: Final = "-copy"
"""What the name of a Job ends with that fills a claim."""
CHECK: Final = "-check"
"""What the name of a Job ends with that tries whether a claim and its image can be had."""
_CLAIM: Final = "PersistentVolumeClaim"
_MAJOR: Final = re.compile(r"postgres(?:ql)?-(\d+)(?:-[^/]*)?$")
_TAG: Final = re.compile(r"(\d+)(?:[.-].*)?$")


def major_of(image: str) -> int | None:
    """Return the major version of PostgreSQL that an image brings; None: it does not say.

    As sclorg names them, `postgresql-15-c9s:latest`; else by the tag, `postgres:15.4`.
    """
    name, _, digest = image.partition("@")
    head, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        head, tag = name, ""
    found = _MAJOR.search(head) or (None if digest else _TAG.match(tag))
    return int(found.group(1)) if found else None


@dataclass(slots=True, frozen=True, kw_only=True)
class FoundClaim:
    """A claim of a database, or of blobs."""

    number: int
    suffix: str
    live: JsonObject
    filled: bool
    """False while it is being copied into."""

    @property
    def notes(self) -> Mapping[str, str]:
        """Its annotations."""
        return self.live["metadata"].get("annotations") or {}


def stores_of(
    registry: str, overrides: Mapping[str, Overrides], images: Images, *, owned: Owned
) -> dict[str, DataStore]:
    """Return where the databases live, by the names of their Deployments without prefix."""
    wanted = {"quay-database": images.postgres, "clair-postgres": images.clair_postgres}
    return {
        base: _store(
            registry,
            base,
            image=wanted[base],
            storage_class=overrides.get(kind, NOTHING).storage_class,
            owned=owned,
        )
        for base, kind in DATABASES.items()
    }


def _store(
    registry: str, base: str, *, image: str, storage_class: str | None, owned: Owned
) -> DataStore:
    claims = claims_of(registry, base, owned)
    filled = [found for found in claims if found.filled]
    if not filled:
        return DataStore(claim=base, image=image)
    current = filled[-1]
    begun = next((found for found in claims if found.number > current.number), None)
    present = _present_image(f"{registry}-{base}", current, owned) or image
    target = image if _goes(present, image) >= 0 else present
    store = DataStore(
        claim=current.suffix,
        image=target,
        kept=tuple(found.suffix for found in filled[:-1]),
        copied=current.number > 1,
    )
    other = storage_class is not None and storage_class != class_of(current.live)
    if is_empty(current.live) or not (other or _goes(present, image) > 0):
        return replace(store, abandoned=begun.suffix if begun else "")
    store = replace(store, image=present)
    wanted = storage_class if other else class_of(current.live)
    if begun is not None and not (
        "deletionTimestamp" not in begun.live["metadata"]
        and begun.notes.get(names.IMAGE_ANNOTATION) == target
        and wanted in (None, class_of(begun.live))
    ):
        return replace(store, abandoned=begun.suffix)
    suffix = begun.suffix if begun is not None else f"{base}-{current.number + 1}"
    return replace(store, move=progress(DataMove(claim=suffix, image=target), registry, owned))


def progress(begun: DataMove, registry: str, owned: Owned) -> DataMove:
    """Say how far a move is: whether its claim was tried, whether its last copy failed."""
    copying = owned.get("Job", names.job_name(registry, begun.claim + COPY))
    checking = owned.get("Job", names.job_name(registry, begun.claim + CHECK))
    if checking is not None and not checks(checking, begun.image):
        checking = None
    if copying is not None or has_ended(checking, "Complete"):
        return replace(begun, checked=True, failure=failure_in(owned, copying))
    if failure := failure_in(owned, checking):
        return replace(begun, failure=failure)
    if checking is None or of_claim(owned, f"{registry}-{begun.claim}") is not None:
        # A volume takes its time; who waits for one is told of in the verdict.
        return begun
    cause = of_workload(owned, checking)
    return begun if cause is None else replace(begun, failure=cause.fact, step=cause.step)


def checks(job: JsonObject, image: str) -> bool:
    """Tell whether a Job tries this image: one of the name may be left from another move."""
    notes = job["metadata"].get("annotations") or {}
    return bool(
        notes.get(names.IMAGE_ANNOTATION) == image and "deletionTimestamp" not in job["metadata"]
    )


def claims_of(registry: str, base: str, owned: Owned) -> list[FoundClaim]:
    """Return the claims of a database, or of blobs, by number; the first has none in its name."""
    form = re.compile(re.escape(base) + r"(?:-(\d+))?")
    found = []
    for live in owned.of_kind(_CLAIM):
        suffix = live["metadata"]["name"].removeprefix(f"{registry}-")
        if (match := form.fullmatch(suffix)) is None:
            continue
        number = int(match.group(1) or 1)
        notes = live["metadata"].get("annotations") or {}
        job = owned.get("Job", names.job_name(registry, suffix + COPY))
        filled = number == 1 or names.COPIED_ANNOTATION in notes or has_ended(job, "Complete")
        found.append(FoundClaim(number=number, suffix=suffix, live=live, filled=filled))
    return sorted(found, key=lambda one: one.number)


def _present_image(deployment: str, current: FoundClaim, owned: Owned) -> str:
    """Return the image whose server wrote the data; "" when nothing tells."""
    if noted := current.notes.get(names.IMAGE_ANNOTATION):
        return noted
    live = owned.get("Deployment", deployment)
    containers = [] if live is None else live["spec"]["template"]["spec"].get("containers") or []
    return str(containers[0]["image"]) if containers else ""


def _goes(present: str, wanted: str) -> int:
    """Return how many major versions forward an image goes; 0 when one of them does not say."""
    there, here = major_of(present), major_of(wanted)
    return 0 if there is None or here is None else here - there


def class_of(claim: JsonObject) -> str | None:
    """Return the StorageClass of a claim."""
    found = claim["spec"].get("storageClassName")
    return None if found is None else str(found)


def has_ended(job: JsonObject | None, kind: str) -> bool:
    """Tell whether a Job is Complete, or Failed."""
    found = condition_of(job, kind) if job is not None else None
    return found is not None and found.get("status") == "True"


def failure_in(owned: Owned, job: JsonObject | None) -> str:
    """Return why a Job has failed; "" when it has not."""
    if job is None or not has_ended(job, "Failed"):
        return ""
    cause = of_workload(owned, job)
    told = condition_of(job, "Failed") or {}
    return cause.fact if cause is not None else quoted(told.get("message") or "it failed")


def verdict_of(plan: RegistryPlan, owned: Owned, base: str) -> Verdict | None:
    """Say that a database is being moved; None when it serves."""
    store = plan.store(base)
    if store.move is None or not store.is_stopped:
        return None
    job = owned.get("Job", plan.job_name(store.move.claim + COPY))
    what = _told(plan, store, store.move)
    if job is None:
        return Verdict.bad(
            f"{IN_PROGRESS}: Deployment {plan.prefix}{base} is stopped for {what}",
            step="the registry answers again when that is done",
            reason=Reason.POSTGRES_UPGRADE,
        )
    name = job["metadata"]["name"]
    servers = job["spec"]["template"]["spec"].get("initContainers") or []
    if not all(server.get("restartPolicy") for server in servers):
        return Verdict.bad(
            f"{IN_PROGRESS}: Job {name} cannot do {what}: this cluster does not know containers "
            "that run beside a Job's own",
            step="upgrade the cluster to Kubernetes 1.29 or later, or take back what asked for it",
            diagnosed=True,
            reason=Reason.POSTGRES_UPGRADE,
        )
    cause = of_workload(owned, job)
    if cause is not None:
        return Verdict.bad(
            f"{IN_PROGRESS}: Job {name} cannot do {what}: {cause.fact}",
            step=cause.step,
            diagnosed=True,
            reason=Reason.POSTGRES_UPGRADE,
        )
    return Verdict.bad(
        f"{IN_PROGRESS}: Job {name} does {what}",
        step="the registry answers again when it has succeeded",
        reason=Reason.POSTGRES_UPGRADE,
    )


def remark_of(plan: RegistryPlan, owned: Owned, base: str) -> str:
    """Return what is to be known about a database that serves; "" when that is nothing."""
    store = plan.store(base)
    if store.move is not None:
        return failure_of(plan, base) or _preparation(plan, owned, store, store.move)
    if not store.kept:
        return ""
    kept = ", ".join(plan.prefix + suffix for suffix in store.kept)
    return (
        f"{_CLAIM} {kept} keeps the data from before the move: once all is well, release it by the "
        f"annotation {names.RELEASE_ANNOTATION}={kept} on the QuayRegistry"
    )


def _preparation(plan: RegistryPlan, owned: Owned, store: DataStore, move: DataMove) -> str:
    claim, job = plan.prefix + move.claim, plan.job_name(move.claim + CHECK)
    text = (
        f"before anything is stopped for {_told(plan, store, move)}, Job {job} tries "
        "whether its image and volume can be had"
    )
    pending = of_claim(owned, claim)
    return f"{text}: {pending.fact}: {pending.step}" if pending is not None else text


def failure_of(plan: RegistryPlan, base: str) -> str:
    """Say why a database stays where it was; "" when it does not have to."""
    store = plan.store(base)
    move = store.move
    if move is None or not move.failure:
        return ""
    job = plan.job_name(move.claim + (COPY if move.checked else CHECK))
    step = move.step or (
        f"read its log with kubectl -n {plan.namespace} logs job/{job}, and delete it to try again"
    )
    found = f"cannot prepare {_told(plan, store, move)}, for which nothing was stopped"
    if move.checked:
        found = f"failed at {_told(plan, store, move)}"
    return (
        f"{_CLAIM} {plan.prefix}{store.claim} serves on, since Job {job} {found}: {move.failure}: "
        f"{step}"
    )


def _told(plan: RegistryPlan, store: DataStore, move: DataMove) -> str:
    there, here = major_of(store.image), major_of(move.image)
    what = f"the upgrade from PostgreSQL {there} to {here}" if there != here else "the move"
    return f"{what} ({plan.prefix}{store.claim} to {plan.prefix}{move.claim})"


def released(registry: JsonObject) -> frozenset[str]:
    """Return the claims that the user has released."""
    given = (registry["metadata"].get("annotations") or {}).get(names.RELEASE_ANNOTATION, "")
    return frozenset(name.strip() for name in given.split(",") if name.strip())
