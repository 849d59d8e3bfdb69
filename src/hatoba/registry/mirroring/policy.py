"""When a mirror is due, what becomes of it afterwards, and which tags match. Pure.

Source: Quay's repository mirroring worker (3.6): eligibility, claim, release and retries.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from typing import Final

from hatoba.registry.mirroring.models import MAXIMUM_RETRIES, MirrorRecord, Schedule, SyncStatus

CLAIM_LIFETIME: Final = timedelta(hours=12)
"""After this a synchronisation that nobody finished may be claimed by another worker."""


def is_due(mirror: MirrorRecord, *, now: datetime) -> bool:
    """Tell whether a worker may claim this mirror now."""
    if mirror.status is SyncStatus.SYNC_NOW and mirror.expires_at is None:
        return True
    if not mirror.is_enabled or mirror.retries_remaining <= 0 or mirror.start_at is None:
        return False
    if mirror.status is SyncStatus.SYNCING:
        return mirror.expires_at is not None and mirror.expires_at <= now
    return mirror.start_at <= now


def claimed(mirror: MirrorRecord, *, now: datetime) -> Schedule:
    """Return what a claim writes."""
    return Schedule(
        status=SyncStatus.SYNCING,
        start_at=mirror.start_at,
        expires_at=now + CLAIM_LIFETIME,
        retries_remaining=mirror.retries_remaining,
    )


def released(mirror: MirrorRecord, *, outcome: SyncStatus, now: datetime) -> Schedule:
    """Return what the end of a synchronisation writes.

    A failure keeps the start date, so that the next look tries again, until its retries are used
    up; then, as after a success, the next start is the next multiple of the interval.
    """
    if outcome is SyncStatus.CANCEL:
        return cancelled(mirror)
    retries = mirror.retries_remaining - 1 if outcome is SyncStatus.FAIL else 0
    if retries > 0:
        return Schedule(
            status=outcome, start_at=mirror.start_at, expires_at=None, retries_remaining=retries
        )
    return Schedule(
        status=outcome,
        start_at=_next_start(mirror, now=now),
        expires_at=None,
        retries_remaining=MAXIMUM_RETRIES,
    )


def requested_now(mirror: MirrorRecord) -> Schedule | None:
    """Return what `sync-now` writes; None where a synchronisation is running."""
    if mirror.status is SyncStatus.SYNCING:
        return None
    return Schedule(
        status=SyncStatus.SYNC_NOW,
        start_at=mirror.start_at,
        expires_at=None,
        retries_remaining=max(mirror.retries_remaining, 1),
    )


def cancelled(mirror: MirrorRecord) -> Schedule:
    """Return what a cancellation writes: no retries, so that nobody claims it before `sync-now`."""
    return Schedule(
        status=SyncStatus.CANCEL, start_at=mirror.start_at, expires_at=None, retries_remaining=0
    )


def is_cancellable(mirror: MirrorRecord) -> bool:
    """Tell whether there is something to cancel."""
    return mirror.status in {SyncStatus.SYNCING, SyncStatus.SYNC_NOW}


def matching_tags(patterns: Iterable[str], tags: Iterable[str]) -> list[str]:
    """Return the tags that any glob matches, sorted, each once."""
    globs = [pattern.strip() for pattern in patterns]
    return sorted({tag for tag in tags if any(fnmatchcase(tag, glob) for glob in globs)})


def with_schedule(mirror: MirrorRecord, schedule: Schedule, transaction_id: str) -> MirrorRecord:
    """Return the record as it stands after a schedule was written."""
    return replace(
        mirror,
        status=schedule.status,
        start_at=schedule.start_at,
        expires_at=schedule.expires_at,
        retries_remaining=schedule.retries_remaining,
        transaction_id=transaction_id,
    )


def _next_start(mirror: MirrorRecord, *, now: datetime) -> datetime:
    """Return the next moment on the grid of start date and interval; at least a second ahead."""
    interval = max(mirror.interval_seconds, 1)
    if mirror.start_at is None:
        return now + timedelta(seconds=interval)
    elapsed = (now - mirror.start_at).total_seconds() % interval
    return now + timedelta(seconds=max(interval - elapsed, 1))
