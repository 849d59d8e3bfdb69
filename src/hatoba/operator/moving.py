"""Carry out the moves of databases: stop them, start the copy, start them again, clear up.

What is to be done is decided in `stores`; here it is made sure that two servers never run on the
same data: the copy begins when every pod of the database is gone, and the other way round.
"""

from typing import Final

import structlog

from hatoba.kernel.errors import Conflict
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import Owned, RegistryPlan
from hatoba.operator.stores import CHECK, COPY, DATABASES, checks

log = structlog.get_logger()

_LABELS: Final = {"quay-database": "postgres", "clair-postgres": "clair-postgres"}
"""Deployment -> label of its pods."""
_CLAIM: Final = "PersistentVolumeClaim"


class Mover:
    """Moves databases into other claims."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def scale(
        self, plan: RegistryPlan, base: str, live: JsonObject | None, owned: Owned
    ) -> bool:
        """Stop a database that is to be moved, start one that was stopped for it.

        A database that somebody else has scaled to zero is left alone.
        """
        if live is None:
            return False
        if plan.store(base).is_stopped:
            wanted = 0
        elif was_stopped(live):
            if _living(owned.pods({names.COMPONENT_KEY: _LABELS[base] + COPY})):
                return False
            wanted = 1
        else:
            return False
        if live["spec"].get("replicas", 1) == wanted:
            return False
        name = live["metadata"]["name"]
        log.info("database scaled", namespace=plan.namespace, deployment=name, replicas=wanted)
        await self._cluster.scale(name, wanted, namespace=plan.namespace)
        return True

    async def bring(self, plan: RegistryPlan, obj: JsonObject, live: JsonObject | None) -> bool:
        """Create a Job of a move when its time has come."""
        if obj["metadata"]["name"].endswith(CHECK):
            return await bring_check(self._cluster, obj, live)
        return await self._bring_copy(plan, obj, live)

    async def _bring_copy(
        self, plan: RegistryPlan, obj: JsonObject, live: JsonObject | None
    ) -> bool:
        """Create the Job once nobody else has the data; one that exists is left alone."""
        if live is not None:
            return False
        base, claim = next(
            (base, move.claim)
            for base in DATABASES
            if (move := plan.store(base).move)
            and plan.job_name(move.claim + COPY) == obj["metadata"]["name"]
        )
        if await is_filled(self._cluster, plan, claim) or not await self._is_down(plan, base):
            return False
        log.info("database copied", namespace=plan.namespace, job=obj["metadata"]["name"])
        await create(self._cluster, obj)
        return True

    async def _is_down(self, plan: RegistryPlan, base: str) -> bool:
        """Ask the cluster itself whether a database has no pod: a copy of old may be wrong."""
        name = plan.prefix + base
        found = await self._cluster.find("Deployment", name, namespace=plan.namespace)
        if found is not None and found["spec"].get("replicas", 1):
            return False
        state = (found or {}).get("status", {})
        generation = (found or {"metadata": {}})["metadata"].get("generation", 0)
        if state.get("observedGeneration", 0) < generation or state.get("replicas", 0):
            return False
        listing = await self._cluster.list("Pod", namespace=plan.namespace, labelled=True)
        wanted = {names.REGISTRY_LABEL: plan.name, names.COMPONENT_KEY: _LABELS[base]}
        return not _living(
            [
                pod
                for pod in listing.items
                if wanted.items() <= (pod["metadata"].get("labels") or {}).items()
            ]
        )

    async def tidy(self, plan: RegistryPlan, owned: Owned) -> None:
        """Delete what is left of moves: Jobs that are done with, unfinished and released claims.

        A Job that has succeeded is what says so, until its claim does: the one that tried the claim
        stays as long as the copy.
        """
        for base in DATABASES:
            if not plan.manages(DATABASES[base]):
                continue
            store = plan.store(base)
            claim = owned.get(_CLAIM, plan.prefix + store.claim)
            notes = (claim or {"metadata": {}})["metadata"].get("annotations") or {}
            if names.COPIED_ANNOTATION in notes:
                await remove(self._cluster, "Job", plan.job_name(store.claim + CHECK), owned)
                await remove(self._cluster, "Job", plan.job_name(store.claim + COPY), owned)
            if store.abandoned:
                await remove(self._cluster, "Job", plan.job_name(store.abandoned + CHECK), owned)
                await remove(self._cluster, "Job", plan.job_name(store.abandoned + COPY), owned)
                await remove(self._cluster, _CLAIM, plan.prefix + store.abandoned, owned)
            for suffix in store.kept:
                if plan.prefix + suffix in plan.released:
                    await remove(self._cluster, _CLAIM, plan.prefix + suffix, owned)


async def bring_check(cluster: Cluster, obj: JsonObject, live: JsonObject | None) -> bool:
    """Create the Job that tries a new claim; one that tried another image makes room for it."""
    if live is None:
        await create(cluster, obj)
        return True
    metadata = live["metadata"]
    image = obj["metadata"]["annotations"][names.IMAGE_ANNOTATION]
    if checks(live, image) or metadata.get("deletionTimestamp"):
        return False
    await cluster.delete("Job", metadata["name"], namespace=metadata["namespace"])
    return True


async def create(cluster: Cluster, job: JsonObject) -> None:
    """Create a Job of a move; one that exists is left alone."""
    try:
        await cluster.create(job)
    except Conflict:
        # The informer is behind: it exists, or its predecessor is still being deleted.
        log.debug("job exists", job=job["metadata"]["name"])


async def is_filled(cluster: Cluster, plan: RegistryPlan, claim: str) -> bool:
    """Ask the cluster itself whether a claim is in use already: a copy would change it."""
    listing = await cluster.list(_CLAIM, namespace=plan.namespace, name=plan.prefix + claim)
    return any(
        names.COPIED_ANNOTATION in (found["metadata"].get("annotations") or {})
        for found in listing.items
    )


async def remove(cluster: Cluster, kind: str, name: str, owned: Owned) -> None:
    """Delete what a move has left, if it is there and the registry's."""
    found = owned.get(kind, name)
    if found is None or found["metadata"].get("deletionTimestamp"):
        return
    if not owned.belongs(found):
        return
    namespace = found["metadata"]["namespace"]
    log.info("removed after a move", namespace=namespace, kind=kind, name=name)
    await cluster.delete(kind, name, namespace=namespace)


def was_stopped(live: JsonObject) -> bool:
    """Tell whether a database has no pods since it was to be moved."""
    notes = live["metadata"].get("annotations") or {}
    return names.STOPPED_ANNOTATION in notes and not live["spec"].get("replicas", 1)


def marked(plan: RegistryPlan, base: str, obj: JsonObject, live: JsonObject | None) -> JsonObject:
    """Return a database's Deployment, with a note if it is stopped, until it has pods again.

    The note is there before the pods go and stays until they are back: whoever comes after a pass
    that was cut off knows who has stopped it.
    """
    if not plan.store(base).is_stopped and (live is None or not was_stopped(live)):
        return obj
    metadata = obj["metadata"]
    notes = {**(metadata.get("annotations") or {}), names.STOPPED_ANNOTATION: "true"}
    return {**obj, "metadata": {**metadata, "annotations": notes}}


def _living(pods: list[JsonObject]) -> list[JsonObject]:
    ended = ("Succeeded", "Failed")
    return [pod for pod in pods if (pod.get("status") or {}).get("phase") not in ended]
