"""`hatoba registry migrate`: the registry's database to the present schema."""

import asyncio
from pathlib import Path
from typing import Final

import structlog
from sqlalchemy.exc import DBAPIError

from hatoba.registry.db import migrations
from hatoba.sql.engine import Database, DatabaseUnavailable
from hatoba.sql.migrations import migrate, revisions_in

RETRY_SECONDS: Final = 1.0
REVISIONS: Final = Path(str(migrations.__file__)).parent

log = structlog.get_logger()


async def migrate_when_ready(database: Database, *, patience_seconds: float) -> str:
    """Migrate a database that may still be starting, or lack its extension; return the revision.

    Raises:
        DatabaseUnavailable: it did not answer for as long as `patience_seconds`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while True:
        try:
            return await migrate_registry(database)
        except (DatabaseUnavailable, DBAPIError) as error:
            # init-database, which installs the extension, runs beside us.
            about_extension = "pg_trgm" in str(error) or "pg_extension" in str(error)
            if not (isinstance(error, DatabaseUnavailable) or about_extension):
                raise
            if loop.time() >= deadline:
                raise
            log.info("waiting for the database", about_extension=about_extension)
        await asyncio.sleep(RETRY_SECONDS)


async def migrate_registry(database: Database, *, target: str | None = None) -> str:
    """Create or complete the registry's tables; return the revision reached. Idempotent.

    Goes as far as `target`, else to what this version expects.
    """
    return await migrate(database, directory=REVISIONS, target=target)


def known_revisions() -> tuple[str, ...]:
    """Return the revisions that this version can start from, the first one first."""
    return revisions_in(REVISIONS)
