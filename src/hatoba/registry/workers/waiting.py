"""Waiting for a neighbour to answer: what init containers do."""

import asyncio
from typing import Final

import aiohttp
import structlog

from hatoba.kernel.errors import Unavailable

RETRY_SECONDS: Final = 1.0
REQUEST_SECONDS: Final = 5.0

log = structlog.get_logger()


class NeverAnswered(Unavailable):
    """A neighbour did not answer in time."""


async def wait_until_answering(url: str, *, patience_seconds: float) -> None:
    """Return once a GET is answered with a success.

    Raises:
        NeverAnswered: not within `patience_seconds`.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            reason = await _reason_of_failure(session, url)
            if reason is None:
                return
            if loop.time() >= deadline:
                raise NeverAnswered(f"{url} does not answer: {reason}")
            log.info("waiting", url=url, reason=reason)
            await asyncio.sleep(RETRY_SECONDS)


async def _reason_of_failure(session: aiohttp.ClientSession, url: str) -> str | None:
    try:
        async with session.get(url) as response:
            return None if response.ok else f"status {response.status}"
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        return str(error) or type(error).__name__
