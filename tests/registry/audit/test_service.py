"""The buffer of audit rows: what a flush writes, and what it leaves for the next one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from sqlalchemy import func, select

from hatoba.kernel.clock import SystemClock
from hatoba.registry.audit.models import Entry
from hatoba.registry.audit.service import BATCH, AuditLog
from hatoba.registry.db.lookups import Lookups, load_lookups
from hatoba.registry.db.tables.logs import log_entries

pytestmark = pytest.mark.anyio

PULL = Entry(kind="pull_repo", namespace_id=1)


@dataclass(slots=True, frozen=True, kw_only=True)
class Overheard(Lookups):
    """Calls a function for each row that is written."""

    heard: Callable[[], None]

    def id(self, table: str, name: str) -> int:
        self.heard()
        return Lookups.id(self, table, name)


async def log_of(database, heard: Callable[[], None]) -> AuditLog:
    known = await load_lookups(database)
    lookups = Overheard(ids=known.ids, names=known.names, heard=heard)
    return AuditLog(database=database, lookups=lookups, clock=SystemClock())


async def written(database) -> int:
    async with database.read() as connection:
        return (
            await connection.execute(select(func.count()).select_from(log_entries))
        ).scalar_one()


async def test_what_comes_while_rows_are_written_is_left_to_the_next_flush(database) -> None:
    log = await log_of(database, lambda: log.remember(PULL))
    for _ in range(BATCH + 3):
        log.remember(PULL)
    assert await log.flush() == BATCH + 3
    assert log.waiting == BATCH + 3
    assert await written(database) == BATCH + 3


async def test_a_flush_that_is_cancelled_leaves_its_rows_to_the_next_one(database) -> None:
    def cancel() -> None:
        if cancels:
            cancels.pop()
            raise asyncio.CancelledError

    cancels = [True]
    log = await log_of(database, cancel)
    for _ in range(3):
        log.remember(PULL)
    with pytest.raises(asyncio.CancelledError):
        await log.flush()
    assert log.waiting == 3
    assert await log.flush() == 3
    assert await written(database) == 3
