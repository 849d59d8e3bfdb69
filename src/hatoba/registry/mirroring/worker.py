"""Claim mirrors that are due and bring them up to date; the duty of the quay-mirror pods.

Two workers never copy the same repository at once: a claim is one UPDATE that fails when another
worker's came first, and it protects for twelve hours. A worker that is killed in the middle
leaves a claim that runs out, and content that the next copy need not fetch again.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonValue
from hatoba.registry.mirroring.copying import Source, Target, copy_tag
from hatoba.registry.mirroring.models import MirrorRecord, Schedule, SyncStatus, TagOutcome
from hatoba.registry.mirroring.policy import (
    claimed,
    is_due,
    matching_tags,
    released,
    with_schedule,
)

log = structlog.get_logger()

CLAIMS_PER_LOOK: Final = 20


class MirrorSource(Source, Protocol):
    """The other registry, opened for one mirror."""

    async def list_tags(self) -> list[str]:
        """Return its tags."""


class MirrorTarget(Target, Protocol):
    """Our repository, opened for one mirror."""

    async def tags(self) -> list[str]:
        """Return the tags that it has now."""

    async def delete_tag(self, tag: str) -> None:
        """Delete a tag that the source no longer has."""


class Mirrors(Protocol):
    """What the worker needs of the mirroring service."""

    async def candidates(self, *, limit: int) -> list[MirrorRecord]:
        """Return mirrors that may be due."""

    async def write(self, mirror: MirrorRecord, schedule: Schedule) -> str | None:
        """Write a schedule; None where somebody else wrote first."""

    async def current(self, mirror: MirrorRecord) -> MirrorRecord | None:
        """Read a mirror again."""

    async def note(self, mirror: MirrorRecord, kind: str, **details: JsonValue) -> None:
        """Write an audit row."""


class MirrorWorker:
    """One look after the other for mirrors that are due."""

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        open_source: Callable[[MirrorRecord], AbstractAsyncContextManager[MirrorSource]],
        open_target: Callable[[MirrorRecord], MirrorTarget],
        clock: Clock,
    ) -> None:
        """Take collaborators; the openers give a connection for one synchronisation."""
        self._mirrors = mirrors
        self._open_source = open_source
        self._open_target = open_target
        self._clock = clock

    async def look(self) -> int:
        """Bring every mirror that is due up to date; returns how many were claimed here."""
        count = 0
        for mirror in await self._mirrors.candidates(limit=CLAIMS_PER_LOOK):
            claim = await self._claim(mirror)
            if claim is not None:
                count += 1
                await self._synchronise(claim)
        return count

    async def _claim(self, mirror: MirrorRecord) -> MirrorRecord | None:
        now = self._clock.now()
        if not is_due(mirror, now=now):
            return None
        schedule = claimed(mirror, now=now)
        transaction = await self._mirrors.write(mirror, schedule)
        return None if transaction is None else with_schedule(mirror, schedule, transaction)

    async def _synchronise(self, mirror: MirrorRecord) -> None:
        described = f"'{mirror.external_reference}' with tag pattern '{','.join(mirror.patterns)}'"
        await self._mirrors.note(
            mirror, "repo_mirror_sync_started", verb="start", message=described
        )
        try:
            async with self._open_source(mirror) as source:
                outcomes = await self._copy(mirror, source, self._open_target(mirror))
        except HatobaError as error:
            log.warning("mirror failed", repository=str(mirror.repository), error=str(error))
            await self._finish(mirror, SyncStatus.FAIL, message=f"{described}: {error}", tags="")
            return
        if outcomes is None:
            # A cancellation has written its own schedule, which ends this claim.
            return
        failed = [outcome for outcome in outcomes if outcome.error]
        copied = ", ".join(outcome.tag for outcome in outcomes if not outcome.error)
        message = described if outcomes else f"{described}: No tags matched"
        outcome = SyncStatus.FAIL if failed else SyncStatus.SUCCESS
        await self._finish(mirror, outcome, message=message, tags=copied)

    async def _copy(
        self, mirror: MirrorRecord, source: MirrorSource, target: MirrorTarget
    ) -> list[TagOutcome] | None:
        """Copy what matches and delete what no longer does; None where it was cancelled."""
        wanted = matching_tags(mirror.patterns, await source.list_tags())
        outcomes = []
        for tag in wanted:
            outcomes.append(await self._copy_one(mirror, source, target, tag))
            if not await self._still_ours(mirror):
                return None
        for tag in set(await target.tags()) - set(wanted):
            await target.delete_tag(tag)
        return outcomes

    async def _copy_one(
        self, mirror: MirrorRecord, source: MirrorSource, target: MirrorTarget, tag: str
    ) -> TagOutcome:
        described = f"Source 'docker://{mirror.external_reference}:{tag}'"
        try:
            async with asyncio.timeout(mirror.timeout_seconds):
                await copy_tag(source, target, tag)
        except (HatobaError, TimeoutError) as failure:
            error = str(failure) or f"the copy took over {mirror.timeout_seconds} s"
            log.warning("tag not mirrored", repository=str(mirror.repository), tag=tag, error=error)
            await self._mirrors.note(
                mirror, "repo_mirror_sync_tag_failed", verb="finish", tag=tag,
                message=f"{described} failed to sync", stderr=error, stdout="",
            )  # fmt: skip
            return TagOutcome(tag=tag, error=error)
        await self._mirrors.note(
            mirror, "repo_mirror_sync_tag_success", verb="finish", tag=tag,
            message=f"{described} successful sync", stderr="", stdout="",
        )  # fmt: skip
        return TagOutcome(tag=tag)

    async def _still_ours(self, mirror: MirrorRecord) -> bool:
        now = await self._mirrors.current(mirror)
        return now is not None and now.transaction_id == mirror.transaction_id

    async def _finish(
        self, mirror: MirrorRecord, outcome: SyncStatus, *, message: str, tags: str
    ) -> None:
        schedule = released(mirror, outcome=outcome, now=self._clock.now())
        if await self._mirrors.write(mirror, schedule) is None:
            return
        succeeded = outcome is SyncStatus.SUCCESS
        kind = "repo_mirror_sync_success" if succeeded else "repo_mirror_sync_failed"
        verb = "end" if succeeded else "lost"
        await self._mirrors.note(mirror, kind, verb=verb, message=message, tags=tags)
        log.info("mirror finished", repository=str(mirror.repository), outcome=outcome.name)
