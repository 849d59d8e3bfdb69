import os
import time

import pytest

from bench.groups.memory import series
from bench.groups.statements import count
from bench.model import BenchmarkFailed
from bench.processes import Memory
from bench.sampling import Reading, growth, watched

LOG = """\
2026-11-28 10:00:00.000 UTC [7] LOG:  statement: BEGIN;
2026-11-28 10:00:00.001 UTC [7] LOG:  execute __asyncpg_stmt_1__: INSERT INTO logentry3 (kind_id) VALUES ($1)
2026-11-28 10:00:00.001 UTC [7] DETAIL:  parameters: $1 = 'SELECT'
2026-11-28 10:00:00.002 UTC [7] LOG:  statement: COMMIT;
2026-11-28 10:00:00.003 UTC [8] LOG:  execute __asyncpg_stmt_2__: SELECT r.id
\t  FROM repository r
2026-11-28 10:00:00.004 UTC [8] LOG:  statement: SELECT pg_advisory_unlock_all();
2026-11-28 10:00:00.004 UTC [8] LOG:  execute __asyncpg_stmt_3__:
\tSELECT t.id
\t  FROM tag t
2026-11-28 10:00:00.005 UTC [9] LOG:  checkpoint starting: time
2026-11-28 10:00:00.006 UTC [7] LOG:  statement: COPY "logentry3" FROM STDIN
"""


def reading(mebibytes):
    size = int(mebibytes * (1 << 20))
    return Reading(seconds=0, memory=Memory(rss_bytes=size, pss_bytes=size))


def test_statements_are_told_from_transactions_and_audit_rows():
    assert count(LOG) == {"statements": 3, "transaction control": 2, "audit": 2}


def test_memory_that_fills_at_first_and_then_stays_is_flat():
    assert growth([1, 50, 100, 100, 100, 100, 100, 100]) == 0


def test_memory_that_keeps_growing_is_not_flat():
    assert growth([100, 110, 120, 130, 140, 150, 160, 170]) > 0.3


def test_too_few_readings_say_nothing():
    with pytest.raises(BenchmarkFailed):
        growth([1, 2, 3])


def test_the_course_of_memory_is_told_in_a_few_numbers():
    assert series([reading(n) for n in range(100)], points=4) == "0, 25, 50, 75"


def test_memory_is_read_while_the_work_goes_on():
    class Roots(list):
        asked = 0

        def __iter__(self):
            self.asked += 1
            return super().__iter__()

    roots = Roots([os.getpid()])

    def work():
        while roots.asked < 3:
            time.sleep(0.01)
        return "done"

    result, readings = watched(roots, work)
    assert result == "done"
    assert len(readings) >= 2
    assert readings[-1].seconds > readings[0].seconds


def test_a_failure_of_the_work_ends_the_watch():
    def fail():
        raise BenchmarkFailed("no")

    with pytest.raises(BenchmarkFailed):
        watched([os.getpid()], fail)
