"""What the version modules raise."""

from hatoba.kernel.errors import InvalidInput


class MalformedVersion(InvalidInput):
    """A version that its package manager would not accept."""
