"""One pass over one QuayRegistryRestore: first Secrets and QuayRegistry, the rest follows.

A Job brings the Secrets of the backup to the operator (`receiving`), which makes them and the
QuayRegistry. From then on the registry is installed like any other, but that the Job which
prepares its database restores the backup before it migrates (`components.quay`).
"""

from typing import Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import Conflict
from hatoba.kernel.ids import random_text
from hatoba.kernel.json import JsonObject
from hatoba.operator import keys, names
from hatoba.operator.backup import conditions, outcome
from hatoba.operator.backup.conditions import COMPLETE, condition
from hatoba.operator.backup.jobs import handover_job
from hatoba.operator.backup.places import Places
from hatoba.operator.backup.specs import NotReady, read_spec
from hatoba.operator.backup.telling import Teller
from hatoba.operator.backup.types import RestoreSpec
from hatoba.operator.kubernetes import Cluster
from hatoba.operator.model import OperatorSettings
from hatoba.operator.runtime.controller import Key, Outcome

log = structlog.get_logger()

WAIT_SECONDS: Final = 5.0
TOKEN_LENGTH: Final = 48
TOKEN_KEY: Final = "token"  # noqa: S105 -- a key, not its value


def token_secret(restore: str) -> str:
    """Return the Secret with the word by which the operator knows the Job of a restoration."""
    return f"{restore}-handover"


class Restores:
    """Restores registries as QuayRegistryRestores ask for it."""

    def __init__(
        self, cluster: Cluster, places: Places, *, settings: OperatorSettings, clock: Clock
    ) -> None:
        self._cluster = cluster
        self._places = places
        self._settings = settings
        self._teller = Teller(cluster, kind=names.RESTORE_KIND, clock=clock)

    async def reconcile(self, key: Key) -> Outcome:
        """Look at one, once."""
        namespace, name = key
        obj = await self._cluster.find(names.RESTORE_KIND, name, namespace=namespace)
        if obj is None or obj["metadata"].get("deletionTimestamp"):
            return Outcome(again_after_seconds=None)
        before = conditions.found((obj.get("status") or {}).get("conditions"), COMPLETE)
        if before is not None and before.get("status") == "True":
            # What becomes of the registry afterwards is no matter of this.
            return Outcome(again_after_seconds=None)
        facts: JsonObject = {}
        try:
            said = await self._bring(obj, read_spec(RestoreSpec, obj), facts)
        except NotReady as error:
            said = condition(COMPLETE, "False", error.reason, error.message)
        generation = {"observedGeneration": obj["metadata"]["generation"]}
        await self._teller.tell(obj, {**(obj.get("status") or {}), **facts, **generation}, [said])
        return Outcome(again_after_seconds=None if said["status"] == "True" else WAIT_SECONDS)

    async def _bring(self, obj: JsonObject, spec: RestoreSpec, facts: JsonObject) -> JsonObject:
        namespace = obj["metadata"]["namespace"]
        registry = await self._cluster.find(names.KIND, spec.registryName, namespace=namespace)
        if registry is None:
            return await self._hand_over(obj, spec)
        annotations = registry["metadata"].get("annotations") or {}
        restore, _, backup = annotations.get(names.RESTORE_ANNOTATION, "").partition("/")
        if restore != obj["metadata"]["name"]:
            raise NotReady(
                "RegistryExists",
                f"QuayRegistry {spec.registryName} exists and is not of this restoration; delete "
                "it, or restore in another namespace",
            )
        facts["backup"] = backup
        await self._adopt_keys(registry)
        return _progress(registry, backup)

    async def _hand_over(self, obj: JsonObject, spec: RestoreSpec) -> JsonObject:
        """Have the Secrets brought."""
        metadata = obj["metadata"]
        name, namespace = metadata["name"], metadata["namespace"]
        await self._places.check_vault(spec.vault, namespace=namespace)
        jobs = self._places.jobs_of(obj)
        if not jobs:
            await self._make_token(obj)
            job = handover_job(
                obj,
                name=f"{name}-handover",
                spec=spec,
                image=self._settings.images.quay,
                operator=self._settings.endpoint,
                secret=token_secret(name),
            )
            try:
                await self._cluster.create(job)
            except Conflict:
                log.debug("restoration runs already", job=job["metadata"]["name"])
        elif outcome.ended(jobs[-1]) == "Failed":
            job_name = jobs[-1]["metadata"]["name"]
            lines = await self._places.last_words(jobs[-1], container="restore")
            complaint = outcome.complaint_in(lines) or "its pods are gone"
            raise NotReady(
                "RestoreFailed",
                f"Job {job_name}: {complaint}; delete the Job to try again",
            )
        return condition(
            COMPLETE, "Unknown", "ReadingBackup", "the Secrets of the backup are being read"
        )

    async def _make_token(self, obj: JsonObject) -> None:
        metadata = obj["metadata"]
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {
                "name": token_secret(metadata["name"]),
                "namespace": metadata["namespace"],
                "ownerReferences": [
                    {
                        "apiVersion": names.API_VERSION,
                        "kind": names.RESTORE_KIND,
                        "name": metadata["name"],
                        "uid": metadata["uid"],
                    }
                ],
            },
            "data": keys.encode({TOKEN_KEY: random_text(TOKEN_LENGTH, keys.ALPHABET)}),
        }
        try:
            await self._cluster.create(secret)
        except Conflict:
            log.debug("token exists", restore=metadata["name"])

    async def _adopt_keys(self, registry: JsonObject) -> None:
        """Let the keys go with their registry, as those do that were made with it."""
        metadata = registry["metadata"]
        name, namespace = keys.secret_name(metadata["name"]), metadata["namespace"]
        secret = await self._cluster.find("Secret", name, namespace=namespace)
        if secret is None or secret["metadata"].get("ownerReferences"):
            return
        owner = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        patch = {
            "metadata": {
                "resourceVersion": secret["metadata"]["resourceVersion"],
                "ownerReferences": [owner],
            }
        }
        await self._cluster.merge("Secret", name, patch, namespace=namespace)


def _progress(registry: JsonObject, backup: str) -> JsonObject:
    status = registry.get("status") or {}
    available = conditions.found(status.get("conditions"), "Available") or {}
    name = registry["metadata"]["name"]
    if status.get("currentVersion") and available.get("status") == "True":
        text = f"QuayRegistry {name} serves what backup {backup} holds"
        return condition(COMPLETE, "True", "Restored", text)
    blocked = conditions.found(status.get("conditions"), "RolloutBlocked") or {}
    told = blocked if blocked.get("status") == "True" else available
    detail = str(told.get("message") or "it is being installed")
    reason = "Starting" if status.get("currentVersion") else "RestoringData"
    return condition(COMPLETE, "Unknown", reason, f"QuayRegistry {name}: {detail}")
