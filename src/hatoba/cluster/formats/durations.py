"""Ages as `kubectl get` shows them.

Spec: the API server's human-readable durations: two units while small, one when large.
"""

from datetime import UTC, datetime
from typing import Final

UNKNOWN: Final = "<unknown>"


_SCALE: Final = (
    # up to, in seconds: unit, seconds in it, the smaller unit shown beside it, seconds in that
    (120, "s", 1, "", 0),
    (600, "m", 60, "s", 1),
    (3 * 3600, "m", 60, "", 0),
    (8 * 3600, "h", 3600, "m", 60),
    (48 * 3600, "h", 3600, "", 0),
    (8 * 86400, "d", 86400, "h", 3600),
    (730 * 86400, "d", 86400, "", 0),
    (2920 * 86400, "y", 365 * 86400, "d", 86400),
)


def human_duration(seconds: float) -> str:
    """Return `42s`, `5m3s`, `2h`, `3d4h`, `1y20d` ..."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    for limit, unit, size, small_unit, small_size in _SCALE:
        if whole < limit:
            large, rest = divmod(whole, size)
            small = rest // small_size if small_size else 0
            return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"
    return f"{whole // (365 * 86400)}y"


def parse_time(text: str) -> datetime:
    """Return the moment that an RFC 3339 text names.

    Raises:
        ValueError: it is no such text.
    """
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def age(text: str | None, now: datetime) -> str:
    """Return how long ago a timestamp was, `<unknown>` without one."""
    if not text:
        return UNKNOWN
    return human_duration((now - parse_time(text)).total_seconds())
