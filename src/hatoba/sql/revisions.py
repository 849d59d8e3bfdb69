"""Where a database stands, for those who only ask: servers, which do not import Alembic.

Revisions of one part are numbered in one chain of four digits each, so that what is not known here
can be told to be later.
"""

from typing import Final

from sqlalchemy import text

from hatoba.sql.engine import Database

VERSION_TABLE: Final = "hatoba_alembic_version"


async def applied_revision(database: Database, *, version_table: str = VERSION_TABLE) -> str | None:
    """Return the revision that the database is at; None when it was never migrated."""
    async with database.read() as connection:
        exists = await connection.run_sync(lambda sync: sync.dialect.has_table(sync, version_table))
        if not exists:
            return None
        row = await connection.execute(text(f"SELECT version_num FROM {version_table}"))  # noqa: S608
        return row.scalar_one_or_none()
