"""Where a database stands, for those who only ask: servers, which do not import Alembic.

Revisions of one part are numbered in one chain of four digits each, so that what is not known here
can be told to be later.
"""

from typing import Final

from sqlalchemy import text

from hatoba.sql.engine import Database

VERSION_TABLE: Final = "hatoba_alembic_version"


def floor_table(version_table: str) -> str:
    """Return the table in which a contract revision says who still can work with the schema."""
    return f"{version_table}_floor"


async def applied_revision(database: Database, *, version_table: str = VERSION_TABLE) -> str | None:
    """Return the revision that the database is at; None when it was never migrated."""
    return await _said_in(database, version_table, "version_num")


async def oldest_head(database: Database, *, version_table: str = VERSION_TABLE) -> str | None:
    """Return the oldest head whose code works with the schema; None: nothing was taken away."""
    return await _said_in(database, floor_table(version_table), "oldest_head")


async def _said_in(database: Database, table: str, column: str) -> str | None:
    async with database.read() as connection:
        exists = await connection.run_sync(lambda sync: sync.dialect.has_table(sync, table))
        if not exists:
            return None
        row = await connection.execute(text(f"SELECT {column} FROM {table}"))  # noqa: S608
        return row.scalar_one_or_none()
