import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, select

from hatoba.kernel.clock import FixedClock
from hatoba.sql.leases import Leases, claim_rows, lease_table

pytestmark = pytest.mark.anyio
MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock():
    return FixedClock(datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
async def leases(database, clock):
    metadata = MetaData()
    table = lease_table(metadata)
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return Leases(database=database, table=table, clock=clock)


async def test_a_lease_has_one_holder(leases):
    taken = await asyncio.gather(
        *(leases.claim("gc", holder=f"worker-{n}", lifetime=MINUTE) for n in range(5))
    )
    assert taken.count(True) == 1


async def test_the_holder_may_prolong_and_others_may_not(leases):
    assert await leases.claim("gc", holder="a", lifetime=MINUTE)
    assert await leases.claim("gc", holder="a", lifetime=MINUTE)
    assert not await leases.claim("gc", holder="b", lifetime=MINUTE)


async def test_an_expired_or_released_lease_is_free(leases, clock):
    await leases.claim("gc", holder="a", lifetime=MINUTE)
    clock.advance(seconds=61)
    assert await leases.holder("gc") is None
    assert await leases.claim("gc", holder="b", lifetime=MINUTE)
    await leases.release("gc", holder="b")
    assert await leases.claim("gc", holder="c", lifetime=MINUTE)


async def test_releasing_what_another_holds_changes_nothing(leases):
    await leases.claim("gc", holder="a", lifetime=MINUTE)
    await leases.release("gc", holder="b")
    assert await leases.holder("gc") == "a"


async def test_no_two_workers_claim_the_same_row(database):
    metadata = MetaData()
    items = Table(
        "items", metadata, Column("id", Integer, primary_key=True), Column("by", String(9))
    )
    async with database.begin() as connection:
        await connection.run_sync(metadata.create_all)
        await connection.execute(items.insert(), [{"by": ""} for _ in range(6)])

    async def worker(name):
        async with database.begin() as connection:
            return await claim_rows(
                connection, table=items, due=items.c.by == "", changes={"by": name}, limit=2
            )

    claimed = await asyncio.gather(*(worker(f"w{n}") for n in range(4)))
    ids = [row["id"] for rows in claimed for row in rows]
    assert len(ids) == len(set(ids))
    async with database.read() as connection:
        owners = (await connection.execute(select(items.c.by))).scalars().all()
    assert len([owner for owner in owners if owner]) == len(ids) > 0
