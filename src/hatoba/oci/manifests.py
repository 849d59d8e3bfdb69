"""Manifests: image manifests and indexes, of OCI and of Docker schema 2.

The bytes that were pushed are the manifest: they are kept verbatim, and everything here is read
out of them. Schema 1, deprecated since 2017, is refused.

Spec: image-spec "OCI Image Manifest", "OCI Image Index"; distribution-spec "Pushing Manifests".
"""

import json
from dataclasses import dataclass
from typing import Final

from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import TooLarge, Unsupported
from hatoba.kernel.json import JsonObject
from hatoba.oci.descriptors import (
    MAXIMUM_BLOB_BYTES,
    Descriptor,
    MalformedManifest,
    parse_descriptor,
    parse_descriptors,
    parse_media_type,
)
from hatoba.oci.media_types import INDEXES, MANIFESTS, SCHEMA1, essence

DEFAULT_MAXIMUM_BYTES: Final = 4 << 20
MAXIMUM_REFERENCES: Final = 10_000
"""Descriptors in one manifest; the largest real images have a few hundred layers."""


class ManifestTooLarge(TooLarge):
    """A manifest above the configured limit."""


class UnknownManifestType(Unsupported):
    """A media type that is no manifest, or schema 1."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Manifest:
    """A manifest that obeys its specification."""

    content: bytes
    media_type: str
    digest: Digest
    config: Descriptor | None
    layers: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: Descriptor | None
    artifact_type: str | None
    """What the referrers list filters by: `artifactType`, else the config's media type."""
    annotations: JsonObject

    @property
    def is_index(self) -> bool:
        """Whether this lists manifests instead of layers."""
        return self.media_type in INDEXES

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The blobs that have to be present: config first, then layers, without repetition."""
        every = ((self.config,) if self.config else ()) + self.layers
        wanted = {blob.digest: blob for blob in reversed(every) if blob.is_distributable}
        return tuple(reversed(wanted.values()))

    @property
    def layers_size(self) -> int:
        """Sum of the sizes of the layers, config excluded, as Quay counts it."""
        return sum(layer.size for layer in self.layers)


def parse_manifest(
    content: bytes,
    *,
    content_type: str,
    algorithm: str = "sha256",
    maximum_bytes: int = DEFAULT_MAXIMUM_BYTES,
) -> Manifest:
    """Read the body of a manifest push.

    Raises:
        ManifestTooLarge: more than `maximum_bytes`.
        UnknownManifestType: the content type is not one of the four manifest types.
        MalformedManifest: not JSON, or not what its type demands.
    """
    if len(content) > maximum_bytes:
        raise ManifestTooLarge(f"manifest is larger than {maximum_bytes} bytes")
    given = essence(content_type)
    if given and given not in MANIFESTS:
        raise UnknownManifestType(_unknown(given))
    document = _decode(content)
    media_type = _media_type(document, given)
    if document.get("schemaVersion") != 2:
        raise MalformedManifest("schemaVersion must be 2")
    is_index = media_type in INDEXES
    _check_is_one_thing(document, is_index=is_index)
    config = None if is_index else parse_descriptor(document.get("config"), where="config")
    layers = () if is_index else _listed(document, "layers")
    children = _listed(document, "manifests") if is_index else ()
    if len(layers) + len(children) > MAXIMUM_REFERENCES:
        raise MalformedManifest(f"more than {MAXIMUM_REFERENCES} descriptors")
    if sum(layer.size for layer in layers) > MAXIMUM_BLOB_BYTES:
        raise MalformedManifest("the layers are larger than can be counted")
    subject = document.get("subject")
    return Manifest(
        content=content,
        media_type=media_type,
        digest=Digest.of(content, algorithm),
        config=config,
        layers=layers,
        children=children,
        subject=None if subject is None else parse_descriptor(subject, where="subject"),
        artifact_type=_artifact_type(document, config),
        annotations=_annotations(document),
    )


def _media_type(document: JsonObject, given: str) -> str:
    """Return the type of a manifest: its header's, or its own where the header tells none.

    Spec: distribution-spec "Pushing Manifests": clients SHOULD set Content-Type, and MUST set it
    to the document's mediaType where that is there.
    """
    declared = document.get("mediaType", given)
    if given and declared != given:
        raise MalformedManifest(f"mediaType is {declared!r} but Content-Type is {given!r}")
    if not isinstance(declared, str) or declared not in MANIFESTS:
        raise UnknownManifestType(_unknown(str(declared)))
    return str(declared)


def _check_is_one_thing(document: JsonObject, *, is_index: bool) -> None:
    """Refuse a document that is an image to some readers and an index to others.

    It would hide content from scanners (CVE-2021-41190).
    """
    foreign = ("layers", "config", "fsLayers") if is_index else ("manifests", "fsLayers")
    for key in foreign:
        if key in document:
            kind = "an index" if is_index else "an image manifest"
            raise MalformedManifest(f"{kind} has no {key}")


def _listed(document: JsonObject, key: str) -> tuple[Descriptor, ...]:
    """Read an array of descriptors; Go writes an array without members as null."""
    if key in document and document[key] is None:
        return ()
    return parse_descriptors(document.get(key), where=key)


def _unknown(media_type: str) -> str:
    if media_type in SCHEMA1:
        return "manifest schema version 1 is not supported; push with a current client"
    return f"manifest type {media_type[:100]!r} is not supported"


def _decode(content: bytes) -> JsonObject:
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise MalformedManifest("manifest is not JSON in UTF-8") from error
    if not isinstance(document, dict):
        raise MalformedManifest("manifest must be a JSON object")
    return document


def _artifact_type(document: JsonObject, config: Descriptor | None) -> str | None:
    """Spec: distribution-spec "Listing Referrers": empty or missing, it is config.mediaType."""
    declared = document.get("artifactType")
    if declared not in (None, ""):
        return parse_media_type(declared, where="artifactType")
    return None if config is None else config.media_type


def _annotations(document: JsonObject) -> JsonObject:
    annotations = document.get("annotations")
    if annotations is None:
        return {}
    if not isinstance(annotations, dict) or not all(
        isinstance(value, str) for value in annotations.values()
    ):
        raise MalformedManifest("annotations must map strings to strings")
    return annotations
