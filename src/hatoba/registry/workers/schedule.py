"""Runs duties side by side: each in its own loop, claimed by lease where only one may run.

One of the three places that catch everything: a duty that fails is logged, and tried again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from hatoba.kernel.ids import new_uuid
from hatoba.sql.leases import Leases

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class Duty:
    """Something to do again and again."""

    name: str
    interval: timedelta
    run: Callable[[], Awaitable[object]]
    exclusive: bool = True
    """Whether one process among all replicas does it at a time."""


async def run_duties(duties: Sequence[Duty], *, leases: Leases) -> None:
    """Run every duty until cancelled."""
    holder = new_uuid()
    async with asyncio.TaskGroup() as group:
        for duty in duties:
            group.create_task(_repeat(duty, leases=leases, holder=holder), name=duty.name)


async def _repeat(duty: Duty, *, leases: Leases, holder: str) -> None:
    # Replicas that start together must not ask together for ever.
    seconds = duty.interval.total_seconds()
    await asyncio.sleep(random.uniform(0, min(seconds, 5.0)))  # noqa: S311 -- not a secret
    lifetime = max(duty.interval * 2, timedelta(seconds=60))
    try:
        while True:
            try:
                name = f"duty:{duty.name}"
                if not duty.exclusive or await leases.claim(name, holder=holder, lifetime=lifetime):
                    await duty.run()
            except Exception:
                log.exception("duty failed", duty=duty.name)
            await asyncio.sleep(seconds)
    finally:
        if duty.exclusive:
            async with asyncio.timeout(5):
                await leases.release(f"duty:{duty.name}", holder=holder)


def to_the_end(step: Callable[[], Awaitable[int]], *, batch: int) -> Callable[[], Awaitable[int]]:
    """Repeat a step of at most `batch` until it finds less: more may come in an hour than that."""

    async def repeated() -> int:
        done = count = await step()
        while count >= batch:
            count = await step()
            done += count
        return done

    return repeated
