"""While somebody has the hold, no bytes go; the collection makes up for it afterwards."""

from datetime import timedelta

import pytest
from sqlalchemy.exc import DBAPIError

from hatoba.registry.db.tables.hatoba import leases
from hatoba.registry.retention.hold import Hold, may_remove
from hatoba.sql.engine import open_database
from hatoba.sql.leases import Leases

pytestmark = pytest.mark.anyio
LIFETIME = timedelta(minutes=10)


@pytest.fixture
def hold(house):
    database = house.shelf.database
    return Hold(leases=Leases(database=database, table=leases, clock=house.clock))


async def unneeded(house):
    await house.set_time_machine(timedelta())
    await house.push_image("v1", b"config", b"layer")
    await house.delete("v1")
    house.clock.advance(hours=2)


async def test_nothing_goes_while_it_is_held(house, hold):
    await unneeded(house)
    assert await hold.take("me", lifetime=timedelta(days=30))
    done = await house.collect_until_nothing_waits()
    assert (done.quarantined, done.blobs) == (2, 0)
    assert house.stored == {b"config", b"layer"}
    await hold.release("me")
    assert (await house.collector.collect_everything()).blobs == 2


async def test_a_dead_holder_loses_it_to_the_second(house, hold):
    await unneeded(house)
    await house.collector.collect_everything()
    house.clock.at += house.collector.policy.quarantine
    await hold.take("me", lifetime=LIFETIME)
    house.clock.advance(minutes=9, seconds=59)
    assert (await house.collector.collect_everything()).blobs == 0
    house.clock.advance(seconds=1)
    assert (await house.collector.collect_everything()).blobs == 2


async def test_only_one_has_it(house, hold):
    assert await hold.take("me", lifetime=LIFETIME)
    assert await hold.take("me", lifetime=LIFETIME)
    assert not await hold.take("you", lifetime=LIFETIME)


@pytest.mark.parametrize("migrated_uri", ["postgresql"], indirect=True)
@pytest.mark.postgres
async def test_who_takes_it_waits_for_the_removal_under_way(house, hold, migrated_uri):
    other = open_database(migrated_uri)
    async with other.begin() as removing:
        assert await may_remove(removing, now=house.clock.now())
        async with house.shelf.database.begin() as impatient:
            await impatient.exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            with pytest.raises(DBAPIError, match="lock timeout"):
                await impatient.exec_driver_sql(
                    "SELECT pg_advisory_xact_lock(hashtextextended('hatoba hold on removal', 0))"
                )
            await impatient.rollback()
    await other.close()
    assert await hold.take("me", lifetime=LIFETIME)
    async with house.shelf.database.begin() as connection:
        assert not await may_remove(connection, now=house.clock.now())
