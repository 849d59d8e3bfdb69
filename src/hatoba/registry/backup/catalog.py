"""What a vault holds: listing it, reading parts of backups, proving them, removing old ones."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import HatobaError
from hatoba.registry.backup import models
from hatoba.registry.backup.attachments import unpack
from hatoba.registry.backup.copying import blob_name, for_each, plain_blob
from hatoba.registry.backup.errors import BackupDamaged, BackupMissing, VaultMissing
from hatoba.registry.backup.models import BackedBlob, BackupPolicy, BlobState, Summary
from hatoba.registry.backup.sealing import BackupKey, seal, unseal
from hatoba.registry.backup.vault import StoredFile, Vault

LATEST: Final = "latest"
_SHOWN: Final = 5

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class Pruned:
    """What was removed from a vault."""

    backups: list[str] = field(default_factory=list)
    files: int = 0
    bytes: int = 0


@dataclass(slots=True, frozen=True, kw_only=True)
class Catalog:
    """The backups of one vault."""

    vault: Vault
    key: BackupKey
    clock: Clock
    policy: BackupPolicy = field(default_factory=BackupPolicy)

    async def write(self, name: str, chunks: AsyncIterator[bytes]) -> int:
        """Seal a stream into a file; return the size of the sealed form."""
        return await self.vault.put(name, seal(chunks, key=self.key, name=name))

    async def write_bytes(self, name: str, content: bytes) -> None:
        """Seal bytes into a file."""
        await self.write(name, _once(content))

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the plain form of a file."""
        return unseal(self.vault.read(name), key=self.key, name=name)

    async def read_bytes(self, name: str) -> bytes:
        """Return the plain form of a small file."""
        return b"".join([data async for data in self.read(name)])

    async def ids(self) -> list[str]:
        """Return the backups that are whole, the oldest first."""
        return [
            found.name.split("/")[1]
            async for found in self.vault.list_files("backups/")
            if found.name.endswith("/summary")
        ]

    async def summaries(self) -> list[Summary]:
        """Return what the backups say of themselves, the oldest first."""
        return [await self.summary(backup_id) for backup_id in await self.ids()]

    async def summary(self, backup_id: str) -> Summary:
        """Return what one says.

        Raises:
            BackupMissing: there is no such backup, or it was never finished.
        """
        if backup_id == LATEST:
            ids = await self.ids()
            if not ids:
                raise BackupMissing("the vault holds no backup")
            backup_id = ids[-1]
        try:
            return Summary.parse(await self.read_bytes(models.summary_name(backup_id)))
        except VaultMissing as error:
            raise BackupMissing(f"the vault holds no backup {backup_id}") from error

    async def blobs(self, backup_id: str) -> list[BackedBlob]:
        """Return the blobs of a backup."""
        content = await self.read_bytes(models.blob_list_name(backup_id))
        return [BackedBlob.parse(line) for line in content.decode().splitlines()]

    async def attachments(self, backup_id: str) -> dict[str, bytes]:
        """Return the configuration of a backup."""
        return unpack(await self.read_bytes(models.attachments_name(backup_id)))

    async def stored_blobs(self) -> dict[str, StoredFile]:
        """Return the files of blobs by name."""
        return {found.name: found async for found in self.vault.list_files("blobs/")}

    async def verify(self, backup_id: str) -> Summary:
        """Read all that a backup consists of and compare its digests.

        Raises:
            BackupDamaged: something is missing or not what it should be.
        """
        summary = await self.summary(backup_id)
        faults: list[str] = []
        await self.attachments(summary.id)
        async for _ in self.read(models.database_name(summary.id)):
            pass

        async def look(blob: BackedBlob) -> None:
            try:
                async for _ in plain_blob(blob.digest, vault=self.vault, key=self.key):
                    pass
            except HatobaError as error:
                faults.append(f"{blob.digest}: {error.message}")

        copied = [b for b in await self.blobs(summary.id) if b.state is BlobState.COPIED]
        await for_each(copied, look, parallel=self.policy.parallel)
        if faults:
            more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
            raise BackupDamaged(
                f"backup {summary.id} lacks {len(faults)} of {len(copied)} blobs: "
                + "; ".join(sorted(faults)[:_SHOWN])
                + more
            )
        return summary

    async def prune(self, *, keep: int) -> Pruned:
        """Remove all but the newest backups, and what belongs to none."""
        done = Pruned()
        ids = await self.ids()
        for backup_id in ids[: max(0, len(ids) - keep)]:
            # First what makes it a backup: cut off in between, the rest belongs to none.
            await self.vault.delete(models.summary_name(backup_id))
            done.backups.append(backup_id)
        kept = ids[max(0, len(ids) - keep) :]
        before = self.clock.now() - self.policy.unfinished_lifetime
        done.files += await self.vault.sweep(before=before)
        await self._remove_parts(done, kept=kept, before=before)
        await self._remove_blobs(done, kept=kept, before=before)
        log.info("backups pruned", kept=len(kept), removed=done.backups, bytes=done.bytes)
        return done

    async def _remove_parts(self, done: Pruned, *, kept: Sequence[str], before: datetime) -> None:
        found = [one async for one in self.vault.list_files("backups/")]
        for one in found:
            backup_id = one.name.split("/")[1]
            if backup_id in kept or (one.modified_at > before and backup_id not in done.backups):
                continue
            await self._remove(done, one)

    async def _remove_blobs(self, done: Pruned, *, kept: Sequence[str], before: datetime) -> None:
        needed = {
            blob_name(blob.digest, key=self.key)
            for backup_id in kept
            for blob in await self.blobs(backup_id)
        }
        for name, one in (await self.stored_blobs()).items():
            if name not in needed and one.modified_at <= before:
                await self._remove(done, one)

    async def _remove(self, done: Pruned, one: StoredFile) -> None:
        await self.vault.delete(one.name)
        done.files += 1
        done.bytes += one.size


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
