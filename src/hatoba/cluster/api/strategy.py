"""What differs between kinds when an object is written.

`verbs` tells the story of a write; a `Strategy` fills in its kind's part: defaults, what a client
may not set, what is valid, what may not change. The rules of single kinds live in `kinds`.
"""

from typing import Final

from hatoba.cluster.api.decoding import check_types, drop_nulls, drop_unknown
from hatoba.cluster.api.documents import clone, restore
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.scale import ScaleView
from hatoba.cluster.api.status import Cause
from hatoba.cluster.api.store import Store
from hatoba.cluster.formats.schema import Schema, UnknownSchema, builtin
from hatoba.cluster.objects import Propagation
from hatoba.kernel.json import JsonObject

_META: Final = ("apiVersion", "kind", "metadata", "status")


# ruff: noqa: ARG002 -- hooks: each kind uses those of their parameters that it needs


class Strategy:
    """The rules that hold for a kind unless its own class says otherwise."""

    is_graceful = False
    """Whether an object that is deleted at once still says since when."""
    takes_unversioned_updates = True
    """Whether a PUT without resourceVersion overwrites (built-ins) or is refused (CRs)."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource

    @property
    def splits_status(self) -> bool:
        """Whether `status` can only be written through its subresource."""
        return "status" in self.resource.subresources

    def decode(self, obj: JsonObject) -> list[str]:
        """Drop what the schema does not know, in place, and return its paths.

        Raises:
            BadRequest: a value has a type that the schema excludes.
        """
        schema = self.schema_of_objects()
        if schema is None:
            return []
        resource = self.resource
        check_types(obj, schema.raw, kind=resource.kind, version=resource.storage_version)
        drop_nulls(obj)
        return [f'unknown field "{path}"' for path in drop_unknown(obj, schema)]

    def schema_of_objects(self) -> Schema | None:
        """Return the schema of the kind; None where none is known."""
        resource = self.resource
        try:
            return builtin(resource.storage.group, resource.storage_version, resource.kind)
        except UnknownSchema:
            return None

    def default(self, obj: JsonObject) -> None:
        """Fill in defaults, in place."""

    def admit_create(self, obj: JsonObject, store: Store) -> None:
        """Check a new object against others, and fill in what comes from them."""

    def admit_update(self, new: JsonObject, old: JsonObject, store: Store) -> None:
        """Check a change against other objects, and fill in what comes from them."""

    def admit_delete(self, obj: JsonObject, store: Store) -> None:
        """Refuse to delete what must stay."""

    def grace_seconds(self, obj: JsonObject, asked: int | None) -> int:
        """Return how long the object lives on after its deletion was asked for."""
        return 0

    def scale_view(self) -> ScaleView:
        """Return how the scale is read and written."""
        return ScaleView()

    def begins_deletion(self, obj: JsonObject) -> bool:
        """Mark a deletion in the object itself; whether it has to stay for somebody's work."""
        return False

    def prepare_create(self, obj: JsonObject) -> None:
        """Drop what a creator may not set."""
        if self.splits_status:
            obj.pop("status", None)
            if (initial := self.initial_status()) is not None:
                obj["status"] = initial
        obj["metadata"].pop("generation", None)
        if self.resource.has_generation:
            obj["metadata"]["generation"] = 1

    def initial_status(self) -> JsonObject | None:
        """Return the status of a new object."""
        return None

    def prepare_update(self, new: JsonObject, old: JsonObject, *, subresource: str = "") -> None:
        """Restore what a writer of the main resource may not change."""
        if self.splits_status:
            restore(new, old, "status")
        if self.resource.has_generation:
            generation = old["metadata"].get("generation", 1)
            changed = self.changes_generation(new, old)
            new["metadata"]["generation"] = generation + 1 if changed else generation

    def changes_generation(self, new: JsonObject, old: JsonObject) -> bool:
        """Whether the desired state differs."""
        return {k: v for k, v in new.items() if k not in _META} != {
            k: v for k, v in old.items() if k not in _META
        }

    def prepare_status_update(self, new: JsonObject, old: JsonObject) -> None:
        """Restore all that a writer of the status may not change.

        Built-in kinds reset the spec and the labels only: annotations may come with the status,
        as the Deployment controller relies on for its revision.
        """
        status = new.get("status")
        metadata = new["metadata"]
        for key in [key for key in new if key not in ("apiVersion", "kind", "metadata")]:
            del new[key]
        new.update(clone({k: v for k, v in old.items() if k not in _META}))
        if status is not None:
            new["status"] = status
        restore(metadata, old["metadata"], "labels")
        restore(metadata, old["metadata"], "generation")

    def settle_status_update(self, new: JsonObject, old: JsonObject) -> None:
        """Restore what a writer of the status may own and yet not change."""

    def validate(self, obj: JsonObject) -> list[Cause]:
        """Return what is wrong with a new object beyond its schema and metadata."""
        return []

    def validate_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        """Return what is wrong with a change beyond what `validate` says of the new object."""
        return self.validate(new)

    def validate_status_update(self, new: JsonObject, old: JsonObject) -> list[Cause]:
        """Return what is wrong with a change of the status."""
        return []

    def conclude(self, causes: list[Cause], new: JsonObject, old: JsonObject | None) -> list[Cause]:
        """Return all causes once those of the metadata and of the object are known."""
        return causes

    def default_propagation(self) -> Propagation | None:
        """Return what happens to dependents when a caller does not say it."""
        return None

    def deletion_warnings(self) -> list[str]:
        """Return what to tell a caller who did not say what happens to dependents."""
        return []
