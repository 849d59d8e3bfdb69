"""Index a manifest: the story from its layers to a kept report.

A manifest is indexed by one process at a time (a lease), and once per process however many ask.
Each layer is read once for all images that share it. What cannot be indexed leaves a report in
state IndexError that says why, and is tried again when asked again.
"""

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from hatoba.kernel.clock import Clock
from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import HatobaError, InvalidInput, RateLimited, Unavailable
from hatoba.kernel.ids import new_uuid
from hatoba.scanner.indexer.coalesce import FINISHED, coalesce
from hatoba.scanner.indexer.errors import (
    LayerEncodingUnsupported,
    LayerMalformed,
    LayerMismatch,
    LayerTooLarge,
    LayerUnreachable,
)
from hatoba.scanner.indexer.fetch import LayerFetcher
from hatoba.scanner.indexer.layer import SCANNERS, LayerContent, read_layer_blocking
from hatoba.scanner.indexer.store import IndexStore
from hatoba.scanner.metrics import INDEX_SECONDS, LAYERS
from hatoba.scanner.models import IndexReport, Layer, Manifest
from hatoba.sql.leases import Leases

FAILED: Final = "IndexError"
LEASE_LIFETIME: Final = timedelta(seconds=60)
RENEWAL_SECONDS: Final = 20.0
LONGEST_WAIT_SECONDS: Final = 590.0
MAXIMUM_LAYERS: Final = 1000
_FAILURES: Final = (LayerEncodingUnsupported, LayerMismatch, LayerTooLarge, LayerUnreachable)

log = structlog.get_logger()


class ManifestBogus(InvalidInput):
    """A manifest without a digest or without layers."""


class IndexerBusy(RateLimited):
    """As many manifests are being indexed as the configuration allows."""


class IndexingElsewhere(Unavailable):
    """Another process is indexing the manifest, and takes too long."""


def scanner_state(scanners: Sequence[str] = SCANNERS) -> str:
    """Return what identifies the set of scanners; clients index anew when it changes."""
    text = "".join(f"{scanner}\n" for scanner in sorted(scanners))
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True, frozen=True, kw_only=True)
class _Wanted:
    digest: Digest
    layers: list[tuple[Digest, Layer]]


