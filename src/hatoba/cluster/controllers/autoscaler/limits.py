"""How fast, and how far, an autoscaler may go.

Without `behavior`: down only to the highest recommendation of the last five minutes, up to double
(at least four) at a time. With it: its windows and policies. Recommendations and changes are
remembered in memory; after a restart the present size is the first recommendation.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from hatoba.kernel.json import JsonObject

WINDOW: Final = timedelta(minutes=5)
_LONGEST: Final = timedelta(hours=1)
_UP_POLICIES: Final = (
    {"type": "Pods", "value": 4, "periodSeconds": 15},
    {"type": "Percent", "value": 100, "periodSeconds": 15},
)
_DOWN_POLICIES: Final = ({"type": "Percent", "value": 100, "periodSeconds": 15},)
_WITHIN: Final = ("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_MANY: Final = (
    "TooManyReplicas",
    "the desired replica count is more than the maximum replica count",
)
_TOO_FEW: Final = (
    "TooFewReplicas",
    "the desired replica count is less than the minimum replica count",
)
_TOO_FAST_UP: Final = (
    "ScaleUpLimit",
    "the desired replica count is increasing faster than the maximum scale rate",
)
_TOO_FAST_DOWN: Final = (
    "ScaleDownLimit",
    "the desired replica count is decreasing faster than the maximum scale rate",
)
_READY: Final = ("ReadyForNewScale", "recommended size matches current size")
_DOWN_STABILIZED: Final = (
    "ScaleDownStabilized",
    (
        "recent recommendations were higher than current one,"
        " applying the highest recent recommendation"
    ),
)
_UP_STABILIZED: Final = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)


@dataclass(slots=True)
class Memory:
    """What one autoscaler recommended and did lately."""

    recommendations: deque[tuple[datetime, int]] = field(default_factory=deque)
    changes: deque[tuple[datetime, int]] = field(default_factory=deque)
    """Replicas added (or, negative, removed)."""

    def recommend(self, replicas: int, *, now: datetime) -> None:
        """Remember a recommendation."""
        self.recommendations.append((now, replicas))
        _forget(self.recommendations, now)

    def changed(self, by: int, *, now: datetime) -> None:
        """Remember a change of size."""
        self.changes.append((now, by))
        _forget(self.changes, now)

    def recent(self, window: timedelta, *, now: datetime) -> list[int]:
        """Return the recommendations within a window."""
        return [replicas for at, replicas in self.recommendations if at > now - window]

    def change_within(self, seconds: int, *, now: datetime) -> int:
        """Return by how much the size changed within a period."""
        since = now - timedelta(seconds=seconds)
        return sum(by for at, by in self.changes if at > since)


def _forget(entries: deque[tuple[datetime, int]], now: datetime) -> None:
    while entries and entries[0][0] < now - _LONGEST:
        entries.popleft()


@dataclass(slots=True, frozen=True, kw_only=True)
class Decision:
    """The number that is allowed, with the reasons and messages of two conditions."""

    replicas: int
    able: tuple[str, str]
    limited: tuple[str, str]
    is_limited: bool


@dataclass(slots=True, frozen=True, kw_only=True)
class Bounds:
    """The size now and the limits of the autoscaler's spec."""

    current: int
    minimum: int
    maximum: int


def normalize(
    wanted: int, bounds: Bounds, memory: Memory, behavior: JsonObject | None, *, now: datetime
) -> Decision:
    """Return what becomes of a recommendation; it is remembered too."""
    memory.recommend(wanted, now=now)
    if behavior is None:
        stable = max([wanted, *memory.recent(WINDOW, now=now)])
        able = _READY if stable == wanted else _DOWN_STABILIZED
        replicas, limited = _within_defaults(stable, bounds)
    else:
        stable, able = _stabilized(wanted, bounds, memory, behavior, now=now)
        replicas, limited = _within_rules(stable, bounds, memory, behavior, now=now)
    return Decision(replicas=replicas, able=able, limited=limited, is_limited=replicas != stable)


