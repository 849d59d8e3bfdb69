"""ReplicaSets: so many pods of one template, no more and no fewer."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from typing_extensions import override

from hatoba.cluster.controllers.adoption import claim
from hatoba.cluster.controllers.pods import (
    available_in,
    from_template,
    is_active,
    is_available,
    is_ready,
    removal_rank,
)
from hatoba.cluster.controllers.runtime import Controller, Keys, is_namespace_ending
from hatoba.cluster.controllers.selectors import matches
from hatoba.cluster.controllers.values import (
    Key,
    condition_of,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    spec_of,
    status_of,
)
from hatoba.cluster.objects import PODS, REPLICA_SETS, ResourceName
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.errors import HatobaError, NotFound
from hatoba.kernel.json import JsonObject

BURST: Final = 500
REPLICA_FAILURE: Final = "ReplicaFailure"


class Shortfall(HatobaError):
    """Some pods could not be created or deleted; the rest waits for the next attempt."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class ReplicaSetController(Controller):
    """Creates and deletes pods."""

    name = "replicaset-controller"

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {REPLICA_SETS: lambda obj: (key_of(obj),), PODS: self._of_pod}

    def _of_pod(self, pod: JsonObject) -> Iterable[Key]:
        owner = controller_of(pod)
        namespace = key_of(pod).namespace
        if owner is not None:
            return (Key(namespace, owner["name"]),) if owner["kind"] == "ReplicaSet" else ()
        return [
            key_of(item)
            for item in self.cache(REPLICA_SETS).items(namespace)
            if matches(item["spec"].get("selector"), labels_of(pod))
        ]

    @override
    async def reconcile(self, key: Key) -> float | None:
        item = self.cache(REPLICA_SETS).get(key)
        if item is None:
            return None
        mine = await self._claimed(item)
        shortfall = None
        if not is_deleting(item):
            try:
                await self._balance(item, mine)
            except Shortfall as error:
                shortfall = error
            mine = await self._claimed(item)
        now = self.clock.now()
        minimum = int(spec_of(item).get("minReadySeconds") or 0)
        await self.client.update_status(
            REPLICA_SETS, item, report(item, mine, now=now, shortfall=shortfall)
        )
        if shortfall is not None:
            raise shortfall
        waits = [available_in(pod, minimum=minimum, now=now) for pod in mine]
        soon = [wait.total_seconds() for wait in waits if wait]
        return min(soon) + 0.05 if soon else None

    async def _claimed(self, item: JsonObject) -> list[JsonObject]:
        candidates = self.cache(PODS).items(key_of(item).namespace)
        claimed = await claim(
            self.client, PODS, item, candidates, owners=REPLICA_SETS, adoptable=is_active
        )
        return [pod for pod in claimed if is_active(pod)]

    async def _balance(self, item: JsonObject, mine: Sequence[JsonObject]) -> None:
        missing = int(spec_of(item).get("replicas", 1)) - len(mine)
        if missing > 0:
            await self._create(item, min(missing, BURST))
        elif missing < 0:
            now = self.clock.now()
            ranked = sorted(mine, key=lambda pod: removal_rank(pod, now=now))
            await self._delete(item, ranked[: min(-missing, BURST)])

    async def _create(self, item: JsonObject, count: int) -> None:
        # Batches of 1, 2, 4 ...: a quota or a missing account refuses once, not five hundred times.
        batch = 1
        while count > 0:
            size = min(batch, count)
            results = await asyncio.gather(
                *(self._create_one(item) for _ in range(size)), return_exceptions=True
            )
            for result in results:
                if isinstance(result, BaseException):
                    raise result
            count -= size
            batch *= 2

    async def _create_one(self, item: JsonObject) -> None:
        try:
            pod = await self.client.create(
                PODS, from_template(item["spec"]["template"], owner=item)
            )
        except HatobaError as error:
            if is_namespace_ending(error):
                raise
            self.recorder.warning(item, "FailedCreate", f"Error creating: {error.message}")
            raise Shortfall("FailedCreate", error.message) from error
        self.recorder.normal(item, "SuccessfulCreate", f"Created pod: {name_of(pod)}")

    async def _delete(self, item: JsonObject, pods: Sequence[JsonObject]) -> None:
        for pod in pods:
            try:
                await self.client.delete(PODS, pod)
            except NotFound:
                continue
            except HatobaError as error:
                self.recorder.warning(item, "FailedDelete", f"Error deleting: {error.message}")
                raise Shortfall("FailedDelete", error.message) from error
            self.recorder.normal(item, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")


def report(
    item: JsonObject,
    pods: Sequence[JsonObject],
    *,
    now: datetime,
    shortfall: Shortfall | None,
) -> JsonObject:
    """Return the status of a ReplicaSet that has these active pods."""
    minimum = int(spec_of(item).get("minReadySeconds") or 0)
    template_labels = (item["spec"]["template"].get("metadata") or {}).get("labels") or {}
    counts = {
        "fullyLabeledReplicas": sum(
            1 for pod in pods if template_labels.items() <= labels_of(pod).items()
        ),
        "readyReplicas": sum(map(is_ready, pods)),
        "availableReplicas": sum(is_available(pod, minimum=minimum, now=now) for pod in pods),
        "observedGeneration": item["metadata"].get("generation", 0),
    }
    status: JsonObject = {"replicas": len(pods)}
    status |= {name: count for name, count in counts.items() if count}
    conditions = [
        condition
        for condition in status_of(item).get("conditions") or ()
        if condition["type"] != REPLICA_FAILURE
    ]
    if shortfall is not None:
        before = condition_of(item, REPLICA_FAILURE)
        failure = before or {
            "type": REPLICA_FAILURE,
            "status": "True",
            "lastTransitionTime": rfc3339(now),
            "reason": shortfall.reason,
            "message": shortfall.message,
        }
        conditions.append(failure)
    if conditions:
        status["conditions"] = conditions
    return status
