"""Collecting what nothing refers to any more, beside running pushes and pulls.

Expired tags -> manifests -> blobs. Each step is a short transaction of its own that decides again
under locks, so that any number of processes can share the work, and being stopped between or
within steps loses nothing but time. A blob is quarantined first; its bytes go later, under the
lock that a push of the same digest takes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import StorageUnavailable
from hatoba.registry.content.invalidation import announce
from hatoba.registry.content.models import RepositoryState
from hatoba.registry.content.shelf import Shelf
from hatoba.registry.db.tables.blobs import image_storages
from hatoba.registry.retention import metrics, policy, store, store_blobs, store_purge
from hatoba.registry.retention.dependents import Dependents
from hatoba.registry.retention.hold import may_remove
from hatoba.registry.retention.models import Claim, Collected, RetentionPolicy, Times

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Collector:
    """Collects garbage. What it did not get hold of, a later run gets."""

    shelf: Shelf
    policy: RetentionPolicy = field(default_factory=RetentionPolicy)
    dependents: Dependents = field(default_factory=Dependents)
    _next_manifest: int = 0
    _next_blob: int = 0

    async def collect(self) -> Collected:
        """Do what has become due: deleted repositories, expired tags, quarantined blobs."""
        metrics.RUNS.inc()
        with metrics.RUN_SECONDS.labels("collect").time():
            return self._told(await self._collect(), "garbage collected")

    async def _collect(self) -> Collected:
        done = Collected()
        namespaces = await self._mark_repositories()
        async for repository_id in self._pages(self._deleted_repositories):
            done.add(await self._empty_repository(repository_id))
        for namespace_id in namespaces:
            done.add(await self._purge_namespace(namespace_id))
        async for repository_id in self._pages(self._repositories_with_expired_tags):
            done.add(await self._collect_repository(repository_id))
        done.add(await self._delete_quarantined())
        return done

    async def sweep(self, *, is_complete: bool = False) -> Collected:
        """Look for what no event led to: a part of all manifests and blobs, or all of them."""
        pages = None if is_complete else self.policy.pages_per_sweep
        if is_complete:
            self._next_manifest = self._next_blob = 0
        with metrics.RUN_SECONDS.labels("sweep").time():
            done = await self._sweep_manifests(pages)
            done.add(await self._sweep_blobs(pages))
        return self._told(done, "garbage swept")

    async def collect_everything(self) -> Collected:
        """Collect and sweep until there is nothing left that may go now."""
        done = Collected()
        while True:
            step = await self.collect()
            step.add(await self.sweep(is_complete=True))
            done.add(step)
            if step.is_empty or step.failed:
                return done

    def times(self, window_seconds: int) -> Times:
        """Return the present moment for a namespace with that time machine."""
        now_ms = self.shelf.now_ms()
        hold_ms = round(self.shelf.policy.hold_lifetime.total_seconds() * 1000)
        return Times(
            now_ms=now_ms,
            restorable_after_ms=now_ms - window_seconds * 1000,
            held_after_ms=now_ms - hold_ms,
        )

    def _told(self, done: Collected, event: str) -> Collected:
        if done.manifests or done.blobs or done.repositories:
            self.shelf.caches.clear()
        metrics.count(done)
        if not done.is_empty:
            log.info(
                event,
                namespaces=done.namespaces,
                repositories=done.repositories,
                tags=done.tags,
                manifests=done.manifests,
                blobs_quarantined=done.quarantined,
                blobs_taken_back=done.taken_back,
                blobs_deleted=done.blobs,
                bytes_freed=done.bytes,
                failed=done.failed,
            )
        return done

    async def _pages(
        self, next_page: Callable[[AsyncConnection, int], Awaitable[list[int]]]
    ) -> AsyncIterator[int]:
        after_id = 0
        while True:
            async with self.shelf.database.read() as connection:
                page = await next_page(connection, after_id)
            for found in page:
                yield found
            if not page:
                return
            after_id = page[-1]

    async def _deleted_repositories(self, connection: AsyncConnection, after_id: int) -> list[int]:
        return await store_purge.deleted_after(
            connection, after_id=after_id, limit=self.policy.repositories_per_page
        )

    async def _repositories_with_expired_tags(
        self, connection: AsyncConnection, after_id: int
    ) -> list[int]:
        return await store.repositories_with_expired_tags(
            connection,
            after_id=after_id,
            now_ms=self.shelf.now_ms(),
            limit=self.policy.repositories_per_page,
        )

    async def _claim(self, connection: AsyncConnection, repository_id: int) -> Claim | None:
        row = await store.claim_repository(connection, repository_id)
        if row is None or row.state == RepositoryState.MARKED_FOR_DELETION:
            return None
        return Claim(repository_id=repository_id, times=self.times(row.window_s))

    async def _collect_repository(self, repository_id: int) -> Collected:
        """Delete the expired tags of a repository and the manifests that only they kept."""
        done = Collected()
        while True:
            async with self.shelf.database.begin() as connection:
                claim = await self._claim(connection, repository_id)
                if claim is None:
                    return done
                expired = await store.expired_tags(
                    connection,
                    repository_id=repository_id,
                    times=claim.times,
                    limit=self.policy.tags_per_batch,
                )
                if not expired:
                    return done
                seeds = {row.manifest_id for row in expired if row.manifest_id is not None}
                ended = store.with_ids([row.id for row in expired])
                step = Collected(
                    tags=await store.delete_tags(connection, ended, dependents=self.dependents)
                )
                step.add(await self._collect_families(connection, claim, seeds=seeds))
            done.add(step)

    async def _collect_families(
        self, connection: AsyncConnection, claim: Claim, *, seeds: Iterable[int]
    ) -> Collected:
        family = await store.load_family(
            connection, repository_id=claim.repository_id, seeds=seeds, times=claim.times
        )
        return await self._delete_manifests(connection, policy.doomed_nodes(family))

    async def _delete_manifests(self, connection: AsyncConnection, ids: set[int]) -> Collected:
        if not ids:
            return Collected()
        removed, blob_ids = await store.delete_manifests(
            connection, ids, dependents=self.dependents
        )
        await announce(connection)
        return Collected(
            tags=removed,
            manifests=len(ids),
            quarantined=await self._quarantine(connection, blob_ids),
        )

    async def _quarantine(self, connection: AsyncConnection, blob_ids: set[int]) -> int:
        now = self.shelf.clock.now()
        counts = [
            await store.quarantine_blobs(connection, image_storages.c.id.in_(chunk), now=now)
            for chunk in store.portions(blob_ids)
        ]
        return sum(counts)

    async def _empty_repository(self, repository_id: int) -> Collected:
        """Remove what a deleted repository held, then itself."""
        done = Collected()
        while True:
            async with self.shelf.database.begin() as connection:
                row = await store.claim_repository(connection, repository_id)
                if row is None or row.state != RepositoryState.MARKED_FOR_DELETION:
                    return done
                ids = await store_purge.some_manifests(
                    connection, repository_id=repository_id, limit=self.policy.manifests_per_batch
                )
                if ids:
                    step = await self._delete_manifests(connection, ids)
                else:
                    step = await self._purge(connection, repository_id)
            done.add(step)

    async def _mark_repositories(self) -> Sequence[int]:
        """Delete the repositories of deleted namespaces; return those namespaces."""
        async with self.shelf.database.read() as connection:
            namespace_ids = await store_purge.deleted_namespace_ids(connection)
        if namespace_ids:
            async with self.shelf.database.begin() as connection:
                await store_purge.mark_repositories(connection, namespace_ids=namespace_ids)
        return namespace_ids

    async def _purge_namespace(self, namespace_id: int) -> Collected:
        async with self.shelf.database.begin() as connection:
            is_gone = await store_purge.purge_namespace(
                connection, namespace_id=namespace_id, dependents=self.dependents
            )
        return Collected(namespaces=int(is_gone))

    async def _purge(self, connection: AsyncConnection, repository_id: int) -> Collected:
        for upload in await store_purge.uploads_of(connection, repository_id=repository_id):
            await self.shelf.blobs.discard(upload)
        removed, blob_ids = await store_purge.purge(
            connection, repository_id=repository_id, dependents=self.dependents
        )
        await announce(connection)
        quarantined = await self._quarantine(connection, blob_ids)
        return Collected(repositories=1, tags=removed, quarantined=quarantined)

    async def _sweep_manifests(self, pages: int | None) -> Collected:
        done = Collected()
        while pages is None or pages > 0:
            async with self.shelf.database.read() as connection:
                rows = await store.page_of_manifests(
                    connection, after_id=self._next_manifest, limit=self.policy.rows_per_page
                )
            loose: dict[int, set[int]] = {}
            for row in rows:
                if row.is_loose:
                    loose.setdefault(row.repository_id, set()).add(row.id)
            for repository_id, seeds in loose.items():
                async with self.shelf.database.begin() as connection:
                    claim = await self._claim(connection, repository_id)
                    if claim is None:
                        continue
                    step = await self._collect_families(connection, claim, seeds=seeds)
                done.add(step)
            self._next_manifest = rows[-1].id if rows else 0
            if not rows:
                break
            pages = None if pages is None else pages - 1
        return done

    async def _sweep_blobs(self, pages: int | None) -> Collected:
        done = Collected()
        while pages is None or pages > 0:
            async with self.shelf.database.begin() as connection:
                last_id = await store_blobs.last_of_page(
                    connection, after_id=self._next_blob, limit=self.policy.rows_per_page
                )
                if last_id is None:
                    self._next_blob = 0
                    break
                page = store_blobs.page_condition(after_id=self._next_blob, last_id=last_id)
                quarantined = await store.quarantine_blobs(
                    connection, page, now=self.shelf.clock.now()
                )
            done.quarantined += quarantined
            self._next_blob = last_id
            pages = None if pages is None else pages - 1
        return done

    async def _delete_quarantined(self) -> Collected:
        """Delete blobs whose time in quarantine is over."""
        done, after_id = Collected(), 0
        before = self.shelf.clock.now() - self.policy.quarantine
        while True:
            try:
                async with self.shelf.database.begin() as connection:
                    row = await store_blobs.claim_quarantined(
                        connection, after_id=after_id, before=before
                    )
                    if row is None or not await may_remove(connection, now=self.shelf.clock.now()):
                        return done
                    after_id = row.id
                    step = await self._delete_blob(connection, row.id, storage_id=row.storage_id)
            except StorageUnavailable as error:
                # The storage may refuse one blob, or all of them for a while: others go on.
                log.warning("blob could not be deleted", quarantine_id=after_id, error=str(error))
                step = Collected(failed=1)
            done.add(step)

    async def _delete_blob(
        self, connection: AsyncConnection, quarantine_id: int, *, storage_id: int
    ) -> Collected:
        text = await store_blobs.find_checksum(connection, storage_id=storage_id)
        if text is None:
            await store_blobs.release(connection, quarantine_ids=[quarantine_id])
            return Collected()
        if not await store_blobs.try_lock_blob(connection, digest=text):
            return Collected()
        row = await store_blobs.lock_row(connection, storage_id=storage_id)
        if row is None:
            return Collected()
        await store_blobs.release(connection, quarantine_ids=[quarantine_id])
        now = self.shelf.clock.now()
        if await store_blobs.is_in_use(connection, storage_id=storage_id, now=now):
            return Collected(taken_back=1)
        is_last = await store_blobs.delete_blob(
            connection, storage_id=storage_id, digest=text, dependents=self.dependents
        )
        await announce(connection)
        if is_last:
            # Before the commit: under the lock no push can put the same bytes in place. Stopped
            # in between, the row stays behind, quarantined, and is looked at again.
            await self.shelf.blobs.delete(Digest.parse(text))
        log.info("blob deleted", digest=text, bytes=row.image_size, are_bytes_gone=is_last)
        return Collected(blobs=1, bytes=(row.image_size or 0) if is_last else 0)
