"""OAuth scopes and what they cap. Pure.

Spec: Quay API, OAuth 2: `repo:admin` implies `repo:write` implies `repo:read`; a string with one
unknown scope is worth nothing.
"""

from enum import Enum
from typing import Final


class Scope(Enum):
    """One scope of an access token."""

    READ_REPO = "repo:read"
    WRITE_REPO = "repo:write"
    ADMIN_REPO = "repo:admin"
    CREATE_REPO = "repo:create"
    READ_USER = "user:read"
    ADMIN_USER = "user:admin"
    ORG_ADMIN = "org:admin"
    SUPERUSER = "super:user"


Scopes = frozenset[Scope]

EVERYTHING: Final[Scopes] = frozenset(Scope)
FIRST_TOKEN_SCOPES: Final = " ".join(sorted(scope.value for scope in Scope))
_IMPLIED: Final = {
    Scope.ADMIN_REPO: {Scope.WRITE_REPO, Scope.READ_REPO},
    Scope.WRITE_REPO: {Scope.READ_REPO},
}


def parse_scopes(text: str) -> Scopes:
    """Read scopes separated by spaces or commas, with those they imply."""
    found: set[Scope] = set()
    for word in text.replace(",", " ").split():
        try:
            scope = Scope(word)
        except ValueError:
            return frozenset()
        found |= {scope, *_IMPLIED.get(scope, ())}
    return frozenset(found)
