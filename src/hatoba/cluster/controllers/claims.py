"""PersistentVolumeClaims: each gets a volume, which here is a directory.

The class `standard` is the default one and makes a directory per claim, at once. Its path lies
below the cluster's state; the kubelet creates the directory when the first pod mounts it, and it
is removed together with the volume. Sizes are recorded, not enforced; any access mode will do, as
every pod runs on this machine. Hand-made volumes are bound when class, modes and size fit.
"""

import asyncio
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
from typing_extensions import override

from hatoba.cluster.controllers import quantities
from hatoba.cluster.controllers.pods import is_finished
from hatoba.cluster.controllers.runtime import Controller, Keys
from hatoba.cluster.controllers.selectors import matches
from hatoba.cluster.controllers.values import (
    Key,
    annotations_of,
    created_at,
    finalizers_of,
    is_deleting,
    key_of,
    labels_of,
    name_of,
    spec_of,
    status_of,
    thawed,
    uid_of,
)
from hatoba.cluster.objects import CLAIMS, PODS, VOLUMES, ResourceName
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.errors import Conflict, NotFound
from hatoba.kernel.json import JsonObject

log = structlog.get_logger()

STORAGE_CLASSES: Final = ResourceName("storageclasses", "storage.k8s.io")
STANDARD: Final = "standard"
PROVISIONER: Final = "hatoba.dev/directory"
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
_PROVISIONED_BY: Final = "pv.kubernetes.io/provisioned-by"
_BY_CONTROLLER: Final = "pv.kubernetes.io/bound-by-controller"
_COMPLETED: Final = "pv.kubernetes.io/bind-completed"
_CLAIM_PROTECTION: Final = "kubernetes.io/pvc-protection"
_VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"


