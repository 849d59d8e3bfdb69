"""Bringing a database to the schema that the code expects.

The only module that imports Alembic, which takes a second: it is called by `migrate` commands,
never by a server. Revisions are recorded in a table of our own, so that the `alembic_version` of
an adopted database stays what its own software wrote. Each revision is one transaction under one
lock: two migrators take turns, and whoever comes after a crash goes on with the first revision
that was not committed.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from hatoba.kernel.errors import Conflict
from hatoba.sql.engine import Database, DatabaseUnavailable
from hatoba.sql.revisions import VERSION_TABLE, floor_table

LOCK_KEY: Final = 0x6861746F
"""Key of the PostgreSQL advisory lock ("hato")."""
_LOCK_NOT_AVAILABLE: Final = "55P03"
_NOTICE_DEATH: Final = (
    "SELECT set_config(name, '1000', true) FROM pg_settings"
    " WHERE name = 'client_connection_check_interval'"
)
"""Let the server give up a long statement, and our lock, when the migrator was killed.

Spec: PostgreSQL 14, 20.3.1; older servers have no such setting, and finish the statement first.
"""

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class LockPatience:
    """How a revision waits for a table that is in use (PostgreSQL)."""

    timeout_ms: int = 500
    """For one attempt: whoever asks for the table meanwhile queues behind it. Less than
    PostgreSQL's deadlock_timeout (1 s), so that it is us who give way and not a request."""
    attempts: int = 300
    pause_seconds: float = 1.0


PATIENCE: Final = LockPatience()


class UnknownRevision(Conflict):
    """The database is at a revision that this version does not know: a later one made it."""


async def migrate(
    database: Database,
    *,
    directory: Path,
    version_table: str = VERSION_TABLE,
    target: str | None = None,
    patience: LockPatience = PATIENCE,
) -> str:
    """Apply the revisions in `directory` that are missing; return the revision reached.

    Goes as far as `target`, else to the head. Idempotent. A failing revision leaves the database
    at the revision before it. On PostgreSQL requests go on meanwhile: a table that is in use is
    asked for again and again instead of making everybody queue behind us.

    A revision with `kind = "contract"` says in `serves_from` which head is the oldest whose code
    works without what it takes away.

    Raises:
        UnknownRevision: a later version has been here.
        DatabaseUnavailable: the server does not answer, or a table was in use all the time.
    """
    script = ScriptDirectory.from_config(_config(directory))
    goal = target or script.get_current_head()
    assert goal is not None, "a migrations directory holds at least one revision"
    one = _Migration(
        database=database, script=script, goal=goal, version_table=version_table, patience=patience
    )
    while True:
        reached, applied = await one.patient_step()
        if not applied:
            return reached
        log.info("database migrated", revision=reached, version_table=version_table)


@dataclass(slots=True, frozen=True, kw_only=True)
class _Migration:
    """The way of one database to a revision."""

    database: Database
    script: ScriptDirectory
    goal: str
    version_table: str
    patience: LockPatience

    async def patient_step(self) -> tuple[str, bool]:
        """Apply the next revision, as often as a table that is in use makes necessary.

        Return where the database is, and whether there was a revision to apply.
        """
        for attempt in range(1, self.patience.attempts + 1):
            try:
                return await self._step()
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
                    raise
                log.warning("a table is in use", attempt=attempt, of=self.patience.attempts)
            await asyncio.sleep(self.patience.pause_seconds)
        raise DatabaseUnavailable(
            f"a table that has to be changed was in use at {self.patience.attempts} attempts"
        )

    async def _step(self) -> tuple[str, bool]:
        async with self.database.begin() as connection:
            if self.database.is_postgresql:
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY}
                )
                # Not before: another migrator is waited for as long as he takes.
                timeout = text(f"SET LOCAL lock_timeout = {self.patience.timeout_ms}")
                await connection.execute(timeout)
                await connection.execute(text(_NOTICE_DEATH))
            return await connection.run_sync(self._step_blocking)

    def _step_blocking(self, connection: Connection) -> tuple[str, bool]:
        options = {"version_table": self.version_table}
        current = MigrationContext.configure(connection, opts=options).get_current_revision()
        following = _following(self.script, current, goal=self.goal)
        if following is None:
            return current or self.goal, False

        def steps(revision: Any, _context: Any) -> Any:
            # As alembic.command.upgrade does.
            return self.script._upgrade_revs(following, revision)  # noqa: SLF001 -- see above

        config = _config(Path(self.script.dir))
        with EnvironmentContext(
            config, self.script, fn=steps, destination_rev=following
        ) as environment:
            environment.configure(connection=connection, version_table=self.version_table)
            environment.run_migrations()
        self._write_floor(connection, following)
        return following, True

    def _write_floor(self, connection: Connection, revision: str) -> None:
        """Keep whose code a contract revision leaves able to work with the schema."""
        module = self.script.get_revision(revision).module
        if getattr(module, "kind", None) != "contract":
            return
        table = floor_table(self.version_table)
        statements = (
            f"CREATE TABLE IF NOT EXISTS {table} (oldest_head VARCHAR(32) NOT NULL)",
            f"DELETE FROM {table}",  # noqa: S608 -- a name of ours
            f"INSERT INTO {table} VALUES (:head)",  # noqa: S608 -- a name of ours
        )
        for statement in statements:
            values = {"head": module.serves_from} if ":head" in statement else {}
            connection.execute(text(statement), values)


def _following(script: ScriptDirectory, current: str | None, *, goal: str) -> str | None:
    """Return the revision to apply next; None when the goal is reached or lies behind."""
    chain = [found.revision for found in script.walk_revisions("base", goal)]
    chain.reverse()
    if current is None:
        return chain[0]
    if current in chain:
        position = chain.index(current) + 1
        return chain[position] if position < len(chain) else None
    if current in {found.revision for found in script.walk_revisions()}:
        return None
    raise UnknownRevision(
        f"the database is at revision {current}, which this version does not know: "
        "run the version that brought it there, or a later one"
    )


def _config(directory: Path) -> Config:
    config = Config()
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def revisions_in(directory: Path) -> tuple[str, ...]:
    """Return the revisions that a directory holds, the first one first."""
    script = ScriptDirectory.from_config(_config(directory))
    return tuple(reversed([found.revision for found in script.walk_revisions()]))


def kinds_in(directory: Path) -> dict[str, str | None]:
    """Return what each revision calls itself, `expand` or `contract`; None: nothing."""
    script = ScriptDirectory.from_config(_config(directory))
    return {
        found.revision: getattr(found.module, "kind", None) for found in script.walk_revisions()
    }


def floors_in(directory: Path) -> dict[str, str]:
    """Return what revisions say in `serves_from`."""
    script = ScriptDirectory.from_config(_config(directory))
    return {
        found.revision: found.module.serves_from
        for found in script.walk_revisions()
        if hasattr(found.module, "serves_from")
    }
