"""Restoring a backup into an empty database and a storage that may hold anything.

Blobs first, which can be repeated; then the database in one transaction. A registry either has
all of its tables afterwards or none, and whoever was interrupted begins again with the same
command: what is there already is recognised.
"""

from dataclasses import dataclass

import structlog
from sqlalchemy import insert, select

from hatoba.config.schema import QuayConfig
from hatoba.kernel.clock import Clock
from hatoba.registry.backup import models
from hatoba.registry.backup.catalog import Catalog
from hatoba.registry.backup.copying import bring_back, for_each
from hatoba.registry.backup.database import restore_dump, restored_from
from hatoba.registry.backup.errors import (
    BackupDamaged,
    BackupForeign,
    DatabaseNotEmpty,
)
from hatoba.registry.backup.models import BackedBlob, BlobState, Summary
from hatoba.registry.blobs.driver import BlobDriver, BlobMissing
from hatoba.registry.db.migrate import known_revisions, migrate_registry
from hatoba.registry.db.preparation import require_trigrams
from hatoba.registry.db.tables.hatoba import blob_damages
from hatoba.registry.retention.models import Damage
from hatoba.sql.engine import Database

log = structlog.get_logger()

_SHOWN = 3


@dataclass(slots=True, frozen=True, kw_only=True)
class Restored:
    """What a restoration did."""

    summary: Summary
    blobs: int
    missing: int
    was_done_before: bool
    """The database held this backup already."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Restorer:
    """Restores backups of one vault into one registry."""

    settings: QuayConfig
    database: Database
    blobs: BlobDriver
    catalog: Catalog
    clock: Clock
    patience_seconds: float = 0
    """How long to wait for what only the administrator of a PostgreSQL can do."""

    async def restore(self, backup_id: str) -> Restored:
        """Bring a registry back.

        Raises:
            BackupMissing, BackupDamaged, BackupForeign: the backup cannot be used here.
            DatabaseNotEmpty: the database holds something else than this backup.
        """
        summary = await self.catalog.summary(backup_id)
        if summary.revision not in known_revisions():
            raise BackupForeign(
                f"the backup was made by Hatoba {summary.version}, whose database revision "
                f"{summary.revision} is unknown here: restore it with that version or a later one"
            )
        before = await restored_from(self.database)
        if before not in {None, summary.id}:
            raise DatabaseNotEmpty(f"the database was restored from backup {before} already")
        listed = await self.catalog.blobs(summary.id)
        await self._bring_blobs([one for one in listed if one.state is not BlobState.MISSING])
        if before is None:
            if self.database.is_postgresql:
                await require_trigrams(self.database, patience_seconds=self.patience_seconds)
            dump = self.catalog.read(models.database_name(summary.id))
            await restore_dump(self.database, dump, kind=summary.database, settings=self.settings)
        await migrate_registry(self.database)
        await self._note_missing([one for one in listed if one.state is BlobState.MISSING])
        log.info("backup restored", backup=summary.id, blobs=len(listed))
        return Restored(
            summary=summary,
            blobs=len(listed) - len(summary.missing),
            missing=len(summary.missing),
            was_done_before=before is not None,
        )

    async def _bring_blobs(self, listed: list[BackedBlob]) -> None:
        vault, key = self.catalog.vault, self.catalog.key
        absent: list[str] = []

        async def bring(blob: BackedBlob) -> None:
            if blob.state is BlobState.COPIED:
                await bring_back(blob.digest, blobs=self.blobs, vault=vault, key=key)
                return
            try:
                await self.blobs.stat(blob.digest)
            except BlobMissing:
                absent.append(str(blob.digest))

        await for_each(listed, bring, parallel=self.catalog.policy.parallel)
        if absent:
            raise BackupDamaged(
                f"the backup only refers to its blobs, and the storage lacks {len(absent)} of "
                f"{len(listed)}: {', '.join(sorted(absent)[:_SHOWN])}"
            )

    async def _note_missing(self, missing: list[BackedBlob]) -> None:
        """Let nobody be told that a blob is there which was lost before the backup."""
        if not missing:
            return
        async with self.database.begin() as connection:
            known = set((await connection.execute(select(blob_damages.c.digest))).scalars())
            for blob in missing:
                if str(blob.digest) not in known:
                    row = {"kind": Damage.MISSING.value, "found_at": self.clock.now()}
                    await connection.execute(
                        insert(blob_damages).values(digest=str(blob.digest), **row)
                    )
