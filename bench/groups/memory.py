"""Memory: under a mixed load of 64 clients, and under many large uploads at once."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from bench.groups.blobs import size_text
from bench.groups.pushes import blob_push, manifest_push
from bench.load.clients import run_lean
from bench.load.spec import Cycle, LoadSpec, Part, Work
from bench.model import BenchmarkFailed, Finding, Verdict
from bench.plan import MIB
from bench.processes import memory
from bench.rows import Context, Trial
from bench.sampling import Reading, growth, watched
from bench.servers.ours import Ours
from bench.stock import MANIFEST_TYPE, REPOSITORY, SMALL_BYTES, TAGGED, tag_of

TOTAL_LIMIT_MIB: Final = 300.0
FLAT: Final = 0.05
"""Growth over the second half of the run that still counts as flat."""
ADDED_LIMIT_MIB: Final = 64.0
SPARE_BYTES: Final = 4 << 30
UPLOAD_SECONDS: Final = 240.0


@dataclass(slots=True, frozen=True, kw_only=True)
class MixedLoad:
    """64 clients that pull, push and list at once."""

    context: Context

    def __call__(self, ours: Ours) -> Sequence[Finding]:
        """Measure.

        Raises:
            BenchmarkFailed: a request failed.
        """
        plan = self.context.plan
        spec = LoadSpec(
            port=ours.port, parts=self._parts(ours), seconds=plan.mixed_seconds, limit=10_000_000
        )
        sample, readings = watched(ours.registry_roots, lambda: run_lean(spec))
        if sample.failures:
            raise BenchmarkFailed(f"{sample.failures} requests failed under the mixed load")
        rss = [reading.memory.rss_bytes / MIB for reading in readings]
        pss = [reading.memory.pss_bytes / MIB for reading in readings]
        grown = growth(pss)
        return [
            Finding(
                label="load",
                text=f"{sum(part.connections for part in spec.parts)} clients,"
                f" {sample.requests} operations in {sample.seconds:.0f} s",
            ),
            Finding(
                label="resident memory of all registry processes, highest",
                text=f"RSS {max(rss):.0f} MiB, PSS {max(pss):.0f} MiB",
                verdict=Verdict(
                    text=f"PSS {max(pss):.0f} MiB (< {TOTAL_LIMIT_MIB:g})",
                    holds=max(pss) < TOTAL_LIMIT_MIB,
                ),
            ),
            Finding(
                label="over the run",
                text=f"PSS in MiB {series(readings)}",
                verdict=Verdict(text=f"growth {grown:+.1%} (<= {FLAT:.0%})", holds=grown <= FLAT),
            ),
        ]

    def _parts(self, ours: Ours) -> list[Part]:
        stock = self.context.stock
        scopes = [f"repository:{name}:pull,push" for name in (REPOSITORY, TAGGED)]
        headers = {**ours.authorize(*scopes), "Accept": f"{MANIFEST_TYPE}, */*"}
        stock.tagged(ours)
        stock.catalog(ours)
        manifests = [f"/v2/{REPOSITORY}/manifests/{d}" for d in stock.manifests(ours)]
        tags = [f"/v2/{REPOSITORY}/manifests/{tag_of(n)}" for n in range(len(manifests))]
        small = [f"/v2/{REPOSITORY}/blobs/{d}" for d in stock.blobs(ours, size=SMALL_BYTES)]
        middle = [f"/v2/{REPOSITORY}/blobs/{d}" for d in stock.blobs(ours, size=MIB)]
        lists = [f"/v2/{TAGGED}/tags/list?n=100", "/v2/_catalog?n=100"]

        def reading(paths: list[str], method: str = "GET") -> Work:
            return Cycle(method=method, paths=paths, headers=headers)

        shares: list[tuple[int, Work]] = [
            (12, reading(manifests)),
            (8, reading(manifests, "HEAD")),
            (14, reading(tags)),
            (8, reading(small)),
            (6, reading(middle)),
            (4, reading(lists)),
            (4, blob_push(SMALL_BYTES)(headers, uuid4().hex[:12])),
            (4, blob_push(8 * MIB, chunk_bytes=MIB)(headers, uuid4().hex[:12])),
            (4, manifest_push(headers, uuid4().hex[:12])),
        ]
        return [Part(connections=number, work=work) for number, work in shares]


@dataclass(slots=True, frozen=True, kw_only=True)
class Uploads:
    """Large uploads, all at once."""

    context: Context

    def __call__(self, ours: Ours) -> Sequence[Finding]:
        """Measure.

        Raises:
            BenchmarkFailed: there is no room, or an upload failed.
        """
        plan = self.context.plan
        self._require_room(plan.uploads * plan.upload_bytes)
        self.context.stock.manifests(ours)
        headers = ours.authorize(f"repository:{REPOSITORY}:pull,push")
        work = blob_push(plan.upload_bytes)(headers, uuid4().hex[:12])
        spec = LoadSpec(
            port=ours.port,
            parts=[Part(connections=plan.uploads, work=work)],
            seconds=UPLOAD_SECONDS,
            limit=plan.uploads,
        )
        before = memory(ours.registry_roots)
        sample, readings = watched(ours.registry_roots, lambda: run_lean(spec))
        if sample.requests != plan.uploads:
            raise BenchmarkFailed(f"{sample.requests} of {plan.uploads} uploads succeeded")
        rss = max(r.memory.rss_bytes for r in readings) - before.rss_bytes
        pss = max(r.memory.pss_bytes for r in readings) - before.pss_bytes
        rate = sample.body_bytes / sample.seconds / 1e6
        return [
            Finding(label="load", text=f"{sample.seconds:.1f} s, {rate:.0f} MB/s, all durable"),
            Finding(
                label="added memory, highest",
                text=f"RSS {rss / MIB:.0f} MiB, PSS {pss / MIB:.0f} MiB",
                verdict=Verdict(
                    text=f"added PSS {pss / MIB:.0f} MiB (< {ADDED_LIMIT_MIB:g})",
                    holds=pss / MIB < ADDED_LIMIT_MIB,
                ),
            ),
        ]

    def _require_room(self, size: int) -> None:
        found = os.statvfs(self.context.directory)
        free = found.f_bavail * found.f_frsize
        if free < size + SPARE_BYTES:
            raise BenchmarkFailed(
                f"{(size + SPARE_BYTES) / 1e9:.0f} GB of free disk are needed,"
                f" {free / 1e9:.0f} GB are there: see --directory"
            )


def rows(context: Context) -> Sequence[Trial]:
    """Return the rows of this group."""
    plan = context.plan
    return [
        Trial(
            key="memory-mixed",
            title=f"memory under a mixed load for {plan.mixed_seconds:g} s",
            run=MixedLoad(context=context),
        ),
        Trial(
            key="memory-uploads",
            title=f"memory under {plan.uploads} uploads of {size_text(plan.upload_bytes)} at once",
            run=Uploads(context=context),
        ),
    ]


def series(readings: Sequence[Reading], *, points: int = 10) -> str:
    """Return the course of PSS in a few numbers."""
    step = max(1, len(readings) // points)
    chosen = readings[::step][:points]
    return ", ".join(f"{reading.memory.pss_bytes / MIB:.0f}" for reading in chosen)
