"""The one tree of errors.

The *kind* (the classes below) decides the status of an answer, the *class* (declared in the room
that raises it) decides its code, the *attributes* carry data, and the message is a sentence made
from them. Edges hold one table from class to wire form.

    HatobaError
    ├── InvalidInput       what was sent cannot be understood or breaks a rule   (400, 422)
    ├── Unauthenticated    nobody was recognised                                 (401)
    ├── Forbidden          somebody was recognised, and may not                  (403)
    ├── NotFound           the named thing does not exist, or must not be seen   (404)
    ├── Unsupported        known, and deliberately not offered here              (405, 501)
    ├── Conflict           the state of the thing does not allow it              (409)
    ├── Gone               it existed; what was asked is no longer kept          (410)
    ├── TooLarge           a named limit was passed                              (413)
    ├── RateLimited        too often                                             (429)
    └── Unavailable        a neighbour (database, storage, peer) does not answer (502, 503)
"""

from typing import Final

RETRY_AFTER_SECONDS: Final = 5
"""When to come back where nobody knows better: longer than a restart of a worker takes."""


class HatobaError(Exception):
    """Root of every error that Hatoba raises on purpose."""

    retry_after_seconds: int | None = None
    """After how long the same request may succeed, where that depends on time alone."""

    @property
    def message(self) -> str:
        """The sentence for people."""
        return str(self)


class InvalidInput(HatobaError):
    """What was sent cannot be understood or breaks a rule."""


class Unauthenticated(HatobaError):
    """Nobody was recognised."""


class Forbidden(HatobaError):
    """Somebody was recognised, and may not do this."""


class NotFound(HatobaError):
    """The named thing does not exist, or must not be seen by this identity."""


class Unsupported(HatobaError):
    """Known, and deliberately not offered here."""


class Conflict(HatobaError):
    """The state of the thing does not allow it."""


class Gone(HatobaError):
    """It existed; what was asked is no longer kept."""


class TooLarge(HatobaError):
    """A named limit was passed."""


class RateLimited(HatobaError):
    """Too many attempts in a period."""

    retry_after_seconds: int | None = RETRY_AFTER_SECONDS


class Unavailable(HatobaError):
    """A neighbour that is needed (database, storage, peer) does not answer."""

    retry_after_seconds: int | None = RETRY_AFTER_SECONDS
