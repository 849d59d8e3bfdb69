"""Manifests: /repository/<repository>/manifest/<digest>."""

from datetime import datetime

from hatoba.kernel.clock import rfc1123
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.api.call import Call, Needs, Row
from hatoba.registry.api.repository import tag_place
from hatoba.registry.content.tagging import ManifestView

EMPTY_LAYER = "sha256:a3ed95caeb02ffe68cdd9fd84406680ae93d633cb16422d00e8a7c22955b46d4"
EMPTY_LAYER_BYTES = 32
"""The gzipped empty tar by which Quay shows a step that made no layer."""


def _layers(manifest: ManifestView, history: list[JsonObject]) -> list[JsonObject] | None:
    """Return the steps of an image's making with their layers, base first; None for an index."""
    if manifest.is_index:
        return None
    layers = list(manifest.parsed.get("layers") or [])
    making = sum(1 for step in history if not step.get("empty_layer"))
    steps = history if making == len(layers) else [{} for _ in layers]
    remaining = iter(layers)
    shown: list[JsonObject] = []
    for index, step in enumerate(steps):
        layer = (
            {"digest": EMPTY_LAYER, "size": EMPTY_LAYER_BYTES}
            if step.get("empty_layer")
            else next(remaining)
        )
        shown.append(_layer(index, layer, step))
    return shown


def _layer(index: int, layer: JsonObject, step: JsonObject) -> JsonObject:
    command = step.get("created_by")
    return {
        "index": index,
        "compressed_size": layer.get("size"),
        "is_remote": bool(layer.get("urls")),
        "urls": layer.get("urls"),
        "command": [command] if command else None,
        "comment": step.get("comment"),
        "author": step.get("author"),
        "blob_digest": layer.get("digest"),
        "created_datetime": _date(step.get("created")),
    }


def _date(text: object) -> str | None:
    """Return a configuration's date as the API writes dates; None when it is none."""
    if not isinstance(text, str):
        return None
    try:
        return rfc1123(datetime.fromisoformat(text))
    except ValueError:
        return None


async def show_manifest(call: Call) -> JsonValue:
    """Quay API: GET .../manifest/<digest>."""
    manifest = await call.rooms.tagging.manifest(
        tag_place(call.repository), digest=call.path("digest")
    )
    return {
        "digest": manifest.digest,
        "is_manifest_list": manifest.is_index,
        "manifest_data": manifest.content,
        "config_media_type": manifest.config_media_type,
        "layers_compressed_size": manifest.layers_size_bytes,
        "layers": _layers(manifest, await call.rooms.tagging.history_of(manifest)),
    }


ROWS = (
    Row("GET", "/repository/{repository:path}/manifest/{digest}", show_manifest, Needs.REPO_READ),
)
