"""The Deployment controller."""

from collections.abc import Iterable, Mapping, Sequence

from typing_extensions import override

from hatoba.cluster.controllers.adoption import claim
from hatoba.cluster.controllers.deployment import rollout, status
from hatoba.cluster.controllers.deployment.budget import actual_of, is_rolling, replicas_of
from hatoba.cluster.controllers.deployment.revisions import (
    REVISION,
    annotated,
    new_set,
    next_revision,
    same_template,
    sizes,
    split,
)
from hatoba.cluster.controllers.pods import is_finished
from hatoba.cluster.controllers.runtime import Controller, Keys
from hatoba.cluster.controllers.selectors import matches
from hatoba.cluster.controllers.values import (
    Key,
    annotations_of,
    condition_of,
    controller_of,
    is_controlled_by,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    status_of,
    thawed,
    uid_of,
)
from hatoba.cluster.objects import DEPLOYMENTS, PODS, REPLICA_SETS, ResourceName
from hatoba.kernel.errors import Conflict, HatobaError
from hatoba.kernel.json import JsonObject


class DeploymentController(Controller):
    """Keeps each Deployment's ReplicaSets at the sizes its rollout needs."""

    name = "deployment-controller"

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {
            DEPLOYMENTS: lambda obj: (key_of(obj),),
            REPLICA_SETS: self._of_set,
            PODS: self._of_pod,
        }

    def _of_set(self, item: JsonObject) -> Iterable[Key]:
        owner = controller_of(item)
        if owner is not None:
            return (Key(key_of(item).namespace, owner["name"]),) if _is_ours(owner) else ()
        return [
            key_of(deployment)
            for deployment in self.cache(DEPLOYMENTS).items(key_of(item).namespace)
            if matches(deployment["spec"].get("selector"), labels_of(item))
        ]

    def _of_pod(self, pod: JsonObject) -> Iterable[Key]:
        # Only Recreate looks at pods: it waits until the last old one is gone.
        owner = controller_of(pod)
        namespace = key_of(pod).namespace
        if owner is None or owner["kind"] != "ReplicaSet":
            return ()
        item = self.cache(REPLICA_SETS).get(Key(namespace, owner["name"]))
        above = controller_of(item) if item else None
        if above is None or not _is_ours(above):
            return ()
        key = Key(namespace, above["name"])
        deployment = self.cache(DEPLOYMENTS).get(key)
        return (key,) if deployment is not None and not is_rolling(deployment) else ()

    @override
    async def reconcile(self, key: Key) -> float | None:
        deployment = self.cache(DEPLOYMENTS).get(key)
        if deployment is None:
            return None
        sets = await self._claimed(deployment)
        if is_deleting(deployment):
            new, old = split(deployment, sets)
            return await self._report(deployment, self._counted(deployment, new, old))
        deployment = await self._note_pause(deployment)
        paused = bool(deployment["spec"].get("paused"))
        if paused or rollout.was_resized(deployment, sets):
            return await self._follow_size(deployment, sets, paused=paused)
        if is_rolling(deployment):
            return await self._roll(deployment, sets)
        return await self._recreate(deployment, sets)

    async def _claimed(self, deployment: JsonObject) -> list[JsonObject]:
        candidates = self.cache(REPLICA_SETS).items(key_of(deployment).namespace)
        return await claim(self.client, REPLICA_SETS, deployment, candidates, owners=DEPLOYMENTS)

    def _counted(
        self, deployment: JsonObject, new: JsonObject | None, old: Sequence[JsonObject]
    ) -> JsonObject:
        return status.counted(deployment, new, old, now=self.clock.now())

    async def _report(self, deployment: JsonObject, wanted: JsonObject) -> float | None:
        written = await self.client.update_status(DEPLOYMENTS, deployment, wanted)
        return status.deadline_in(written, wanted, now=self.clock.now())

    async def _note_pause(self, deployment: JsonObject) -> JsonObject:
        if not status.has_deadline(deployment):
            return deployment
        paused = bool(deployment["spec"].get("paused"))
        current = condition_of(deployment, status.PROGRESSING)
        reason = current.get("reason") if current else None
        if reason == status.TIMED_OUT or (reason == status.PAUSED) == paused:
            return deployment
        if paused:
            said = (status.PAUSED, "Deployment is paused")
        else:
            said = (status.RESUMED, "Deployment is resumed")
        fresh = status.condition(status.PROGRESSING, "Unknown", *said, now=self.clock.now())
        return await self._set_condition(deployment, fresh)

    async def _set_condition(self, deployment: JsonObject, fresh: JsonObject) -> JsonObject:
        before = status_of(deployment)
        conditions = status.with_condition(before.get("conditions") or (), fresh)
        return await self.client.update_status(
            DEPLOYMENTS, deployment, {**before, "conditions": conditions}
        )

    async def _follow_size(
        self, deployment: JsonObject, sets: Sequence[JsonObject], *, paused: bool
    ) -> float | None:
        deployment, new, old = await self._current(deployment, sets)
        steps = rollout.follow_size(deployment, new, old)
        for step in steps:
            await self._scale(deployment, step)
        if paused and not steps:
            await self._clean(deployment, old)
        new, old = self._refreshed(deployment)
        return await self._report(deployment, self._counted(deployment, new, old))

    async def _roll(self, deployment: JsonObject, sets: Sequence[JsonObject]) -> float | None:
        deployment, new, old = await self._with_new(deployment, sets)
        steps = rollout.grow_new(deployment, new, old) or rollout.shrink_old(deployment, new, old)
        for step in steps:
            await self._scale(deployment, step)
        if not steps and status.is_complete(deployment, status_of(deployment)):
            await self._clean(deployment, old)
        return await self._report_rollout(deployment)

    async def _recreate(self, deployment: JsonObject, sets: Sequence[JsonObject]) -> float | None:
        deployment, new, old = await self._current(deployment, sets)
        steps = [rollout.Scale(item, 0) for item in rollout.active(old)]
        for step in steps:
            await self._scale(deployment, step)
        if steps or self._old_pods_exist(new, old):
            return await self._report_rollout(deployment)
        deployment, new, old = await self._with_new(deployment, sets)
        if replicas_of(new) != replicas_of(deployment):
            await self._scale(deployment, rollout.Scale(new, replicas_of(deployment)))
        elif status.is_complete(deployment, status_of(deployment)):
            await self._clean(deployment, old)
        return await self._report_rollout(deployment)

    def _refreshed(self, deployment: JsonObject) -> tuple[JsonObject | None, list[JsonObject]]:
        namespace = key_of(deployment).namespace
        return split(
            deployment,
            [
                item
                for item in self.cache(REPLICA_SETS).items(namespace)
                if is_controlled_by(item, deployment)
            ],
        )

    async def _report_rollout(self, deployment: JsonObject) -> float | None:
        new, old = self._refreshed(deployment)
        return await self._report(
            deployment, status.rolled(deployment, new, old, now=self.clock.now())
        )

    def _old_pods_exist(self, new: JsonObject | None, old: Sequence[JsonObject]) -> bool:
        if any(actual_of(item) for item in old):
            return True
        uids = {uid_of(item) for item in old}
        if new is not None:
            uids.discard(uid_of(new))
        if not uids:
            return False
        for pod in self.cache(PODS).items(key_of(old[0]).namespace):
            owner = controller_of(pod)
            if owner is not None and owner["uid"] in uids and not is_finished(pod):
                return True
        return False

    async def _current(
        self, deployment: JsonObject, sets: Sequence[JsonObject]
    ) -> tuple[JsonObject, JsonObject | None, list[JsonObject]]:
        """Bring the annotations of an existing newest set up to date."""
        new, old = split(deployment, sets)
        if new is None:
            return deployment, None, old
        revision = next_revision(old)
        annotations = annotated(new, deployment, revision=revision, existing=True)
        ready_after = deployment["spec"].get("minReadySeconds") or 0
        if annotations != annotations_of(new) or ready_after != (
            new["spec"].get("minReadySeconds") or 0
        ):
            changed = thawed(new)
            changed["metadata"]["annotations"] = annotations
            changed["spec"].pop("minReadySeconds", None)
            if ready_after:
                changed["spec"]["minReadySeconds"] = ready_after
            new = await self.client.update(REPLICA_SETS, changed)
        found = None
        if status.has_deadline(deployment) and condition_of(deployment, status.PROGRESSING) is None:
            found = self._progress(status.FOUND_SET, f'Found new replica set "{name_of(new)}"')
        revision = annotations_of(new)[REVISION]
        return await self._with_revision(deployment, revision, found), new, old

    def _progress(self, reason: str, message: str) -> JsonObject:
        return status.condition(status.PROGRESSING, "True", reason, message, now=self.clock.now())

    async def _with_new(
        self, deployment: JsonObject, sets: Sequence[JsonObject]
    ) -> tuple[JsonObject, JsonObject, list[JsonObject]]:
        """Return the newest set, made if it does not exist."""
        deployment, new, old = await self._current(deployment, sets)
        if new is not None:
            return deployment, new, old
        revision = next_revision(old)
        size = rollout.size_of_new(deployment, None, old)
        new = await self._create(deployment, new_set(deployment, revision=revision, replicas=size))
        if size:
            self.recorder.normal(
                deployment,
                "ScalingReplicaSet",
                f"Scaled up replica set {name_of(new)} from 0 to {size}",
            )
        created = None
        if status.has_deadline(deployment):
            created = self._progress(
                status.CREATED_SET, f'Created new replica set "{name_of(new)}"'
            )
        return await self._with_revision(deployment, revision, created), new, old

    async def _create(self, deployment: JsonObject, wanted: JsonObject) -> JsonObject:
        try:
            return await self.client.create(REPLICA_SETS, wanted)
        except Conflict:
            taken = await self.client.read(REPLICA_SETS, key_of(wanted))
            if (
                taken is not None
                and is_controlled_by(taken, deployment)
                and same_template(taken["spec"]["template"], wanted["spec"]["template"])
            ):
                return taken
            # The hash belongs to another template: count the collision, which changes the hash.
            before = status_of(deployment)
            count = int(before.get("collisionCount") or 0) + 1
            await self.client.update_status(
                DEPLOYMENTS, deployment, {**before, "collisionCount": count}
            )
            raise
        except HatobaError as error:
            said = f'Failed to create new replica set "{name_of(wanted)}": {error.message}'
            await self._set_condition(
                deployment,
                status.condition(
                    status.PROGRESSING,
                    "False",
                    "ReplicaSetCreateError",
                    said,
                    now=self.clock.now(),
                ),
            )
            self.recorder.warning(deployment, "ReplicaSetCreateError", said)
            raise

    async def _with_revision(
        self, deployment: JsonObject, revision: str, progress: JsonObject | None
    ) -> JsonObject:
        before = status_of(deployment)
        if annotations_of(deployment).get(REVISION) == revision and progress is None:
            return deployment
        changed = thawed(deployment)
        changed["metadata"].setdefault("annotations", {})[REVISION] = revision
        if progress is not None:
            conditions = status.with_condition(before.get("conditions") or (), progress)
            changed["status"] = {**before, "conditions": conditions}
        # Through /status: the annotation is no change of what was asked for.
        return await self.client.update(DEPLOYMENTS, changed, subresource="status")

    async def _scale(self, deployment: JsonObject, step: rollout.Scale) -> None:
        changed = thawed(step.item)
        changed["spec"]["replicas"] = step.replicas
        annotations = changed["metadata"].setdefault("annotations", {})
        annotations |= sizes(deployment)
        await self.client.update(REPLICA_SETS, changed)
        if step.replicas != step.before:
            direction = "up" if step.replicas > step.before else "down"
            self.recorder.normal(
                deployment,
                "ScalingReplicaSet",
                f"Scaled {direction} replica set {name_of(step.item)}"
                f" from {step.before} to {step.replicas}",
            )

    async def _clean(self, deployment: JsonObject, old: Sequence[JsonObject]) -> None:
        for item in rollout.surplus(deployment, old):
            await self.client.delete(REPLICA_SETS, item)


def _is_ours(owner: JsonObject) -> bool:
    return bool(owner["kind"] == "Deployment" and owner["apiVersion"].startswith("apps/"))
