"""A small pool of bare asyncpg connections, for the few statements that most requests ask.

SQLAlchemy costs several times what such a statement does. Connections come back as they are:
nothing that is asked here leaves a trace in a session, so the reset between two uses, a round
trip of its own, is left out. Whoever needs a transaction with rules uses `Database.begin`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from hatoba.sql.engine import Database

PATIENCE_SECONDS: Final = 10.0
"""How long a connection or an answer is waited for."""


@asynccontextmanager
async def prepared_pool(
    database: Database, *, connections: int
) -> AsyncIterator["asyncpg.Pool[Any]"]:
    """Open a pool upon a PostgreSQL database; callers translate what it raises."""
    pool = asyncpg.create_pool(
        **database.asyncpg_arguments(),
        min_size=1,
        max_size=connections,
        timeout=PATIENCE_SECONDS,
        command_timeout=PATIENCE_SECONDS,
        init=_settle,
        reset=_keep,
    )
    async with pool:
        yield pool


async def _settle(connection: "asyncpg.Connection[Any]") -> None:
    # Planning such a statement costs more than running it, and so would compiling it.
    await connection.execute("SET plan_cache_mode = force_generic_plan; SET jit = off")


async def _keep(_connection: "asyncpg.Connection[Any]") -> None:
    """Leave a connection as it is."""
