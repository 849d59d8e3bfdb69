"""Quantities of the Kubernetes API: `500m`, `50Gi`, `1e3`. Pure.

Spec: Kubernetes API reference, "Quantity".
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Final

PATTERN: Final = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)
"""As the definitions of Kubernetes' own generator write it."""
_QUANTITY: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
_SUFFIXES: Final = {
    "n": Decimal(10) ** -9,
    "u": Decimal(10) ** -6,
    "m": Decimal(10) ** -3,
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}


_NANO: Final = Decimal(10) ** -9
"""What is smaller is rounded up to it."""
_MOST: Final = Decimal(2**63 - 1)
"""What is more counts as this."""
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")


def amount(quantity: str | float) -> Decimal:
    """Return the number that a quantity stands for.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise ValueError(f"`{quantity}` is no quantity, such as 500m or 50Gi")
    number, suffix = match.group(1), match.group(2) or ""
    if suffix not in _SUFFIXES:
        return Decimal(number + suffix)
    return Decimal(number) * _SUFFIXES[suffix]


def canonical(quantity: str | float) -> str:
    """Return a quantity, none below zero, as API servers write it: `1024Mi` is `1Gi`.

    Spec: Kubernetes API reference, "Quantity": no fraction, and the largest suffix of its family
    that leaves none; less than 1Ki, and what is no whole number of bytes, has decimal suffixes.

    Raises:
        ValueError: it is none.
    """
    value = min(amount(quantity), _MOST).quantize(_NANO, rounding=ROUND_CEILING)
    suffix = str(quantity).lstrip("+-.0123456789")
    if suffix.endswith("i") and value >= 1024 and value == int(value):
        return _written(value, base=1024, suffixes=_BINARY)
    # An exponent at the end is a family of its own; E alone is a suffix.
    if suffix[:1] in ("e", "E") and len(suffix) > 1:
        suffixes = tuple(f"e{power}" if power else "" for power in range(-9, 19, 3))
        return _written(value / _NANO, base=1000, suffixes=suffixes)
    return _written(value / _NANO, base=1000, suffixes=_DECIMAL)


def _written(value: Decimal, *, base: int, suffixes: tuple[str, ...]) -> str:
    """Write a whole number of the first suffix's units with the largest that divides it."""
    number, power = int(value), 0
    if number == 0:
        return "0"
    while number % base == 0 and power < len(suffixes) - 1:
        number, power = number // base, power + 1
    return f"{number}{suffixes[power]}"
