"""The scanner's databases to the present schema; called before serving and by the command."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.scanner import migrations
from hatoba.scanner.settings import ScannerSettings
from hatoba.sql.engine import Database, DatabaseUnavailable, open_database
from hatoba.sql.migrations import migrate

VERSION_TABLE: Final = "scanner_alembic_version"
PAUSE_SECONDS: Final = 1.0

log = structlog.get_logger()


async def migrate_scanner(database: Database) -> str:
    """Create or complete the scanner's tables; return the revision reached. Idempotent."""
    directory = Path(str(migrations.__file__)).parent
    return await migrate(database, directory=directory, version_table=VERSION_TABLE)


async def migrate_when_reachable(uris: Iterable[str], *, patience: timedelta, clock: Clock) -> None:
    """Migrate databases that may still be starting.

    Raises:
        DatabaseUnavailable: one does not answer for as long as `patience`.
    """
    deadline = clock.monotonic() + patience.total_seconds()
    for uri in uris:
        database = open_database(uri, pool_size=1)
        try:
            while True:
                try:
                    await migrate_scanner(database)
                    break
                except DatabaseUnavailable:
                    if clock.monotonic() >= deadline:
                        raise
                    log.info("waiting for the database")
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            await database.close()


def databases_to_migrate(settings: ScannerSettings, *, always: bool = False) -> list[str]:
    """Return the addresses of the databases that the configuration lets us migrate, each once."""
    chosen = [
        section.connstring
        for section in (settings.indexer, settings.matcher)
        if section.migrations or always
    ]
    return list(dict.fromkeys(chosen))
