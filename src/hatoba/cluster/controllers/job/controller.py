"""The Job controller, which also deletes Jobs whose time to live is over."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from typing_extensions import override

from hatoba.cluster.controllers.adoption import claim
from hatoba.cluster.controllers.job import progress
from hatoba.cluster.controllers.job.progress import TRACKING, End, Tally
from hatoba.cluster.controllers.pods import from_template, is_finished, removal_rank
from hatoba.cluster.controllers.runtime import Controller, Keys, is_namespace_ending
from hatoba.cluster.controllers.values import (
    Key,
    controller_of,
    finalizers_of,
    find_condition,
    is_deleting,
    key_of,
    name_of,
    spec_of,
    status_of,
    uid_of,
)
from hatoba.cluster.objects import JOBS, PODS, ResourceName
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.errors import Conflict, HatobaError, NotFound
from hatoba.kernel.json import JsonObject

_SHORTEST: Final = 0.05


class JobController(Controller):
    """Runs Jobs to their end."""

    name = "job-controller"

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {JOBS: lambda obj: (key_of(obj),), PODS: self._of_pod}

    def _of_pod(self, pod: JsonObject) -> Iterable[Key]:
        owner = controller_of(pod)
        if owner is not None and owner["kind"] == "Job":
            return (Key(key_of(pod).namespace, owner["name"]),)
        label = (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name")
        return (Key(key_of(pod).namespace, label),) if label else ()

    @override
    async def reconcile(self, key: Key) -> float | None:
        job = self.cache(JOBS).get(key)
        await self._free_strays(key, job)
        if job is None:
            return None
        if is_deleting(job):
            await self._free(await self._claimed(job))
            return None
        if progress.end_of(job) is not None:
            await self._free(await self._claimed(job))
            return await self._expire(job)
        return await self._advance(job)

    async def _claimed(self, job: JsonObject) -> list[JsonObject]:
        candidates = self.cache(PODS).items(key_of(job).namespace)
        return await claim(self.client, PODS, job, candidates, owners=JOBS)

    async def _free_strays(self, key: Key, job: JsonObject | None) -> None:
        """Let go of pods whose Job is gone: nobody will count them."""
        uid = uid_of(job) if job else None
        for pod in self.cache(PODS).items(key.namespace):
            owner = controller_of(pod)
            label = (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name")
            is_owned = owner is not None and owner["kind"] == "Job" and owner["name"] == key.name
            is_stray = (is_owned and owner is not None and owner["uid"] != uid) or (
                owner is None and label == key.name and job is None
            )
            if is_stray:
                await self._free([pod])

    async def _free(self, pods: Iterable[JsonObject]) -> None:
        for pod in pods:
            finalizers = finalizers_of(pod)
            if TRACKING in finalizers:
                finalizers.remove(TRACKING)
                with suppress(NotFound):
                    await self.client.set_finalizers(PODS, pod, finalizers)

    async def _expire(self, job: JsonObject) -> float | None:
        left = progress.expires_in(job, now=self.clock.now())
        if left is None or left > 0:
            return None if left is None else left + _SHORTEST
        with suppress(NotFound):
            await self.client.delete(JOBS, job, propagation="Foreground")
        return None

    async def _advance(self, job: JsonObject) -> float | None:
        now = self.clock.now()
        if not status_of(job):
            self._tell_what_is_ignored(job)
        pods = await self._claimed(job)
        conditions = [dict(item) for item in status_of(job).get("conditions") or ()]
        start = self._note_suspension(job, conditions, now=now)
        result = progress.tally(job, pods)
        end = progress.verdict(job, result, now=now)
        wait: float | None = None
        if end is not None:
            kind = progress.SUCCESS_CRITERIA if end.is_success else progress.FAILURE_TARGET
            progress.put(
                conditions, progress.condition(kind, "True", end.reason, end.message, now=now)
            )
            await self._delete(job, result.active)
        else:
            wait = await self._balance(job, pods, result, now=now)
        pods = await self._claimed(job)
        result = progress.tally(job, pods)
        status = progress.report(job, pods, result, conditions, start=start)
        if end is not None and progress.is_settled(status):
            self._finish(job, status, end, now=now)
        await self.client.update_status(JOBS, job, status)
        # Only now that the status names them may they lose the mark that makes them count.
        await self._free(pod for pod in pods if is_finished(pod) or is_deleting(pod))
        return _soonest(wait, progress.deadline_in(job, now=now))

    def _tell_what_is_ignored(self, job: JsonObject) -> None:
        spec = spec_of(job)
        ignored = [field for field in ("podFailurePolicy", "successPolicy") if spec.get(field)]
        if spec.get("completionMode", "NonIndexed") != "NonIndexed":
            ignored.append("completionMode")
        for name in ignored:
            self.recorder.warning(job, "Unsupported", f"spec.{name} is ignored by this cluster")

    def _note_suspension(
        self, job: JsonObject, conditions: list[JsonObject], *, now: datetime
    ) -> str | None:
        """Set the condition Suspended; return the start time, None while suspended."""
        start: str | None = status_of(job).get("startTime")
        before = find_condition(conditions, progress.SUSPENDED)
        if progress.is_suspended(job):
            progress.put(
                conditions,
                progress.condition(
                    progress.SUSPENDED, "True", "JobSuspended", "Job suspended", now=now
                ),
            )
            if before is None or before["status"] != "True":
                self.recorder.normal(job, "Suspended", "Job suspended")
            return None
        if before is not None and before["status"] == "True":
            progress.put(
                conditions,
                progress.condition(
                    progress.SUSPENDED, "False", "JobResumed", "Job resumed", now=now
                ),
            )
            self.recorder.normal(job, "Resumed", "Job resumed")
            return rfc3339(now)
        return start or rfc3339(now)

    async def _balance(
        self, job: JsonObject, pods: Sequence[JsonObject], result: Tally, *, now: datetime
    ) -> float | None:
        missing = progress.wanted_active(job, result) - len(result.active)
        if missing < 0:
            ranked = sorted(result.active, key=lambda pod: removal_rank(pod, now=now))
            await self._delete(job, ranked[:-missing])
        if missing <= 0:
            return None
        base = self.settings.job_backoff
        pause = progress.backoff_in(pods, base=base, now=now)
        if pause > 0:
            return pause
        for _ in range(missing):
            await self._create(job)
        return None

    async def _create(self, job: JsonObject) -> None:
        wanted = from_template(job["spec"]["template"], owner=job)
        wanted["metadata"]["finalizers"] = [TRACKING]
        try:
            pod = await self.client.create(PODS, wanted)
        except HatobaError as error:
            if is_namespace_ending(error):
                raise
            self.recorder.warning(job, "FailedCreate", f"Error creating: {error.message}")
            raise
        self.recorder.normal(job, "SuccessfulCreate", f"Created pod: {name_of(pod)}")

    async def _delete(self, job: JsonObject, pods: Iterable[JsonObject]) -> None:
        for pod in pods:
            try:
                await self.client.delete(PODS, pod)
            except (NotFound, Conflict):
                continue
            self.recorder.normal(job, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

    def _finish(self, job: JsonObject, status: JsonObject, end: End, *, now: datetime) -> None:
        kind = progress.COMPLETE if end.is_success else progress.FAILED_JOB
        conditions: list[JsonObject] = status["conditions"]
        progress.put(conditions, progress.condition(kind, "True", end.reason, end.message, now=now))
        if end.is_success:
            status["completionTime"] = rfc3339(now)
            self.recorder.normal(job, "Completed", "Job completed")
        else:
            self.recorder.warning(job, end.reason, end.message)


def _soonest(*waits: float | None) -> float | None:
    known = [max(wait, 0.0) + _SHORTEST for wait in waits if wait is not None]
    return min(known, default=None)
