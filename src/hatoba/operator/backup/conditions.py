"""Conditions of backups and restorations: times change only with what is said."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from hatoba.kernel.clock import rfc3339
from hatoba.kernel.json import JsonObject

READY: Final = "Ready"
COMPLETE: Final = "Complete"
_TIMES: Final = ("lastUpdateTime", "lastTransitionTime")


def condition(
    kind: str, status: Literal["True", "False", "Unknown"], reason: str, message: str
) -> JsonObject:
    """Return a condition without times."""
    return {"type": kind, "status": status, "reason": reason, "message": message}


def found(conditions: Sequence[JsonObject] | None, kind: str) -> JsonObject | None:
    """Return the condition of a type."""
    return next((one for one in conditions or () if one.get("type") == kind), None)


def timed(
    previous: Sequence[JsonObject] | None, wanted: Sequence[JsonObject], *, now: datetime
) -> list[JsonObject]:
    """Return the conditions with the times at which they were said first, and turned."""
    result: list[JsonObject] = []
    for one in wanted:
        before = found(previous, one["type"]) or {}
        plain = {key: value for key, value in before.items() if key not in _TIMES}
        if plain == one:
            result.append(before)
            continue
        turned = before.get("status") != one["status"]
        since = rfc3339(now) if turned else before.get("lastTransitionTime", rfc3339(now))
        result.append({**one, "lastUpdateTime": rfc3339(now), "lastTransitionTime": since})
    return result
