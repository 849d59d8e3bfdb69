"""What can go wrong with a layer."""

from hatoba.kernel.errors import InvalidInput, TooLarge, Unavailable, Unsupported


class LayerMalformed(InvalidInput):
    """A layer is not a tar archive, or a damaged one."""


class LayerEncodingUnsupported(Unsupported):
    """A layer is compressed in a way that is not read here."""


class LayerTooLarge(TooLarge):
    """A layer passes a limit: of bytes, entries or the size of a package database."""


class LayerUnreachable(Unavailable):
    """A layer cannot be fetched from where it was said to be."""


class LayerMismatch(InvalidInput):
    """The bytes fetched are not those that the digest names."""
