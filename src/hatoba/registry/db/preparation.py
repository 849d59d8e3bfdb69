"""What only the administrator of a PostgreSQL can do for a registry: `CREATE EXTENSION`.

Called by `hatoba registry init-database` in the job beside a managed database, which may start
before the database does.
"""

import asyncio
from typing import Final

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from hatoba.sql.engine import Database, DatabaseUnavailable

RETRY_SECONDS: Final = 1.0
CONNECT_SECONDS: Final = 10.0
_TRANSIENT: Final = (
    OSError,
    TimeoutError,
    asyncpg.CannotConnectNowError,
    asyncpg.ConnectionDoesNotExistError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidPasswordError,
)
"""What a database that is just being made answers: its users and databases come last."""

log = structlog.get_logger()


async def prepare_database(
    *, host: str, port: int, database: str, password: str, patience_seconds: float
) -> None:
    """Install the extension pg_trgm, once the database answers. Idempotent.

    Raises:
        DatabaseUnavailable: it did not answer in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while True:
        try:
            connection = await asyncpg.connect(
                host=host,
                port=port,
                user="postgres",
                password=password,
                database=database,
                timeout=CONNECT_SECONDS,
            )
        except _TRANSIENT as error:
            if loop.time() >= deadline:
                raise DatabaseUnavailable(
                    f"the database at {host}:{port} does not answer: {error}"
                ) from error
            log.info("database not ready", host=host, port=port, reason=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            continue
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        except asyncpg.UniqueViolationError:
            # The migration beside us was faster by an instant.
            continue
        finally:
            await connection.close()
        return


async def require_trigrams(database: Database, *, patience_seconds: float) -> None:
    """Have the extension pg_trgm in a PostgreSQL, made here or by its administrator beside us.

    Raises:
        DatabaseUnavailable: neither happened within `patience_seconds`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while True:
        try:
            async with database.read() as connection:
                await connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
        except DBAPIError as error:
            if loop.time() >= deadline:
                raise DatabaseUnavailable(
                    f"the extension pg_trgm is missing: {error.orig}"
                ) from error
            log.info("waiting for the extension")
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


async def wait_for_database(database: Database, *, patience_seconds: float) -> None:
    """Return once the database answers.

    Raises:
        DatabaseUnavailable: not within `patience_seconds`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    while True:
        try:
            async with database.read() as connection:
                await connection.execute(text("SELECT 1"))
        except DatabaseUnavailable:
            if loop.time() >= deadline:
                raise
            log.info("waiting for the database")
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
