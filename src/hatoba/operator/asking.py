"""Ask somebody else's servers before a rollout, and say what they answer."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject
from hatoba.operator.apply import Applier
from hatoba.operator.components.probing import PROBE, probe_job, probed_kinds
from hatoba.operator.diagnosis import condition_of, last_words, of_workload, pods_of
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import Owned, Reason, RegistryPlan, RolloutBlocked
from hatoba.operator.render import Rendered

RETRY: Final = timedelta(seconds=20)
"""A server that did not answer is asked again after so long."""
_NEEDED: Final = ("ServiceAccount", "ConfigMap", "Secret")


class Asker:
    """Runs the Job that asks."""

    def __init__(self, cluster: Cluster, applier: Applier, *, clock: Clock) -> None:
        self._cluster = cluster
        self._applier = applier
        self._clock = clock

    async def have_answered(self, plan: RegistryPlan, rendered: Rendered, owned: Owned) -> bool:
        """Tell whether every server answered well; False while they are being asked.

        Raises:
            RolloutBlocked: one does not, with its own words.
        """
        job = probe_job(plan, rendered.mounts)
        if job is None:
            return True
        live = owned.get("Job", job["metadata"]["name"])
        if live is None:
            await self._ask(plan, rendered.objects, job, owned)
            return False
        if live.get("status", {}).get("succeeded"):
            return True
        failed = condition_of(live, "Failed")
        if failed is None or failed.get("status") != "True":
            self._check_start(owned, live)
            return False
        since = datetime.fromisoformat(failed["lastTransitionTime"])
        if self._clock.now() - since > RETRY and not live["metadata"].get("deletionTimestamp"):
            await self._cluster.delete("Job", live["metadata"]["name"], namespace=plan.namespace)
        raise _refusal(plan, owned, live)

    async def tidy(self, plan: RegistryPlan, rendered: Rendered, owned: Owned) -> None:
        """Delete Jobs that asked something else than what matters now."""
        job = probe_job(plan, rendered.mounts)
        current = job["metadata"]["name"] if job is not None else ""
        for live in owned.of_kind("Job"):
            name = live["metadata"]["name"]
            mine = name.startswith(f"{plan.prefix}{PROBE}-") and name != current
            if mine and not live["metadata"].get("deletionTimestamp"):
                await self._cluster.delete("Job", name, namespace=plan.namespace)

    async def _ask(
        self, plan: RegistryPlan, objects: Iterable[JsonObject], job: JsonObject, owned: Owned
    ) -> None:
        """Make the Job and what its pod mounts; nothing that runs is touched."""
        needed = [obj for obj in objects if obj["kind"] in _NEEDED]
        await self._applier.apply(plan, needed, owned)
        await self._applier.create_job(job)

    def _check_start(self, owned: Owned, live: JsonObject) -> None:
        cause = of_workload(owned, live)
        if cause is not None:
            raise RolloutBlocked(
                Reason.CREATION_FAILED,
                f"Job {live['metadata']['name']} cannot ask the external servers: {cause.fact}",
                step=cause.step,
            )


def _refusal(plan: RegistryPlan, owned: Owned, live: JsonObject) -> RolloutBlocked:
    name = live["metadata"]["name"]
    said = [
        last_words(str((container.get("state", {}).get("terminated") or {}).get("message", "")))
        for pod in pods_of(owned, live)
        for container in pod.get("status", {}).get("containerStatuses") or []
    ]
    words = next(filter(None, said), "")
    storage_alone = probed_kinds(plan) == ["objectstorage"] or words.startswith("objectstorage:")
    log = f"kubectl -n {plan.namespace} logs job/{name}"
    return RolloutBlocked(
        Reason.OBJECT_STORAGE_DEPENDENCY if storage_alone else Reason.CONFIG_INVALID,
        f"external servers of the registry do not answer: {words or f'see {log}'}",
        step=f"correct the server, or what Secret {plan.bundle_name} says of it",
    )
