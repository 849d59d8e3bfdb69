"""What the scanning room reports."""

from hatoba.kernel.errors import InvalidInput, Unavailable


class ScannerUnavailable(Unavailable):
    """The scanner does not answer, or not as agreed."""


class ManifestRefused(InvalidInput):
    """The scanner cannot index this manifest, now or later."""
