"""Bring the cluster to what was rendered, with as few writes as possible.

An object is applied when it differs from what was applied last, or when somebody changed what we
apply; else it costs no request. Replicas belong to a second field manager, and Jobs to the
version they were made for.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import (
    Conflict,
    Forbidden,
    HatobaError,
    Unauthenticated,
    Unavailable,
)
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.operator import names
from hatoba.operator.admission import AdmissionDenied
from hatoba.operator.blobmoving import BlobMover
from hatoba.operator.components.deployments import rolled_out
from hatoba.operator.components.monitoring import undisputed
from hatoba.operator.diagnosis import condition_of
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.leftovers import secrets_in_use
from hatoba.operator.model import Owned, Reason, RegistryPlan, RolloutBlocked
from hatoba.operator.moving import Mover, marked
from hatoba.operator.objects import is_of_blobs
from hatoba.operator.render import Rendered
from hatoba.operator.replicas import handed_over, is_ours
from hatoba.operator.status import is_current_job
from hatoba.operator.stores import CHECK, COPY, DATABASES
from hatoba.operator.tailoring import DEPLOYMENTS
from hatoba.operator.texts import sorted_json
from hatoba.operator.volumes import is_empty, is_other

log = structlog.get_logger()

JOB_RETRY: Final = timedelta(minutes=5)
_SCALED: Final = ("quay-app", "quay-mirror", "clair-app")
"""Deployments that have more than one pod."""
_MINIMUM: Final = 2
"""How many these have at least."""
_NEED_SCHEMA: Final = ("quay-app", "quay-mirror")
"""Deployments whose pods need the schema of their own version."""


class Applier:
    """Writes rendered objects."""

    def __init__(self, cluster: Cluster, *, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._mover = Mover(cluster)
        self._blob_mover = BlobMover(cluster)

    async def apply(self, plan: RegistryPlan, wanted: Iterable[JsonObject], owned: Owned) -> bool:
        """Create and change what differs; return whether anything did.

        Raises:
            RolloutBlocked: the cluster refuses an object.
            Conflict, Unavailable: try again later.
        """
        changed = False
        for rendered in wanted:
            obj = undisputed(rendered, owned)
            try:
                live = owned.get(obj["kind"], obj["metadata"]["name"])
                changed |= await self._bring(plan, obj, live, owned)
            except (Conflict, Unavailable, AdmissionDenied):
                # Passing weather: the queue tries again, the status stays as it is. What
                # admission says names its object already.
                raise
            except HatobaError as error:
                raise _refusal(obj, error) from error
        return changed

    async def _bring(
        self, plan: RegistryPlan, obj: JsonObject, live: JsonObject | None, owned: Owned
    ) -> bool:
        suffix = obj["metadata"]["name"].removeprefix(plan.prefix)
        if obj["kind"] == "Job":
            return await self._bring_job(plan, obj, live)
        if obj["kind"] == "Deployment" and suffix in DATABASES:
            obj = marked(plan, suffix, obj, live)
            changed = differs(obj, live)
            if changed:
                live = await self._cluster.apply(stamped(obj))
            return await self._mover.scale(plan, suffix, live, owned) or changed
        if obj["kind"] == "Deployment" and suffix in _SCALED:
            return await self._bring_scaled(plan, obj, live)
        if obj["kind"] == "PersistentVolumeClaim" and live is not None:
            return await self._bring_claim(obj, live)
        if differs(obj, live):
            await self._cluster.apply(stamped(obj))
            return True
        return False

    async def _bring_claim(self, obj: JsonObject, live: JsonObject) -> bool:
        """Let a claim with a volume grow; make room for one that cannot become what is wanted.

        What a bound claim holds is worth more than how it is shared: its access modes stay.
        """
        metadata, spec = live["metadata"], live["spec"]
        if metadata.get("deletionTimestamp"):
            return False
        if is_empty(live) and is_other(obj, live):
            await self._cluster.delete(
                "PersistentVolumeClaim", metadata["name"], namespace=metadata["namespace"]
            )
            return True
        wanted = {**obj, "spec": {**obj["spec"], "accessModes": spec["accessModes"]}}
        if differs(wanted, live):
            await self._cluster.apply(stamped(wanted))
            return True
        return False

    async def _bring_job(
        self, plan: RegistryPlan, obj: JsonObject, live: JsonObject | None
    ) -> bool:
        """Create a Job once per version; a template that changed is no reason to run it again."""
        if (mover := self._mover_of(obj)) is not None:
            return await mover.bring(plan, stamped(obj), live)
        if not plan.migrating or plan.store("quay-database").is_stopped:
            return False
        if live is None:
            await self.create_job(obj)
            return True
        if is_current_job(live, plan) and not self._worth_another_try(obj, live):
            return False
        metadata = live["metadata"]
        if metadata.get("deletionTimestamp"):
            return False
        log.info("job removed", namespace=metadata["namespace"], job=metadata["name"])
        await self._cluster.delete("Job", metadata["name"], namespace=metadata["namespace"])
        return True

    def _mover_of(self, job: JsonObject) -> Mover | BlobMover | None:
        """Return who starts a Job, None for one that prepares a version."""
        if is_of_blobs(job):
            return self._blob_mover
        return self._mover if job["metadata"]["name"].endswith((CHECK, COPY)) else None

    async def create_job(self, obj: JsonObject) -> None:
        """Create a Job; one that exists is left alone."""
        try:
            await self._cluster.create(stamped(obj))
        except Conflict:
            # The informer is behind: it exists, or its predecessor is still being deleted.
            log.debug("job exists", job=obj["metadata"]["name"])

    def _worth_another_try(self, obj: JsonObject, live: JsonObject) -> bool:
        """Tell whether a failed Job may succeed now: it would run differently, or time passed."""
        failed = condition_of(live, "Failed")
        if failed is None or failed.get("status") != "True":
            return False
        since = datetime.fromisoformat(failed["lastTransitionTime"])
        changed = _digest(obj) != _applied(live)
        return changed or self._clock.now() - since > JOB_RETRY

    async def _bring_scaled(
        self, plan: RegistryPlan, obj: JsonObject, live: JsonObject | None
    ) -> bool:
        """Apply a Deployment without its replicas, and set these where they are still ours.

        A Deployment has to be created with a number, or pods would start before the database is
        migrated. Whoever scales takes that over; else the second manager does, before an apply
        leaves it out. Cut off in between, the number has two owners, and the next pass goes on.
        """
        name = obj["metadata"]["name"]
        if plan.upgrading and live is not None and name.endswith(_NEED_SCHEMA):
            return False
        before = live
        if live is None or (differs(obj, live) and handed_over(live) is not None):
            # Numbers are not written by a copy that may be old: pods would be ended for it.
            live = await self._cluster.find("Deployment", name, namespace=plan.namespace)
        if live is None:
            first = stamped(obj)
            first["spec"] = {**obj["spec"], "replicas": _pods_wanted(plan, name)[0]}
            live = await self._cluster.apply(first)
        elif differs(obj, live):
            if (number := handed_over(live)) is not None:
                await self._cluster.apply(number, manager=names.SCALE_MANAGER)
            live = await self._cluster.apply(stamped(obj))
        replicas = scale_wanted(plan, live)
        if replicas is not None:
            log.info("scaled", namespace=plan.namespace, deployment=name, replicas=replicas)
            await self._cluster.scale(name, replicas, namespace=plan.namespace)
            return True
        return live is not before

    async def tidy_moves(self, plan: RegistryPlan, owned: Owned) -> None:
        """Delete what moves have left: Jobs, and volumes that nobody needs."""
        await self._mover.tidy(plan, owned)
        await self._blob_mover.tidy(plan, owned)

    async def remove_outdated(self, rendered: Rendered, owned: Owned) -> None:
        """Delete generated Secrets of former content, once no pod runs with them.

        Only after a pass that changed nothing: what `owned` says about a rollout is older than
        the pass's own writes. What a component left behind when it became unmanaged keeps its own.
        """
        wanted = {(obj["kind"], obj["metadata"]["name"]) for obj in rendered.objects}
        used = secrets_in_use(owned)
        outdated = [
            obj["metadata"]
            for obj in owned.of_kind("Secret")
            if names.GENERATED_ANNOTATION in (obj["metadata"].get("annotations") or {})
            and ("Secret", obj["metadata"]["name"]) not in wanted
            and obj["metadata"]["name"] not in used
        ]
        running = [
            obj
            for obj in owned.of_kind("Deployment")
            if ("Deployment", obj["metadata"]["name"]) in wanted
        ]
        if not outdated or not all(map(rolled_out, running)):
            return
        if any(not _finished(job) for job in owned.of_kind("Job")):
            return
        for metadata in outdated:
            log.info("secret outdated", namespace=metadata["namespace"], secret=metadata["name"])
            await self._cluster.delete("Secret", metadata["name"], namespace=metadata["namespace"])


def scale_wanted(plan: RegistryPlan, live: JsonObject) -> int | None:
    """Return the number of pods that the operator gives a Deployment; None: it is left alone.

    A number in the overrides is given; another one only while nobody else has set it. Beside an
    autoscaler no more than a start from zero is left to do.
    """
    name, there = live["metadata"]["name"], live["spec"].get("replicas", 1)
    if name.removeprefix(plan.prefix) not in _SCALED:
        return None
    replicas, fixed = _pods_wanted(plan, name)
    if there == replicas:
        return None
    if fixed:
        return replicas
    free = there == 0 or not plan.manages("horizontalpodautoscaler")
    return replicas if is_ours(live) and free and replicas else None


def _pods_wanted(plan: RegistryPlan, name: str) -> tuple[int, bool]:
    """Return how many pods a Deployment has, and whether the overrides say so."""
    suffix = name.removeprefix(plan.prefix)
    if plan.migrating and suffix == "quay-app":
        return 0, False
    fixed = plan.overridden(DEPLOYMENTS[suffix]).replicas
    return (_MINIMUM, False) if fixed is None else (fixed, True)


def _refusal(obj: JsonObject, error: HatobaError) -> RolloutBlocked:
    """Say which object the cluster refuses, and what would make it take it."""
    kind, name = obj["kind"], obj["metadata"]["name"]
    if isinstance(error, (Forbidden, Unauthenticated)):
        step = f"grant the operator's service account the right to write {kind} objects, or raise "
        step += "the quota that the message names"
    else:
        step = f"correct what the message names; `hatoba operator diff` shows {kind} {name}"
    return RolloutBlocked(
        Reason.CREATION_FAILED,
        "all Kubernetes objects not created/updated successfully: "
        f"{kind} {name}: {error.message.rstrip('.')}",
        step=step,
    )


def _finished(job: JsonObject) -> bool:
    return any(
        (found := condition_of(job, kind)) is not None and found.get("status") == "True"
        for kind in ("Complete", "Failed")
    )


def stamped(obj: JsonObject) -> JsonObject:
    """Return the object with a digest of its content, by which it is known later."""
    metadata = obj["metadata"]
    annotations = {
        **(metadata.get("annotations") or {}),
        names.APPLIED_ANNOTATION: _digest(obj),
    }
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def _digest(obj: JsonObject) -> str:
    text = sorted_json(obj)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _applied(live: JsonObject) -> str:
    annotations = live["metadata"].get("annotations") or {}
    return str(annotations.get(names.APPLIED_ANNOTATION, ""))


def differs(wanted: JsonObject, live: JsonObject | None) -> bool:
    """Tell whether an object has to be applied."""
    return live is None or _digest(wanted) != _applied(live) or not contains(live, wanted)


def contains(live: JsonValue, wanted: JsonValue) -> bool:
    """Tell whether everything wanted is there; defaults and others' fields may be there too."""
    if isinstance(wanted, dict):
        if not isinstance(live, dict):
            return not wanted
        return all(
            contains(live[key], value) if key in live else value in ({}, [], "", None)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list) and isinstance(live, list):
        return _contains_all(live, wanted)
    return bool(live == wanted)


def _contains_all(live: list[JsonValue], wanted: list[JsonValue]) -> bool:
    """Tell whether the elements of a list are there, in their order or in the cluster's.

    Somebody may have added an element of his own, as admission plugins do. Where elements are told
    apart by a name, a cluster may keep an order of before: an old API server does when it merges,
    and metrics of an autoscaler change places on their way through the API's first version. Lists
    of plain values, such as arguments, have one order and no other elements.
    """
    if len(live) == len(wanted) and all(map(contains, live, wanted)):
        return True
    return len(live) >= len(wanted) and all(
        isinstance(want, dict) and any(contains(have, want) for have in live) for want in wanted
    )
