"""One pass over one QuayRegistryBackup: is it due, does it run, how did it end.

The operator's own clock says when a backup is due, so that no CronJob stands between the
resource and what people see; a time that passed while no operator ran is made up for once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.errors import Conflict
from hatoba.kernel.json import JsonObject
from hatoba.operator import names
from hatoba.operator.backup import conditions, outcome
from hatoba.operator.backup.conditions import COMPLETE, READY, condition
from hatoba.operator.backup.cron import Schedule, ScheduleMalformed
from hatoba.operator.backup.jobs import backup_job
from hatoba.operator.backup.places import Places
from hatoba.operator.backup.specs import NotReady, read_spec
from hatoba.operator.backup.telling import BLOBS_MISSING, SUSPENDED, Teller
from hatoba.operator.backup.types import BackupSpec
from hatoba.operator.blobstores import only_reads
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.runtime.controller import Key, Outcome

log = structlog.get_logger()

NOT_READY_SECONDS: Final = 15.0
"""What a backup waits for is not watched."""
LONGEST_WAIT_SECONDS: Final = 3600.0
KEPT_JOBS: Final = 2
"""Jobs that have ended stay for people to look at, the newest of them."""


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What is known in a pass, and what the status shall say."""

    obj: JsonObject
    status: JsonObject
    ready: JsonObject
    complete: JsonObject | None
    again_seconds: float | None = None


