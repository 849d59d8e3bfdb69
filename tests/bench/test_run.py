"""A run of seconds, so that the harness does not rot. It says nothing about speed."""

import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import main, measure, select
from bench.plan import TINY
from bench.report import page
from bench.rows import ContestResult, Failure, TrialResult

KEYS = (
    "manifest-get-digest-16,manifest-head-tag-64,blob-get-1kib,tags-list,catalog,"
    "push-blob-1kib-1,push-manifest-1,push-large-chunked-4,skopeo,auth-anonymous,auth-user,"
    "statements-tag,memory-,operator-"
)


@pytest.fixture(scope="module")
def results():
    for program in ("docker-registry", "wrk", "skopeo"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: apt-get install {program}")
    # Not below pytest's own directory, which only its owner may enter: servers run as others.
    with tempfile.TemporaryDirectory(prefix="hatoba-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield measured(directory)


def measured(directory):
    kept = []
    found = measure(
        select(TINY, directory, only=KEYS),
        plan=TINY,
        directory=directory,
        keep=lambda results: kept.append(len(results.items)),
    )
    assert kept == list(range(1, len(found.items) + 1))
    return found


@pytest.mark.postgres
@pytest.mark.clients
@pytest.mark.timeout(600)
def test_every_row_is_measured_on_both_sides(results):
    failures = [item for item in results.items if isinstance(item, Failure)]
    contests = [item for item in results.items if isinstance(item, ContestResult)]
    assert failures == []
    assert len(contests) == 12
    assert sum(isinstance(item, TrialResult) for item in results.items) == 6
    for contest in contests:
        for found in (contest.ours, contest.peer):
            assert (found.failures, found.spread) == (0, 0)
            assert found.rate > 0
            assert found.p50_ms <= found.p99_ms
            assert found.cpu_ms > 0
            assert found.rss_mib >= found.pss_mib > 1
        assert len(contest.verdicts) == len(contest.contest.floors)


@pytest.mark.postgres
@pytest.mark.clients
@pytest.mark.timeout(600)
def test_the_page_has_a_line_for_each_row(results):
    text = page(results, facts=[("date", "today")])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == 2 + sum(isinstance(item, ContestResult) for item in results.items)
    assert len({line.count("|") for line in rows}) == 1
    assert text.startswith("# Results\n\n* date: today\n")
    assert ("## Hatoba alone" in text) == any(isinstance(i, TrialResult) for i in results.items)


def test_keys_of_rows_are_their_own():
    listed = CliRunner().invoke(main, ["--list"]).output.split()
    assert len(listed) == len(set(listed)) > 18


def test_rows_are_chosen_by_parts_of_their_keys(tmp_path):
    keys = [row.key for row in select(TINY, tmp_path, only="tags-list,head-tag")]
    assert keys == [
        "manifest-head-tag-1",
        "manifest-head-tag-16",
        "manifest-head-tag-64",
        "tags-list-16",
    ]
