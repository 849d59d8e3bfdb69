"""The database of a backup: one moment of it, as a dump and as the list of its blobs.

PostgreSQL: a transaction that exports its snapshot; pg_dump and the list see exactly the same.
SQLite: its own online copy, from which the list is read.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import asyncpg
from typing_extensions import override

from hatoba.config.schema import QuayConfig
from hatoba.kernel.digests import Digest
from hatoba.registry.backup.errors import BackupForeign, DatabaseNotEmpty
from hatoba.registry.backup.programs import PostgresPrograms
from hatoba.registry.blobs.driver import READ_BYTES
from hatoba.registry.retention.hold import HOLD
from hatoba.sql.engine import Database, translated

POSTGRESQL: Final = "postgresql"
SQLITE: Final = "sqlite"
# Every blob that has a row: one that lacks bytes would look as if nobody had to push it.
_BLOBS: Final = (
    "SELECT content_checksum, max(coalesce(image_size, 0)) FROM imagestorage"
    " WHERE cas_path AND content_checksum IS NOT NULL"
    " GROUP BY content_checksum ORDER BY content_checksum"
)
_REVISION: Final = "SELECT version_num FROM hatoba_alembic_version"
_HELD_FOR: Final = "SELECT holder FROM hatoba_lease WHERE name = "
_HAS_TABLES: Final = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
_CONNECT_SECONDS: Final = 30.0

Named = tuple[Digest, int]


class Snapshot(Protocol):
    """One moment of a database."""

    kind: str
    revision: str
    blobs: tuple[Named, ...]

    def dump(self) -> AsyncIterator[bytes]:
        """Yield the dump."""


@dataclass(slots=True, frozen=True, kw_only=True)
class _PostgresSnapshot(Snapshot):
    kind: str
    revision: str
    blobs: tuple[Named, ...]
    name: str
    programs: PostgresPrograms

    @override
    def dump(self) -> AsyncIterator[bytes]:
        return self.programs.dump(snapshot=self.name)


@dataclass(slots=True, frozen=True, kw_only=True)
class _SqliteSnapshot(Snapshot):
    kind: str
    revision: str
    blobs: tuple[Named, ...]
    copy: Path

    @override
    async def dump(self) -> AsyncIterator[bytes]:
        with self.copy.open("rb") as stream:
            while data := await asyncio.to_thread(stream.read, READ_BYTES):
                yield data


def programs_of(settings: QuayConfig) -> PostgresPrograms:
    """Return PostgreSQL's programs for the database of a configuration."""
    return PostgresPrograms.of(settings.db_uri, connection_arguments=settings.db_connection_args)


@asynccontextmanager
async def snapshot_of(database: Database, *, settings: QuayConfig) -> AsyncIterator[Snapshot]:
    """Take a snapshot, which stays the same for as long as the block lasts."""
    if not database.is_postgresql:
        with tempfile.TemporaryDirectory(prefix="hatoba-backup-") as directory:
            copy = Path(directory, "registry.db")
            yield await asyncio.to_thread(_copy_sqlite_blocking, _sqlite_path(database), copy)
        return
    with translated():
        connection = await asyncpg.connect(**database.asyncpg_arguments(), timeout=_CONNECT_SECONDS)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield _PostgresSnapshot(
                    kind=POSTGRESQL,
                    revision=await connection.fetchval(_REVISION),
                    blobs=tuple(
                        (Digest.parse(row[0]), row[1]) for row in await connection.fetch(_BLOBS)
                    ),
                    name=await connection.fetchval("SELECT pg_export_snapshot()"),
                    programs=programs_of(settings),
                )
        finally:
            await connection.close()


def _sqlite_path(database: Database) -> Path:
    return Path(str(database.url.database))


def _copy_sqlite_blocking(source: Path, copy: Path) -> _SqliteSnapshot:
    with closing(sqlite3.connect(source)) as live, closing(sqlite3.connect(copy)) as target:
        live.backup(target)
        # The copy is one file: nothing of it may stay in a journal.
        target.execute("PRAGMA journal_mode=DELETE")
        rows = target.execute(_BLOBS).fetchall()
        (revision,) = target.execute(_REVISION).fetchone()
    return _SqliteSnapshot(
        kind=SQLITE,
        revision=revision,
        blobs=tuple((Digest.parse(digest), size) for digest, size in rows),
        copy=copy,
    )


async def restored_from(database: Database) -> str | None:
    """Return the backup whose restoration a database is; None for an empty one.

    The hold under which a backup is made is part of it: whatever was restored names its backup.

    Raises:
        DatabaseNotEmpty: it holds something else.
    """
    if database.is_postgresql:
        with translated():
            found = await _ask_postgresql(database.asyncpg_arguments())
    else:
        found = await asyncio.to_thread(_ask_sqlite_blocking, _sqlite_path(database))
    if found == "":
        raise DatabaseNotEmpty(
            "the database has tables that no backup made; restore into an empty one"
        )
    return found


async def _ask_postgresql(arguments: Mapping[str, Any]) -> str | None:
    """Return None for an empty database, "" for a foreign one, else the id of its backup."""
    connection = await asyncpg.connect(**arguments, timeout=_CONNECT_SECONDS)
    try:
        if not await connection.fetchval(_HAS_TABLES):
            return None
        if not await connection.fetchval("SELECT to_regclass('hatoba_lease')"):
            return ""
        return str(await connection.fetchval(f"{_HELD_FOR} $1", HOLD) or "")
    finally:
        await connection.close()


def _ask_sqlite_blocking(path: Path) -> str | None:
    if not path.exists() or path.stat().st_size == 0:
        return None
    with closing(sqlite3.connect(path)) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
        if not tables:
            return None
        if "hatoba_lease" not in tables:
            return ""
        row = connection.execute(f"{_HELD_FOR} ?", (HOLD,)).fetchone()
        return str(row[0]) if row else ""


async def restore_dump(
    database: Database, dump: AsyncIterator[bytes], *, kind: str, settings: QuayConfig
) -> None:
    """Fill an empty database from a dump, wholly or not at all.

    Raises:
        BackupForeign: the dump is of another kind of database.
        DumpFailed: pg_restore did not do its work.
    """
    here = POSTGRESQL if database.is_postgresql else SQLITE
    if kind != here:
        raise BackupForeign(f"the backup is of a {kind} database, the configuration names {here}")
    if here == POSTGRESQL:
        await programs_of(settings).restore(dump)
        return
    path = _sqlite_path(database)
    temporary = path.with_name(f".{path.name}.restoring")
    try:
        with temporary.open("wb") as stream:
            async for data in dump:
                await asyncio.to_thread(stream.write, data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
