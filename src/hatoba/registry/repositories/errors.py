"""What the repositories room refuses, with Quay's sentences."""

from hatoba.kernel.errors import Conflict, InvalidInput, NotFound


class RepositoryUnknown(NotFound):
    """No such repository."""


class RepositoryExists(Conflict):
    """A repository of this name exists."""

    def __init__(self) -> None:
        super().__init__("Repository already exists")


class InvalidRepositoryName(InvalidInput):
    """A name outside Quay's grammar."""

    def __init__(self) -> None:
        super().__init__("Invalid repository name")


class GrantRefused(InvalidInput):
    """A permission that cannot be given or taken."""


class GrantUnknown(NotFound):
    """No such permission."""


class PrototypeUnknown(NotFound):
    """No such default permission."""


class PrototypeRefused(InvalidInput):
    """A default permission that cannot be."""
