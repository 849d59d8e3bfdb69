"""Workers: take a key, do its work, decide when to look again.

A pass has a deadline, and whoever failed or took long is a suspect from then on, of which only so
many are worked on at once: a registry whose API calls hang never delays the others.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import Conflict, HatobaError, Unavailable
from hatoba.operator.answers import Throttled
from hatoba.operator.runtime.queue import WorkQueue

log = structlog.get_logger()

Key = tuple[str, str]
RESYNC_SECONDS: Final = 60.0
WORKERS: Final = 8
"""Passes wait for the API most of the time."""
PASS_LIMIT_SECONDS: Final = 120.0
"""A pass that takes longer is cut off; the next one goes on where it stopped."""
SLOW_PASS_SECONDS: Final = 10.0
"""Who takes longer is a suspect."""

PASSES: Final = Counter(
    "hatoba_operator_reconcile_total", "Passes over registries, by outcome.", ["outcome"]
)
PASS_SECONDS: Final = Histogram("hatoba_operator_reconcile_seconds", "How long a pass takes.")
WAITING: Final = Gauge("hatoba_operator_queue_depth", "Registries that wait for a pass.")


@dataclass(slots=True, frozen=True, kw_only=True)
class Limits:
    """How much the workers take on at once, and for how long."""

    workers: int = WORKERS
    pass_limit_seconds: float = PASS_LIMIT_SECONDS
    slow_pass_seconds: float = SLOW_PASS_SECONDS


class PassCutOff(Unavailable):
    """A pass took longer than it may."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Outcome:
    """What a pass asks for."""

    again_after_seconds: float | None = RESYNC_SECONDS
    """None: only when something changes."""
    longest_seconds: float | None = None
    """Each further time that nothing has changed since, twice as late, up to this; None: always
    after the same time."""


class Controller:
    """Works on keys, each by at most one worker at a time."""

    def __init__(
        self,
        reconcile: Callable[[Key], Awaitable[Outcome]],
        *,
        queue: WorkQueue[Key],
        clock: Clock,
        limits: Limits | None = None,
    ) -> None:
        self._reconcile = reconcile
        self._queue = queue
        self._clock = clock
        self._limits = limits or Limits()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop` is called; what is being worked on is finished first."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.workers):
                group.create_task(self._work())

    def stop(self) -> None:
        """Take no more keys."""
        self._stopping.set()

    async def _work(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                taking = asyncio.create_task(self._queue.get())
                await asyncio.wait({taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not taking.done():
                    taking.cancel()
                    return
                await self._pass(taking.result())
        finally:
            stopping.cancel()

    async def _pass(self, key: Key) -> None:
        WAITING.set(self._queue.depth)
        started = self._clock.monotonic()
        try:
            outcome = await self._bounded(key)
        except Conflict as error:
            # Somebody else wrote in between: look again at once.
            PASSES.labels("conflict").inc()
            log.info("reconcile conflict", namespace=key[0], name=key[1], error=error.message)
            self._queue.retry(key)
        except HatobaError as error:
            PASSES.labels("error").inc()
            self._queue.suspect(key)
            patience = error.retry_after_seconds if isinstance(error, Throttled) else 0
            delay = self._queue.retry(key, at_least_seconds=patience or 0)
            log.warning(
                "reconcile failed",
                namespace=key[0],
                name=key[1],
                error=error.message,
                retry_seconds=round(delay, 1),
            )
        except Exception:
            # The loop must outlive a fault in one registry's pass.
            PASSES.labels("crash").inc()
            self._queue.suspect(key)
            delay = self._queue.retry(key)
            log.exception(
                "reconcile crashed", namespace=key[0], name=key[1], retry_seconds=round(delay, 1)
            )
        else:
            self._succeeded(key, outcome, seconds=self._clock.monotonic() - started)
        finally:
            PASS_SECONDS.observe(self._clock.monotonic() - started)
            self._queue.done(key)

    async def _bounded(self, key: Key) -> Outcome:
        """Run a pass within its time."""
        limit = self._limits.pass_limit_seconds
        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                return await self._reconcile(key)
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise PassCutOff(f"not done after {limit:g} seconds") from error

    def _succeeded(self, key: Key, outcome: Outcome, *, seconds: float) -> None:
        PASSES.labels("success").inc()
        self._queue.forget(key)
        if seconds > self._limits.slow_pass_seconds:
            self._queue.suspect(key)
        else:
            self._queue.trust(key)
        if outcome.again_after_seconds is None:
            self._queue.leave(key)
        elif outcome.longest_seconds is None:
            self._queue.add_after(key, outcome.again_after_seconds)
        else:
            self._queue.look_again(
                key,
                first_seconds=outcome.again_after_seconds,
                longest_seconds=outcome.longest_seconds,
            )
