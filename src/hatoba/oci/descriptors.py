"""Descriptors: the typed, sized, digested pointers that manifests are made of.

Spec: image-spec "OCI Content Descriptors".
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from hatoba.kernel.digests import Digest, MalformedDigest
from hatoba.kernel.errors import InvalidInput
from hatoba.kernel.json import JsonObject
from hatoba.oci.media_types import NON_DISTRIBUTABLE

MAXIMUM_BLOB_BYTES: Final = 1 << 62
_MEDIA_TYPE: Final = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}")


class MalformedManifest(InvalidInput):
    """A manifest that breaks its specification."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Descriptor:
    """A pointer to content."""

    media_type: str
    digest: Digest
    size: int
    is_distributable: bool
    """False where clients fetch the content elsewhere and need not push it."""
    raw: Mapping[str, Any]
    """As written, for fields that only pass through (platform, annotations)."""


def parse_media_type(value: object, *, where: str) -> str:
    """Read a media type: 1 to 255 visible ASCII characters, as every database can keep it.

    Raises:
        MalformedManifest: anything else.
    """
    if not isinstance(value, str) or _MEDIA_TYPE.fullmatch(value) is None:
        raise MalformedManifest(f"{where} must be a media type")
    return value


def parse_descriptor(value: object, *, where: str) -> Descriptor:
    """Read a descriptor.

    Raises:
        MalformedManifest: names `where` and the broken rule.
    """
    if not isinstance(value, dict):
        raise MalformedManifest(f"{where} must be a descriptor object")
    media_type = parse_media_type(value.get("mediaType"), where=f"{where}.mediaType")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAXIMUM_BLOB_BYTES:
        raise MalformedManifest(f"{where}.size must be a number of bytes")
    digest = value.get("digest")
    if not isinstance(digest, str):
        raise MalformedManifest(f"{where}.digest must be a string")
    try:
        parsed = Digest.parse(digest)
    except MalformedDigest as error:
        raise MalformedManifest(f"{where}.digest: {error}") from error
    _check_data(value.get("data"), digest=parsed, size=size, where=where)
    _check_urls(value.get("urls"), where=where)
    return Descriptor(
        media_type=media_type,
        digest=parsed,
        size=size,
        is_distributable=media_type not in NON_DISTRIBUTABLE,
        raw=value,
    )


def _check_data(data: object, *, digest: Digest, size: int, where: str) -> None:
    """Prove an embedded copy of the content; clients may use it instead of the content itself.

    Spec: image-spec "Embedded Content".
    """
    if data is None:
        return
    if not isinstance(data, str):
        raise MalformedManifest(f"{where}.data must be a string")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError as error:
        raise MalformedManifest(f"{where}.data must be in base 64") from error
    if len(content) != size or Digest.of(content, digest.algorithm) != digest:
        raise MalformedManifest(f"{where}.data is not the content that the descriptor names")


def _check_urls(urls: object, *, where: str) -> None:
    if urls is None:
        return
    if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
        raise MalformedManifest(f"{where}.urls must be an array of strings")


def parse_descriptors(value: object, *, where: str) -> tuple[Descriptor, ...]:
    """Read an array of descriptors.

    Raises:
        MalformedManifest: not an array, or a member is malformed.
    """
    if not isinstance(value, list):
        raise MalformedManifest(f"{where} must be an array")
    return tuple(
        parse_descriptor(item, where=f"{where}[{index}]") for index, item in enumerate(value)
    )


def describe(
    *, media_type: str, digest: Digest, size: int, extra: JsonObject | None = None
) -> JsonObject:
    """Return a descriptor as JSON."""
    return {"mediaType": media_type, "digest": str(digest), "size": size, **(extra or {})}
