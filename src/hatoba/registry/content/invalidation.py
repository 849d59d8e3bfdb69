"""Telling other processes that something was deleted, so that their caches forget it.

On PostgreSQL the word goes out with the commit (NOTIFY); each process listens on a connection
of its own, and keeps nothing cached while that connection is down. SQLite serves one machine
with short-lived caches instead.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.sql.engine import Database

CHANNEL: Final = "hatoba_content_deleted"
RETRY_SECONDS: Final = 2.0
CHECK_SECONDS: Final = 20.0

log = structlog.get_logger()


async def announce(connection: AsyncConnection) -> None:
    """Say, with this transaction's commit, that content was deleted."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"NOTIFY {CHANNEL}"))


async def announce_deletion(database: Database) -> None:
    """Say that something was deleted that held content: a repository, an organization."""
    if database.is_postgresql:
        async with database.begin() as connection:
            await announce(connection)


async def follow_deletions(database: Database, *, forget: Callable[[], None]) -> None:
    """Call `forget` for every announcement, and whenever one may have been missed."""
    while True:
        try:
            await _listen(database, forget)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            log.warning("deletions cannot be followed", error=str(error))
        forget()
        await asyncio.sleep(RETRY_SECONDS)


async def _listen(database: Database, forget: Callable[[], None]) -> None:
    def heard(*_: Any) -> None:
        forget()

    connection = await asyncpg.connect(**database.asyncpg_arguments())
    try:
        await connection.add_listener(CHANNEL, heard)
        forget()
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await asyncio.wait_for(connection.fetchval("SELECT 1"), timeout=CHECK_SECONDS)
    finally:
        connection.terminate()
