"""Bare asyncpg connections, for the few statements that most requests ask.

SQLAlchemy costs several times what such a statement does. Connections come back as they are:
nothing that is asked here leaves a trace in a session, so the reset between two uses, a round
trip of its own, is left out. Whoever needs a transaction uses `Database.begin`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from hatoba.sql.engine import Database, translated

PATIENCE_SECONDS: Final = 10.0
"""How long a connection or an answer is waited for."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Questions:
    """Asks prepared statements; as many at once as there are connections, the others wait."""

    pool: "asyncpg.Pool[Any]"

    async def ask(self, statement: str, *values: Any) -> Sequence["asyncpg.Record"]:
        """Return the rows of a statement, which changes nothing.

        Raises:
            DatabaseUnavailable: the server does not answer.
        """
        with translated():
            rows: Sequence[asyncpg.Record] = await self.pool.fetch(statement, *values)
        return rows


@asynccontextmanager
async def open_questions(database: Database, *, connections: int) -> AsyncIterator[Questions]:
    """Connect to a PostgreSQL database.

    Raises:
        DatabaseUnavailable: the server does not answer.
    """
    pool = asyncpg.create_pool(
        **database.asyncpg_arguments(),
        min_size=1,
        max_size=connections,
        timeout=PATIENCE_SECONDS,
        command_timeout=PATIENCE_SECONDS,
        init=_settle,
        reset=_keep,
    )
    with translated():
        await pool
    try:
        yield Questions(pool=pool)
    finally:
        await pool.close()


async def _settle(connection: "asyncpg.Connection[Any]") -> None:
    # Planning such a statement costs more than running it, and so would compiling it.
    await connection.execute("SET plan_cache_mode = force_generic_plan; SET jit = off")


async def _keep(_connection: "asyncpg.Connection[Any]") -> None:
    """Leave a connection as it is."""
