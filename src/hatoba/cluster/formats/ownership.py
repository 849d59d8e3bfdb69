"""Who set which field: `metadata.managedFields`, and keeping it true on ordinary writes.

Spec: Kubernetes "Server-Side Apply", field management. An entry is a manager, an operation, an API
version and a subresource, with the fields it owns. Applying is in `apply`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal

from hatoba.cluster.formats.blanks import blank
from hatoba.cluster.formats.fieldsets import EMPTY, Path, PathSet, decode, encode
from hatoba.cluster.formats.schema import Schema
from hatoba.cluster.formats.typed import Difference, compare
from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject, JsonValue

Operation = Literal["Apply", "Update"]
SCALE: Final = "scale"
BEFORE_FIRST_APPLY: Final = "before-first-apply"
_UNOWNED: Final[frozenset[Path]] = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "clusterName",
            "generation",
            "managedFields",
            "resourceVersion",
        )
    }
)


@dataclass(slots=True, frozen=True, kw_only=True)
class Writer:
    """Who writes, through what, and when."""

    manager: str
    api_version: str
    now: datetime
    subresource: str = ""


@dataclass(slots=True, frozen=True, kw_only=True)
class Owner:
    """The identity of an entry; appliers are the same owner in every API version."""

    manager: str
    operation: Operation
    subresource: str = ""
    api_version: str = ""

    @property
    def title(self) -> str:
        """How a conflict names the owner."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(slots=True, frozen=True, kw_only=True)
class Entry:
    """What an owner owns."""

    fields: PathSet
    api_version: str
    time: str | None = None


Managed = dict[Owner, Entry]


def applier(writer: Writer) -> Owner:
    """Return the owner that a writer is when applying."""
    return Owner(manager=writer.manager, operation="Apply", subresource=writer.subresource)


def updater(writer: Writer) -> Owner:
    """Return the owner that a writer is when writing otherwise."""
    return Owner(
        manager=writer.manager,
        operation="Update",
        subresource=writer.subresource,
        api_version=writer.api_version,
    )


def read_managed(obj: JsonObject | None) -> Managed:
    """Return the entries of an object; entries that cannot be understood are none at all."""
    entries = ((obj or {}).get("metadata") or {}).get("managedFields") or []
    if not all(entry.get("operation") in {"Apply", "Update"} for entry in entries):
        return {}
    found: Managed = {}
    for entry in entries:
        operation: Operation = entry["operation"]
        version = entry.get("apiVersion", "")
        owner = Owner(
            manager=entry.get("manager", ""),
            operation=operation,
            subresource=entry.get("subresource", ""),
            api_version=version if operation == "Update" else "",
        )
        found[owner] = Entry(
            fields=decode(entry.get("fieldsV1") or {}),
            api_version=version,
            time=entry.get("time"),
        )
    return found


def write_managed(obj: JsonObject, managed: Managed) -> JsonObject:
    """Return the object with these entries, in the order in which servers list them."""
    metadata = {k: v for k, v in obj.get("metadata", {}).items() if k != "managedFields"}
    if managed:
        ordered = sorted(managed.items(), key=lambda item: _rank(*item))
        metadata["managedFields"] = [_encoded(owner, entry) for owner, entry in ordered]
    return {**obj, "metadata": metadata}


def _rank(owner: Owner, entry: Entry) -> tuple[str, ...]:
    version = entry.api_version
    return (owner.operation, entry.time or "", owner.manager, version, owner.subresource)


def _encoded(owner: Owner, entry: Entry) -> JsonObject:
    encoded: JsonObject = {
        "manager": owner.manager,
        "operation": owner.operation,
        "apiVersion": entry.api_version,
    }
    if entry.time is not None:
        encoded["time"] = entry.time
    encoded["fieldsType"] = "FieldsV1"
    encoded["fieldsV1"] = encode(entry.fields)
    if owner.subresource:
        encoded["subresource"] = owner.subresource
    return encoded


def bare(obj: JsonObject) -> JsonObject:
    """Return the object without its managedFields."""
    return write_managed(obj, {})


def settled(managed: Mapping[Owner, Entry]) -> Managed:
    """Return the entries without what nobody owns, and without those that own nothing."""
    found = {
        owner: replace(entry, fields=entry.fields - _UNOWNED) for owner, entry in managed.items()
    }
    return {owner: entry for owner, entry in found.items() if entry.fields}


def yielded(managed: Managed, change: Difference, *, to: Owner | None) -> Managed:
    """Return the entries after a change: all owners but one lose what it changed."""
    taken = change.added | change.modified | change.removed
    return {
        owner: entry if owner == to else replace(entry, fields=entry.fields - taken)
        for owner, entry in managed.items()
    }


def track_update(
    before: JsonObject | None, after: JsonObject, *, schema: Schema, writer: Writer
) -> JsonObject:
    """Return `after` with ownership brought up to date with what the write changed.

    An existing object without any entries stays so, as on a real server: its owner asked for it by
    sending `managedFields: [{}]`.
    """
    managed = _entries_for(before, after, writer)
    if not managed and before is not None and before.get("metadata", {}).get("uid"):
        return bare(after)
    change = compare(bare(before or blank(after)), bare(after), schema)
    managed = settled(yielded(managed, change, to=None))
    own = (change.added | change.modified) - _UNOWNED
    if writer.subresource == SCALE:
        own = frozenset(path for path in own if _value_at(after, path) != 0)
    if own:
        owner = updater(writer)
        previous = managed[owner].fields if owner in managed else EMPTY
        managed[owner] = Entry(
            fields=previous | own, api_version=writer.api_version, time=time_of(writer)
        )
    return write_managed(after, managed)


def time_of(writer: Writer) -> str | None:
    """Return the timestamp of what a writer writes; through scale there is none."""
    return None if writer.subresource == SCALE else rfc3339(writer.now)


def _value_at(obj: JsonObject, path: Path) -> JsonValue:
    """Return what stands at a path of members.

    A Scale of zero says nothing, so whoever scales to it owns nothing.
    """
    found: JsonValue = obj
    for step in path:
        found = found.get(step.removeprefix("f:")) if isinstance(found, dict) else None
    return found


def _entries_for(before: JsonObject | None, after: JsonObject, writer: Writer) -> Managed:
    """Return the entries that a write starts from: those it sends, else the live ones."""
    if writer.subresource:
        return read_managed(before)
    if after.get("metadata", {}).get("managedFields") == [{}]:
        return {}
    return read_managed(after) or read_managed(before)
