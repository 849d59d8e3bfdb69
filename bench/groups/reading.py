"""Work that reads: GET by wrk, HEAD by the lean client (wrk waits for a body that HEAD has not)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bench.load.clients import run_lean, run_wrk
from bench.load.spec import Cycle, LoadSpec, Part
from bench.model import BenchmarkFailed, Sample
from bench.plan import Plan
from bench.rows import Context
from bench.servers.side import Side
from bench.stock import Stock

WARM_CONNECTIONS: Final = 16
WARM_SECONDS: Final = 10.0
WARM_REQUESTS: Final = 500


@dataclass(slots=True, frozen=True, kw_only=True)
class Reads:
    """Asks for paths in turn. `paths` also puts there what they name."""

    plan: Plan
    stock: Stock
    work: str
    method: Literal["GET", "HEAD"]
    connections: int
    scope: str
    paths: Callable[[Side], Sequence[str]]
    script: Path
    accept: str = "*/*"
    warm_requests: int = WARM_REQUESTS
    """Enough that each worker has seen each path."""
    least_seconds: int = 0
    """Of a window; long enough for what is asked for to end in it."""

    def prepare(self, side: Side) -> None:
        """Put there what is read, and read it until caches are warm in every worker.

        Raises:
            BenchmarkFailed: a request failed.
        """
        self.stock.once(side, f"warm: {self.method} {self.work}", lambda: self._warm(side))

    def _warm(self, side: Side) -> None:
        connections = max(self.connections, WARM_CONNECTIONS)
        spec = self._spec(
            side, connections=connections, seconds=WARM_SECONDS, limit=self.warm_requests
        )
        if failures := run_lean(spec).failures:
            raise BenchmarkFailed(f"{failures} requests failed on {side.name} while warming up")

    def run(self, side: Side) -> Sample:
        """Read for one window."""
        if self.method == "HEAD":
            plan = self.plan
            return run_lean(
                self._spec(
                    side, connections=self.connections, seconds=plan.seconds, limit=plan.limit
                )
            )
        return run_wrk(
            port=side.port,
            paths=list(self.paths(side)),
            headers=self._headers(side),
            connections=self.connections,
            seconds=max(self.plan.seconds, self.least_seconds),
            script=self.script,
        )

    def _headers(self, side: Side) -> dict[str, str]:
        return {**side.authorize(self.scope), "Accept": self.accept}

    def _spec(self, side: Side, *, connections: int, seconds: float, limit: int) -> LoadSpec:
        paths = list(self.paths(side))
        work = Cycle(method=self.method, paths=paths, headers=self._headers(side))
        return LoadSpec(
            port=side.port,
            parts=[Part(connections=connections, work=work)],
            seconds=seconds,
            limit=limit,
        )


def script_file(context: Context) -> Path:
    """Return where wrk's script is written."""
    return context.directory / "wrk.lua"
