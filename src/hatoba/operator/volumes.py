"""Decide how large the volumes of a registry are, and of which class. Pure.

A claim that is there counts more than what the operator would make today: it can grow where its
StorageClass lets it, and never shrinks; its class is chosen once:
another one takes another claim. What is not asked for stays as it
is, so that an override that is taken out again changes no volume.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from hatoba.kernel.json import JsonObject
from hatoba.kernel.quantities import amount, canonical
from hatoba.operator import names
from hatoba.operator.datastores import DataStore
from hatoba.operator.landscape import StorageClass, Volume
from hatoba.operator.model import DATA_STORE, Owned, Reason, RolloutBlocked
from hatoba.operator.overrides import NOTHING, Overrides

DEFAULT_SIZE: Final = "50Gi"
SCRATCH_SIZE: Final = "20Gi"
_DATABASES: Final = {"quay-database": "postgres", "clair-postgres": "clairpostgres"}
_CLAIM: Final = "PersistentVolumeClaim"


@dataclass(slots=True, frozen=True, kw_only=True)
class _Wish:
    """What is asked of one claim, and where that stands."""

    size: str | None
    storage_class: str | None
    where_size: str
    where_class: str
    measured: bool = False
    """Whether it is found out that the data fits into less than there is, before it moves."""


def wanted_volumes(
    registry: JsonObject,
    overrides: Mapping[str, Overrides],
    *,
    owned: Owned,
    classes: tuple[StorageClass, ...],
    stores: Mapping[str, DataStore],
) -> dict[str, Volume]:
    """Return the volumes by the name of their claims without the registry's prefix.

    Raises:
        RolloutBlocked: a volume would have to shrink, to grow where it cannot, or to be of a class
            that is not there.
    """
    metadata = registry["metadata"]
    scratch = overrides.get("clair", NOTHING).volume_size
    if scratch is not None:
        _check_shrink(SCRATCH_SIZE, scratch, where="volumeSize of clair in spec.components")
    found = {}
    for suffix, wish in _wishes(metadata, overrides).items():
        if wish.size is not None and suffix in _DATABASES:
            _check_shrink(DEFAULT_SIZE, wish.size, where=wish.where_size)
        store = stores.get(suffix, DataStore(claim=suffix, image=""))
        live = owned.get(_CLAIM, f"{metadata['name']}-{store.claim}")
        if live is None or is_empty(live):
            found[store.claim] = Volume(
                size=wish.size or DEFAULT_SIZE, storage_class=wish.storage_class
            )
        else:
            found |= _of_store(live, wish, store, classes)
        for kept in store.kept:
            if (old := owned.get(_CLAIM, f"{metadata['name']}-{kept}")) is not None:
                found[kept] = _as_it_is(old)
    return found


def _of_store(
    live: JsonObject, wish: _Wish, store: DataStore, classes: tuple[StorageClass, ...]
) -> dict[str, Volume]:
    """Return the volumes of what is there already, which can move to one of another class."""
    present = live["spec"].get("storageClassName")
    if wish.storage_class not in (None, present):
        _check_class(str(wish.storage_class), classes, where=wish.where_class)
    if store.move is None:
        return {store.claim: _beside(live, wish, classes)}
    if wish.size is not None and not wish.measured:
        _check_shrink(requested(live), wish.size, where=wish.where_size)
    wanted = Volume(size=wish.size or requested(live), storage_class=wish.storage_class or present)
    return {store.claim: _as_it_is(live), store.move.claim: wanted}


def _as_it_is(live: JsonObject) -> Volume:
    present = live["spec"].get("storageClassName")
    return Volume(size=requested(live), storage_class=present if class_is_ours(live) else None)


def _check_class(wanted: str, known: tuple[StorageClass, ...], *, where: str) -> None:
    """Refuse to begin a move to a volume that cannot be had."""
    names_known = [one.name for one in known]
    if names_known and wanted not in names_known:
        raise RolloutBlocked(
            Reason.OVERRIDE_INVALID,
            f"invalid overrides: there is no StorageClass {wanted}",
            step=f"create it, or set {where} to one of {', '.join(names_known)}",
        )


def _wishes(metadata: JsonObject, overrides: Mapping[str, Overrides]) -> dict[str, _Wish]:
    found = {}
    for suffix, kind in _DATABASES.items():
        asked = overrides.get(kind, NOTHING)
        found[suffix] = _Wish(
            size=asked.volume_size,
            storage_class=asked.storage_class,
            where_size=f"volumeSize of {kind} in spec.components",
            where_class=f"storageClassName of {kind} in spec.components",
        )
    annotations = metadata.get("annotations") or {}
    found[DATA_STORE] = _Wish(
        size=_annotated_size(annotations.get(names.DATA_STORE_SIZE_ANNOTATION)),
        storage_class=annotations.get(names.DATA_STORE_CLASS_ANNOTATION),
        where_size=f"the annotation {names.DATA_STORE_SIZE_ANNOTATION}",
        where_class=f"the annotation {names.DATA_STORE_CLASS_ANNOTATION}",
        measured=True,
    )
    return found


def _annotated_size(given: str | None) -> str | None:
    if given is None:
        return None
    try:
        found = amount(given)
    except ValueError as error:
        raise _bad_size(str(error)) from error
    if found <= 0:
        raise _bad_size(f"`{given}` is no size")
    # As it comes back from the API: written otherwise, it would seem changed in every pass.
    return canonical(given)


def _bad_size(told: str) -> RolloutBlocked:
    return RolloutBlocked(
        Reason.OVERRIDE_INVALID,
        f"the annotation {names.DATA_STORE_SIZE_ANNOTATION} cannot be followed, {told}",
        step="write a quantity such as 100Gi",
    )


def _beside(live: JsonObject, wish: _Wish, classes: tuple[StorageClass, ...]) -> Volume:
    """Return what a claim with a volume becomes."""
    there = requested(live)
    size = there
    if wish.size is not None and amount(wish.size) != amount(there):
        _check_shrink(there, wish.size, where=wish.where_size)
        size = wish.size
        _check_growth(live, wish, there=there, classes=classes)
    # Given up, a class that was asked for would be taken from the claim, which cannot be.
    return replace(_as_it_is(live), size=size)


def _check_shrink(present: str, wanted: str, *, where: str) -> None:
    if amount(wanted) < amount(present):
        raise RolloutBlocked(
            Reason.CREATION_FAILED,
            "could not inflate QuayRegistry into Kubernetes objects: cannot shrink volume override "
            f"size from {present} to {wanted}",
            step=f"set {where} to {present} or more",
        )


def _check_growth(
    live: JsonObject, wish: _Wish, *, there: str, classes: tuple[StorageClass, ...]
) -> None:
    """Refuse what the cluster would refuse, or leave undone for ever."""
    name, used = live["metadata"]["name"], live["spec"].get("storageClassName") or ""
    found = next((one for one in classes if one.name == used), None)
    if found is None and classes:
        reason = f"its StorageClass {used} is gone" if used else "it has no StorageClass"
    elif found is not None and not found.expands:
        reason = f"its StorageClass {used} does not allow volume expansion"
    else:
        return
    raise RolloutBlocked(
        Reason.OVERRIDE_INVALID,
        f"invalid overrides: {_CLAIM} {name} cannot grow from {there} to {wish.size}: {reason}",
        step=f"set allowVolumeExpansion: true in StorageClass {used or 'of the volume'} if its "
        f"storage can grow, or set {wish.where_size} to {there}",
    )


def growth_of(owned: Owned, claim: JsonObject) -> str:
    """Say how far a claim is whose volume is smaller than asked for; "" when there is none."""
    name, state = claim["metadata"]["name"], claim.get("status", {})
    present = str((state.get("capacity") or {}).get("storage") or "")
    if not present or amount(present) >= amount(requested(claim)):
        return ""
    said = f"{_CLAIM} {name} grows from {present} to {requested(claim)}"
    if told := owned.told_about(_CLAIM, name, ("VolumeResizeFailed", "FileSystemResizeFailed")):
        return f"{said} and cannot yet ({told.rstrip('.')})"
    conditions = {found["type"] for found in state.get("conditions") or []}
    if "FileSystemResizePending" in conditions:
        return f"{said} when its pod starts again"
    return said


def requested(claim: JsonObject) -> str:
    """Return the size that a claim asks for."""
    requests = (claim.get("spec", {}).get("resources") or {}).get("requests") or {}
    return str(requests.get("storage", DEFAULT_SIZE))


def is_empty(claim: JsonObject) -> bool:
    """Tell whether a claim has no volume, and so holds nothing."""
    return claim.get("status", {}).get("phase") not in ("Bound", "Lost")


def is_other(wanted: JsonObject, live: JsonObject) -> bool:
    """Tell whether a claim differs in what cannot be changed while it has no volume."""
    there, asked = live.get("spec", {}), wanted["spec"]
    chosen = asked.get("storageClassName")
    return bool(
        asked["accessModes"] != there.get("accessModes")
        or amount(requested(wanted)) != amount(requested(live))
        or (class_is_ours(live) if chosen is None else chosen != there.get("storageClassName"))
    )


def class_is_ours(claim: JsonObject) -> bool:
    """Tell whether the operator has chosen the claim's class, and not the cluster."""
    return names.CLASS_ANNOTATION in (claim["metadata"].get("annotations") or {})
