"""What the access room refuses."""

from hatoba.kernel.errors import Conflict, Forbidden, Unauthenticated


class InvalidRegistryToken(Unauthenticated):
    """A registry token that is malformed, expired, not for us or not signed by us."""


class AuthenticationRequired(Unauthenticated):
    """Nobody signed in, and somebody has to."""

    def __init__(self) -> None:
        super().__init__("Requires authentication")


class PermissionDenied(Forbidden):
    """Somebody signed in, and may not."""

    def __init__(self) -> None:
        super().__init__("Unauthorized")


class SigningKeyMissing(Conflict):
    """A signing key in the database cannot be used."""
