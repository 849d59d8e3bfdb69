"""Deletion: preconditions, finalizers, grace, propagation.

Spec: Kubernetes API conventions, "Finalizers"; API reference, DeleteOptions. The garbage collector
(a controller) does the work behind the finalizers that are set here.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from hatoba.cluster.api.documents import clone
from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.requests import Deletion
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import ObjectConflict, ObjectNotFound
from hatoba.cluster.api.store import Key, Store
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.json import JsonObject

_GARBAGE: Final = {"Orphan": "orphan", "Foreground": "foregroundDeletion"}


def is_finished(obj: JsonObject) -> bool:
    """Whether an object that is being deleted has nothing left to wait for."""
    metadata = obj["metadata"]
    if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
        return False
    if metadata.get("deletionGracePeriodSeconds"):
        return False
    return not (obj.get("kind") == "Namespace" and obj.get("spec", {}).get("finalizers"))


class Remover:
    """Deletes objects."""

    def __init__(self, store: Store, *, registry: Registry, clock: Clock) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock

    def delete(
        self, resource: Resource, key: Key, *, deletion: Deletion
    ) -> tuple[JsonObject, bool]:
        """Delete, or begin to; return the last known state and whether the object is gone.

        Raises:
            StatusError: not found, a precondition failed, or the object must stay.
        """
        obj = self._store.get(key)
        if obj is None:
            raise ObjectNotFound.named(resource.about(key.name))
        self._check(resource, obj, deletion)
        strategy = self._registry.strategy(resource)
        if deletion.propagation is None and not obj["metadata"].get("deletionTimestamp"):
            deletion = replace(deletion, propagation=strategy.default_propagation())
        strategy.admit_delete(obj, self._store)
        marked = clone(obj)
        metadata = marked["metadata"]
        grace = strategy.grace_seconds(obj, deletion.grace_seconds)
        stays = strategy.begins_deletion(marked)
        finalizers = _finalizers(metadata.get("finalizers", []), deletion)
        if finalizers:
            metadata["finalizers"] = finalizers
        else:
            metadata.pop("finalizers", None)
        if not (finalizers or grace or stays):
            if strategy.is_graceful:
                self._mark(metadata, 0)
            return self._end(key, marked, deletion), True
        self._mark(metadata, None if stays else grace)
        if is_finished(marked):
            return self._end(key, marked, deletion), True
        if deletion.dry_run or marked == obj:
            return marked, False
        return self._store.put(key, marked), False

    def _end(self, key: Key, marked: JsonObject, deletion: Deletion) -> JsonObject:
        if not deletion.dry_run:
            self._store.remove(key)
        return marked

    def _mark(self, metadata: JsonObject, grace: int | None) -> None:
        if grace is None:
            # Namespaces and CRDs say nothing of grace: their own controllers end them.
            metadata.setdefault("deletionTimestamp", rfc3339(self._clock.now()))
            return
        if not metadata.get("deletionTimestamp"):
            moment = self._clock.now() + timedelta(seconds=grace)
            metadata["deletionTimestamp"] = rfc3339(moment)
            metadata["deletionGracePeriodSeconds"] = grace
            if "generation" in metadata:
                metadata["generation"] += 1
            return
        before = metadata.get("deletionGracePeriodSeconds", 0)
        if grace < before:
            # A shorter period counts from the moment at which deletion was first asked for.
            metadata["deletionGracePeriodSeconds"] = grace
            metadata["deletionTimestamp"] = rfc3339(self._clock.now() + timedelta(seconds=grace))

    @staticmethod
    def _check(resource: Resource, obj: JsonObject, deletion: Deletion) -> None:
        metadata = obj["metadata"]
        about = resource.about_kind(metadata["name"])
        for word, asked, found in (
            ("UID", deletion.uid, metadata["uid"]),
            ("ResourceVersion", deletion.resource_version, metadata["resourceVersion"]),
        ):
            if asked is not None and asked != found:
                raise ObjectConflict.cannot(
                    about,
                    f"the {word} in the precondition ({asked}) does not match the {word} in record"
                    f" ({found}). The object might have been modified",
                )


def _finalizers(present: list[str], deletion: Deletion) -> list[str]:
    if deletion.propagation is None:
        return present
    wanted = _GARBAGE.get(deletion.propagation)
    kept = [name for name in present if name not in _GARBAGE.values() or name == wanted]
    if wanted and wanted not in kept:
        kept.append(wanted)
    return kept
