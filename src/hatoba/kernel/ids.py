"""Random identifiers and secrets, and their comparison.

All randomness that reaches users, files or databases comes from here.
"""

import hmac
import secrets
import string
import uuid
from datetime import datetime
from typing import Final

from hatoba.kernel.clock import from_milliseconds, milliseconds

UPPER_ALPHANUMERIC: Final = string.ascii_uppercase + string.digits
KUBERNETES_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
"""The alphabet of generated names in Kubernetes: no vowels, no look-alikes."""


def new_uuid() -> str:
    """Return a random UUID in its canonical text form."""
    return str(uuid.uuid4())


def timed_uuid(moment: datetime) -> uuid.UUID:
    """Return a random UUID that tells a moment and sorts by it. Spec: RFC 9562, version 7."""
    value = first_uuid(moment).int | secrets.randbits(12) << 64 | secrets.randbits(62)
    return uuid.UUID(int=value)


def first_uuid(moment: datetime) -> uuid.UUID:
    """Return the UUID that sorts before all others of its moment (a millisecond)."""
    return uuid.UUID(int=milliseconds(moment) << 80 | 0x7 << 76 | 0b10 << 62)


def moment_of(timed: uuid.UUID) -> datetime:
    """Return the moment that a UUID of `timed_uuid` tells."""
    return from_milliseconds(timed.int >> 80)


def random_text(length: int, alphabet: str = UPPER_ALPHANUMERIC) -> str:
    """Return `length` characters chosen independently by the system's secure source."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


def same_secret(given: str, expected: str) -> bool:
    """Compare two secrets in time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