def standard_class() -> JsonObject:
    """Return the StorageClass that every cluster has."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STANDARD, "annotations": {DEFAULT_CLASS: "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    }


def fits(volume: JsonObject, claim: JsonObject) -> bool:
    """Whether a free volume can serve a claim."""
    offered, wanted = spec_of(volume), spec_of(claim)
    reference = offered.get("claimRef")
    if reference:
        same = (reference.get("namespace", ""), reference.get("name")) == key_of(claim)
        return same and reference.get("uid") in {None, "", uid_of(claim)}
    if wanted.get("volumeName") not in {None, "", name_of(volume)}:
        return False
    selector = wanted.get("selector")
    return (
        (offered.get("storageClassName") or "") == (wanted.get("storageClassName") or "")
        and offered.get("volumeMode", "Filesystem") == wanted.get("volumeMode", "Filesystem")
        and set(wanted.get("accessModes") or ()) <= set(offered.get("accessModes") or ())
        and _size(offered.get("capacity")) >= _size((wanted.get("resources") or {}).get("requests"))
        and (not selector or matches(selector, labels_of(volume)))
        and not is_deleting(volume)
    )


def _size(resources: JsonObject | None) -> float:
    return float(quantities.parse((resources or {}).get("storage", 0)))


class ClaimController(Controller):
    """Binds claims, makes volumes for them and removes these again."""

    name = "persistentvolume-controller"

    @override
    def sources(self) -> Mapping[ResourceName, Keys]:
        return {
            CLAIMS: self._of_claim,
            VOLUMES: self._of_volume,
            STORAGE_CLASSES: lambda _: self._unbound(),
            PODS: self._of_pod,
        }

    @override
    async def prepare(self) -> None:
        if self.cache(STORAGE_CLASSES).get(Key("", STANDARD)) is None:
            with suppress(Conflict):
                await self.client.create(STORAGE_CLASSES, standard_class())

    def _of_claim(self, claim: JsonObject) -> Iterable[Key]:
        volume = spec_of(claim).get("volumeName")
        return (key_of(claim), Key("", volume)) if volume else (key_of(claim),)

    def _of_volume(self, volume: JsonObject) -> Iterable[Key]:
        reference = spec_of(volume).get("claimRef")
        mine = key_of(volume)
        if reference:
            return (mine, Key(reference.get("namespace", ""), reference["name"]))
        return (mine, *self._unbound())

    def _unbound(self) -> list[Key]:
        return [
            key_of(claim)
            for claim in self.cache(CLAIMS).items()
            if status_of(claim).get("phase") != "Bound"
        ]

    def _of_pod(self, pod: JsonObject) -> Iterable[Key]:
        namespace = key_of(pod).namespace
        return [Key(namespace, name) for name in _claimed_by(pod)]

    @override
    async def reconcile(self, key: Key) -> float | None:
        if not key.namespace:
            await self._settle_volume(key)
            return None
        claim = self.cache(CLAIMS).get(key)
        if claim is None:
            return None
        if is_deleting(claim):
            await self._let_go(claim)
        elif status_of(claim).get("phase") != "Bound":
            await self._bind(claim)
        return None

    async def _let_go(self, claim: JsonObject) -> None:
        finalizers = finalizers_of(claim)
        if _CLAIM_PROTECTION not in finalizers or self._is_used(claim):
            return
        finalizers.remove(_CLAIM_PROTECTION)
        await self.client.set_finalizers(CLAIMS, claim, finalizers)

    def _is_used(self, claim: JsonObject) -> bool:
        # A pod that never got a node holds nothing yet.
        return any(
            name_of(claim) in _claimed_by(pod)
            and bool(spec_of(pod).get("nodeName"))
            and not is_finished(pod)
            for pod in self.cache(PODS).items(key_of(claim).namespace)
        )

    async def _bind(self, claim: JsonObject) -> None:
        claim = await self._with_default_class(claim)
        volume = self._volume_for(claim) or await self._provision(claim)
        if volume is None:
            if status_of(claim).get("phase") != "Pending":
                await self.client.update_status(
                    CLAIMS, claim, {**status_of(claim), "phase": "Pending"}
                )
            return
        volume = await self._bind_volume(volume, claim)
        bound = thawed(claim)
        bound["spec"]["volumeName"] = name_of(volume)
        annotations = bound["metadata"].setdefault("annotations", {})
        annotations |= {_COMPLETED: "yes"}
        if not spec_of(claim).get("volumeName"):
            annotations |= {_BY_CONTROLLER: "yes"}
        bound = await self.client.update(CLAIMS, bound)
        await self.client.update_status(
            CLAIMS,
            bound,
            {
                **status_of(bound),
                "phase": "Bound",
                "accessModes": spec_of(volume)["accessModes"],
                "capacity": spec_of(volume)["capacity"],
            },
        )

    async def _with_default_class(self, claim: JsonObject) -> JsonObject:
        if spec_of(claim).get("storageClassName") is not None:
            return claim
        classes = [
            item
            for item in self.cache(STORAGE_CLASSES).items()
            if annotations_of(item).get(DEFAULT_CLASS) == "true"
        ]
        if not classes:
            return claim
        changed = thawed(claim)
        changed["spec"]["storageClassName"] = name_of(max(classes, key=created_at))
        return await self.client.update(CLAIMS, changed)

    def _volume_for(self, claim: JsonObject) -> JsonObject | None:
        volumes = [item for item in self.cache(VOLUMES).items() if fits(item, claim)]
        reserved = [item for item in volumes if spec_of(item).get("claimRef")]
        smallest = sorted(volumes, key=lambda item: _size(spec_of(item).get("capacity")))
        return next(iter(reserved or smallest), None)

    async def _provision(self, claim: JsonObject) -> JsonObject | None:
        wanted = spec_of(claim).get("storageClassName")
        if spec_of(claim).get("volumeName"):
            return None
        if not wanted:
            self._refuse(
                claim,
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
            )
            return None
        storage = self.cache(STORAGE_CLASSES).get(Key("", wanted))
        if storage is None:
            self.recorder.warning(
                claim, "ProvisioningFailed", f'storageclass.storage.k8s.io "{wanted}" not found'
            )
            return None
        if storage["provisioner"] != PROVISIONER:
            if storage.get("volumeBindingMode") == "WaitForFirstConsumer":
                text = "waiting for first consumer to be created before binding"
                self._refuse(claim, "WaitForFirstConsumer", text)
            else:
                text = (
                    "Waiting for a volume to be created either by the external provisioner "
                    f"'{storage['provisioner']}' or manually by the system administrator. If "
                    "volume creation is delayed, please verify that the provisioner is running "
                    "and correctly registered."
                )
                self._refuse(claim, "ExternalProvisioning", text)
            return None
        volume = provisioned(claim, storage, self.settings.volumes)
        try:
            volume = await self.client.create(VOLUMES, volume)
        except Conflict:
            return await self.client.read(VOLUMES, key_of(volume))
        self.recorder.normal(
            claim, "ProvisioningSucceeded", f"Successfully provisioned volume {name_of(volume)}"
        )
        return volume

    def _refuse(self, claim: JsonObject, reason: str, message: str) -> None:
        self.recorder.normal(claim, reason, message)

    async def _bind_volume(self, volume: JsonObject, claim: JsonObject) -> JsonObject:
        reference = spec_of(volume).get("claimRef") or {}
        if reference.get("uid") != uid_of(claim):
            changed = thawed(volume)
            changed["spec"]["claimRef"] = _reference(claim)
            if not reference:
                changed["metadata"].setdefault("annotations", {})[_BY_CONTROLLER] = "yes"
            volume = await self.client.update(VOLUMES, changed)
        return await self._set_phase(volume, "Bound")

    async def _set_phase(self, volume: JsonObject, phase: str) -> JsonObject:
        if status_of(volume).get("phase") == phase:
            return volume
        status = {"phase": phase, "lastPhaseTransitionTime": rfc3339(self.clock.now())}
        return await self.client.update_status(VOLUMES, volume, status)

    async def _settle_volume(self, key: Key) -> None:
        volume = self.cache(VOLUMES).get(key)
        if volume is None:
            return
        reference = spec_of(volume).get("claimRef")
        if not reference or not reference.get("uid"):
            if is_deleting(volume):
                await self._unprotect(volume)
            else:
                await self._set_phase(volume, "Available")
            return
        claim = await self.client.read(
            CLAIMS, Key(reference.get("namespace", ""), reference["name"])
        )
        if claim is not None and uid_of(claim) == reference["uid"]:
            return
        if spec_of(volume).get("persistentVolumeReclaimPolicy") == "Delete" or is_deleting(volume):
            await self._remove(volume)
        else:
            await self._set_phase(volume, "Released")

    async def _remove(self, volume: JsonObject) -> None:
        if annotations_of(volume).get(_PROVISIONED_BY) == PROVISIONER:
            await self._remove_directory(volume)
        volume = await self._set_phase(volume, "Released")
        if not is_deleting(volume):
            with suppress(NotFound):
                await self.client.delete(VOLUMES, volume)
        present = await self.client.read(VOLUMES, key_of(volume))
        if present is not None and is_deleting(present):
            await self._unprotect(present)

    async def _remove_directory(self, volume: JsonObject) -> None:
        path = Path(spec_of(volume)["hostPath"]["path"])
        if path.parent != self.settings.volumes:
            # Somebody edited the object: only what was made here is removed here.
            log.warning("volume.foreign_path", volume=name_of(volume), path=str(path))
            return
        with suppress(FileNotFoundError):
            await asyncio.to_thread(shutil.rmtree, path)

    async def _unprotect(self, volume: JsonObject) -> None:
        finalizers = finalizers_of(volume)
        if _VOLUME_PROTECTION in finalizers:
            finalizers.remove(_VOLUME_PROTECTION)
            await self.client.set_finalizers(VOLUMES, volume, finalizers)


def provisioned(claim: JsonObject, storage: JsonObject, directory: Path) -> JsonObject:
    """Return the volume that is made for a claim."""
    key, uid, wanted = key_of(claim), uid_of(claim), spec_of(claim)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": f"pvc-{uid}",
            "annotations": {_PROVISIONED_BY: PROVISIONER},
            "finalizers": [_VOLUME_PROTECTION],
        },
        "spec": {
            "capacity": {"storage": wanted["resources"]["requests"]["storage"]},
            "accessModes": list(wanted["accessModes"]),
            "claimRef": _reference(claim),
            "hostPath": {
                "path": str(directory / f"{key.namespace}_{key.name}_{uid}"),
                "type": "DirectoryOrCreate",
            },
            "persistentVolumeReclaimPolicy": storage.get("reclaimPolicy", "Delete"),
            "storageClassName": name_of(storage),
            "volumeMode": wanted.get("volumeMode", "Filesystem"),
        },
    }


def _reference(claim: JsonObject) -> JsonObject:
    meta = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "resourceVersion": meta["resourceVersion"],
    }


def _claimed_by(pod: JsonObject) -> set[str]:
    return {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in spec_of(pod).get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    }
