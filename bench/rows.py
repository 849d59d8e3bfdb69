"""Rows of the table: a contest between the sides, or a trial of ours alone.

A group of rows is a module of `groups/` with a function `rows(context)`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.model import Figures, Finding, Floor, Sample, Verdict
from bench.plan import Plan
from bench.servers.ours import Ours
from bench.servers.side import Side
from bench.stock import Stock


@dataclass(slots=True, frozen=True, kw_only=True)
class Context:
    """What the rows are made from."""

    plan: Plan
    stock: Stock
    directory: Path
    """For files of the client."""


class Load(Protocol):
    """Work that is done against one side."""

    def prepare(self, side: Side) -> None:
        """Put there what the work needs and warm up; idempotent, and not measured."""

    def run(self, side: Side) -> Sample:
        """Do it for one window."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Contest:
    """Work that both sides do in turn."""

    key: str
    """For `--only`."""
    work: str
    concurrency: int
    load: Load
    floors: Sequence[Floor]
    leaves_work: bool = False
    """Whether a window leaves audit rows behind that are written later."""
    shows_megabytes: bool = False


@dataclass(slots=True, frozen=True, kw_only=True)
class Trial:
    """Something that only ours is asked."""

    key: str
    title: str
    run: Callable[[Ours], Sequence[Finding]]


Row = Contest | Trial


@dataclass(slots=True, frozen=True, kw_only=True)
class ContestResult:
    """What came out of a contest."""

    contest: Contest
    ours: Figures
    peer: Figures
    verdicts: Sequence[Verdict]


@dataclass(slots=True, frozen=True, kw_only=True)
class TrialResult:
    """What came out of a trial."""

    trial: Trial
    findings: Sequence[Finding]


@dataclass(slots=True, frozen=True, kw_only=True)
class Failure:
    """A row that could not be measured, and why."""

    key: str
    reason: str


Item = ContestResult | TrialResult | Failure


@dataclass(slots=True, kw_only=True)
class Results:
    """Everything that has been measured, in the order of the rows."""

    items: list[Item] = field(default_factory=list)

    @property
    def floors_hold(self) -> bool:
        """Whether each row was measured and kept each of its floors."""
        return all(_holds(item) for item in self.items)


def _holds(item: Item) -> bool:
    match item:
        case ContestResult():
            return all(verdict.holds for verdict in item.verdicts)
        case TrialResult():
            return all(
                finding.verdict is None or finding.verdict.holds for finding in item.findings
            )
        case Failure():
            return False
