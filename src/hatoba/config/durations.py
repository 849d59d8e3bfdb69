"""Durations as Quay writes them: `30s`, `10m`, `12h`, `1d`, `2w`.

Source: Quay's configuration schema, pattern `^[0-9]+(w|m|d|h|s)$`.
"""

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

PATTERN: Final = "^[0-9]+(w|m|d|h|s)$"
_UNITS: Final = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


def parse_duration(value: object) -> timedelta:
    """Read `2w`.

    Raises:
        ValueError: for any other shape (pydantic turns it into a finding).
    """
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str) or re.fullmatch(PATTERN, value) is None:
        raise ValueError(f"must be a number and a unit of w, d, h, m, s, as in 2w, not {value!r}")
    seconds = int(value[:-1]) * _UNITS[value[-1]]
    if seconds > timedelta.max.total_seconds() // 10:
        raise ValueError(f"{value} is longer than can be counted")
    return timedelta(seconds=seconds)


def format_duration(value: timedelta) -> str:
    """Write a duration in its largest whole unit."""
    seconds = int(value.total_seconds())
    for unit, size in _UNITS.items():
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN}),
]
