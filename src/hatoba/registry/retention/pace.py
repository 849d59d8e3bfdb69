"""Not faster than so many bytes a second."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hatoba.kernel.clock import Clock


@dataclass(slots=True, kw_only=True)
class Pace:
    """Lets whoever reads wait; time that was not used is not saved up."""

    clock: Clock
    bytes_per_second: int
    """0 is without limit."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _free_at: float = 0.0

    async def spend(self, count: int) -> None:
        """Return when bytes that have been read are paid for."""
        if not self.bytes_per_second:
            return
        now = self.clock.monotonic()
        self._free_at = max(self._free_at, now) + count / self.bytes_per_second
        await self.sleep(self._free_at - now)
