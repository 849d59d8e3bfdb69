"""When a schedule is due: five fields of cron, in UTC. Pure.

Source: POSIX.1-2017, crontab, "Input files", with steps (`*/15`) and without names: minute, hour,
day of the month, month, day of the week (0 and 7 are Sunday). Where both kinds of days are
restricted, either is enough.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final

from hatoba.kernel.errors import InvalidInput

_FIELDS: Final = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
)
_DAYS_AHEAD: Final = 366 * 41
"""Every date comes back on every day of the week within forty years."""


class ScheduleMalformed(InvalidInput):
    """A schedule that is none, or that never comes."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Schedule:
    """The minutes at which something is due."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_any_day: bool
    is_any_weekday: bool

    @classmethod
    def parse(cls, text: str) -> "Schedule":
        """Read five fields.

        Raises:
            ScheduleMalformed: they are not, or never come together.
        """
        words = text.split()
        if len(words) != len(_FIELDS):
            raise ScheduleMalformed(
                f"the schedule {text!r} has {len(words)} fields instead of minute, hour, day of "
                "the month, month and day of the week"
            )
        sets = [
            _values(word, name=name, least=least, most=most)
            for word, (name, least, most) in zip(words, _FIELDS, strict=True)
        ]
        found = cls(
            minutes=tuple(sorted(sets[0])),
            hours=tuple(sorted(sets[1])),
            days=frozenset(sets[2]),
            months=frozenset(sets[3]),
            weekdays=frozenset(day % 7 for day in sets[4]),
            is_any_day=words[2].startswith("*"),
            is_any_weekday=words[4].startswith("*"),
        )
        found.next_after(datetime(2024, 1, 1, tzinfo=UTC))
        return found

    def next_after(self, moment: datetime) -> datetime:
        """Return the first minute behind a moment that is due.

        Raises:
            ScheduleMalformed: there is none, as on the 30th of February.
        """
        begin = moment.astimezone(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        for ahead in range(_DAYS_AHEAD):
            day = (begin + timedelta(days=ahead)).date()
            if day.month not in self.months or not self._is_day(day.day, day.isoweekday() % 7):
                continue
            for hour in self.hours:
                for minute in self.minutes:
                    due = datetime.combine(day, time(hour, minute), tzinfo=UTC)
                    if due >= begin:
                        return due
        raise ScheduleMalformed("the schedule names a day that never comes")

    def _is_day(self, day: int, weekday: int) -> bool:
        if self.is_any_day or self.is_any_weekday:
            return day in self.days and weekday in self.weekdays
        return day in self.days or weekday in self.weekdays


def _values(word: str, *, name: str, least: int, most: int) -> set[int]:
    found: set[int] = set()
    for part in word.split(","):
        span, slash, step = part.partition("/")
        low, dash, high = (str(least), "-", str(most)) if span == "*" else span.partition("-")
        numbers = [low, high if dash else low, step if slash else "1"]
        if not all(number.isascii() and number.isdigit() for number in numbers):
            raise ScheduleMalformed(f"{part!r} is no {name} of a schedule")
        first, last, every = map(int, numbers)
        if slash and not dash:
            last = most
        if not least <= first <= last <= most or every < 1:
            raise ScheduleMalformed(f"{part!r} is no {name} between {least} and {most}")
        found |= set(range(first, last + 1, every))
    return found
