"""Making a backup: hold, snapshot, dump, blobs, summary.

First the hold, so that nothing is removed that the snapshot names; then the snapshot of the
database; then blobs, which never change under their digests; the summary last, which makes it a
backup. Whatever ends this process before that leaves files that belong to no backup.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import structlog

from hatoba import __version__
from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.ids import KUBERNETES_SUFFIX, random_text
from hatoba.registry.backup import models
from hatoba.registry.backup.attachments import pack
from hatoba.registry.backup.catalog import Catalog
from hatoba.registry.backup.copying import blob_name, for_each, store_blob
from hatoba.registry.backup.database import Named, Snapshot, snapshot_of
from hatoba.registry.backup.errors import BackupRunning
from hatoba.registry.backup.models import BackedBlob, BlobMode, BlobState, Summary
from hatoba.registry.backup.sealing import sealed_size
from hatoba.registry.blobs.driver import BlobDriver, BlobMissing
from hatoba.registry.retention.hold import HOLD, Hold
from hatoba.sql.engine import Database

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class Maker:
    """Makes backups of one registry in one vault."""

    settings: QuayConfig
    database: Database
    blobs: BlobDriver
    hold: Hold
    catalog: Catalog
    clock: Clock

    async def create(
        self, *, mode: BlobMode, attached: Mapping[str, bytes], backup_id: str = ""
    ) -> Summary:
        """Make a backup and return what it says of itself.

        Raises:
            BackupRunning: another one is being made.
            VaultUnavailable, DumpFailed, ProgramMissing: it could not be made.
        """
        began = self.clock.now()
        backup_id = backup_id or f"{began:%Y%m%dT%H%M%SZ}-{random_text(5, KUBERNETES_SUFFIX)}"
        async with self._holding(backup_id):
            async with snapshot_of(self.database, settings=self.settings) as snapshot:
                await self.catalog.write_bytes(models.attachments_name(backup_id), pack(attached))
                counted = _Counted(snapshot.dump())
                await self.catalog.write(models.database_name(backup_id), counted.chunks())
            sizes = {name: len(content) for name, content in attached.items()}
            found = _Found(mode=mode, attached=sizes)
            if mode is BlobMode.COPY:
                await self._copy(snapshot.blobs, found)
            else:
                await self._look(snapshot.blobs, found)
            await self.catalog.write_bytes(models.blob_list_name(backup_id), found.listed())
            summary = self._summary(
                backup_id, snapshot, found, began=rfc3339(began), dumped=counted.size
            )
            await self.catalog.write_bytes(models.summary_name(backup_id), summary.to_bytes())
        log.info(
            "backup made",
            backup=backup_id,
            blobs=summary.blob_count,
            copied=summary.copied_count,
            missing=len(summary.missing),
        )
        return summary

    def _summary(
        self, backup_id: str, snapshot: Snapshot, found: "_Found", *, began: str, dumped: int
    ) -> Summary:
        present = [blob for blob in found.blobs if blob.state is not BlobState.MISSING]
        return Summary(
            id=backup_id,
            created_at=began,
            finished_at=rfc3339(self.clock.now()),
            version=__version__,
            hostname=self.settings.server_hostname,
            database=snapshot.kind,
            revision=snapshot.revision,
            database_bytes=dumped,
            blobs=found.mode.value,
            blob_count=len(found.blobs),
            blob_bytes=sum(blob.size for blob in present),
            copied_count=found.copied_count,
            copied_bytes=found.copied_bytes,
            missing=tuple(
                sorted(str(b.digest) for b in found.blobs if b.state is BlobState.MISSING)
            ),
            attached=found.attached,
        )

    async def _copy(self, named: Sequence[Named], found: "_Found") -> None:
        key, vault = self.catalog.key, self.catalog.vault
        stored = await self.catalog.stored_blobs()

        async def bring(blob: Named) -> None:
            digest, size = blob
            there = stored.get(blob_name(digest, key=key))
            if there is not None and there.size == sealed_size(size):
                found.add(blob, BlobState.COPIED)
                return
            copied = await store_blob(digest, blobs=self.blobs, vault=vault, key=key)
            if copied is None:
                log.warning("blob missing", digest=str(digest))
                found.add(blob, BlobState.MISSING)
                return
            found.add((digest, copied), BlobState.COPIED, is_new=True)

        await for_each(named, bring, parallel=self.catalog.policy.parallel)

    async def _look(self, named: Sequence[Named], found: "_Found") -> None:
        async def look(blob: Named) -> None:
            try:
                await self.blobs.stat(blob[0])
            except BlobMissing:
                found.add(blob, BlobState.MISSING)
            else:
                found.add(blob, BlobState.REFERENCED)

        await for_each(named, look, parallel=self.catalog.policy.parallel)

    @asynccontextmanager
    async def _holding(self, backup_id: str) -> AsyncIterator[None]:
        """Keep the collection of garbage from removing blobs, and other backups from starting."""
        lifetime = self.catalog.policy.hold_lifetime
        if not await self.hold.take(backup_id, lifetime=lifetime):
            other = await self.hold.leases.holder(HOLD)
            raise BackupRunning(f"backup {other} of this registry is being made already")
        keeping = asyncio.ensure_future(self._keep(backup_id))
        working = asyncio.current_task()
        assert working is not None
        keeping.add_done_callback(lambda task: task.cancelled() or working.cancel())
        try:
            yield
        except asyncio.CancelledError:
            if keeping.done() and not keeping.cancelled():
                working.uncancel()
                keeping.result()
            raise
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError, BackupRunning):
                await keeping
            await self.hold.release(backup_id)

    async def _keep(self, backup_id: str) -> None:
        """Prolong the hold for ever; ends by failing only."""
        policy = self.catalog.policy
        while True:
            await asyncio.sleep(policy.renewal.total_seconds())
            if not await self.hold.take(backup_id, lifetime=policy.hold_lifetime):
                raise BackupRunning("the hold on the registry's blobs was lost meanwhile")


@dataclass(slots=True, kw_only=True)
class _Found:
    """What was found of the blobs so far."""

    mode: BlobMode
    attached: Mapping[str, int]
    blobs: list[BackedBlob] = field(default_factory=list)
    copied_count: int = 0
    copied_bytes: int = 0

    def add(self, blob: Named, state: BlobState, *, is_new: bool = False) -> None:
        digest, size = blob
        self.blobs.append(BackedBlob(digest=digest, size=size, state=state))
        if is_new:
            self.copied_count += 1
            self.copied_bytes += size

    def listed(self) -> bytes:
        ordered = sorted(self.blobs, key=lambda blob: blob.digest)
        return b"".join(blob.line() for blob in ordered)


class _Counted:
    """A stream that knows afterwards how long it was."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self.size = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        async for data in self._chunks:
            self.size += len(data)
            yield data
