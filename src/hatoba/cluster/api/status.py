"""Failures in the words of the Kubernetes API: the `Status` object.

Spec: Kubernetes API conventions, "Response Status Kind"; reasons, messages and details are those a
1.32 server was recorded to answer, because kubectl and controllers compose their own sentences
from them. Each reason is a class that is also of one of the kernel's kinds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from hatoba.kernel.errors import (
    Conflict,
    Forbidden,
    Gone,
    HatobaError,
    InvalidInput,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from hatoba.kernel.json import JsonObject


@dataclass(slots=True, frozen=True, kw_only=True)
class Cause:
    """One reason of several: a field and what is wrong with it."""

    reason: str
    message: str
    field: str = ""

    def as_json(self) -> JsonObject:
        """Return the wire form."""
        wire = {"reason": self.reason, "message": self.message}
        if self.field:
            wire["field"] = self.field
        return wire


@dataclass(slots=True, frozen=True, kw_only=True)
class About:
    """What a Status is about: `details` without the causes."""

    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""

    @property
    def title(self) -> str:
        """`kind.group "name"`, as messages begin."""
        return f'{self.qualified} "{self.name}"'

    @property
    def qualified(self) -> str:
        """`kind.group`, or only the kind for the core group."""
        return f"{self.kind}.{self.group}" if self.group else self.kind


class StatusError(HatobaError):
    """A failure that is answered with a Status object."""

    code: int = 500
    reason: str | None = None

    def __init__(
        self,
        message: str,
        *,
        about: About | None = None,
        causes: Sequence[Cause] = (),
        retry_after_seconds: int | None = None,
        bare_details: bool = False,
        continue_token: str = "",
    ) -> None:
        super().__init__(message)
        self.about = about
        self.causes = tuple(causes)
        self.retry_after_seconds = retry_after_seconds
        self.bare_details = bare_details
        self.continue_token = continue_token
        self.warnings: tuple[str, ...] = ()

    @property
    def details(self) -> JsonObject | None:
        """The `details` member, None where a real server sends none."""
        details: JsonObject = {}
        about = self.about or About()
        for key in ("name", "group", "kind", "uid"):
            if value := getattr(about, key):
                details[key] = value
        if self.causes:
            details["causes"] = [cause.as_json() for cause in self.causes]
        if self.retry_after_seconds is not None:
            details["retryAfterSeconds"] = self.retry_after_seconds
        if details or self.bare_details:
            return details
        return None

    def body(self) -> JsonObject:
        """Return the Status object."""
        status: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason is not None:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


class InternalError(StatusError):
    """The server's own words for what it did not expect (also some bad requests, as recorded)."""


class BadRequest(StatusError, InvalidInput):
    """The request cannot be understood."""

    code: int = 400
    reason: str | None = "BadRequest"


class Invalid(StatusError, InvalidInput):
    """The object breaks rules; the causes say which."""

    code: int = 422
    reason: str | None = "Invalid"

    @classmethod
    def of(cls, about: About, causes: Sequence[Cause]) -> "Invalid":
        """Compose the message from the causes, as the API server aggregates them.

        Sentences are joined once each, but every cause stays in the details.
        """
        sentences = list(
            dict.fromkeys(f"{cause.field or '<nil>'}: {cause.message}" for cause in causes)
        )
        said = sentences[0] if len(sentences) == 1 else f"[{', '.join(sentences)}]"
        return cls(f"{about.title} is invalid: {said}", about=about, causes=causes)


class Unauthorized(StatusError, Unauthenticated):
    """The credentials were not recognised."""

    code: int = 401
    reason: str | None = "Unauthorized"


class Refused(StatusError, Forbidden):
    """Not allowed, by identity or by admission."""

    code: int = 403
    reason: str | None = "Forbidden"


class ObjectNotFound(StatusError, NotFound):
    """No such object or resource."""

    code: int = 404
    reason: str | None = "NotFound"

    @classmethod
    def named(cls, about: About) -> "ObjectNotFound":
        """Say that an object is not there."""
        return cls(f"{about.title} not found", about=about)


class MethodNotAllowed(StatusError, Unsupported):
    """The resource does not know the verb."""

    code: int = 405
    reason: str | None = "MethodNotAllowed"


class NotAcceptable(StatusError, InvalidInput):
    """None of the media types of the Accept header can be made."""

    code: int = 406
    reason: str | None = "NotAcceptable"


class AlreadyExists(StatusError, Conflict):
    """The name is taken."""

    code: int = 409
    reason: str | None = "AlreadyExists"


class ObjectConflict(StatusError, Conflict):
    """The object changed, or belongs to somebody else."""

    code: int = 409
    reason: str | None = "Conflict"

    @classmethod
    def cannot(cls, about: About, why: str) -> "ObjectConflict":
        """Say why an operation cannot be fulfilled."""
        return cls(f"Operation cannot be fulfilled on {about.title}: {why}", about=about)


class Expired(StatusError, Gone):
    """The resource version or continue token is older than what is remembered."""

    code: int = 410
    reason: str | None = "Expired"


class RequestTooLarge(StatusError, TooLarge):
    """The body passes the limit."""

    code: int = 413
    reason: str | None = "RequestEntityTooLarge"


class UnsupportedMediaType(StatusError, InvalidInput):
    """The body's format is not understood here."""

    code: int = 415
    reason: str | None = "UnsupportedMediaType"


class VersionTooLarge(StatusError, Unavailable):
    """A resource version that this server has not reached."""

    code: int = 504
    reason: str | None = "Timeout"


class NodeUnavailable(StatusError, Unavailable):
    """The machine that runs the pods does not answer."""

    code: int = 503
    reason: str | None = "ServiceUnavailable"
