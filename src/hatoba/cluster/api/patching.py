"""Patches: from a patch and its media type to an update (or, for apply, a creation)."""

from typing import Any

from hatoba.cluster.api.bodies import MalformedJson, parse_json
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import BadRequest, UnsupportedMediaType
from hatoba.cluster.api.writing import Transform, Writer
from hatoba.cluster.formats.patches import json_patch, merge_patch
from hatoba.cluster.formats.schema import builtin
from hatoba.cluster.formats.strategic import strategic_patch
from hatoba.cluster.objects import PatchType
from hatoba.kernel.json import JsonObject, JsonValue


class Patcher:
    """Turns patches into updates."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def transform_bytes(
        self, resource: Resource, body: bytes, *, kind: str, write: Write
    ) -> Transform:
        """Return what a patch as it was sent does to a document.

        Raises:
            StatusError: it cannot be parsed, or the resource does not take such patches.
        """
        try:
            patch = parse_json(body).document
        except MalformedJson as error:
            raise BadRequest(f"error decoding patch: {error}") from error
        return self.transform(resource, patch, kind=kind)  # type: ignore[arg-type]

    def transform(self, resource: Resource, patch: JsonValue, *, kind: PatchType) -> Transform:
        """Return what the patch does to a document.

        Raises:
            UnsupportedMediaType: the resource does not take such patches.
        """
        match kind:
            case "application/merge-patch+json":
                return lambda document: _object(merge_patch(document, patch))
            case "application/json-patch+json":
                return lambda document: _object(json_patch(document, patch))
            case "application/strategic-merge-patch+json" if not resource.is_custom:
                schema = builtin(resource.group, resource.storage_version, resource.kind)
                return lambda document: _object(strategic_patch(document, patch, schema=schema))
            case _:
                pass
        raise UnsupportedMediaType(f"patches of type {kind} are not offered yet")


def _object(document: Any) -> JsonObject:
    found: JsonObject = document
    return found
