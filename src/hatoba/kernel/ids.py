"""Random identifiers and secrets, and their comparison.

All randomness that reaches users, files or databases comes from here.
"""

import hmac
import secrets
import string
import uuid
from typing import Final

UPPER_ALPHANUMERIC: Final = string.ascii_uppercase + string.digits
KUBERNETES_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
"""The alphabet of generated names in Kubernetes: no vowels, no look-alikes."""


def new_uuid() -> str:
    """Return a random UUID in its canonical text form."""
    return str(uuid.uuid4())


def random_text(length: int, alphabet: str = UPPER_ALPHANUMERIC) -> str:
    """Return `length` characters chosen independently by the system's secure source."""
    return "".join(secrets.choice(alphabet) for _ in range(length))


def same_secret(given: str, expected: str) -> bool:
    """Compare two secrets in time that does not depend on where they differ."""
    return hmac.compare_digest(given.encode(), expected.encode())
