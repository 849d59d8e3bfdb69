"""What the mirroring room refuses."""

from hatoba.kernel.errors import Conflict, InvalidInput, NotFound


class MirrorUnknown(NotFound):
    """The repository has no mirror configuration."""


class MirrorExists(Conflict):
    """The repository has a mirror configuration already."""


class SyncStateConflict(NotFound):
    """The synchronisation is not in a state that allows this (Quay answers 404)."""


class RobotUnknown(InvalidInput):
    """The named robot does not exist."""


class RobotForeign(InvalidInput):
    """The named robot belongs to another namespace."""


class SourceForbidden(InvalidInput):
    """The other registry's address is one that must not be called from here."""


class CredentialsIncomplete(InvalidInput):
    """A password without a username."""
