"""How many SQL statements a warm pull costs, from PostgreSQL's own log of all statements."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from bench.groups.manifests import pull_by_digest, pull_by_tag
from bench.load.clients import run_lean
from bench.load.spec import Cycle, LoadSpec, Part
from bench.model import BenchmarkFailed, Finding, Verdict
from bench.rows import Context, Trial
from bench.servers.ours import Ours
from bench.servers.postgresql import Postgresql
from bench.servers.side import Side
from bench.stock import MANIFEST_TYPE, REPOSITORY
from hatoba.registry.content.invalidation import DELETED

CONNECTIONS: Final = 16
SECONDS: Final = 60.0
WARM_REQUESTS: Final = 2000
"""After these, both workers have seen every path."""
RELOAD_SECONDS: Final = 0.5
TOLERANCE: Final = 0.05
"""Per request: for what duties ask meanwhile."""
_LOGGED: Final = re.compile(r" LOG:  (?:statement|execute [^:]*):\s*(\w+)(.*)")
_TRANSACTION: Final = frozenset({"BEGIN", "COMMIT", "ROLLBACK"})

Kind = Literal["statements", "transaction control", "audit"]


@dataclass(slots=True, frozen=True, kw_only=True)
class Statements:
    """Counts what the database is asked while warm pulls go on."""

    context: Context
    paths: Callable[[Context, Side], list[str]]
    limit: int

    def __call__(self, ours: Ours) -> Sequence[Finding]:
        """Measure.

        Raises:
            BenchmarkFailed: a request failed.
        """
        plan = self.context.plan
        requests = plan.statements
        paths = self.paths(self.context, ours)
        # What a worker read is asked for anew after a minute, with three statements for each
        # manifest: all of it is read now, so that none comes of that age while they are counted.
        ours.database.execute(f"NOTIFY {DELETED}")
        self._pull(ours, paths, number=WARM_REQUESTS)
        time.sleep(plan.settle_seconds)
        with logged(ours.database) as read:
            self._pull(ours, paths, number=requests)
            time.sleep(plan.settle_seconds)
            found = count(read())
        per_request = found["statements"] / requests
        return [
            Finding(
                label=f"over {requests} requests",
                text=", ".join(f"{found[kind] / requests:.3f} {kind}" for kind in KINDS),
                verdict=Verdict(
                    text=f"{per_request:.2f} statements per request (<= {self.limit})",
                    holds=per_request <= self.limit + TOLERANCE,
                ),
            )
        ]

    def _pull(self, ours: Ours, paths: list[str], *, number: int) -> None:
        headers = {**ours.authorize(f"repository:{REPOSITORY}:pull"), "Accept": MANIFEST_TYPE}
        work = Cycle(method="GET", paths=paths, headers=headers)
        part = Part(connections=CONNECTIONS, work=work)
        spec = LoadSpec(port=ours.port, parts=[part], seconds=SECONDS, limit=number)
        sample = run_lean(spec)
        if sample.requests != number:
            raise BenchmarkFailed(f"{sample.requests} of {number} requests succeeded")


KINDS: Final[tuple[Kind, ...]] = ("statements", "transaction control", "audit")


def rows(context: Context) -> Sequence[Trial]:
    """Return the rows of this group."""
    return [
        Trial(
            key="statements-digest",
            title="SQL statements of a warm pull by digest",
            run=Statements(context=context, paths=pull_by_digest, limit=0),
        ),
        Trial(
            key="statements-tag",
            title="SQL statements of a warm pull by tag",
            run=Statements(context=context, paths=pull_by_tag, limit=1),
        ),
    ]


@contextmanager
def logged(database: Postgresql) -> Iterator[Callable[[], str]]:
    """Let PostgreSQL log each statement; yields what reads the log since."""
    _log_statements(database, "all")
    time.sleep(RELOAD_SECONDS)
    start = database.log.stat().st_size

    def read() -> str:
        with database.log.open("rb") as opened:
            opened.seek(start)
            return opened.read().decode(errors="replace")

    try:
        yield read
    finally:
        _log_statements(database, "none")


def count(log: str) -> Counter[Kind]:
    """Count what a log tells by kind; a token's own statements are among them."""
    found: Counter[Kind] = Counter()
    # A statement of several lines goes on behind a tab.
    for line in log.replace("\n\t", " ").splitlines():
        match = _LOGGED.search(line)
        if match is None:
            continue
        verb, rest = match[1].upper(), match[2]
        if verb in _TRANSACTION:
            found["transaction control"] += 1
        elif "logentry3" in rest:
            found["audit"] += 1
        else:
            found["statements"] += 1
    return found


def _log_statements(database: Postgresql, what: Literal["all", "none"]) -> None:
    database.execute(f"ALTER SYSTEM SET log_statement = '{what}'", "SELECT pg_reload_conf()")
