"""The buffer of audit rows: what a flush writes, and what it leaves for the next one."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from sqlalchemy import func, select

from hatoba.kernel.clock import Clock, FixedClock, SystemClock
from hatoba.registry.audit.models import Entry
from hatoba.registry.audit.service import BATCH, AuditLog
from hatoba.registry.audit.store import SLICE
from hatoba.registry.db.lookups import Lookups, load_lookups
from hatoba.registry.db.tables.logs import log_entries

pytestmark = pytest.mark.anyio

START = datetime(2026, 1, 1, tzinfo=UTC)


def pull(**more: object) -> Entry:
    return Entry(kind="pull_repo", namespace_id=1, metadata=more)


@dataclass(slots=True, frozen=True, kw_only=True)
class Overheard(Lookups):
    """Calls a function for each row that is written."""

    heard: Callable[[], None]

    def id(self, table: str, name: str) -> int:
        self.heard()
        return Lookups.id(self, table, name)


async def log_of(database, heard: Callable[[], None], clock: Clock | None = None) -> AuditLog:
    known = await load_lookups(database)
    lookups = Overheard(ids=known.ids, names=known.names, heard=heard)
    return AuditLog(database=database, lookups=lookups, clock=clock or SystemClock())


async def written(database) -> int:
    async with database.read() as connection:
        return (
            await connection.execute(select(func.count()).select_from(log_entries))
        ).scalar_one()


async def test_what_comes_while_rows_are_written_is_left_to_the_next_flush(database) -> None:
    log = await log_of(database, lambda: log.remember(pull()))
    for _ in range(BATCH + 3):
        log.remember(pull())
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
        log.remember(pull())
    with pytest.raises(asyncio.CancelledError):
        await log.flush()
    assert log.waiting == 3
    assert await log.flush() == 3
    assert await written(database) == 3


async def test_pulls_that_are_alike_are_read_once_and_each_has_its_row(database) -> None:
    heard: list[None] = []
    clock = FixedClock(START)
    log = await log_of(database, lambda: heard.append(None), clock)
    alike, other = pull(tag="v1"), pull(tag="v2")
    for entry in (alike, other, alike):
        log.remember(entry)
        clock.advance(seconds=1)
    await log.flush()
    async with database.read() as connection:
        found = await connection.execute(select(log_entries).order_by(log_entries.c.id))
    rows = [(json.loads(row.metadata_json)["tag"], row.datetime.second) for row in found]
    assert rows == [("v1", 0), ("v2", 1), ("v1", 2)]
    assert len(heard) == 2


async def test_others_go_on_while_a_batch_is_made_ready(database) -> None:
    turns: list[int] = []
    made: list[None] = []
    log = await log_of(database, lambda: made.append(None))

    async def go_on() -> None:
        while True:
            turns.append(len(made))
            await asyncio.sleep(0)

    for _ in range(BATCH):
        log.remember(pull())
    other = asyncio.create_task(go_on())
    await log.flush()
    other.cancel()
    if database.is_postgresql:
        assert max(after - before for before, after in pairwise(turns)) <= SLICE
    assert await written(database) == BATCH
