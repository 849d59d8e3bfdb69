"""Errors of the content room. The v2 edge gives each its code and status."""

from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, TooLarge, Unsupported


class RepositoryUnknown(NotFound):
    """No such repository, or it is being deleted."""


class ManifestUnknown(NotFound):
    """No such manifest in the repository."""


class TagUnknown(NotFound):
    """There is no living tag of this name."""


class TagExpired(NotFound):
    """The tag existed, and was deleted or has expired."""

    def __init__(self, tag: str) -> None:
        super().__init__(f"Tag {tag} was deleted or has expired. To pull, revive via time machine")


class TagImmutable(Conflict):
    """The tag may not be moved or deleted."""


class RepositoryTakesNoPushes(Forbidden):
    """The repository is read-only, or a mirror that its robot alone writes to."""


class LabelUnknown(NotFound):
    """The manifest has no such label."""


class LabelInvalid(InvalidInput):
    """A label that nobody may give, or one too many."""


class LabelImmutable(Conflict):
    """The label belongs to the content, and stays with it."""


class BlobUnknown(NotFound):
    """No such blob in the repository."""


class UploadUnknown(NotFound):
    """No such upload: never begun, cancelled, finished or expired."""


class ManifestInUse(Unsupported):
    """A manifest without a tag of its own that an index needs; it goes with the index."""


class BlobInUse(Unsupported):
    """A blob that a manifest of the repository names, one that can be restored included."""


class ManifestContentUnknown(InvalidInput):
    """A manifest names blobs or manifests that the repository does not hold."""

    def __init__(self, *missing: Digest) -> None:
        self.missing = missing
        named = ", ".join(str(digest) for digest in missing[:3])
        super().__init__(f"the repository does not hold {named}")


class ManifestSizeMismatch(InvalidInput):
    """A descriptor tells another size than its blob has."""


class ManifestDigestMismatch(InvalidInput):
    """The manifest's bytes do not have the digest under which they were pushed."""


class UploadDigestMismatch(InvalidInput):
    """The uploaded bytes do not have the digest that was given."""


class RangeNotSatisfiable(Conflict):
    """A chunk does not begin where the upload stands."""

    def __init__(self, *, received: int) -> None:
        self.received = received
        super().__init__(f"the upload stands at {received} bytes")


class BlobTooLarge(TooLarge):
    """An upload passed MAXIMUM_LAYER_SIZE."""
