"""What updaters raise."""

from hatoba.kernel.errors import InvalidInput, NotFound, Unavailable


class AdvisoriesMalformed(InvalidInput):
    """A file of advisories is not what it should be."""


class AdvisoriesUnreachable(Unavailable):
    """A source of advisories does not answer."""


class AdvisoriesAbsent(NotFound):
    """A source has no such file: the release is not there yet, or not any more."""
