"""Telling other processes that something was deleted or changed, so that their caches forget it.

On PostgreSQL the word goes out with the commit (NOTIFY); each process listens on a connection
of its own, and keeps nothing cached while that connection is down. SQLite serves one machine
with short-lived caches instead.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import asyncpg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.sql.engine import Database, DatabaseUnavailable

DELETED: Final = "hatoba_content_deleted"
"""The channel on which it is said that content was deleted."""
CHANGED: Final = "hatoba_access_changed"
"""The channel on which it is said that something was changed over the API."""
RETRY_SECONDS: Final = 2.0
CHECK_SECONDS: Final = 20.0

log = structlog.get_logger()


async def announce(connection: AsyncConnection) -> None:
    """Say, with this transaction's commit, that content was deleted."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text(f"NOTIFY {DELETED}"))


async def announce_change(database: Database, *channels: str) -> None:
    """Say that something was changed, on these channels.

    Where it cannot be said, others learn of it by the age of what they remember.
    """
    if not database.is_postgresql:
        return
    try:
        async with database.read() as connection:
            for channel in channels:
                await connection.execute(text(f"NOTIFY {channel}"))
    except DatabaseUnavailable as error:
        log.warning("a change cannot be announced", channels=channels, error=str(error))


async def follow_changes(database: Database, forget: Mapping[str, Callable[[], None]]) -> None:
    """Call the function of a channel for each announcement, and when one may have been missed."""
    while True:
        try:
            await _listen(database, forget)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
            log.warning("changes cannot be followed", error=str(error))
        _forget_all(forget)
        await asyncio.sleep(RETRY_SECONDS)


def _forget_all(forget: Mapping[str, Callable[[], None]]) -> None:
    for function in forget.values():
        function()


async def _listen(database: Database, forget: Mapping[str, Callable[[], None]]) -> None:
    def heard(_connection: Any, _pid: int, channel: str, _payload: Any) -> None:
        forget[channel]()

    connection = await asyncpg.connect(**database.asyncpg_arguments())
    try:
        for channel in forget:
            await connection.add_listener(channel, heard)
        _forget_all(forget)
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await asyncio.wait_for(connection.fetchval("SELECT 1"), timeout=CHECK_SECONDS)
    finally:
        connection.terminate()
