"""Time as a collaborator, so that tests decide what time it is.

The only module that reads the system's clock.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import CLOCK_BOOTTIME, clock_gettime
from typing import Protocol

from typing_extensions import override


class Clock(Protocol):
    """Source of time."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards, for durations and deadlines."""

    def timestamp(self) -> float:
        """Return the present moment in seconds since the epoch; for who needs no more of it."""
        return self.now().timestamp()


class SystemClock(Clock):
    """The machine's own clock."""

    @override
    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 -- this is the one place

    @override
    def monotonic(self) -> float:
        # Unlike CLOCK_MONOTONIC this one goes on while a machine is suspended, as deadlines do.
        return clock_gettime(CLOCK_BOOTTIME)


@dataclass(slots=True)
class FixedClock(Clock):
    """A clock that moves only when told to; for tests."""

    at: datetime
    elapsed: timedelta = field(default=timedelta())

    @override
    def now(self) -> datetime:
        return self.at + self.elapsed

    @override
    def monotonic(self) -> float:
        return self.elapsed.total_seconds()

    def advance(self, **parts: float) -> None:
        """Move forward by `timedelta(**parts)`."""
        self.elapsed += timedelta(**parts)


def milliseconds(moment: datetime) -> int:
    """Return milliseconds since the epoch, as Quay's `*_ms` columns hold them."""
    return round(moment.timestamp() * 1000)


def from_milliseconds(value: int) -> datetime:
    """Return the moment that a `*_ms` column names."""
    return datetime.fromtimestamp(value / 1000, UTC)


def rfc3339(moment: datetime) -> str:
    """Return `2021-09-14T10:52:05Z`, the form of Kubernetes timestamps."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc1123(moment: datetime) -> str:
    """Return `Tue, 14 Sep 2021 10:52:05 -0000`, the form of dates in Quay's API."""
    return moment.astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S -0000")
