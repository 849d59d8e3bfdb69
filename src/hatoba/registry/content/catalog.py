"""The catalog: repositories that somebody may see, in order of namespace and name."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName
from hatoba.registry.content import pages, store, store_blobs
from hatoba.registry.content.models import Page
from hatoba.registry.content.shelf import Shelf


@dataclass(slots=True, frozen=True, kw_only=True)
class Reach:
    """What an account may see beside its own namespace: by ids."""

    namespaces: Collection[int]
    repositories: Collection[int]


@dataclass(slots=True, frozen=True, kw_only=True)
class Catalog:
    """Lists repositories across namespaces."""

    shelf: Shelf
    reach: Callable[[int], Awaitable[Reach]]
    shows_public: bool
    """FEATURE_PUBLIC_CATALOG."""

    async def list_repositories(
        self, *, account_id: int | None, after: str | None, limit: int
    ) -> Page:
        """Return `namespace/name` of what an account may see, beginning after `after`."""
        if limit == 0 or (account_id is None and not self.shows_public):
            return Page(items=(), has_more=False)
        names = await self._names(account_id=account_id, after=after, limit=limit + 1)
        return Page(items=names[:limit], has_more=len(names) > limit)

    async def _names(self, *, account_id: int | None, after: str | None, limit: int) -> list[str]:
        if self.shelf.questions is not None:
            return await pages.visible_repositories(
                self.shelf,
                account_id=account_id,
                shows_public=self.shows_public,
                after=after,
                limit=limit,
            )
        reach = Reach(namespaces=(), repositories=())
        if account_id is not None:
            reach = await self.reach(account_id)
        own = () if account_id is None else (account_id,)
        async with self.shelf.database.read() as connection:
            return await store.repository_names(
                connection,
                namespaces=[*own, *reach.namespaces],
                repository_ids=list(reach.repositories),
                visibility_id=(
                    self.shelf.lookups.id("visibility", "public") if self.shows_public else None
                ),
                after=after,
                limit=limit,
            )

    async def find_holder(
        self, digest: Digest, *, account_id: int | None, among: Sequence[RepositoryName]
    ) -> RepositoryName | None:
        """Return a repository that holds a blob and that an account may pull from.

        Args:
            digest: of the blob.
            account_id: whose own, granted and public repositories are looked through, if anyone's.
            among: repositories that may be pulled from whoever asks.
        """
        now = self.shelf.clock.now()
        async with self.shelf.database.read() as connection:
            for name in among:
                if await store_blobs.find_blob(connection, name=name, digest=digest, now=now):
                    return name
        if account_id is None:
            return None
        reach = await self.reach(account_id)
        async with self.shelf.database.read() as connection:
            return await store_blobs.find_holder(
                connection,
                digest=digest,
                namespaces=[account_id, *reach.namespaces],
                repository_ids=list(reach.repositories),
                visibility_id=self.shelf.lookups.id("visibility", "public"),
                now=now,
            )
