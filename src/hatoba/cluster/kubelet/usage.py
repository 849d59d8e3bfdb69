"""What containers use, measured for the autoscaler and `kubectl top`.

One pass over /proc serves all containers. Memory is counted as share (PSS): forked workers share
most of their pages, and counting those once per process would scale a service that is not busy.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from hatoba.cluster.kubelet import processes
from hatoba.cluster.node import Usage
from hatoba.kernel.clock import Clock

_NANOCORES: Final = 1_000_000_000


@dataclass(slots=True, frozen=True, order=True)
class ContainerKey:
    """One container of one pod."""

    uid: str
    container: str


@dataclass(slots=True, frozen=True, kw_only=True)
class Sample:
    """What a container had used up at a moment."""

    shim: int
    ticks: int
    memory_bytes: int
    at: float
    moment: float


def measure(shims: Mapping[ContainerKey, int], *, clock: Clock) -> dict[ContainerKey, Sample]:
    """Measure the containers below these shims."""
    table = processes.snapshot()
    below = processes.descend(table, shims.values())
    at, moment = clock.now().timestamp(), clock.monotonic()
    return {
        key: Sample(
            shim=shim,
            ticks=sum(stat.cpu_ticks for stat in below[shim]),
            memory_bytes=sum(processes.resident_bytes(stat.pid) for stat in below[shim]),
            at=at,
            moment=moment,
        )
        for key, shim in shims.items()
        if below[shim]
    }


def usage_between(key: ContainerKey, *, before: Sample, after: Sample) -> Usage:
    """Return the use between two samples of the same container."""
    window = max(after.moment - before.moment, 0.001)
    # A child that ended without being waited for takes its time with it.
    ticks = max(after.ticks - before.ticks, 0)
    return Usage(
        container=key.container,
        cpu_nanocores=round(ticks / processes.TICKS_PER_SECOND / window * _NANOCORES),
        memory_bytes=after.memory_bytes,
        at=after.at,
        window_seconds=window,
    )


class UsageMeter:
    """Measures periodically and remembers the last two samples."""

    def __init__(
        self, shims: Callable[[], Mapping[ContainerKey, int]], *, clock: Clock, period: float
    ) -> None:
        self._shims = shims
        self._clock = clock
        self._period = period
        self._samples: dict[ContainerKey, Sample] = {}
        self._usage: dict[ContainerKey, Usage] = {}

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            await self.measure()
            await asyncio.sleep(self._period)

    async def measure(self) -> None:
        """Measure once."""
        fresh = await asyncio.to_thread(measure, dict(self._shims()), clock=self._clock)
        usage = {}
        for key, sample in fresh.items():
            before = self._samples.get(key)
            if before is not None and before.shim == sample.shim:
                usage[key] = usage_between(key, before=before, after=sample)
        self._samples, self._usage = fresh, usage

    def of(self, uid: str) -> list[Usage]:
        """Return the last measurement of a pod's containers."""
        return [
            usage
            for key, usage in sorted(self._usage.items(), key=lambda item: item[0])
            if key.uid == uid
        ]
