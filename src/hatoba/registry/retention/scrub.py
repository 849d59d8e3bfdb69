"""Reading everything that is stored, and saying what is not as it should be.

A pass looks at every blob that has a row (are its bytes there, and do they have the digest?), then
at all bytes (does a row name them?). It runs beside pushes and pulls: what it believes to have
found it looks at again under the lock that a push of the same digest takes. How far it came is
kept in the database; one pass runs at a time, held by a lease.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

import structlog

from hatoba.kernel.digests import Digest, MalformedDigest
from hatoba.kernel.errors import Conflict
from hatoba.kernel.ids import new_uuid
from hatoba.registry.blobs.driver import BlobMissing, BlobStat, StorageUnavailable
from hatoba.registry.blobs.hashing import new_hasher
from hatoba.registry.content import store_blobs as content_blobs
from hatoba.registry.content.invalidation import announce
from hatoba.registry.content.shelf import Shelf
from hatoba.registry.retention import metrics, store_scrub
from hatoba.registry.retention.models import (
    Damage,
    DamagedBlob,
    ScrubMode,
    ScrubPolicy,
    ScrubRun,
)
from hatoba.registry.retention.pace import Pace
from hatoba.sql.leases import Leases

log = structlog.get_logger()

LEASE: Final = "storage-scrub"
LEASE_LIFETIME: Final = timedelta(minutes=2)
"""How long a pass that was killed keeps others away."""
BLOBS: Final = "blobs"
BYTES: Final = "bytes"

Told = Callable[[DamagedBlob], None]


class ScrubBusy(Conflict):
    """Another process is scrubbing the same storage."""


@dataclass(slots=True, kw_only=True)
class Scrubber:
    """Looks after the stored bytes."""

    shelf: Shelf
    leases: Leases
    policy: ScrubPolicy = field(default_factory=ScrubPolicy)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    tell: Told = lambda _: None
    """Called for every damaged blob that is found."""
    _holder: str = field(default_factory=new_uuid)
    _saved_at: float = 0.0
    _failures: int = 0
    _pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        """Set the pace."""
        self._pace = Pace(
            clock=self.shelf.clock,
            bytes_per_second=self.policy.bytes_per_second,
            sleep=self.sleep,
        )

    async def run_due(self) -> ScrubRun | None:
        """Go on with a pass that was stopped, or begin one that is due; None where neither is.

        The form of a duty: where another process does it already, nothing happens.
        """
        last = await self.last_run()
        if last is not None and last.finished_at is not None:
            due_at = last.started_at + self.policy.interval
            if self.shelf.clock.now() < due_at:
                return None
        try:
            return await self.run(resumes=True)
        except ScrubBusy:
            return None

    async def run(self, *, resumes: bool = False) -> ScrubRun:
        """Make a pass to its end; `resumes` goes on where the last one was stopped, if it was.

        Raises:
            ScrubBusy: another process is at it.
            StorageUnavailable: many blobs in a row could not be read.
        """
        await self._hold()
        try:
            run = await self._begin(resumes=resumes)
            if run.phase == BLOBS:
                run = await self._look_at_blobs(run)
            run = await self._look_at_bytes(run)
            return await self._finish(run)
        finally:
            async with asyncio.timeout(5):
                await self.leases.release(LEASE, holder=self._holder)

    async def last_run(self) -> ScrubRun | None:
        """Return the latest pass, finished or not."""
        async with self.shelf.database.read() as connection:
            return await store_scrub.last_run(connection)

    async def damaged(self) -> Sequence[DamagedBlob]:
        """Return the blobs that are not offered now, and what they are needed for."""
        async with self.shelf.database.read() as connection:
            rows = await store_scrub.damages(connection)
        return [
            await self._described(row.digest, Damage(row.kind), is_withdrawn=True) for row in rows
        ]

    async def _begin(self, *, resumes: bool) -> ScrubRun:
        self._failures = 0
        self._saved_at = self.shelf.clock.monotonic()
        async with self.shelf.database.begin() as connection:
            last = await store_scrub.last_run(connection) if resumes else None
            if last is not None and last.finished_at is None:
                log.info("scrub goes on", phase=last.phase, after=last.after)
                return last
            log.info("scrub begins", mode=str(self.policy.mode))
            now = self.shelf.clock.now()
            return await store_scrub.begin_run(connection, phase=BLOBS, now=now)

    async def _finish(self, run: ScrubRun) -> ScrubRun:
        run = replace(run, finished_at=self.shelf.clock.now())
        async with self.shelf.database.begin() as connection:
            await store_scrub.save_run(connection, run)
            await store_scrub.forget_orphans_unseen(connection, since=run.started_at)
        counts = run.counts
        log.info(
            "scrub finished",
            blobs=counts.blobs,
            bytes=counts.bytes,
            corrupt=counts.corrupt,
            missing=counts.missing,
            unreadable=counts.unreadable,
            orphans=counts.orphans,
        )
        return run

    async def _look_at_blobs(self, run: ScrubRun) -> ScrubRun:
        while True:
            async with self.shelf.database.read() as connection:
                page = await store_scrub.page_of_digests(
                    connection, after=run.after, limit=self.policy.rows_per_page
                )
            for row in page:
                await self._look_at_blob(run, row.digest, is_withdrawn=row.is_withdrawn)
                run = await self._beat(replace(run, after=row.digest))
            if not page:
                return await self._save(replace(run, phase=BYTES, after=None))
            run = await self._save(run)

    async def _look_at_blob(self, run: ScrubRun, text: str, *, is_withdrawn: bool) -> None:
        try:
            digest = Digest.parse(text)
        except MalformedDigest:
            # A row of an adopted database that no client can name.
            return
        try:
            damage = await self._damage(digest, run=run)
            if damage is not None or is_withdrawn:
                damage = await self._settle(run, digest)
        except StorageUnavailable as error:
            await self._count_failure(run, text, error)
            return
        self._failures = 0
        run.counts.blobs += 1
        metrics.SCRUBBED_BLOBS.labels("sound" if damage is None else str(damage)).inc()

    async def _count_failure(self, run: ScrubRun, text: str, error: StorageUnavailable) -> None:
        self._failures += 1
        if self._failures >= self.policy.failures_in_a_row:
            await self._save(run)
            raise error
        run.counts.unreadable += 1
        metrics.SCRUBBED_BLOBS.labels("unreadable").inc()
        log.warning("blob cannot be read", digest=text, error=str(error))

    async def _damage(self, digest: Digest, *, run: ScrubRun | None = None) -> Damage | None:
        """Read a blob and say what is wrong with it; slowly where it counts for a pass."""
        hasher = new_hasher(digest.algorithm)
        try:
            async with self.shelf.blobs.open(digest) as reader:
                async for data in reader.read(start=0, end=reader.size):
                    await asyncio.to_thread(hasher.update, data)
                    if run is not None:
                        run.counts.bytes += len(data)
                        metrics.SCRUBBED_BYTES.inc(len(data))
                        await self._pace.spend(len(data))
                        run = await self._beat(run)
        except BlobMissing:
            return Damage.MISSING
        return None if hasher.hexdigest() == digest.hex else Damage.CORRUPT

    async def _settle(self, run: ScrubRun, digest: Digest) -> Damage | None:
        """Look at a blob again while nobody can replace or remove it, and note what it is.

        It is withdrawn before its bytes move: stopped in between, nobody is given what is wrong,
        and the next pass moves them.
        """
        text, withdraws = str(digest), self.policy.mode is not ScrubMode.REPORT
        async with self.shelf.database.begin() as connection:
            await content_blobs.lock_blob(connection, digest=digest)
            if not await store_scrub.has_row(connection, digest=text):
                return None
            damage = await self._damage(digest)
            known = await store_scrub.find_damage(connection, digest=text)
            if damage is None and known is not None and withdraws:
                await store_scrub.offer(connection, digest=text)
                run.counts.healed += 1
                log.info("blob is sound again", digest=text)
            if damage is not None and withdraws:
                now = self.shelf.clock.now()
                await store_scrub.withdraw(connection, digest=text, kind=known or damage, now=now)
                await announce(connection)
        if damage is None:
            return None
        if withdraws:
            self.shelf.caches.clear()
            run.counts.withdrawn += known is None
            await self._set_aside(digest)
        # Bytes that were set aside before are missing now, which is no second finding.
        kind = known or damage
        run.counts.corrupt += kind is Damage.CORRUPT
        run.counts.missing += kind is Damage.MISSING
        await self._report(text, kind, is_withdrawn=withdraws or known is not None)
        return kind

    async def _set_aside(self, digest: Digest) -> None:
        async with self.shelf.database.begin() as connection:
            await content_blobs.lock_blob(connection, digest=digest)
            if await store_scrub.find_damage(connection, digest=str(digest)) is None:
                # Pushed again meanwhile: what lies there now is proven.
                return
            try:
                await self.shelf.blobs.set_aside(digest)
            except BlobMissing:
                return
        log.warning("damaged blob set aside", digest=str(digest))

    async def _report(self, text: str, kind: Damage, *, is_withdrawn: bool) -> None:
        found = await self._described(text, kind, is_withdrawn=is_withdrawn)
        log.error(
            "blob is damaged",
            digest=text,
            kind=str(kind),
            is_withdrawn=is_withdrawn,
            manifests=found.manifests,
            tags=[f"{one.repository}:{one.tag}" for one in found.tags[:20]],
        )
        self.tell(found)

    async def _described(self, text: str, kind: Damage, *, is_withdrawn: bool) -> DamagedBlob:
        async with self.shelf.database.read() as connection:
            manifests, hurt = await store_scrub.needed_by(
                connection, digest=text, now_ms=self.shelf.now_ms()
            )
        return DamagedBlob(
            digest=text, kind=kind, is_withdrawn=is_withdrawn, manifests=manifests, tags=hurt
        )

    async def _look_at_bytes(self, run: ScrubRun) -> ScrubRun:
        after = None if run.after is None else Digest.parse(run.after)
        page: list[BlobStat] = []
        async for found in self.shelf.blobs.list_blobs(after=after):
            page.append(found)
            if len(page) >= self.policy.rows_per_page:
                run = await self._look_at_page(run, page)
                page = []
        return await self._look_at_page(run, page) if page else run

    async def _look_at_page(self, run: ScrubRun, page: Sequence[BlobStat]) -> ScrubRun:
        now = self.shelf.clock.now()
        async with self.shelf.database.begin() as connection:
            known = await store_scrub.known(connection, [str(one.digest) for one in page])
            orphans = [one for one in page if str(one.digest) not in known]
            first_seen = await store_scrub.note_orphans(connection, orphans, now=now)
        for one in orphans:
            run.counts.orphans += 1
            run.counts.orphan_bytes += one.size
            is_due = first_seen[str(one.digest)] + self.policy.orphan_grace <= now
            if is_due and self.policy.mode is ScrubMode.REPAIR:
                run.counts.orphans_removed += await self._remove_orphan(one)
            else:
                metrics.ORPHANS.labels("found").inc()
        return await self._save(replace(run, after=str(page[-1].digest)))

    async def _remove_orphan(self, found: BlobStat) -> bool:
        """Remove bytes that no row names, unless somebody pushed them meanwhile."""
        text = str(found.digest)
        async with self.shelf.database.begin() as connection:
            # A push holds this lock from before its bytes are in place until their row is in.
            await content_blobs.lock_blob(connection, digest=found.digest)
            has_row = await store_scrub.has_row(connection, digest=text)
            await store_scrub.forget_orphan(connection, digest=text)
            if not has_row:
                await self.shelf.blobs.delete(found.digest)
        if has_row:
            return False
        metrics.ORPHANS.labels("removed").inc()
        log.info("bytes that no row names removed", digest=text, bytes=found.size)
        return True

    async def _beat(self, run: ScrubRun) -> ScrubRun:
        """Save and prolong the lease now and then."""
        waited = self.shelf.clock.monotonic() - self._saved_at
        if waited < self.policy.save_every.total_seconds():
            return run
        return await self._save(run)

    async def _save(self, run: ScrubRun) -> ScrubRun:
        self._saved_at = self.shelf.clock.monotonic()
        await self._hold()
        async with self.shelf.database.begin() as connection:
            await store_scrub.save_run(connection, run)
        return run

    async def _hold(self) -> None:
        if not await self.leases.claim(LEASE, holder=self._holder, lifetime=LEASE_LIFETIME):
            raise ScrubBusy("another process is scrubbing the storage")
