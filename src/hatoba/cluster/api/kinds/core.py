"""Rules of namespaces, claims and volumes."""

from typing import Final

from typing_extensions import override

from hatoba.cluster.api.documents import reach, restore
from hatoba.cluster.api.metadata import forbidden, required, unsupported
from hatoba.cluster.api.status import Cause, Refused
from hatoba.cluster.api.store import Store
from hatoba.cluster.api.strategy import Strategy
from hatoba.cluster.objects import ResourceName
from hatoba.kernel.json import JsonObject

STORAGE_CLASSES: Final = ResourceName("storageclasses", "storage.k8s.io")
_ACCESS_MODES: Final = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_CLAIM_FROZEN: Final = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for"
    " bound claims"
)
_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
PROTECTED_NAMESPACES: Final = frozenset({"default", "kube-system", "kube-public"})


class NamespaceRules(Strategy):
    """Namespaces are emptied by a controller before they go."""

    @override
    def initial_status(self) -> JsonObject:
        return {"phase": "Active"}

    @override
    def default(self, obj: JsonObject) -> None:
        metadata = obj["metadata"]
        if name := metadata.get("name"):
            metadata["labels"] = {
                **(metadata.get("labels") or {}),
                "kubernetes.io/metadata.name": name,
            }

    @override
    def prepare_create(self, obj: JsonObject) -> None:
        super().prepare_create(obj)
        spec = obj.setdefault("spec", {})
        finalizers = [name for name in spec.get("finalizers", []) if name != "kubernetes"]
        spec["finalizers"] = [*finalizers, "kubernetes"]

    @override
    def prepare_update(self, new: JsonObject, old: JsonObject, *, subresource: str = "") -> None:
        if subresource != "finalize":
            new["spec"] = dict(old.get("spec", {}))
        super().prepare_update(new, old, subresource=subresource)

    @override
    def admit_delete(self, obj: JsonObject, store: Store) -> None:
        name = obj["metadata"]["name"]
        if name in PROTECTED_NAMESPACES:
            about = self.resource.about(name)
            raise Refused(
                f"{about.title} is forbidden: this namespace may not be deleted", about=about
            )

    @override
    def begins_deletion(self, obj: JsonObject) -> bool:
        obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
        return bool(obj.get("spec", {}).get("finalizers"))


class ClaimRules(Strategy):
    """Claims are protected while a pod uses them."""

    @override
    def initial_status(self) -> JsonObject:
        return {"phase": "Pending"}

    @override
    def default(self, obj: JsonObject) -> None:
        obj.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")

    @override
    def admit_create(self, obj: JsonObject, store: Store) -> None:
        _protect(obj, "kubernetes.io/pvc-protection")
        spec = obj["spec"]
        if spec.get("storageClassName") is None and not spec.get("volumeName"):
            for storage_class in store.members(STORAGE_CLASSES, None):
                annotations = storage_class["metadata"].get("annotations") or {}
                if annotations.get(_DEFAULT_CLASS) == "true":
                    spec["storageClassName"] = storage_class["metadata"]["name"]

    @override
    def validate(self, obj: JsonObject) -> list[Cause]:
        spec = obj["spec"]
        modes = spec.get("accessModes") or []
        causes = (
            [] if modes else [required("spec.accessModes", "at least 1 access mode is required")]
        )
        causes += [
            unsupported("spec.accessModes", mode, _ACCESS_MODES)
            for mode in modes
            if mode not in _ACCESS_MODES
        ]
        if not reach(spec, "resources", "requests", "storage"):
            causes.append(required("spec.resources[storage]"))
        return causes

    @override
    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        causes = self.validate(new)
        if _frozen(new, old) != _frozen(old, old):
            causes.append(forbidden("spec", _CLAIM_FROZEN))
        return causes


def _frozen(new: JsonObject, old: JsonObject) -> JsonObject:
    spec = dict(new["spec"])
    if not old["spec"].get("volumeName"):
        restore(spec, old["spec"], "volumeName")
    if old["spec"].get("storageClassName") is None:
        spec.pop("storageClassName", None)
    spec.pop("volumeAttributesClassName", None)
    if reach(old, "status", "phase") == "Bound":
        spec.pop("resources", None)
    return spec


class VolumeRules(Strategy):
    """Volumes are protected while a claim is bound to them."""

    @override
    def initial_status(self) -> JsonObject:
        return {"phase": "Pending"}

    @override
    def default(self, obj: JsonObject) -> None:
        spec = obj.setdefault("spec", {})
        spec.setdefault("volumeMode", "Filesystem")
        if spec.get("hostPath") is not None:
            spec["hostPath"].setdefault("type", "")
        spec.setdefault("persistentVolumeReclaimPolicy", "Retain")

    @override
    def admit_create(self, obj: JsonObject, store: Store) -> None:
        _protect(obj, "kubernetes.io/pv-protection")


def _protect(obj: JsonObject, finalizer: str) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)
