"""Kubernetes quantities: `500m`, `1Gi`, `2e3`, as exact numbers."""

import re
from decimal import Decimal, InvalidOperation
from typing import Final

from hatoba.kernel.errors import InvalidInput

_SUFFIXES: Final = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "P": Decimal(10) ** 15,
    "E": Decimal(10) ** 18,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
    "Pi": Decimal(2) ** 50,
    "Ei": Decimal(2) ** 60,
}
_SHAPE: Final = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)(n|u|m|k|[MGTPE]|[KMGTPE]i|)")


class MalformedQuantity(InvalidInput):
    """A text that is no quantity."""


def parse(text: str | float) -> Decimal:
    """Return the number a quantity stands for.

    Raises:
        MalformedQuantity: for any other text.
    """
    match = _SHAPE.fullmatch(str(text).strip())
    if match is None:
        raise MalformedQuantity(f"{text!r} is no quantity")
    try:
        return Decimal(match[1]) * _SUFFIXES[match[2]]
    except InvalidOperation as error:
        raise MalformedQuantity(f"{text!r} is no quantity") from error


def milli(value: Decimal) -> int:
    """Return thousandths, rounded up, as metrics are compared."""
    return int((value * 1000).to_integral_value(rounding="ROUND_CEILING"))


def text_of_milli(value: int) -> str:
    """Return the shortest decimal form of a number of thousandths."""
    if value % 1000:
        return f"{value}m"
    whole = value // 1000
    for suffix, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if whole and whole % size == 0:
            return f"{whole // size}{suffix}"
    return str(whole)
