"""Bringing a database to the schema that the code expects.

The only module that imports Alembic, which takes a second: it is called by `migrate` commands,
never by a server. Revisions are recorded in a table of our own, so that the `alembic_version` of
an adopted database stays what its own software wrote. Everything happens in one transaction and
under one lock: two migrators take turns, and the second finds nothing to do.
"""

from pathlib import Path
from typing import Any, Final

import structlog
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from hatoba.sql.engine import Database

LOCK_KEY: Final = 0x6861746F
"""Key of the PostgreSQL advisory lock ("hato")."""

log = structlog.get_logger()


async def migrate(
    database: Database, *, directory: Path, version_table: str = "hatoba_alembic_version"
) -> str:
    """Apply the revisions in `directory` that are missing; return the revision reached.

    Idempotent. A failing revision leaves the database as it was.
    """
    async with database.begin() as connection:
        if database.is_postgresql:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
        reached = await connection.run_sync(
            _upgrade_blocking, directory=directory, version_table=version_table
        )
    log.info("database migrated", revision=reached, version_table=version_table)
    return reached


def _upgrade_blocking(connection: Connection, *, directory: Path, version_table: str) -> str:
    config = _config(directory)
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    assert head is not None, "a migrations directory holds at least one revision"

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs(head, revision)  # noqa: SLF001 -- as alembic.command.upgrade does

    with EnvironmentContext(config, script, fn=steps, destination_rev=head) as environment:
        environment.configure(connection=connection, version_table=version_table)
        environment.run_migrations()
    return head


def _config(directory: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def revisions_in(directory: Path) -> frozenset[str]:
    """Return the revisions that a directory holds."""
    script = ScriptDirectory.from_config(_config(directory))
    return frozenset(found.revision for found in script.walk_revisions())


async def applied_revision(
    database: Database, *, version_table: str = "hatoba_alembic_version"
) -> str | None:
    """Return the revision that the database is at; None when it was never migrated."""
    async with database.read() as connection:
        exists = await connection.run_sync(lambda sync: sync.dialect.has_table(sync, version_table))
        if not exists:
            return None
        row = await connection.execute(text(f"SELECT version_num FROM {version_table}"))  # noqa: S608
        return row.scalar_one_or_none()
