"""`hatoba registry migrate`: the registry's database to the present schema."""

from pathlib import Path

from hatoba.registry.db import migrations
from hatoba.sql.engine import Database
from hatoba.sql.migrations import migrate


async def migrate_registry(database: Database) -> str:
    """Create or complete the registry's tables; return the revision reached. Idempotent."""
    directory = Path(str(migrations.__file__)).parent
    return await migrate(database, directory=directory)