class Backups:
    """Makes backups as QuayRegistryBackups ask for them."""

    def __init__(self, cluster: Cluster, places: Places, *, clock: Clock) -> None:
        self._cluster = cluster
        self._places = places
        self._clock = clock
        self._teller = Teller(cluster, kind=names.BACKUP_KIND, clock=clock)

    async def reconcile(self, key: Key) -> Outcome:
        """Look at one, once."""
        namespace, name = key
        obj = await self._cluster.find(names.BACKUP_KIND, name, namespace=namespace)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return Outcome(again_after_seconds=None)
        status = dict(obj.get("status") or {})
        seen = _Seen(
            obj=obj,
            status={**status, "observedGeneration": obj["metadata"]["generation"]},
            ready=condition(READY, "True", "Ready", "backups can be made"),
            complete=_untimed(conditions.found(status.get("conditions"), COMPLETE)),
        )
        try:
            spec = read_spec(BackupSpec, obj)
            await self._look_at_jobs(seen)
            if not (seen.complete and seen.complete["status"] == "Unknown"):
                await self._make_if_due(seen, spec)
        except NotReady as error:
            seen.ready = condition(READY, "False", error.reason, error.message)
            seen.again_seconds = NOT_READY_SECONDS
        said = [seen.ready, *([seen.complete] if seen.complete else [])]
        await self._teller.tell(obj, seen.status, said)
        return Outcome(again_after_seconds=seen.again_seconds)

    async def _look_at_jobs(self, seen: _Seen) -> None:
        """Learn how the last Job ended, and let go of older ones."""
        jobs = self._places.jobs_of(seen.obj)
        finished = [job for job in jobs if outcome.ended(job)]
        for job in finished[:-KEPT_JOBS]:
            metadata = job["metadata"]
            await self._cluster.delete("Job", metadata["name"], namespace=metadata["namespace"])
        current = next((j for j in jobs if j["metadata"]["name"] == seen.status.get("job")), None)
        if current is None or (seen.complete and seen.complete["status"] != "Unknown"):
            if current is None and seen.complete and seen.complete["status"] == "Unknown" and jobs:
                seen.status["job"] = jobs[-1]["metadata"]["name"]
            return
        ending = outcome.ended(current)
        name = current["metadata"]["name"]
        if not ending:
            seen.complete = condition(COMPLETE, "Unknown", "Running", f"Job {name} runs")
            return
        lines = await self._places.last_words(current, container="backup")
        summary = outcome.summary_in(lines)
        if ending == "Complete":
            seen.complete = _succeeded(name, summary)
            if summary is not None:
                seen.status["lastBackup"] = outcome.facts(summary)
            return
        complaint = outcome.complaint_in(lines) or "its pods are gone"
        seen.complete = condition(COMPLETE, "False", "BackupFailed", f"Job {name}: {complaint}")

    async def _make_if_due(self, seen: _Seen, spec: BackupSpec) -> None:
        due = self._due(seen, spec)
        registry, app = await self._registry(spec, namespace=seen.obj["metadata"]["namespace"])
        await self._places.check_vault(spec.vault, namespace=seen.obj["metadata"]["namespace"])
        if spec.suspend:
            seen.ready = condition(READY, "False", SUSPENDED, "spec.suspend is true")
            return
        if due is None:
            return
        name = f"{seen.obj['metadata']['name']}-{int(due.timestamp()) // 60}"
        job = backup_job(seen.obj, name=name, spec=spec, registry=registry, app=app)
        # First the name, then the Job: cut off in between, the next pass makes the same one.
        seen.status |= {"job": name, "lastScheduledTime": rfc3339(due)}
        seen.complete = condition(COMPLETE, "Unknown", "Running", f"Job {name} runs")
        try:
            await self._cluster.create(job)
        except Conflict:
            log.debug("backup runs already", job=name)
        log.info("backup begun", namespace=job["metadata"]["namespace"], job=name)

    def _due(self, seen: _Seen, spec: BackupSpec) -> datetime | None:
        """Return the moment for which a backup has to be made now; note when to look again."""
        now = self._clock.now()
        last = seen.status.get("lastScheduledTime")
        created = datetime.fromisoformat(seen.obj["metadata"]["creationTimestamp"])
        if spec.schedule is None:
            seen.status.pop("nextScheduledTime", None)
            return None if last else created
        try:
            schedule = Schedule.parse(spec.schedule)
            due = schedule.next_after(datetime.fromisoformat(last) if last else created)
            following = schedule.next_after(max(now, due))
        except ScheduleMalformed as error:
            raise NotReady("ScheduleInvalid", f"spec.schedule: {error.message}") from error
        coming = following if due <= now else due
        seen.status["nextScheduledTime"] = rfc3339(coming)
        wait = (coming - now) / timedelta(seconds=1)
        seen.again_seconds = min(max(wait, 1.0), LONGEST_WAIT_SECONDS)
        if due > now:
            return None
        # However many times were missed: one backup, of now.
        return now.replace(second=0, microsecond=0)

    async def _registry(self, spec: BackupSpec, *, namespace: str) -> tuple[JsonObject, JsonObject]:
        name = spec.registryName
        registry = await self._cluster.find(names.KIND, name, namespace=namespace)
        if registry is None:
            raise NotReady("RegistryMissing", f"there is no QuayRegistry {name} in {namespace}")
        app = await self._cluster.find("Deployment", f"{name}-quay-app", namespace=namespace)
        if app is None or not (registry.get("status") or {}).get("currentVersion"):
            raise NotReady("RegistryNotReady", f"QuayRegistry {name} has no database yet")
        if only_reads(app["spec"]["template"]):
            # Its volume may be the one from before by the time that the backup reads blobs.
            raise NotReady(
                "BlobsMoving", f"the blobs of QuayRegistry {name} are moving to another volume"
            )
        return registry, app


def _succeeded(job: str, summary: JsonObject | None) -> JsonObject:
    if summary is None:
        text = f"Job {job} succeeded; its pod is gone, `hatoba backup list` tells what it made"
        return condition(COMPLETE, "True", "BackupMade", text)
    if summary["missing"]:
        return condition(
            COMPLETE,
            "True",
            BLOBS_MISSING,
            f"backup {summary['id']} is whole but for {len(summary['missing'])} blobs that the "
            "registry itself has lost; `hatoba registry scrub` names the tags",
        )
    return condition(COMPLETE, "True", "BackupMade", f"backup {summary['id']} is whole")


def _untimed(given: JsonObject | None) -> JsonObject | None:
    if given is None:
        return None
    return {key: given[key] for key in ("type", "status", "reason", "message") if key in given}
