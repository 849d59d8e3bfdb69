from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hatoba.kernel.names import RepositoryName
from hatoba.registry.mirroring.models import ExternalRegistry, MirrorRecord, SyncStatus
from hatoba.registry.mirroring.policy import (
    CLAIM_LIFETIME,
    claimed,
    is_cancellable,
    is_due,
    matching_tags,
    released,
    requested_now,
    with_schedule,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)


def mirror(**changes) -> MirrorRecord:
    values: dict[str, Any] = {
        "id": 1, "repository_id": 1, "repository": RepositoryName.parse("a/b"), "is_enabled": True,
        "external_reference": "quay.io/a/b", "username": None, "password": None,
        "registry": ExternalRegistry(), "interval_seconds": 3600, "start_at": PAST,
        "expires_at": None, "retries_remaining": 3, "status": SyncStatus.NEVER_RUN,
        "transaction_id": None, "patterns": ("*",), "robot": "a+r", "robot_id": 1, "timeout_seconds": 300,
    }  # fmt: skip
    return MirrorRecord(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "due"),
    [
        ({}, True),
        ({"start_at": FUTURE}, False),
        ({"is_enabled": False}, False),
        ({"retries_remaining": 0}, False),
        ({"start_at": None}, False),
        ({"status": SyncStatus.FAIL}, True),
        ({"status": SyncStatus.SYNCING, "expires_at": FUTURE}, False),
        ({"status": SyncStatus.SYNCING, "expires_at": PAST}, True),
        ({"status": SyncStatus.SYNC_NOW, "start_at": FUTURE, "is_enabled": False}, True),
        ({"status": SyncStatus.CANCEL, "start_at": None, "retries_remaining": 0}, False),
    ],
)
def test_a_mirror_is_due_when_quay_would_claim_it(changes, due):
    assert is_due(mirror(**changes), now=NOW) is due


def test_a_claim_is_safe_for_twelve_hours():
    claim = with_schedule(mirror(), claimed(mirror(), now=NOW), "t")
    assert not is_due(claim, now=NOW + CLAIM_LIFETIME - timedelta(seconds=1))
    assert is_due(claim, now=NOW + CLAIM_LIFETIME)


def test_a_failure_is_tried_again_until_its_retries_are_used_up():
    record, starts = mirror(), []
    for _ in range(3):
        record = with_schedule(record, released(record, outcome=SyncStatus.FAIL, now=NOW), "t")
        starts.append(record.start_at)
    assert starts[:2] == [PAST, PAST]
    assert starts[2] > NOW
    assert record.retries_remaining == 3


@given(st.integers(1, 10**6), st.integers(0, 10**7))
def test_the_next_start_lies_on_the_grid_and_ahead(interval, age):
    record = mirror(interval_seconds=interval, start_at=NOW - timedelta(seconds=age))
    start = released(record, outcome=SyncStatus.SUCCESS, now=NOW).start_at
    assert NOW < start <= NOW + timedelta(seconds=interval)
    assert (start - record.start_at).total_seconds() % interval == 0


def test_sync_now_is_refused_while_syncing():
    assert requested_now(mirror(status=SyncStatus.SYNCING)) is None
    assert requested_now(mirror(retries_remaining=0)).retries_remaining == 1


def test_only_what_runs_or_waits_can_be_cancelled():
    cancellable = {status for status in SyncStatus if is_cancellable(mirror(status=status))}
    assert cancellable == {SyncStatus.SYNCING, SyncStatus.SYNC_NOW}


def test_tags_match_any_glob_once_and_sorted():
    tags = ["v2", "latest", "v1", "dev", "V1"]
    assert matching_tags(["v*", " latest ", "v1"], tags) == ["latest", "v1", "v2"]
    assert matching_tags(["absent"], tags) == []
