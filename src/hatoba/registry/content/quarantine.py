"""What a push and the collection of garbage agree on about one blob.

Both take the same lock: a push before it puts bytes in place, the collection before it removes
them. A push of a digest that is quarantined takes it back.
"""

from hatoba.kernel.digests import Digest


def blob_key(digest: Digest | str) -> str:
    """Return the name of the lock of a blob's rows and bytes."""
    return f"blob:{digest}"
