"""Kubernetes quantities: `500m`, `1Gi`, `2e3`, as exact numbers."""

from decimal import Decimal

from hatoba.kernel.errors import InvalidInput
from hatoba.kernel.quantities import amount


class MalformedQuantity(InvalidInput):
    """A text that is no quantity."""


def parse(text: str | float) -> Decimal:
    """Return the number a quantity stands for.

    Raises:
        MalformedQuantity: for any other text.
    """
    try:
        return amount(str(text).strip())
    except ValueError as error:
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
