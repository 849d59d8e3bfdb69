"""A queue of keys: each waits at most once, and is worked on by at most one worker at a time.

A key that is added while it is worked on is handed out again afterwards, so that no change is
lost and none is worked on twice at once. Not safe across threads; one event loop owns it.
"""

import asyncio
import random
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 60.0


class WorkQueue(Generic[KeyT]):
    """Keys to be worked on."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[KeyT] = asyncio.Queue()
        self._waiting: set[KeyT] = set()
        self._active: set[KeyT] = set()
        self._again: set[KeyT] = set()
        self._timers: dict[KeyT, asyncio.TimerHandle] = {}
        self._failures: dict[KeyT, int] = {}

    def add(self, key: KeyT) -> None:
        """Have a key worked on as soon as possible."""
        self._cancel_timer(key)
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: KeyT, delay_seconds: float) -> None:
        """Have a key worked on later; an earlier appointment stands."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay_seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(delay_seconds, self.add, key)

    def retry(self, key: KeyT) -> float:
        """Have a failed key worked on after a delay that doubles each time; return the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay: float = min(FIRST_DELAY_SECONDS * 2.0 ** min(failures, 16), LONGEST_DELAY_SECONDS)
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 -- spreads retries, guards nothing
        self.add_after(key, delay)
        return delay

    def forget(self, key: KeyT) -> None:
        """Start counting a key's failures anew."""
        self._failures.pop(key, None)

    async def get(self) -> KeyT:
        """Wait for a key; the caller says `done` when it has finished with it."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._active.add(key)
        return key

    def done(self, key: KeyT) -> None:
        """Give a key back."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def close(self) -> None:
        """Drop every appointment."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    @property
    def depth(self) -> int:
        """How many keys wait."""
        return len(self._waiting)

    def _cancel_timer(self, key: KeyT) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
