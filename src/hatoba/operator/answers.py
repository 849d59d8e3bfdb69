"""What the Kubernetes API answers when it does not do what was asked, as errors of ours.

For `kubernetes` alone, which translates every request's failure here: callers tell weather, that
passes, from refusals that have to be told to a person.
"""

import ssl
from typing import Final

import httpx2
import msgspec
from lightkube.core.exceptions import ApiError

from hatoba.kernel.errors import (
    Conflict,
    Forbidden,
    Gone,
    HatobaError,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from hatoba.operator.admission import admission_error

LONGEST_RETRY_AFTER_SECONDS: Final = 60
"""No server is obeyed that asks for more patience."""


class Throttled(Unavailable):
    """The API has too much to do, and says when to come back."""

    def __init__(self, message: str, *, retry_after_seconds: int) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


_BROKEN: Final = (
    httpx2.HTTPError,
    httpx2.StreamError,
    OSError,
    ssl.SSLError,
    msgspec.MsgspecError,  # half an answer, or none in JSON
    UnicodeDecodeError,
)
"""How a connection fails, whatever is at its other end."""


class _Translation:
    """Turns the client library's errors into ours."""

    def __init__(self, subject: str) -> None:
        self._subject = subject

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None or isinstance(error, HatobaError):
            return
        # The library fails itself over a refusal that is no Status, such as a balancer's page.
        refused: BaseException | None = error
        while refused is not None and not isinstance(refused, httpx2.HTTPStatusError):
            refused = refused.__context__
        if refused is not None:
            raise _status_error(refused, subject=self._subject) from error
        if isinstance(error, _BROKEN):
            raise Unavailable(f"the Kubernetes API does not answer: {error!r}") from error


def translated(kind: str = "", name: str = "") -> _Translation:
    """Translate what happens to a request; kind and name of what it writes, if it writes."""
    return _Translation(f"{kind} {name}".strip())


_NO_PASSING_FAULTS: Final = (
    "failed to create typed patch object",  # a field that this server's version does not have
    "etcdserver: request is too large",
)
"""What a server says with a 500 about an object that it will never take.

Recorded of Kubernetes 1.32 (ssa-basic, ssa-lists) and said by etcd."""


def _status_error(error: httpx2.HTTPStatusError, *, subject: str) -> HatobaError:
    causes: list[str] = []
    if isinstance(error, ApiError):
        code, message = error.status.code or 500, error.status.message or str(error)
        told = error.status.details.causes if error.status.details else None
        causes = [cause.reason or "" for cause in told or ()]
    else:
        code, message = error.response.status_code, str(error).splitlines()[0]
    if (refused := admission_error(message, subject=subject, causes=causes)) is not None:
        return refused
    response: httpx2.Response | None = getattr(error, "response", None)
    patience = response.headers.get("Retry-After", "") if response is not None else ""
    if patience.isdecimal() and (code == 429 or code >= 500):
        seconds = min(int(patience), LONGEST_RETRY_AFTER_SECONDS)
        return Throttled(message, retry_after_seconds=seconds)
    if code == 500 and any(words in message for words in _NO_PASSING_FAULTS):
        return InvalidInput(message)
    kinds: dict[int, type[HatobaError]] = {
        401: Unauthenticated,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        410: Gone,
    }
    if code in kinds:
        return kinds[code](message)
    return InvalidInput(message) if code < 500 and code != 429 else Unavailable(message)
