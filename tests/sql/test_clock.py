"""The clock that replicas share."""

from datetime import UTC, datetime, timedelta

import pytest

from hatoba.kernel.clock import FixedClock
from hatoba.sql.clock import TRIES, DatabaseClock
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
    assert clock.timestamp() == pytest.approx(clock.now().timestamp(), abs=0.001)


class Sleepy(FixedClock):
    """A machine that sleeps for a minute between some looks at its clock."""

    def __init__(self, *naps: bool) -> None:
        super().__init__(datetime(2001, 1, 1, tzinfo=UTC))
        self.naps = list(naps)

    def monotonic(self) -> float:
        if self.naps and self.naps.pop(0):
            self.advance(seconds=60)
        return super().monotonic()


def error_of(clock) -> timedelta:
    return abs(clock.now() - datetime.now(UTC))


@pytest.mark.postgres
async def test_an_answer_that_took_long_is_asked_for_again(postgresql) -> None:
    local = Sleepy()
    clock = DatabaseClock(local)
    local.naps = [False, True]
    await clock.ask(postgresql)
    assert error_of(clock) < timedelta(seconds=30)


@pytest.mark.postgres
async def test_a_clock_that_is_set_is_not_set_by_answers_that_take_long(postgresql) -> None:
    local = Sleepy()
    clock = DatabaseClock(local)
    await clock.ask(postgresql)
    before = clock.now()
    local.naps = [False, True] * TRIES
    await clock.ask(postgresql)
    assert clock.now() - before == timedelta(seconds=60 * TRIES)
    local.naps = []
    await clock.ask(postgresql)
    assert error_of(clock) < timedelta(seconds=30)


@pytest.mark.postgres
async def test_a_clock_that_was_never_set_takes_what_it_can_have(postgresql) -> None:
    local = Sleepy()
    clock = DatabaseClock(local)
    local.naps = [False, True] * TRIES
    await clock.ask(postgresql)
    assert error_of(clock) < timedelta(seconds=60)


async def test_a_database_that_is_gone_does_not_stop_the_clock() -> None:
    local = FixedClock(datetime(2026, 11, 23, tzinfo=UTC))
    clock = DatabaseClock(local)
    with pytest.raises(DatabaseUnavailable):
        await clock.ask(open_database("postgresql://nobody@127.0.0.1:1/none"))
    assert clock.now() == datetime(2026, 11, 23, tzinfo=UTC)
