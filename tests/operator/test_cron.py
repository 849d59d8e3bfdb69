"""Schedules: the minutes of cron, in UTC."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.operator.backup.cron import Schedule, ScheduleMalformed

pytestmark = pytest.mark.alone


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "after", "due"),
    [
        ("* * * * *", "2026-11-28 14:00:30", "2026-11-28 14:01"),
        ("0 3 * * *", "2026-11-28 03:00", "2026-11-29 03:00"),
        ("0 3 * * *", "2026-11-28 02:59:59", "2026-11-28 03:00"),
        ("*/20 1-2 * * *", "2026-11-28 02:40", "2026-11-29 01:00"),
        ("5/20 1 * * *", "2026-11-28 01:05", "2026-11-28 01:25"),
        ("0 0 * * 0", "2026-11-28 00:00", "2026-11-29 00:00"),
        ("0 0 * * 7", "2026-11-28 00:00", "2026-11-29 00:00"),
        ("0 0 13 * 5", "2026-11-28 00:00", "2026-12-04 00:00"),
        ("0 0 1,15 * *", "2026-11-28 00:00", "2026-12-01 00:00"),
        ("0 0 29 2 *", "2026-11-28 00:00", "2028-02-29 00:00"),
        ("59 23 31 12 *", "2026-12-31 23:59", "2027-12-31 23:59"),
    ],
)
def test_the_next_time(schedule, after, due):
    assert Schedule.parse(schedule).next_after(at(after)) == at(due)


@pytest.mark.parametrize(
    "text",
    [
        "", "0 3 * *", "0 3 * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
        "* * * * 8", "5-3 * * * *", "*/0 * * * *", "a * * * *", "-1 * * * *", "1- * * * *",
        "1,,2 * * * *", "@daily", "0 0 30 2 *", "² * * * *",
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused(text):
    with pytest.raises(ScheduleMalformed):
        Schedule.parse(text)


FIELD = st.sampled_from(["*", "*/7", "1", "2-5", "3,6"])
MOMENTS = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2090, 1, 1))  # noqa: DTZ001


@given(fields=st.tuples(FIELD, FIELD, FIELD, FIELD, FIELD), moment=MOMENTS)
def test_no_time_is_left_out_or_told_twice(fields, moment):
    schedule = Schedule.parse(" ".join(fields))
    moment = moment.replace(tzinfo=UTC)
    due = schedule.next_after(moment)
    assert due > moment
    assert schedule.next_after(due - timedelta(seconds=1)) == due
    middle = moment + (due - moment) / 2
    assert schedule.next_after(middle) == due
