"""A queue of keys: each waits at most once, and is worked on by at most one worker at a time.

A key that is added while it is worked on is handed out again afterwards, so that no change is
lost and none is worked on twice at once. Keys that fail or take long are suspects: only some of
the workers take them, so that however many there are, the others never wait behind them. What
has begun is finished before more is begun (`WorkQueue`). Not safe across threads; one event loop
owns it.
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
LONGEST_RUN: Final = 16


@dataclass(slots=True, frozen=True, kw_only=True)
class QueueSettings:
    """How patient a queue is."""

    first_delay_seconds: float = FIRST_DELAY_SECONDS
    longest_delay_seconds: float = LONGEST_DELAY_SECONDS
    suspects_at_once: int = SUSPECTS_AT_ONCE
    """How many keys that failed or took long may be worked on at the same time."""
    rest_seconds: float = 0.0
    """A key that was worked on is not handed out again before so long after the end of that."""
    longest_run: int = LONGEST_RUN
    """So many keys that have begun go before the newcomer that waits longest, and no more."""


class WorkQueue(Generic[KeyT]):
    """Keys to be worked on.

    Which is next: a key that has begun, that is one which was handed out before or of which
    `has_begun` was said, goes before a newcomer; of several, the one that waits longest. Hundreds
    that are new at once are thus brought to their end one after the other, instead of advancing in
    step with none being done, and an edit of what is done already waits for those alone that are
    on their way. No newcomer starves: when `longest_run` keys that had begun were handed out in a
    row while one waited, the longest waiting newcomer is next.
    """

    def __init__(self, settings: QueueSettings | None = None) -> None:
        self._settings = settings or QueueSettings()
        self._newcomers: deque[tuple[int, KeyT]] = deque()
        self._trusted: deque[tuple[int, KeyT]] = deque()
        self._suspected: deque[tuple[int, KeyT]] = deque()
        self._begun: set[KeyT] = set()
        self._run = 0
        """How many keys went before a newcomer that waits."""
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
        self._resting: dict[KeyT, asyncio.TimerHandle] = {}
        self._due: set[KeyT] = set()
        """Keys that rest, and that are to be worked on when they have."""
        self._lookings: dict[KeyT, int] = {}
        """How often a key was looked at in vain since something about it changed."""

    def add(self, key: KeyT) -> None:
        """Have a key worked on as soon as possible: something about it changed."""
        self._lookings.pop(key, None)
        self._enqueue(key)

    def _enqueue(self, key: KeyT) -> None:
        self._cancel_timer(key)
        if key in self._active:
            self._again.add(key)
        elif key in self._resting:
            self._due.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._count += 1
            self._lane(key).append((self._count, key))
            self._news.set()

    def _lane(self, key: KeyT) -> deque[tuple[int, KeyT]]:
        if key in self._suspects:
            return self._suspected
        return self._trusted if key in self._begun else self._newcomers

    def add_after(self, key: KeyT, delay_seconds: float) -> None:
        """Have a key worked on later; an earlier appointment stands."""
        self._lookings.pop(key, None)
        self._appoint(key, delay_seconds)

    def look_again(self, key: KeyT, *, first_seconds: float, longest_seconds: float) -> float:
        """Have a key worked on later, each time twice as late until it is added; return when."""
        lookings = self._lookings.get(key, 0)
        self._lookings[key] = lookings + 1
        delay: float = min(first_seconds * 2.0 ** min(lookings, 16), longest_seconds)
        self._appoint(key, delay)
        return delay

    def _appoint(self, key: KeyT, delay_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + delay_seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(delay_seconds, self._enqueue, key)

    def retry(self, key: KeyT, *, at_least_seconds: float = 0.0) -> float:
        """Have a failed key worked on after a delay that doubles each time; return the delay."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        first, longest = self._settings.first_delay_seconds, self._settings.longest_delay_seconds
        delay: float = min(first * 2.0 ** min(failures, 16), longest)
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 -- spreads retries, guards nothing
        delay = max(delay, at_least_seconds)
        self._appoint(key, delay)
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

    def has_begun(self, key: KeyT) -> None:
        """Note that work on a key was begun earlier, by whoever did it then."""
        self._begun.add(key)

    def leave(self, key: KeyT) -> None:
        """Note that nothing is left to be done about a key: it comes back as a newcomer."""
        self._begun.discard(key)

    async def get(self) -> KeyT:
        """Wait for a key; the caller says `done` when it has finished with it."""
        while (key := self._next()) is None:
            self._news.clear()
            await self._news.wait()
        self._waiting.discard(key)
        self._active.add(key)
        self._begun.add(key)
        return key

    def done(self, key: KeyT) -> None:
        """Give a key back."""
        self._active.discard(key)
        if key in self._slots:
            self._slots.discard(key)
            self._news.set()
        if self._settings.rest_seconds:
            self._resting[key] = asyncio.get_running_loop().call_later(
                self._settings.rest_seconds, self._rested, key
            )
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    def _rested(self, key: KeyT) -> None:
        del self._resting[key]
        if key in self._due:
            self._due.discard(key)
            self._enqueue(key)

    def close(self) -> None:
        """Drop every appointment."""
        for timer in (*self._timers.values(), *self._resting.values()):
            timer.cancel()
        self._timers.clear()
        self._resting.clear()

    @property
    def depth(self) -> int:
        """How many keys wait."""
        return len(self._waiting) + len(self._due)

    def _next(self) -> KeyT | None:
        """Take the key whose turn it is, of those that may be worked on now."""
        room = len(self._slots) < self._settings.suspects_at_once
        lanes = [lane for lane in (self._trusted, self._suspected if room else None) if lane]
        if self._newcomers and (not lanes or self._run >= self._settings.longest_run):
            self._run = 0
            return self._newcomers.popleft()[1]
        if not lanes:
            return None
        self._run = self._run + 1 if self._newcomers else 0
        lane = min(lanes, key=lambda waiting: waiting[0][0])
        _, key = lane.popleft()
        if lane is self._suspected:
            self._slots.add(key)
        return key

    def _cancel_timer(self, key: KeyT) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
