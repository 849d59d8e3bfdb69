"""Lists: tags of a repository, and referrers of a manifest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from hatoba.kernel.digests import Digest
from hatoba.kernel.json import JsonObject
from hatoba.kernel.names import RepositoryName
from hatoba.oci.descriptors import describe
from hatoba.registry.content import pages, store
from hatoba.registry.content.errors import RepositoryUnknown
from hatoba.registry.content.models import Page
from hatoba.registry.content.shelf import Shelf


@dataclass(slots=True, frozen=True, kw_only=True)
class ReferrersPage:
    """Descriptors, and the digest after which the next page begins, if there is one."""

    descriptors: Sequence[JsonObject]
    last: str | None


@dataclass(slots=True, frozen=True, kw_only=True)
class Listings:
    """Questions about many things of one repository."""

    shelf: Shelf

    async def list_tags(self, name: RepositoryName, *, after: str | None, limit: int) -> Page:
        """Return names of tags in order, beginning after `after`.

        Raises:
            RepositoryUnknown: no such repository.
        """
        names = await pages.tag_names(self.shelf, name, after=after, limit=limit + 1)
        if names is None:
            raise RepositoryUnknown("repository not found")
        return Page(items=names[:limit], has_more=limit > 0 and len(names) > limit)

    async def list_referrers(
        self,
        name: RepositoryName,
        *,
        subject: str,
        artifact_type: str | None,
        after: str | None,
        limit: int,
    ) -> ReferrersPage:
        """Return a page of the manifests whose subject is a digest, in order of their digests.

        A page ends early where the manifests that it describes grow too large together.

        Raises:
            RepositoryUnknown: no such repository.
        """
        async with self.shelf.database.read() as connection:
            repository = await store.find_repository(connection, name)
            if repository is None:
                raise RepositoryUnknown("repository not found")
            found = await store.referrers(
                connection,
                repository_id=repository.id,
                subject=subject,
                artifact_type=artifact_type,
                after=after,
                now_ms=self.shelf.now_ms(),
                limit=limit + 1,
            )
            sizes = [row.size for row in found[:limit]]
            kept = found[: within(sizes, maximum=self.shelf.policy.maximum_manifest_bytes)]
            rows = await store.manifests_by_id(connection, manifest_ids=[row.id for row in kept])
        descriptors = [
            _descriptor(
                row.digest,
                media_type=self.shelf.lookups.name("mediatype", row.media_type_id),
                artifact_type=row.artifact_type,
                text=row.manifest_bytes,
            )
            for row in rows
        ]
        has_more = len(kept) < len(found)
        return ReferrersPage(descriptors=descriptors, last=rows[-1].digest if has_more else None)


def within(sizes: Sequence[int], *, maximum: int) -> int:
    """Return how many, of the first, sum up to no more than a maximum; at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if total > maximum and count:
            return count
    return len(sizes)


def _descriptor(
    digest: str, *, media_type: str, artifact_type: str | None, text: str
) -> JsonObject:
    """Spec: distribution-spec "Listing Referrers": with the manifest's annotations."""
    extra: JsonObject = {}
    if artifact_type is not None:
        extra["artifactType"] = artifact_type
    if annotations := json.loads(text).get("annotations"):
        extra["annotations"] = annotations
    return describe(
        media_type=media_type,
        digest=Digest.parse(digest),
        size=len(text.encode("utf-8")),
        extra=extra,
    )
