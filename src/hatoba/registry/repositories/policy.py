"""Names of repositories. Pure.

Spec: Quay's rule `^[a-z0-9][.a-z0-9_-]{0,254}$`, for each part where slashes are allowed, and 255
characters in all.
"""

import re
from typing import Final

from hatoba.registry.repositories.errors import InvalidRepositoryName

_PART = re.compile(r"[a-z0-9][.a-z0-9_-]{0,254}")
MAXIMUM_LENGTH: Final = 255


def check_repository_name(name: str, *, allow_slashes: bool) -> str:
    """Return a name that is in order.

    Raises:
        InvalidRepositoryName: it is not.
    """
    parts = name.split("/") if allow_slashes else [name]
    if len(name) > MAXIMUM_LENGTH or not all(_PART.fullmatch(part) for part in parts):
        raise InvalidRepositoryName
    return name
