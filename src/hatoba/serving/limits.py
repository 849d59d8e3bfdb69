"""How much, and how long, a connection may ask of a worker before anybody has been recognised.

A client that never ends its head, sends an endless one, or stops in the middle of a body would
otherwise hold memory, a descriptor and the upload it writes to for as long as it likes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from hatoba.kernel.errors import InvalidInput

SMALLEST_HEAD_BYTES: Final = 8 << 10
"""Tokens of several repositories are some kilobytes long (RFC 9110, section 4.1, asks for 8000)."""


class LimitInvalid(InvalidInput):
    """A limit of the environment is no number, or too small to serve anybody."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Limits:
    """What a connection may take."""

    head_bytes: int = 64 << 10
    """Target and header fields of a request (HATOBA_HEAD_BYTES); 431 above it."""
    head_seconds: float = 60.0
    """From its first byte, or the connection's beginning, to its end (HATOBA_HEAD_SECONDS)."""
    stall_seconds: float = 120.0
    """For how long a body may stand still, either way (HATOBA_STALL_SECONDS)."""

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Self:
        """Read the environment.

        Raises:
            LimitInvalid: a variable is no whole number, or is below what serves anybody.
        """
        given = {
            "head_bytes": _number(variables, "HATOBA_HEAD_BYTES", least=SMALLEST_HEAD_BYTES),
            "head_seconds": _number(variables, "HATOBA_HEAD_SECONDS", least=1),
            "stall_seconds": _number(variables, "HATOBA_STALL_SECONDS", least=1),
        }
        return cls(**{name: value for name, value in given.items() if value is not None})


def _number(variables: Mapping[str, str], name: str, *, least: int) -> int | None:
    text = variables.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise LimitInvalid(f"{name} must be a whole number of at least {least}, and is {text!r}")
    return int(text)
