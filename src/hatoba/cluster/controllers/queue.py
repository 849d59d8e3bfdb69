"""A queue of keys to look at: each key at most once, and never by two workers at a time.

A key that is added while it is worked on comes back when that work is done. Failures come back
with growing pauses.
"""

import asyncio
from collections import deque
from typing import Final

from hatoba.cluster.controllers.values import Key

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 60.0


class WorkQueue:
    """Keys that wait, are worked on, or come back later."""

    def __init__(self) -> None:
        self._waiting: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._active: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._something = asyncio.Event()

    def add(self, key: Key) -> None:
        """Look at the key as soon as possible."""
        if key in self._active:
            self._again.add(key)
            return
        if key in self._queued:
            return
        self._queued.add(key)
        self._waiting.append(key)
        self._something.set()

    def add_after(self, key: Key, *, seconds: float) -> None:
        """Look at the key later; of several such wishes the earliest counts."""
        loop = asyncio.get_running_loop()
        due = loop.time() + max(seconds, 0.0)
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= due:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(due, self._ring, key)

    def _ring(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    async def get(self) -> Key:
        """Wait for a key; `done` must follow."""
        while not self._waiting:
            self._something.clear()
            await self._something.wait()
        key = self._waiting.popleft()
        self._queued.discard(key)
        self._active.add(key)
        return key

    def done(self, key: Key, *, failed: bool = False, longest: float = LONGEST_PAUSE) -> None:
        """Say that work on the key ended; after a failure it comes back within `longest`."""
        self._active.discard(key)
        if failed:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            self._again.discard(key)
            self.add_after(key, seconds=min(FIRST_PAUSE * 2 ** min(count - 1, 16), longest))
            return
        self._failures.pop(key, None)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def is_idle(self) -> bool:
        """Whether nothing waits and nobody works (timers may be set)."""
        return not self._waiting and not self._active

    def close(self) -> None:
        """Forget the timers."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
