"""Indexing what was pushed, and answering what was found."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock
from hatoba.registry.access.keys import LONGEST_LIFETIME
from hatoba.registry.access.models import Identity
from hatoba.registry.access.tokens import Grant, TokenIssuer
from hatoba.registry.db.lookups import Lookups
from hatoba.registry.scanning import policy, store
from hatoba.registry.scanning.client import IndexResult, Layer, Scanner
from hatoba.registry.scanning.errors import ManifestRefused, ScannerUnavailable
from hatoba.registry.scanning.models import (
    IndexCandidate,
    IndexRecord,
    IndexStatus,
    SecurityReport,
)
from hatoba.sql.engine import Database

BATCH: Final = 20
CONCURRENCY: Final = 4
RETRY_AFTER: Final = timedelta(minutes=5)

log = structlog.get_logger()

_SHOWN: Final = {
    IndexStatus.PENDING: "queued",
    IndexStatus.IN_PROGRESS: "queued",
    IndexStatus.FAILED: "queued",
    IndexStatus.RETRIES_EXHAUSTED: "failed",
    IndexStatus.UNSUPPORTED: "unsupported",
    IndexStatus.LAYER_TOO_LARGE: "manifest_layer_too_large",
}


@dataclass(slots=True, kw_only=True)
class Scanning:
    """Talks with the scanner about the manifests of this registry.

    Whatever is due is found, the newest in the first round; older ones in turn, as a round looks
    at a part of them.
    """

    database: Database
    clock: Clock
    lookups: Lookups
    scanner: Scanner
    issuer: TokenIssuer
    audience: str
    """SERVER_HOSTNAME: what tokens for layers are made for."""
    registry_url: str
    """Where the scanner reaches this registry."""
    reindex_after: timedelta
    maximum_retries: int
    rows_per_page: int = 2000
    """How many manifests one statement looks at."""
    older_pages: int = 10
    """How many pages below the newest one a round looks at where less than a batch is due."""
    _next_id: int | None = None
    """Below which manifest the next round looks for older ones; None for the newest page."""

    async def is_reachable(self) -> bool:
        """Tell whether the scanner answers and takes our key."""
        try:
            await self.scanner.state()
        except ScannerUnavailable as error:
            log.warning("security scanner is not reachable", reason=error.message)
            return False
        return True

    async def index_due(self) -> int:
        """Index manifests that are due, newest first; return how many were looked at.

        A scanner that does not answer ends the round; what was not done stays due.
        """
        try:
            state = await self.scanner.state()
        except ScannerUnavailable as error:
            log.warning("security scanner is not reachable", reason=str(error))
            return 0
        candidates = await self._due(state)
        gate = asyncio.Semaphore(CONCURRENCY)

        async def one(candidate: IndexCandidate) -> None:
            async with gate:
                await self._index(candidate, state=state)

        async with asyncio.TaskGroup() as group:
            for candidate in candidates:
                group.create_task(one(candidate))
        return len(candidates)

    async def _due(self, state: str) -> list[IndexCandidate]:
        async with self.database.read() as connection:
            bottom = await self._bottom(connection, before_id=None)
            if bottom is None:
                return []
            found = await self._page(connection, state, bottom, None, limit=BATCH)
            for _ in range(self.older_pages):
                if len(found) == BATCH:
                    break
                before = bottom if self._next_id is None else min(bottom, self._next_id)
                first = await self._bottom(connection, before_id=before)
                if first is None:
                    self._next_id = None
                    break
                found += await self._page(
                    connection, state, first, before, limit=BATCH - len(found)
                )
                # A page with more than that is looked at again.
                self._next_id = before if len(found) == BATCH else first
        return found

    async def _bottom(self, connection: AsyncConnection, *, before_id: int | None) -> int | None:
        return await store.bottom_of_page(connection, before_id=before_id, limit=self.rows_per_page)

    async def _page(
        self,
        connection: AsyncConnection,
        state: str,
        first_id: int,
        before_id: int | None,
        *,
        limit: int,
    ) -> list[IndexCandidate]:
        now = self.clock.now()
        return await store.due_manifests(
            connection,
            first_id=first_id,
            before_id=before_id,
            scanner_state=state,
            retry_before=now - RETRY_AFTER,
            reindex_before=now - self.reindex_after,
            limit=limit,
            lookups=self.lookups,
        )

    async def record_of(self, manifest_id: int) -> IndexRecord | None:
        """Return what is known about the indexing of a manifest."""
        async with self.database.read() as connection:
            return await store.find_status(connection, manifest_id=manifest_id)

    async def report(self, *, manifest_id: int, digest: str) -> SecurityReport:
        """Return what the scanner found in a manifest.

        Raises:
            ScannerUnavailable: it was indexed, but its report cannot be had now.
        """
        record = await self.record_of(manifest_id)
        if record is None:
            return SecurityReport(status="queued")
        if record.status is not IndexStatus.COMPLETED:
            return SecurityReport(status=_SHOWN[record.status])
        report = await self.scanner.report(digest=digest)
        if report is None:
            return SecurityReport(status="queued")
        return SecurityReport(status="scanned", data=policy.show_report(report, digest=digest))

    async def _index(self, candidate: IndexCandidate, *, state: str) -> None:
        layers = policy.scannable_layers(candidate.content)
        if not layers:
            await self._write(candidate, status=IndexStatus.UNSUPPORTED, indexer_hash=state)
            return
        try:
            result = await self._ask(candidate, layers)
        except ManifestRefused as error:
            status, reason = IndexStatus.UNSUPPORTED, error.message
            await self._write(candidate, status=status, indexer_hash=state, error=reason)
            return
        except ScannerUnavailable as error:
            result = IndexResult(is_finished=False, error=error.message, indexer_hash=state)
        if result.is_finished:
            await self._write(
                candidate, status=IndexStatus.COMPLETED, indexer_hash=result.indexer_hash
            )
            log.info("manifest indexed", digest=candidate.digest)
            return
        retries = candidate.retries + 1
        exhausted = retries >= self.maximum_retries
        status = IndexStatus.RETRIES_EXHAUSTED if exhausted else IndexStatus.FAILED
        log.warning("manifest not indexed", digest=candidate.digest, reason=result.error)
        await self._write(
            candidate, status=status, indexer_hash=state, error=result.error, retries=retries
        )

    async def _ask(self, candidate: IndexCandidate, layers: list[str]) -> IndexResult:
        name = f"{candidate.namespace}/{candidate.repository}"
        token = await self.issuer.issue(
            Identity(),
            audience=self.audience,
            grants=[Grant(name=name, actions=("pull",))],
            # The scanner fetches layers when their turn comes.
            lifetime=LONGEST_LIFETIME,
        )
        return await self.scanner.index(
            digest=candidate.digest,
            layers=[
                Layer(
                    digest=digest,
                    uri=f"{self.registry_url}/v2/{name}/blobs/{digest}",
                    authorization=f"Bearer {token}",
                )
                for digest in layers
            ],
        )

    async def _write(
        self,
        candidate: IndexCandidate,
        *,
        status: IndexStatus,
        indexer_hash: str,
        error: str = "",
        retries: int = 0,
    ) -> None:
        async with self.database.begin() as connection:
            await store.write_status(
                connection,
                candidate=candidate,
                status=status,
                indexer_hash=indexer_hash,
                error=error,
                retries=retries,
                at=self.clock.now(),
            )
