"""Run updaters when they are due, and import files by hand.

One process of all replicas runs them at a time (a lease). A source that cannot be reached is
logged and counted and tried again sooner than a good one; what is known stays in force.
"""

import asyncio
import itertools
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.ids import new_uuid
from hatoba.scanner.metrics import UPDATES
from hatoba.scanner.models import Vulnerability
from hatoba.scanner.updaters import alpine, debian, exported
from hatoba.scanner.updaters.errors import (
    AdvisoriesAbsent,
    AdvisoriesMalformed,
    AdvisoriesUnreachable,
)
from hatoba.scanner.updaters.sources import Updater, unpacked
from hatoba.scanner.updaters.store import UpdateStore
from hatoba.sql.leases import Leases

LEASE: Final = "updates"
LEASE_LIFETIME: Final = timedelta(minutes=15)
LOOK_SECONDS: Final = 60.0
RETRY_AFTER: Final = timedelta(minutes=10)

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class UpdateService:
    """Keeps advisories fresh."""

    store: UpdateStore
    leases: Leases
    clock: Clock
    updaters: Sequence[Updater]
    period: timedelta
    retention: int
    _holder: str = field(default_factory=new_uuid)

    async def run(self) -> None:
        """Look for due updaters for ever."""
        while True:
            try:
                await self.run_due()
            except HatobaError as error:
                log.warning("updates postponed", reason=error.message)
            await asyncio.sleep(LOOK_SECONDS * (0.5 + secrets.randbelow(1000) / 1000))

    async def run_due(self) -> int:
        """Run every updater that is due; return how many ran. Another holder's turn is left."""
        attempts = await self.store.attempts()
        now = self.clock.now()
        due = [
            updater for updater in self.updaters if self._is_due(attempts.get(updater.name), now)
        ]
        if not due:
            return 0
        ran, silent = 0, set[str]()
        for updater in due:
            # Claimed again for each: the lease must outlive one updater, not all of them.
            if not await self.leases.claim(LEASE, holder=self._holder, lifetime=LEASE_LIFETIME):
                break
            await self._attempt(updater, silent)
            ran += 1
        await self.leases.release(LEASE, holder=self._holder)
        return ran

    def _is_due(self, attempt: tuple[datetime, bool] | None, now: datetime) -> bool:
        if attempt is None:
            return True
        at, went_well = attempt
        return now - at >= (self.period if went_well else min(self.period, RETRY_AFTER))

    async def _attempt(self, updater: Updater, silent: set[str]) -> None:
        """Run an updater and note how it went; `silent` are origins that did not answer now."""
        if updater.source.origin in silent:
            UPDATES.labels(updater.name, "failed").inc()
            await self.store.record_attempt(
                updater.name, error=f"{updater.source.origin} does not answer"
            )
            return
        outcome = "failed"
        reason: str | None = None
        try:
            count = await self.run_one(updater)
            outcome = "unchanged" if count is None else "updated"
        except AdvisoriesUnreachable as error:
            reason = error.message
            log.warning("advisories out of reach", updater=updater.name, reason=reason)
            silent.add(updater.source.origin)
        except AdvisoriesAbsent as error:
            if updater.may_be_absent:
                outcome = "absent"
            else:
                reason = error.message
        except HatobaError as error:
            reason = error.message
            log.warning("advisories not updated", updater=updater.name, reason=reason)
        UPDATES.labels(updater.name, outcome).inc()
        await self.store.record_attempt(updater.name, error=reason)

    async def run_one(self, updater: Updater) -> int | None:
        """Fetch and keep; return the number of advisories, None when nothing is new.

        Raises:
            AdvisoriesUnreachable, AdvisoriesAbsent, AdvisoriesMalformed.
        """
        known = await self.store.fingerprint(updater.name)
        fetched = await updater.source.fetch(known)
        if fetched is None:
            return None
        advisories = await asyncio.to_thread(_begun_blocking, updater.parse(fetched.content))
        return await self._keep(updater.name, advisories, fingerprint=fetched.fingerprint)

    async def import_file(self, content: bytes) -> dict[str, int]:
        """Take a file of the tracker, of the secdb, or a `clairctl` export; gzip or plain.

        Returns the number of advisories for each updater.

        Raises:
            AdvisoriesMalformed: none of these.
        """
        content = await asyncio.to_thread(unpacked, content)
        imported = await asyncio.to_thread(_recognise_blocking, content)
        return {
            updater: await self._keep(updater, advisories, fingerprint=fingerprint)
            for updater, advisories, fingerprint in imported
        }

    async def _keep(
        self, updater: str, advisories: Iterable[Vulnerability], *, fingerprint: str
    ) -> int:
        _, count = await self.store.add_operation(
            updater, advisories, fingerprint=fingerprint, retention=self.retention
        )
        log.info("advisories updated", updater=updater, advisories=count)
        return count


def _begun_blocking(advisories: Iterator[Vulnerability]) -> Iterator[Vulnerability]:
    """Decode the file, which happens before the first advisory, and leave the others for later.

    Raises:
        AdvisoriesMalformed: not such a file, or one without advisories: taken at its word, an
            empty file would declare every image healthy.
    """
    for first in advisories:
        return itertools.chain([first], advisories)
    raise AdvisoriesMalformed("the file holds no advisories")


def _recognise_blocking(content: bytes) -> list[tuple[str, Iterator[Vulnerability], str]]:
    if exported.is_export(content):
        export = exported.parse(content)
        if export.left_out:
            log.info("entries of the export left out", count=export.left_out)
        return [(one.updater, iter(one.advisories), one.fingerprint) for one in export.operations]
    try:
        return [(alpine.updater_of(content), _begun_blocking(alpine.parse(content)), "")]
    except AdvisoriesMalformed as not_alpine:
        try:
            return [(debian.UPDATER, _begun_blocking(debian.parse(content)), "")]
        except AdvisoriesMalformed as not_debian:
            raise AdvisoriesMalformed(
                f"the file is neither: {not_alpine.message}; {not_debian.message}"
            ) from not_debian
