"""From grants and scopes to what may be done. Pure."""

from collections.abc import Iterable

from hatoba.registry.access.models import Role
from hatoba.registry.access.scopes import Scope, Scopes

_CAPS = (
    (Scope.ADMIN_REPO, Role.ADMIN),
    (Scope.WRITE_REPO, Role.WRITE),
    (Scope.READ_REPO, Role.READ),
)


def cap_of(scopes: Scopes) -> Role:
    """Return the strongest role in repositories that scopes allow."""
    return next((role for scope, role in _CAPS if scope in scopes), Role.NONE)


def strongest(names: Iterable[str]) -> Role:
    """Return the strongest of roles given by name."""
    return max((Role.named(name) for name in names), default=Role.NONE)


def effective_role(*, granted: Role, is_public: bool, scopes: Scopes) -> Role:
    """Return what a credential may do in a repository.

    A public repository can be read by everybody, whatever the credential's scopes.
    """
    capped = min(granted, cap_of(scopes))
    return max(capped, Role.READ) if is_public else capped
