import os
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model import BenchmarkFailed, Figures, Floor, Sample, figures, judge, percentile
from bench.processes import cpu_seconds, memory, parse_rollup, parse_stat, tree
from bench.servers.ours import sum_of_metric

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
PARENT_OF_ENDED_CHILD = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
print("done", flush=True)
sys.stdin.read()
"""


def sample(**changes) -> Sample:
    values = {
        "requests": 100,
        "failures": 0,
        "seconds": 2.0,
        "p50_ms": 1.0,
        "p99_ms": 4.0,
        "body_bytes": 2_000_000,
        "client_cpu_seconds": 0.5,
    }
    return Sample(**{**values, **changes})


def figure(**changes) -> Figures:
    return figures([sample(**changes)], cpu_seconds=0.1, rss_mib=1.0, pss_mib=1.0)


@pytest.fixture
def parent():
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT_OF_ENDED_CHILD, BURN.format(seconds=0.5)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    yield process
    process.communicate()


def test_cpu_time_of_children_that_have_ended_is_counted(parent):
    parent.stdout.readline()
    assert tree([parent.pid]) == {parent.pid}
    assert 0.5 <= cpu_seconds([parent.pid]) < 5


def test_cpu_time_of_living_children_is_counted():
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN.format(seconds=60)!r}])"
    with subprocess.Popen([sys.executable, "-c", script], start_new_session=True) as process:
        try:
            deadline = time.monotonic() + 60
            while cpu_seconds([process.pid]) < 0.4:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert len(tree([process.pid])) == 2
        finally:
            os.killpg(process.pid, 9)


def test_a_process_that_is_gone_has_no_tree():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert (tree([process.pid]), cpu_seconds([process.pid])) == (frozenset(), 0)


def test_shared_pages_count_once_in_pss():
    own = memory([os.getpid()])
    assert 0 < own.pss_bytes <= own.rss_bytes


def test_a_name_with_blanks_and_parentheses_does_not_shift_the_fields():
    assert parse_stat("7 (a) b (c) S 1 2 3")[:2] == ["S", "1"]


def test_rollup_is_read_in_bytes():
    text = "55d0-7ffc ---p 00000000 00:00 0 [rollup]\nRss:   10 kB\nPss:    4 kB\nPss_Dirty: 1 kB\n"
    assert parse_rollup(text) == {"Rss": 10240, "Pss": 4096, "Pss_Dirty": 1024}


def test_a_metric_is_summed_over_its_labels_alone():
    text = '# HELP hits x\nhits{a="1"} 2\nhits{a="2"} 3\nhits_more 100\n'
    assert (sum_of_metric(text, "hits"), sum_of_metric(text, "misses")) == (5, None)


def test_figures_are_medians_of_the_rounds_and_cpu_of_all():
    rounds = [sample(requests=n, p99_ms=p) for n, p in ((100, 3.0), (200, 9.0), (400, 5.0))]
    found = figures(rounds, cpu_seconds=1.4, rss_mib=10, pss_mib=5)
    assert (found.rate, found.p99_ms, found.cpu_ms) == (100, 5.0, 2.0)
    assert found.spread == 1.5
    assert found.megabytes_per_second == 1.0
    assert found.client_share == 0.25


def test_a_round_without_answers_is_no_figure():
    with pytest.raises(BenchmarkFailed):
        figures([sample(requests=0)], cpu_seconds=1, rss_mib=1, pss_mib=1)


@pytest.mark.parametrize(
    ("floor", "ours", "holds"),
    [
        (Floor(kind="rate", factor=4), {"requests": 400}, True),
        (Floor(kind="rate", factor=4), {"requests": 399}, False),
        (Floor(kind="bytes", factor=3), {"body_bytes": 6_000_000}, True),
        (Floor(kind="bytes", factor=3), {"body_bytes": 5_999_999}, False),
        (Floor(kind="cpu", factor=4), {"requests": 400}, True),
        (Floor(kind="cpu", factor=4), {"requests": 399}, False),
        (Floor(kind="p99", factor=1), {"p99_ms": 3.99}, True),
        (Floor(kind="p99", factor=1), {"p99_ms": 4.0}, False),
    ],
)
def test_a_floor_holds_at_its_edge(floor, ours, holds):
    assert judge(floor, ours=figure(**ours), peer=figure()).holds is holds


@pytest.mark.parametrize("side", ["ours", "peer"])
def test_failed_requests_break_every_floor(side):
    found = {
        "ours": figure(requests=1000),
        "peer": figure(),
        side: figure(requests=900, failures=1),
    }
    assert not judge(Floor(kind="rate", factor=0.1), **found).holds


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_its_share_does_not_exceed(values, share):
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6


def test_the_percentile_of_nothing_is_refused():
    with pytest.raises(BenchmarkFailed):
        percentile([], 0.5)
