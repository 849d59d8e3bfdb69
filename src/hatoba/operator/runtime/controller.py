"""Workers: take a key, do its work, decide when to look again."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import Counter, Gauge, Histogram

from hatoba.kernel.clock import Clock
from hatoba.kernel.errors import Conflict, HatobaError
from hatoba.operator.runtime.queue import WorkQueue

log = structlog.get_logger()

Key = tuple[str, str]
RESYNC_SECONDS: Final = 60.0

PASSES: Final = Counter(
    "hatoba_operator_reconcile_total", "Passes over registries, by outcome.", ["outcome"]
)
PASS_SECONDS: Final = Histogram("hatoba_operator_reconcile_seconds", "How long a pass takes.")
WAITING: Final = Gauge("hatoba_operator_queue_depth", "Registries that wait for a pass.")


@dataclass(slots=True, frozen=True, kw_only=True)
class Outcome:
    """What a pass asks for."""

    again_after_seconds: float | None = RESYNC_SECONDS
    """None: only when something changes."""


class Controller:
    """Works on keys, each by at most one worker at a time."""

    def __init__(
        self,
        reconcile: Callable[[Key], Awaitable[Outcome]],
        *,
        queue: WorkQueue[Key],
        clock: Clock,
        workers: int = 2,
    ) -> None:
        self._reconcile = reconcile
        self._queue = queue
        self._clock = clock
        self._workers = workers
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop` is called; what is being worked on is finished first."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
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
            outcome = await self._reconcile(key)
        except Conflict as error:
            # Somebody else wrote in between: look again at once.
            PASSES.labels("conflict").inc()
            log.info("reconcile conflict", namespace=key[0], name=key[1], error=error.message)
            self._queue.retry(key)
        except HatobaError as error:
            PASSES.labels("error").inc()
            delay = self._queue.retry(key)
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
            delay = self._queue.retry(key)
            log.exception(
                "reconcile crashed", namespace=key[0], name=key[1], retry_seconds=round(delay, 1)
            )
        else:
            PASSES.labels("success").inc()
            self._queue.forget(key)
            if outcome.again_after_seconds is not None:
                self._queue.add_after(key, outcome.again_after_seconds)
        finally:
            PASS_SECONDS.observe(self._clock.monotonic() - started)
            self._queue.done(key)