class Indexer:
    """Indexes manifests and answers what is known of them."""

    def __init__(
        self,
        *,
        store: IndexStore,
        fetcher: LayerFetcher,
        leases: Leases,
        clock: Clock,
        layer_concurrency: int = 10,
        request_limit: int = 0,
        poll_seconds: float = 1.0,
    ) -> None:
        """Take collaborators; `request_limit` 0 is none."""
        self.state = scanner_state()
        self._store = store
        self._fetcher = fetcher
        self._leases = leases
        self._clock = clock
        self._slots = asyncio.Semaphore(layer_concurrency)
        self._request_limit = request_limit
        self._poll_seconds = poll_seconds
        self._holder = new_uuid()
        self._running: dict[Digest, asyncio.Task[IndexReport]] = {}

    async def index(self, manifest: Manifest) -> IndexReport:
        """Return the report of a manifest, making it if these scanners have not yet.

        Raises:
            ManifestBogus, MalformedDigest: nothing that could be indexed.
            LayerMalformed: a layer is not an archive.
            IndexerBusy: too many at a time.
        """
        wanted = _checked(manifest)
        task = self._running.get(wanted.digest)
        if task is None:
            if self._request_limit and len(self._running) >= self._request_limit:
                raise IndexerBusy("too many manifests are being indexed, try again later")
            task = asyncio.create_task(self._index_once(wanted))
            self._running[wanted.digest] = task
            task.add_done_callback(lambda _: self._running.pop(wanted.digest, None))
        # A caller that goes away must not take the others' work with it.
        return await asyncio.shield(task)

    async def report(self, manifest: Digest) -> IndexReport | None:
        """Return what is known of a manifest; None when it was never indexed."""
        kept = await self._store.report(manifest)
        return kept.report if kept else None

    async def delete(self, manifests: Sequence[Digest]) -> list[Digest]:
        """Forget manifests; return those that were known."""
        return await self._store.delete(manifests)

    async def manifests_holding(self, names: Sequence[str]) -> list[Digest]:
        """Return the manifests that hold a package with one of these names."""
        return await self._store.manifests_holding(names)

    async def _index_once(self, wanted: _Wanted) -> IndexReport:
        if finished := await self._finished(wanted.digest):
            return finished
        async with self._alone(wanted.digest):
            if finished := await self._finished(wanted.digest):
                return finished
            started = self._clock.monotonic()
            report = await self._make(wanted)
            INDEX_SECONDS.labels(report.state).observe(self._clock.monotonic() - started)
            return report

    async def _finished(self, manifest: Digest) -> IndexReport | None:
        kept = await self._store.report(manifest)
        if kept and kept.report.state == FINISHED and kept.scanners == self.state:
            return kept.report
        return None

    async def _make(self, wanted: _Wanted) -> IndexReport:
        try:
            contents = await self._contents(wanted.layers)
        except LayerMalformed as error:
            await self._fail(wanted.digest, error)
            raise
        except _FAILURES as error:
            return await self._fail(wanted.digest, error)
        layers = [(digest, contents[digest]) for digest, _ in wanted.layers]
        report = await asyncio.to_thread(coalesce, wanted.digest, layers)
        await self._store.keep_report(report, scanners=self.state)
        log.info("manifest indexed", manifest=str(wanted.digest), packages=len(report.packages))
        return report

    async def _fail(self, manifest: Digest, error: HatobaError) -> IndexReport:
        log.warning("manifest not indexed", manifest=str(manifest), reason=error.message)
        report = IndexReport(manifest_hash=str(manifest), state=FAILED, err=error.message)
        await self._store.keep_report(report, scanners=self.state)
        return report

    async def _contents(self, layers: Sequence[tuple[Digest, Layer]]) -> dict[Digest, LayerContent]:
        by_digest = dict(layers)
        known = await self._store.layers(by_digest, scanners=self.state)
        missing = [digest for digest in by_digest if digest not in known]
        tasks: dict[Digest, asyncio.Task[LayerContent]] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for digest in missing:
                    tasks[digest] = group.create_task(self._read(by_digest[digest], digest))
        except ExceptionGroup as errors:
            # The first failure ended the others; one is enough to tell.
            raise errors.exceptions[0] from errors
        return known | {digest: task.result() for digest, task in tasks.items()}

    async def _read(self, layer: Layer, digest: Digest) -> LayerContent:
        async with self._slots:
            try:
                with tempfile.TemporaryDirectory(prefix="hatoba-layer-") as directory:
                    path = Path(directory, "layer")
                    await self._fetcher.fetch(layer, digest=digest, to=path)
                    content = await asyncio.to_thread(read_layer_blocking, path)
            except HatobaError as error:
                LAYERS.labels(type(error).__name__).inc()
                raise
        await self._store.keep_layer(digest, content, scanners=self.state)
        LAYERS.labels("read").inc()
        return content

    @contextlib.asynccontextmanager
    async def _alone(self, manifest: Digest) -> AsyncIterator[None]:
        """Hold the lease of a manifest, waiting for whoever has it."""
        name = f"index:{manifest}"
        deadline = self._clock.monotonic() + LONGEST_WAIT_SECONDS
        while not await self._leases.claim(name, holder=self._holder, lifetime=LEASE_LIFETIME):
            if self._clock.monotonic() >= deadline:
                raise IndexingElsewhere(f"{manifest} is being indexed by another process")
            await asyncio.sleep(self._poll_seconds)
        renewal = asyncio.create_task(self._renew(name))
        try:
            yield
        finally:
            renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await renewal
            await self._leases.release(name, holder=self._holder)

    async def _renew(self, name: str) -> None:
        while True:
            await asyncio.sleep(RENEWAL_SECONDS)
            try:
                await self._leases.claim(name, holder=self._holder, lifetime=LEASE_LIFETIME)
            except Unavailable as error:
                # The work goes on: two indexers of one manifest come to the same report.
                log.warning("lease not renewed", lease=name, reason=error.message)


def _checked(manifest: Manifest) -> _Wanted:
    if not manifest.hash or not manifest.layers:
        raise ManifestBogus("bogus manifest")
    if len(manifest.layers) > MAXIMUM_LAYERS:
        raise ManifestBogus(f"a manifest has {MAXIMUM_LAYERS} layers at most")
    return _Wanted(
        digest=Digest.parse(manifest.hash),
        layers=[(Digest.parse(layer.hash), layer) for layer in manifest.layers],
    )
