"""Trying again: the one place where a failed call is made anew.

Used by the HTTP client and by the blob storage. Only calls that may be made twice belong here;
the caller says which failures pass by themselves.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from prometheus_client import Counter

log = structlog.get_logger()

RETRIES: Final = Counter("hatoba_net_retries_total", "Outbound calls that were tried again")
LONGEST_PAUSE_SECONDS: Final = 10.0

T = TypeVar("T")


def pause_before(attempt: int) -> float:
    """Return seconds to wait before attempt 1, 2, ...: doubling, capped, with jitter."""
    ceiling = min(LONGEST_PAUSE_SECONDS, 0.25 * (1 << attempt))
    return ceiling * (0.5 + secrets.randbelow(1000) / 2000)


async def with_retries(
    call: Callable[[], Awaitable[T]],
    *,
    transient: type[Exception] | tuple[type[Exception], ...],
    attempts: int,
    deadline_seconds: float,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Call until it succeeds, fails for good, or the last attempt has failed.

    Raises:
        TimeoutError: the deadline, which holds for all attempts together, has passed.
        Exception: what the last attempt raised.
    """
    async with asyncio.timeout(deadline_seconds):
        for attempt in range(1, attempts):
            try:
                return await call()
            except transient as error:
                # The class alone: a message may hold a URL, and a URL may be signed.
                log.info("call failed, trying again", attempt=attempt, reason=type(error).__name__)
            RETRIES.inc()
            await sleep(pause_before(attempt))
        return await call()
