"""Who owns which field: `managedFields` on every write, and server-side apply.

Spec: Kubernetes "Server-Side Apply". The rules themselves are pure and live in `formats`; this
gives them the schema of the kind and the time.
"""

from hatoba.cluster.api.registry import Registry
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.formats.apply import apply
from hatoba.cluster.formats.ownership import Writer as FieldWriter
from hatoba.cluster.formats.ownership import track_update
from hatoba.cluster.formats.schema import UNTYPED, Schema
from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject


class Ownership:
    """Keeps `metadata.managedFields` true."""

    def __init__(self, registry: Registry, *, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def _schema(self, resource: Resource) -> Schema:
        return self._registry.strategy(resource).schema_of_objects() or UNTYPED

    def _writer(self, resource: Resource, write: Write) -> FieldWriter:
        version = write.version if resource.is_custom else None
        return FieldWriter(
            manager=write.manager,
            api_version=resource.api_version(version),
            subresource=write.subresource,
            now=self._clock.now(),
        )

    def record(
        self, new: JsonObject, old: JsonObject | None, *, resource: Resource, write: Write
    ) -> None:
        """Set `managedFields` of `new` for a write other than apply, in place."""
        tracked = track_update(
            old, new, schema=self._schema(resource), writer=self._writer(resource, write)
        )
        managed = tracked["metadata"].get("managedFields")
        if managed:
            new["metadata"]["managedFields"] = managed
        else:
            new["metadata"].pop("managedFields", None)

    def apply(
        self, old: JsonObject | None, applied: JsonObject, *, resource: Resource, write: Write
    ) -> JsonObject:
        """Return `old` with the applied configuration merged in and its ownership recorded.

        Raises:
            ObjectConflict: somebody else owns a field, and the write is not forced.
        """
        ignored: frozenset[str] = frozenset()
        if write.subresource == "status":
            ignored = frozenset(applied) - {"apiVersion", "kind", "metadata", "status"}
        elif "status" in resource.subresources:
            ignored = frozenset({"status"})
        return apply(
            old,
            applied,
            schema=self._schema(resource),
            writer=self._writer(resource, write),
            force=write.force,
            ignored=ignored,
        )
