"""A queue of keys: each waits at most once, and is worked on by at most one worker at a time.

A key that is added while it is worked on is handed out again afterwards, so that no change is
lost and none is worked on twice at once. Keys that fail or take long are suspects: only some of
the workers take them, so that however many there are, the others never wait behind them. Not safe
across threads; one event loop owns it.
"""

import asyncio
import random
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

FIRST_DELAY_SECONDS: Final = 0.1
LONGEST_DELAY_SECONDS: Final = 60.0
SUSPECTS_AT_ONCE: Final = 4


@dataclass(slots=True, frozen=True, kw_only=True)
class QueueSettings:
    """How patient a queue is."""

    first_delay_seconds: float = FIRST_DELAY_SECONDS
    longest_delay_seconds: float = LONGEST_DELAY_SECONDS
    suspects_at_once: int = SUSPECTS_AT_ONCE
    """How many keys that failed or took long may be worked on at the same time."""


class WorkQueue(Generic[KeyT]):
    """Keys to be worked on."""

    def __init__(self, settings: QueueSettings | None = None) -> None:
        self._settings = settings or QueueSettings()
        self._trusted: deque[tuple[int, KeyT]] = deque()
        self._suspected: deque[tuple[int, KeyT]] = deque()
        self._count = 0
        self._news = asyncio.Event()
        self._waiting: set[KeyT] = set()
        self._active: set[KeyT] = set()
        self._again: set[KeyT] = set()
        self._timers: dict[KeyT, asyncio.TimerHandle] = {}
        self._failures: dict[KeyT, int] = {}
        self._suspects: set[KeyT] = set()
        self._slots: set[KeyT] = set()
        """Suspects that are being worked on."""

    def add(self, key: KeyT) -> None:
        """Have a key worked on as soon as possible."""
        self._cancel_timer(key)
        if key in self._active:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._count += 1
            lane = self._suspected if key in self._suspects else self._trusted
            lane.append((self._count, key))
            self._news.set()

    def add_after(self, key: KeyT, delay_seconds: float) -> None:
        """Have a key worked on later; an earlier appointment stands."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay_seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(delay_seconds, self.add, key)

    def retry(self, key: KeyT, *, at_least_seconds: float = 0.0) -> float:
        """Have a failed key worked on after a delay that doubles each time; return the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        first, longest = self._settings.first_delay_seconds, self._settings.longest_delay_seconds
        delay: float = min(first * 2.0 ** min(failures, 16), longest)
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 -- spreads retries, guards nothing
        delay = max(delay, at_least_seconds)
        self.add_after(key, delay)
        return delay

    def forget(self, key: KeyT) -> None:
        """Start counting a key's failures anew."""
        self._failures.pop(key, None)

    def suspect(self, key: KeyT) -> None:
        """Have a key that failed or took long wait for one of the places for such."""
        self._suspects.add(key)

    def trust(self, key: KeyT) -> None:
        """Let a key be worked on by any worker again."""
        self._suspects.discard(key)

    async def get(self) -> KeyT:
        """Wait for a key; the caller says `done` when it has finished with it."""
        while (key := self._next()) is None:
            self._news.clear()
            await self._news.wait()
        self._waiting.discard(key)
        self._active.add(key)
        return key

    def done(self, key: KeyT) -> None:
        """Give a key back."""
        self._active.discard(key)
        if key in self._slots:
            self._slots.discard(key)
            self._news.set()
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

    def _next(self) -> KeyT | None:
        """Take the key that waits longest and may be worked on now."""
        room = len(self._slots) < self._settings.suspects_at_once
        suspected = self._suspected if room else deque[tuple[int, KeyT]]()
        if suspected and (not self._trusted or suspected[0] < self._trusted[0]):
            _, key = suspected.popleft()
            self._slots.add(key)
            return key
        return self._trusted.popleft()[1] if self._trusted else None

    def _cancel_timer(self, key: KeyT) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
