"""Patches: from a patch and its media type to an update (or, for apply, a creation)."""

import json
from dataclasses import replace
from typing import Any

from hatoba.cluster.api.bodies import MalformedJson, parse_json
from hatoba.cluster.api.metadata import invalid
from hatoba.cluster.api.requests import Write
from hatoba.cluster.api.resources import Resource
from hatoba.cluster.api.status import BadRequest, Invalid, UnsupportedMediaType
from hatoba.cluster.api.writing import Transform, Writer
from hatoba.cluster.formats.patches import json_patch, merge_patch
from hatoba.cluster.formats.schema import builtin
from hatoba.cluster.formats.strategic import refuse_patch, strategic_patch
from hatoba.cluster.objects import PatchType
from hatoba.kernel.json import JsonObject, JsonValue


class Patcher:
    """Turns patches into updates."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def prepare(
        self, resource: Resource, body: bytes, *, kind: str, write: Write
    ) -> tuple[Transform, Write]:
        """Return what a patch as it was sent does to a document, and how its faults are told.

        Raises:
            StatusError: it cannot be parsed, or the resource does not take such patches.
        """
        try:
            patch = parse_json(body).document
        except MalformedJson as error:
            raise BadRequest(f"error decoding patch: {error}") from error
        if kind == "application/strategic-merge-patch+json":
            write = replace(write, refuse=lambda _, why: refuse_patch(patch, why))
        else:
            write = replace(write, refuse=_refuse_document)
        return self.transform(resource, patch, kind=kind), write  # type: ignore[arg-type]

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
                raise UnsupportedMediaType(
                    "the body of the request was in an unknown format - accepted media types"
                    f" include: {', '.join(accepted_patches(resource))}"
                )


def accepted_patches(resource: Resource) -> list[str]:
    """Return the media types of patches that a resource takes."""
    return [
        "application/json-patch+json",
        "application/merge-patch+json",
        *([] if resource.is_custom else ["application/strategic-merge-patch+json"]),
        "application/apply-patch+yaml",
    ]


def _refuse_document(document: JsonObject, why: str) -> Invalid:
    """Refuse the result of a JSON or merge patch: a real server shows all of it."""
    text = json.dumps(document, separators=(",", ":"), sort_keys=True)
    shown = json.dumps(text)
    cause = invalid("patch", shown, why)
    return Invalid(f' "" is invalid: patch: {cause.message}', causes=[cause])


def _object(document: Any) -> JsonObject:
    if not isinstance(document, dict) or not document.get("kind"):
        found = document if isinstance(document, dict) else {}
        text = json.dumps(found, separators=(",", ":"), sort_keys=True)
        raise _refuse_document(found, f"Object 'Kind' is missing in '{text}'")
    return document
