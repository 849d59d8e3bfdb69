"""Copy one tag from another registry: its blobs, the manifests below it, and last its own manifest.

Whatever is there already is not fetched again, so that a copy that was killed goes on where it
stopped, and the tag moves only when everything that it needs is stored.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import msgspec

from hatoba.kernel.digests import Digest
from hatoba.net.registry.client import MANIFEST_TYPES, RemoteManifest
from hatoba.net.registry.errors import RegistryFaulty

MAXIMUM_DEPTH: Final = 4
"""Levels of indexes within indexes."""
_INDEX_TYPES: Final = frozenset(MANIFEST_TYPES[:2])
_FOREIGN: Final = ("nondistributable", "foreign")
"""Media types with these words name layers that registries do not serve."""


class Source(Protocol):
    """What is read from the other registry."""

    async def manifest(self, reference: str) -> RemoteManifest:
        """Return a manifest by tag or digest."""

    def blob(self, digest: Digest) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a blob."""


class Target(Protocol):
    """What is written to the repository of ours; bound to it and to the robot that copies."""

    async def has_blob(self, digest: Digest) -> bool:
        """Tell whether the repository has this blob."""

    async def store_blob(self, digest: Digest, chunks: AsyncIterator[bytes]) -> None:
        """Store a blob, durable when this returns; refused unless the bytes have the digest."""

    async def has_manifest(self, digest: Digest) -> bool:
        """Tell whether the repository has this manifest."""

    async def push_manifest(self, manifest: RemoteManifest, *, tag: str | None) -> None:
        """Store a manifest, and move the tag to it."""


class _Content(msgspec.Struct):
    """A descriptor."""

    digest: str
    mediaType: str = ""  # noqa: N815 -- the specification's word


class _Manifest(msgspec.Struct):
    """What both kinds of manifest may hold."""

    config: _Content | None = None
    layers: list[_Content] = []
    manifests: list[_Content] = []


async def copy_tag(source: Source, target: Target, tag: str) -> Digest:
    """Copy a tag with all that it needs; returns the digest that it now names.

    Raises:
        The errors of `hatoba.net.registry`, and those of the target.
    """
    manifest = await source.manifest(tag)
    await _copy_below(source, target, manifest, depth=0)
    await target.push_manifest(manifest, tag=tag)
    return manifest.digest


async def _copy_below(
    source: Source, target: Target, manifest: RemoteManifest, *, depth: int
) -> None:
    if depth > MAXIMUM_DEPTH:
        raise RegistryFaulty(f"the index {manifest.digest} is nested too deeply")
    content = _parsed(manifest)
    if manifest.media_type in _INDEX_TYPES:
        for child in content.manifests:
            await _copy_child(source, target, Digest.parse(child.digest), depth=depth)
        return
    for blob in _blobs(content):
        if not await target.has_blob(blob):
            async with source.blob(blob) as chunks:
                await target.store_blob(blob, chunks)


async def _copy_child(source: Source, target: Target, digest: Digest, *, depth: int) -> None:
    if await target.has_manifest(digest):
        return
    child = await source.manifest(str(digest))
    await _copy_below(source, target, child, depth=depth + 1)
    await target.push_manifest(child, tag=None)


def _blobs(content: _Manifest) -> list[Digest]:
    """Return the digests that an image needs, each once, in order."""
    descriptors = [content.config] if content.config else []
    descriptors += [
        layer for layer in content.layers if not any(word in layer.mediaType for word in _FOREIGN)
    ]
    return list(dict.fromkeys(Digest.parse(descriptor.digest) for descriptor in descriptors))


def _parsed(manifest: RemoteManifest) -> _Manifest:
    if manifest.media_type not in MANIFEST_TYPES:
        raise RegistryFaulty(f"manifests of type {manifest.media_type!r} are not mirrored")
    try:
        return msgspec.json.decode(manifest.content, type=_Manifest)
    except msgspec.DecodeError as error:
        raise RegistryFaulty(f"the manifest {manifest.digest} cannot be read: {error}") from error
