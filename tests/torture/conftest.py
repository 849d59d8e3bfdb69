"""How long and how random: a short form within all tests, a long one by `make torture`.

`HATOBA_TORTURE_SECONDS` is what all tests of this directory may take together in the long form;
`HATOBA_TORTURE_SEED` repeats the random decisions of a run (not its timing).
"""

import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.torture.pushers import Crowd, Pusher
from tests.torture.stage import Stage, running_postgres, staged

SHARES = 14
"""How many tests share the time of the long form."""


@dataclass(frozen=True, kw_only=True)
class Torture:
    """How long a test goes on, and its dice."""

    seed: str
    total_seconds: float | None

    def seconds(self, short: float, *, shares: float = 1.0) -> float:
        """Return for how long to disturb: `short`, or a share of the long form's time."""
        if self.total_seconds is None:
            return short
        return max(short, self.total_seconds * shares / SHARES)

    def random(self, name: object = "") -> random.Random:
        return random.Random(f"{self.seed}/{name}")

    def instants(
        self, stage: Stage, *, short: float, least: int, most_answers: int = 40, shares: float = 1.0
    ) -> Iterator[int]:
        """Yield 1, 2, 3, ... at random instants of the crowd's work.

        The pace is that of the answers, so that a slow machine sees as much work between two
        faults as a fast one. It goes on for `short` seconds, and for `least` instants.
        """
        dice, number = self.random("instants"), 0
        end = time.monotonic() + self.seconds(short, shares=shares)
        while time.monotonic() < end or number < least:
            goal = stage.ledger.answers() + dice.randrange(1, most_answers)
            patience = time.monotonic() + 30
            while stage.ledger.answers() < goal and time.monotonic() < patience:
                time.sleep(0.002)
            time.sleep(dice.uniform(0, 0.02))
            number += 1
            yield number

    def crowd(self, stage: Stage, *, size: int = 3, replica: int = 0, **habits: Any) -> Crowd:
        """Return pushers that are not working yet, each in a repository of its own."""
        pushers = [
            Pusher(
                client=stage.client(replica),
                repository=f"admin/torture-{replica}-{number}",
                random=self.random(f"pusher-{replica}-{number}"),
                **habits,
            )
            for number in range(size)
        ]
        return Crowd(pushers=pushers)


@pytest.fixture
def torture(request) -> Torture:
    seed = os.environ.get("HATOBA_TORTURE_SEED") or str(random.SystemRandom().randrange(10**9))
    total = os.environ.get("HATOBA_TORTURE_SECONDS")
    print(f"{request.node.name}: HATOBA_TORTURE_SEED={seed}")
    return Torture(seed=seed, total_seconds=float(total) if total else None)


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Start a PostgreSQL and registries for one test."""
    yield from _playing(tmp_path)


@pytest.fixture(scope="module")
def module_play(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Stage]]:
    """Start a PostgreSQL and registries for all tests of a module."""
    yield from _playing(tmp_path_factory.mktemp("stage"))


def _playing(directory: Path) -> Iterator[Callable[..., Stage]]:
    stack = ExitStack()

    def start(*, database_environment: dict[str, str] | None = None, **config: Any) -> Stage:
        server = stack.enter_context(running_postgres(environment=database_environment))
        return stack.enter_context(staged(directory, server, **config))

    with stack:
        yield start
