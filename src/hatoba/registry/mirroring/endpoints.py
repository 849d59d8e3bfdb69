"""Where a mirror copies from and to: the other registry's client, and our content room."""

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import TagName, parse_tag
from hatoba.net.http import open_session
from hatoba.net.registry.authentication import Credentials
from hatoba.net.registry.client import RemoteManifest, RemoteRegistry
from hatoba.registry.content.errors import BlobUnknown, ManifestUnknown, UploadUnknown
from hatoba.registry.content.holdings import Holdings
from hatoba.registry.content.listings import Listings
from hatoba.registry.content.manifests import Manifests
from hatoba.registry.content.models import Caller
from hatoba.registry.content.uploads import Uploads
from hatoba.registry.mirroring.models import MirrorRecord
from hatoba.registry.mirroring.worker import MirrorSource

PAGE = 1000


def source_opener(
    *,
    may_be_private: Callable[[MirrorRecord], bool],
    verify_tls: bool,
    trust: ssl.SSLContext,
) -> Callable[[MirrorRecord], AbstractAsyncContextManager[MirrorSource]]:
    """Return what opens the other registry of a mirror.

    With REPO_MIRROR_TLS_VERIFY false no certificate is checked; else the mirror's own setting
    decides. `trust` holds the authorities that are believed.
    """

    @asynccontextmanager
    async def open_source(mirror: MirrorRecord) -> AsyncIterator[MirrorSource]:
        credentials = None
        if mirror.username:
            credentials = Credentials(username=mirror.username, password=mirror.password or "")
        async with open_session(allow_private=may_be_private(mirror), tls=trust) as session:
            yield RemoteRegistry(
                session,
                mirror.source,
                credentials=credentials,
                verify_tls=verify_tls and mirror.registry.verify_tls,
            )

    return open_source


@dataclass(slots=True, frozen=True, kw_only=True)
class ContentTarget:
    """A mirrored repository, written through the content room on behalf of its robot."""

    mirror: MirrorRecord
    caller: Caller
    manifests: Manifests
    uploads: Uploads
    holdings: Holdings
    listings: Listings

    async def has_blob(self, digest: Digest) -> bool:
        """Tell whether the repository has this blob."""
        try:
            await self.holdings.find_blob(self.mirror.repository, digest=digest)
        except BlobUnknown:
            return False
        return True

    async def store_blob(self, digest: Digest, chunks: AsyncIterator[bytes]) -> None:
        """Store a blob; a copy that breaks leaves no upload behind."""
        name = self.mirror.repository
        upload_id = await self.uploads.start_upload(name)
        finished = False
        try:
            await self.uploads.finish_upload(
                name, upload_id=upload_id, digest=digest, chunks=chunks
            )
            finished = True
        finally:
            if not finished:
                await self._drop(upload_id)

    async def has_manifest(self, digest: Digest) -> bool:
        """Tell whether the repository has this manifest."""
        try:
            await self.manifests.resolve_reference(
                self.mirror.repository, reference=digest, caller=None
            )
        except ManifestUnknown:
            return False
        return True

    async def push_manifest(self, manifest: RemoteManifest, *, tag: str | None) -> None:
        """Store a manifest, and move the tag to it."""
        await self.manifests.push_manifest(
            self.mirror.repository,
            reference=manifest.digest if tag is None else parse_tag(tag),
            content=manifest.content,
            content_type=manifest.media_type,
            caller=self.caller,
        )

    async def tags(self) -> list[str]:
        """Return the tags that the repository has now."""
        found: list[str] = []
        more = True
        while more:
            after = found[-1] if found else None
            page = await self.listings.list_tags(self.mirror.repository, after=after, limit=PAGE)
            found += page.items
            more = page.has_more
        return found

    async def delete_tag(self, tag: str) -> None:
        """Delete a tag; it stays restorable for the namespace's time."""
        await self.manifests.delete_manifest(
            self.mirror.repository, reference=TagName(tag), caller=self.caller
        )

    async def _drop(self, upload_id: str) -> None:
        try:
            await self.uploads.cancel_upload(self.mirror.repository, upload_id=upload_id)
        except UploadUnknown:
            return
