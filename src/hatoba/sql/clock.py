"""One clock for all replicas: the database's.

A tag lives until a moment; replicas whose machines disagree about the present would disagree about
that, and serve for seconds or hours what another one has deleted. So each process counts from
what the database said, on a clock that nobody sets, and asks again before the two drift apart.

Used by the composition root of the registry; a database that does not answer changes nothing.
"""

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import text
from typing_extensions import override

from hatoba.kernel.clock import Clock
from hatoba.sql.engine import Database, DatabaseUnavailable

ASK_SECONDS: Final = 15.0
"""Between two questions: clocks of machines drift by less than a millisecond in that time."""
LONGEST_ANSWER_SECONDS: Final = 1.0
"""What took longer may be wrong by half of that: a machine slept meanwhile, or is busy."""
TRIES: Final = 3
NOTICEABLE: Final = timedelta(seconds=1)
"""A difference that somebody should know of."""

log = structlog.get_logger()


class DatabaseClock(Clock):
    """The database's time, without asking it each time."""

    def __init__(self, local: Clock) -> None:
        self._local = local
        self._known = local.now()
        self._known_timestamp = self._known.timestamp()
        self._known_at = local.monotonic()
        self._is_set = False

    @override
    def now(self) -> datetime:
        return self._known + timedelta(seconds=self._local.monotonic() - self._known_at)

    @override
    def monotonic(self) -> float:
        return self._local.monotonic()

    @override
    def timestamp(self) -> float:
        return self._known_timestamp + (self._local.monotonic() - self._known_at)

    async def ask(self, database: Database) -> None:
        """Ask for the time; the answer is as old as half of the way there and back.

        An answer that took long is asked for again, and believed only when there is no better one.

        Raises:
            DatabaseUnavailable: it does not answer; what was known before is still used.
        """
        known, asked_at, answered_at = await self._answer(database)
        for _ in range(TRIES - 1):
            if answered_at - asked_at <= LONGEST_ANSWER_SECONDS:
                break
            known, asked_at, answered_at = await self._answer(database)
        if self._is_set and answered_at - asked_at > LONGEST_ANSWER_SECONDS:
            log.debug("the database's time is not known well enough to set the clock")
            return
        known_at = (asked_at + answered_at) / 2
        error = self.now() - (known + timedelta(seconds=answered_at - known_at))
        self._known, self._known_at, self._is_set = known, known_at, True
        self._known_timestamp = known.timestamp()
        if abs(error) > NOTICEABLE:
            log.warning("clocks differ from the database's", seconds=error.total_seconds())

    async def _answer(self, database: Database) -> tuple[datetime, float, float]:
        """Return the database's time, and when it was asked and answered."""
        async with database.read() as connection:
            asked_at = self._local.monotonic()
            answer = await connection.execute(text("SELECT clock_timestamp()"))
            answered_at = self._local.monotonic()
        known: datetime = answer.scalar_one()
        return known, asked_at, answered_at

    async def follow(self, database: Database) -> None:
        """Ask again and again until cancelled."""
        while True:
            await asyncio.sleep(ASK_SECONDS)
            try:
                await self.ask(database)
            except DatabaseUnavailable as error:
                log.debug("the database was not asked for the time", reason=error.message)
