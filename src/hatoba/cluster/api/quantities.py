"""Quantities: `500m`, `2Gi`, `1e3`.

Spec: Kubernetes API reference, "Quantity".
"""

import re
from decimal import Decimal
from typing import Final

from hatoba.cluster.api.status import BadRequest

_QUANTITY: Final = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")
_SUFFIXES: Final = {
    "n": Decimal(10) ** -9,
    "u": Decimal(10) ** -6,
    "m": Decimal(10) ** -3,
    "": Decimal(1),
    **{suffix: Decimal(1000) ** power for power, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Decimal(1024) ** power for power, suffix in enumerate("KMGTPE", 1)},
}
MALFORMED: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


def parse_quantity(text: str) -> Decimal:
    """Return the number that a quantity stands for.

    Raises:
        BadRequest: it is none.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise BadRequest(MALFORMED)
    number, suffix = match.group(1), match.group(2) or ""
    if suffix[:1] in ("e", "E") and len(suffix) > 1 and suffix[1:] != "i":
        return Decimal(number + suffix)
    return Decimal(number) * _SUFFIXES[suffix]
