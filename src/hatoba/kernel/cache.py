"""A bounded cache with a bounded age.

The age is the promise: what was revoked elsewhere is served no longer than that. Entries are
dropped oldest-used first when the cache is full.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hatoba.kernel.clock import Clock

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(slots=True, kw_only=True)
class TimedCache(Generic[Key, Value]):
    """Values by key, at most `capacity` weight units, each at most `lifetime_seconds` old."""

    clock: Clock
    lifetime_seconds: float
    capacity: int
    weigh: Callable[[Value], int] = field(default=lambda _value: 1)
    _entries: OrderedDict[Key, tuple[float, int, Value]] = field(default_factory=OrderedDict)
    _weight: int = 0

    def get(self, key: Key) -> Value | None:
        """Return the value, or None when it is absent or too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        expires, _, value = entry
        if self.clock.monotonic() >= expires:
            self.drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: Key, value: Value) -> None:
        """Keep a value; one that is heavier than the whole cache is not kept."""
        weight = self.weigh(value)
        self.drop(key)
        if weight > self.capacity:
            return
        self._entries[key] = (self.clock.monotonic() + self.lifetime_seconds, weight, value)
        self._weight += weight
        while self._weight > self.capacity:
            _, (_, freed, _) = self._entries.popitem(last=False)
            self._weight -= freed

    def drop(self, key: Key) -> None:
        """Forget one value."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._weight -= entry[1]

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._entries)
