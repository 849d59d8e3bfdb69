"""The port through which writes record who owns which field (`managedFields`)."""

from datetime import datetime
from typing import Protocol

from typing_extensions import override

from hatoba.cluster.api.documents import restore
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import UnsupportedMediaType
from hatoba.kernel.json import JsonObject


class Ownership(Protocol):
    """Keeps `metadata.managedFields` true."""

    def record(
        self,
        new: JsonObject,
        old: JsonObject | None,
        *,
        resource: Resource,
        write: Write,
        now: datetime,
    ) -> None:
        """Set `managedFields` of `new` for a write other than apply, in place."""

    def apply(
        self,
        old: JsonObject | None,
        applied: JsonObject,
        *,
        resource: Resource,
        write: Write,
        now: datetime,
    ) -> JsonObject:
        """Return `old` with the applied configuration merged in and its ownership recorded.

        Raises:
            ObjectConflict: somebody else owns a field, and the write is not forced.
        """


class LastWriter(Ownership):
    """Keeps the entries of earlier writers only, until field sets are recorded."""

    @override
    def record(
        self,
        new: JsonObject,
        old: JsonObject | None,
        *,
        resource: Resource,
        write: Write,
        now: datetime,
    ) -> None:
        restore(new["metadata"], old["metadata"] if old else {}, "managedFields")

    @override
    def apply(
        self,
        old: JsonObject | None,
        applied: JsonObject,
        *,
        resource: Resource,
        write: Write,
        now: datetime,
    ) -> JsonObject:
        raise UnsupportedMediaType("server-side apply is not offered yet")
