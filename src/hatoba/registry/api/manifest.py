"""Manifests: /repository/<repository>/manifest/<digest>."""

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.api.call import Call, Needs, Row
from hatoba.registry.api.repository import tag_place
from hatoba.registry.content.tagging import ManifestView


def _layers(manifest: ManifestView) -> list[JsonObject] | None:
    """Return the layers, base first; None for an index."""
    if manifest.is_index:
        return None
    return [
        {
            "index": index,
            "compressed_size": layer.get("size"),
            "is_remote": bool(layer.get("urls")),
            "urls": layer.get("urls"),
            "command": None,
            "comment": None,
            "author": None,
            "blob_digest": layer.get("digest"),
            "created_datetime": None,
        }
        for index, layer in enumerate(manifest.parsed.get("layers") or [])
    ]


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
        "layers": _layers(manifest),
    }


ROWS = (
    Row("GET", "/repository/{repository:path}/manifest/{digest}", show_manifest, Needs.REPO_READ),
)