def _within_defaults(wanted: int, bounds: Bounds) -> tuple[int, tuple[str, str]]:
    fastest = max(2 * bounds.current, 4)
    ceiling, why = (
        (fastest, _TOO_FAST_UP) if bounds.maximum > fastest else (bounds.maximum, _TOO_MANY)
    )
    if wanted < bounds.minimum:
        return bounds.minimum, _TOO_FEW
    if wanted > ceiling:
        return ceiling, why
    return wanted, _WITHIN


def _stabilized(
    wanted: int, bounds: Bounds, memory: Memory, behavior: JsonObject, *, now: datetime
) -> tuple[int, tuple[str, str]]:
    up = timedelta(seconds=_window(behavior.get("scaleUp"), 0))
    down = timedelta(seconds=_window(behavior.get("scaleDown"), 300))
    lowest = min([wanted, *memory.recent(up, now=now)])
    highest = max([wanted, *memory.recent(down, now=now)])
    stable = min(max(bounds.current, lowest), highest)
    if stable == wanted:
        return stable, _READY
    return stable, _UP_STABILIZED if wanted >= bounds.current else _DOWN_STABILIZED


def _window(rules: JsonObject | None, default: int) -> int:
    seconds = (rules or {}).get("stabilizationWindowSeconds")
    return default if seconds is None else int(seconds)


def _within_rules(
    wanted: int, bounds: Bounds, memory: Memory, behavior: JsonObject, *, now: datetime
) -> tuple[int, tuple[str, str]]:
    if wanted > bounds.current:
        limit = max(_up_limit(bounds.current, memory, behavior, now=now), bounds.current)
        ceiling, why = (
            (limit, _TOO_FAST_UP) if bounds.maximum > limit else (bounds.maximum, _TOO_MANY)
        )
        return (ceiling, why) if wanted > ceiling else (wanted, _WITHIN)
    if wanted < bounds.current:
        limit = min(_down_limit(bounds.current, memory, behavior, now=now), bounds.current)
        floor, why = (
            (limit, _TOO_FAST_DOWN) if bounds.minimum < limit else (bounds.minimum, _TOO_FEW)
        )
        return (floor, why) if wanted < floor else (wanted, _WITHIN)
    return wanted, _WITHIN


def _up_limit(current: int, memory: Memory, behavior: JsonObject, *, now: datetime) -> int:
    rules = behavior.get("scaleUp") or {}
    if rules.get("selectPolicy") == "Disabled":
        return current
    proposals = []
    for policy, start in _starts(current, rules, _UP_POLICIES, memory, now=now):
        value = int(policy["value"])
        grown = start + value if policy["type"] == "Pods" else math.ceil(start * (1 + value / 100))
        proposals.append(grown)
    return _selected(proposals, rules, widest=max, narrowest=min)


def _down_limit(current: int, memory: Memory, behavior: JsonObject, *, now: datetime) -> int:
    rules = behavior.get("scaleDown") or {}
    if rules.get("selectPolicy") == "Disabled":
        return current
    proposals = []
    for policy, start in _starts(current, rules, _DOWN_POLICIES, memory, now=now):
        value = int(policy["value"])
        shrunk = start - value if policy["type"] == "Pods" else int(start * (1 - value / 100))
        proposals.append(shrunk)
    return _selected(proposals, rules, widest=min, narrowest=max)


def _starts(
    current: int,
    rules: JsonObject,
    default: Sequence[JsonObject],
    memory: Memory,
    *,
    now: datetime,
) -> Iterable[tuple[JsonObject, int]]:
    """Yield each policy with the size at the start of its period."""
    for policy in rules.get("policies") or default:
        yield policy, current - memory.change_within(int(policy["periodSeconds"]), now=now)


def _selected(
    proposals: list[int],
    rules: JsonObject,
    *,
    widest: Callable[[list[int]], int],
    narrowest: Callable[[list[int]], int],
) -> int:
    return (narrowest if rules.get("selectPolicy") == "Min" else widest)(proposals)
