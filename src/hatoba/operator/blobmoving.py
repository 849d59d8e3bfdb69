"""Carry out the moves of blobs: start their Jobs when that is due, clear up.

What is to be done is decided in `blobstores`, and pods are replaced as in any rollout; here it is
made sure that the last copy begins only when nobody can write any more.
"""

from typing import Final

import structlog

from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.blobstores import (
    FILL,
    MOVE_LABEL,
    component_of,
    is_living,
    mounts,
    only_reads,
    running_backups,
)
from hatoba.operator.components.deployments import rolled_out
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import DATA_STORE, Owned, RegistryPlan
from hatoba.operator.moving import bring_check, create, is_filled, remove
from hatoba.operator.stores import CHECK, COPY

log = structlog.get_logger()

_CLAIM: Final = "PersistentVolumeClaim"


class BlobMover:
    """Moves blobs into other claims."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def bring(self, plan: RegistryPlan, obj: JsonObject, live: JsonObject | None) -> bool:
        """Create a Job of a move when its time has come; one that exists is left alone."""
        name = obj["metadata"]["name"]
        move = plan.store(DATA_STORE).move
        if move is None or plan.migrating:
            return False
        if name.endswith(CHECK):
            return await bring_check(self._cluster, obj, live)
        if live is not None or await is_filled(self._cluster, plan, move.claim):
            return False
        if name.endswith(COPY) and not await self._is_quiet(plan):
            return False
        log.info("blobs copied", namespace=plan.namespace, job=name)
        await create(self._cluster, obj)
        return True

    async def _is_quiet(self, plan: RegistryPlan) -> bool:
        """Ask the cluster itself whether nobody can write blobs: a copy of old may be wrong."""
        store = plan.store(DATA_STORE)
        if not store.is_quiet or plan.store("quay-database").is_stopped:
            return False
        for base in ("quay-app", "quay-mirror") if plan.manages("mirror") else ("quay-app",):
            found = await self._cluster.find(
                "Deployment", plan.prefix + base, namespace=plan.namespace
            )
            if found is None or not only_reads(found["spec"]["template"]) or not rolled_out(found):
                return False
        listing = await self._cluster.list("Pod", namespace=plan.namespace, labelled=True)
        writing = [
            pod["metadata"]["name"]
            for pod in listing.items
            if mounts(pod, plan.prefix + store.claim)
            and is_living(pod)
            and not only_reads(pod)
            and not component_of(pod).startswith(MOVE_LABEL)
        ]
        jobs = await self._cluster.list("Job", namespace=plan.namespace, labelled=True)
        return not writing and not running_backups(jobs.items, plan.name)

    async def tidy(self, plan: RegistryPlan, owned: Owned) -> None:
        """Delete what is left of moves: Jobs that are done with, unfinished and released claims."""
        store = plan.stores.get(DATA_STORE)
        if store is None:
            return
        current = owned.get(_CLAIM, plan.prefix + store.claim)
        notes = (current or {"metadata": {}})["metadata"].get("annotations") or {}
        done = [store.claim] if names.COPIED_ANNOTATION in notes else []
        for suffix in (*done, *filter(None, [store.abandoned])):
            for step in (CHECK, FILL, COPY):
                await remove(self._cluster, "Job", plan.job_name(suffix + step), owned)
        if store.abandoned:
            await remove(self._cluster, _CLAIM, plan.prefix + store.abandoned, owned)
        for suffix in store.kept:
            if plan.prefix + suffix in plan.released and not store.settling:
                await remove(self._cluster, _CLAIM, plan.prefix + suffix, owned)
