"""What goes wrong with another registry, in words that a mirror's owner can act on."""

from hatoba.kernel.errors import Forbidden, InvalidInput, NotFound, TooLarge, Unavailable


class ReferenceMalformed(InvalidInput):
    """Not of the form `host[:port]/repository`."""


class RegistryRefused(Forbidden):
    """The other registry does not accept the credentials, or wants some."""


class RemoteUnknown(NotFound):
    """The other registry has no such repository, manifest or blob."""


class RegistryUnreachable(Unavailable):
    """No connection, no valid certificate, or no answer in time."""


class RegistryFaulty(Unavailable):
    """An answer that breaks the protocol, or a server error that outlived the retries."""


class RemoteTooLarge(TooLarge):
    """The other registry sends more than is accepted."""


class ContentMismatch(RegistryFaulty):
    """Bytes that do not have the digest under which they were asked for."""
