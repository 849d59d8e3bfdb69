"""Quantities as the API server reads them, with its words for what is none."""

from decimal import Decimal
from typing import Final

from hatoba.cluster.api.status import BadRequest
from hatoba.kernel.quantities import amount

MALFORMED: Final = (
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)


def parse_quantity(text: str) -> Decimal:
    """Return the number that a quantity stands for.

    Raises:
        BadRequest: it is none.
    """
    try:
        return amount(text)
    except ValueError as error:
        raise BadRequest(MALFORMED) from error
