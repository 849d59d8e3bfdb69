"""The clock that replicas share."""

from datetime import UTC, datetime, timedelta

import pytest

from hatoba.kernel.clock import FixedClock
from hatoba.sql.clock import DatabaseClock
from hatoba.sql.engine import DatabaseUnavailable, open_database

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(postgres_server):
    with postgres_server.database() as made:
        yield made


@pytest.fixture
async def postgresql(url):
    database = open_database(url)
    yield database
    await database.close()


@pytest.mark.postgres
async def test_a_machine_that_is_hours_off_tells_the_database_s_time(postgresql) -> None:
    clock = DatabaseClock(FixedClock(datetime(2001, 1, 1, tzinfo=UTC)))
    await clock.ask(postgresql)
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=30)


@pytest.mark.postgres
async def test_time_passes_between_two_questions(postgresql) -> None:
    local = FixedClock(datetime(2001, 1, 1, tzinfo=UTC))
    clock = DatabaseClock(local)
    await clock.ask(postgresql)
    before = clock.now()
    local.advance(seconds=7)
    assert clock.now() - before == timedelta(seconds=7)


async def test_a_database_that_is_gone_does_not_stop_the_clock() -> None:
    local = FixedClock(datetime(2026, 11, 23, tzinfo=UTC))
    clock = DatabaseClock(local)
    with pytest.raises(DatabaseUnavailable):
        await clock.ask(open_database("postgresql://nobody@127.0.0.1:1/none"))
    assert clock.now() == datetime(2026, 11, 23, tzinfo=UTC)
