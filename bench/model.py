"""The words of a benchmark: samples, floors, figures and how they are judged. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

Kind = Literal["rate", "bytes", "cpu", "p99"]


class BenchmarkFailed(Exception):
    """A measurement that cannot be made or that is worth nothing; the message says why."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Sample:
    """One run of a load against one server."""

    requests: int
    """Answered as they should be."""
    failures: int
    seconds: float
    p50_ms: float
    p99_ms: float
    body_bytes: int
    """Payload moved, either way; 0 where it is not the point."""
    client_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Return requests per second."""
        return self.requests / self.seconds

    @property
    def client_share(self) -> float:
        """Return how busy the client was, as a share of one CPU."""
        return self.client_cpu_seconds / self.seconds


@dataclass(slots=True, frozen=True, kw_only=True)
class Figures:
    """What all rounds say about one server at one work."""

    rate: float
    spread: float
    """Distance of the fastest from the slowest round, as a share of the median."""
    p50_ms: float
    p99_ms: float
    megabytes_per_second: float
    cpu_ms: float
    """CPU time of all server processes per request."""
    rss_mib: float
    pss_mib: float
    client_share: float
    requests: int
    failures: int


@dataclass(slots=True, frozen=True, kw_only=True)
class Floor:
    """What is asked of the ratio to the peer.

    `rate`: at least `factor` times as many requests; `bytes`: as many MB/s; `cpu`: at most
    1/`factor`; `p99`: below `factor` times.
    """

    kind: Kind
    factor: float


@dataclass(slots=True, frozen=True, kw_only=True)
class Verdict:
    """One floor, and whether it holds."""

    text: str
    holds: bool


@dataclass(slots=True, frozen=True, kw_only=True)
class Finding:
    """A figure without a peer, with its limit where it has one."""

    label: str
    text: str
    verdict: Verdict | None = None


def figures(
    samples: Sequence[Sample], *, cpu_seconds: float, rss_mib: float, pss_mib: float
) -> Figures:
    """Summarize rounds: medians of rates and percentiles, CPU over everything.

    Raises:
        BenchmarkFailed: no request was answered in some round.
    """
    if any(sample.requests == 0 for sample in samples) or not samples:
        raise BenchmarkFailed("a round answered no request")
    rates = [sample.rate for sample in samples]
    middle = median(rates)
    return Figures(
        rate=middle,
        spread=(max(rates) - min(rates)) / middle,
        p50_ms=median(sample.p50_ms for sample in samples),
        p99_ms=median(sample.p99_ms for sample in samples),
        megabytes_per_second=median(s.body_bytes / s.seconds / 1e6 for s in samples),
        cpu_ms=cpu_seconds * 1000 / sum(sample.requests for sample in samples),
        rss_mib=rss_mib,
        pss_mib=pss_mib,
        client_share=max(sample.client_share for sample in samples),
        requests=sum(sample.requests for sample in samples),
        failures=sum(sample.failures for sample in samples),
    )


def judge(floor: Floor, *, ours: Figures, peer: Figures) -> Verdict:
    """Say whether a floor holds; failed requests break every floor."""
    sound = ours.failures == 0 and peer.failures == 0
    match floor.kind:
        case "rate":
            ratio = ours.rate / peer.rate
            return Verdict(
                text=f"rate {ratio:.2f}x (>= {floor.factor:g}x)",
                holds=sound and ratio >= floor.factor,
            )
        case "bytes":
            ratio = ours.megabytes_per_second / peer.megabytes_per_second
            return Verdict(
                text=f"MB/s {ratio:.2f}x (>= {floor.factor:g}x)",
                holds=sound and ratio >= floor.factor,
            )
        case "cpu":
            less = peer.cpu_ms / ours.cpu_ms if ours.cpu_ms else float("inf")
            return Verdict(
                text=f"CPU 1/{less:.2f} (<= 1/{floor.factor:g})",
                holds=sound and less >= floor.factor,
            )
        case "p99":
            ratio = ours.p99_ms / peer.p99_ms
            return Verdict(
                text=f"p99 {ratio:.2f}x (< {floor.factor:g}x)",
                holds=sound and ratio < floor.factor,
            )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of an ascending sequence does not exceed (nearest rank).

    Raises:
        BenchmarkFailed: the sequence is empty.
    """
    if not ordered:
        raise BenchmarkFailed("nothing was measured")
    rank = max(1, -(-len(ordered) * share // 1))
    return ordered[int(rank) - 1]
