"""Drives the sides through the rows: in turn, round by round, with the CPU time of each window."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from bench.model import BenchmarkFailed, Figures, Sample, figures, judge
from bench.plan import MIB, Plan
from bench.processes import cpu_seconds, memory
from bench.rows import Contest, ContestResult, Failure, Item, Row, Trial, TrialResult
from bench.servers.ours import Ours
from bench.servers.peer import Peer
from bench.servers.side import Side

NOTHING_DONE_SECONDS: Final = 0.1
"""Preparing that took no longer found everything done; any load takes a process of its own."""


@dataclass(slots=True, kw_only=True)
class _Account:
    """What one side has done and used in a contest."""

    samples: list[Sample] = field(default_factory=list)
    cpu_seconds: float = 0.0
    rss_bytes: int = 0
    pss_bytes: int = 0

    def close(self) -> Figures:
        return figures(
            self.samples,
            cpu_seconds=self.cpu_seconds,
            rss_mib=self.rss_bytes / MIB,
            pss_mib=self.pss_bytes / MIB,
        )


def run_rows(
    rows: Sequence[Row], *, ours: Ours, peer: Peer, plan: Plan
) -> Iterator[tuple[Item, float]]:
    """Run all rows; yield each result with the seconds that it took.

    A row that cannot be measured is told as such and does not stop the others. Before the first
    contest both sides do its work for a window that is not counted: a server that has just started
    is slower for a while than it will be in all other rows.
    """
    first = next((row for row in rows if isinstance(row, Contest)), None)
    for row in rows:
        started = time.monotonic()
        try:
            if row is first:
                _warm_up(row, ours, peer)
            item = _run(row, ours=ours, peer=peer, plan=plan)
        except BenchmarkFailed as error:
            item = Failure(key=row.key, reason=str(error))
        yield item, time.monotonic() - started


def _warm_up(contest: Contest, *sides: Side) -> None:
    _prepare_all(contest, sides)
    for side in sides:
        contest.load.run(side)


def _run(row: Row, *, ours: Ours, peer: Peer, plan: Plan) -> Item:
    match row:
        case Contest():
            return run_contest(row, ours=ours, peer=peer, plan=plan)
        case Trial():
            return TrialResult(trial=row, findings=row.run(ours))


def run_contest(contest: Contest, *, ours: Side, peer: Side, plan: Plan) -> ContestResult:
    """Let the sides do the work in turn, as many rounds as planned, ours first."""
    sides = (ours, peer)
    accounts = {side.name: _Account() for side in sides}
    prepared_at = _prepare_all(contest, sides)
    for side, since in zip(sides, prepared_at, strict=True):
        _settle(contest, side, plan=plan, since=since)
    for _ in range(plan.rounds):
        for side in sides:
            _window(contest, side, account=accounts[side.name], plan=plan)
    found = {name: account.close() for name, account in accounts.items()}
    return ContestResult(
        contest=contest,
        ours=found[ours.name],
        peer=found[peer.name],
        verdicts=[
            judge(floor, ours=found[ours.name], peer=found[peer.name]) for floor in contest.floors
        ],
    )


def _window(contest: Contest, side: Side, *, account: _Account, plan: Plan) -> None:
    before = cpu_seconds(side.roots)
    sample = contest.load.run(side)
    _settle(contest, side, plan=plan, since=time.monotonic())
    account.cpu_seconds += cpu_seconds(side.roots) - before
    account.samples.append(sample)
    used = memory(side.registry_roots)
    account.rss_bytes = max(account.rss_bytes, used.rss_bytes)
    account.pss_bytes = max(account.pss_bytes, used.pss_bytes)


def _prepare_all(contest: Contest, sides: Sequence[Side]) -> list[float]:
    """Prepare the sides beside each other, as nothing of it is measured."""
    with ThreadPoolExecutor(max_workers=len(sides)) as threads:
        return list(threads.map(lambda side: _prepare(contest, side), sides))


def _prepare(contest: Contest, side: Side) -> float:
    """Return when the work that preparing caused was answered; long ago if there was none."""
    started = time.monotonic()
    contest.load.prepare(side)
    ended = time.monotonic()
    return ended if ended - started > NOTHING_DONE_SECONDS else float("-inf")


def _settle(contest: Contest, side: Side, *, plan: Plan, since: float) -> None:
    """Wait until what the answers left to be done later has been done."""
    if contest.leaves_work and side.defers_work:
        time.sleep(max(0.0, since + plan.settle_seconds - time.monotonic()))
