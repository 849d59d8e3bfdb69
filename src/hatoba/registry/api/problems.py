"""How refusals look in /api/v1.

Spec: Quay API, error bodies (RFC 7807-like) and the older shape `{"message": ...}`. One table from
the class of an error to its status and shape; `call.py` uses it at the boundary.
"""

from dataclasses import dataclass
from typing import Final

from hatoba.kernel.errors import (
    Conflict,
    Forbidden,
    Gone,
    HatobaError,
    InvalidInput,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from hatoba.kernel.json import JsonObject
from hatoba.registry.accounts.errors import RobotUnknown, TeamUnknown
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.content.errors import TagImmutable


class BadRequest(InvalidInput):
    """A request that Quay answers with `invalid_request`."""


class InvalidOwner(BadRequest):
    """Somebody who cannot own what an account becomes."""


class PlainBadRequest(InvalidInput):
    """A request that Quay answers with `{"message": ...}`."""


class UnsupportedBody(InvalidInput):
    """A body that is not declared as JSON."""

    def __init__(self) -> None:
        super().__init__(
            "Did not attempt to load JSON data because the request Content-Type was not"
            " 'application/json'."
        )


class BodyTooLarge(TooLarge):
    """A body that is longer than the API reads."""


class BadParameter(InvalidInput):
    """A query parameter of the wrong type; the help text is the message."""

    def __init__(self, *, name: str, help_text: str) -> None:
        super().__init__(help_text)
        self.name = name


class HiddenNotFound(NotFound):
    """Something that does not exist; nothing more is said."""


class FreshLoginRequired(Unauthenticated):
    """The login is too old for what was asked."""

    def __init__(self) -> None:
        super().__init__("Requires fresh login")


class ScannerFailed(Unavailable):
    """The security scanner did not answer as it should."""


@dataclass(slots=True, frozen=True)
class Form:
    """Status and shape of an answer; without `kind` it is `{"message": ...}`."""

    status: int
    kind: str | None = None
    detail: str | None = None
    """A fixed text in place of the error's own."""


NOT_FOUND: Final = Form(404, "not_found", "Not Found")

FORMS: Final[dict[type[HatobaError], Form]] = {
    BadRequest: Form(400, "invalid_request"),
    PlainBadRequest: Form(400),
    UnsupportedBody: Form(415),
    BadParameter: Form(400),
    FreshLoginRequired: Form(401, "fresh_login_required"),
    ScannerFailed: Form(520, "downstream_issue"),
    TagImmutable: Form(409, "tag_immutable"),
    RobotUnknown: Form(400),
    TeamUnknown: Form(400),
    InvalidInput: Form(400),
    Unauthenticated: Form(401, "invalid_token"),
    Forbidden: Form(403, "insufficient_scope"),
    NotFound: NOT_FOUND,
    Conflict: Form(400),
    Gone: Form(410),
    TooLarge: Form(413),
    RateLimited: Form(429),
    Unsupported: Form(405),
    Unavailable: Form(503),
}
"""The most special class that is in an error's ancestry decides."""


def form_of(error: HatobaError) -> Form:
    """Return how an error is shown."""
    for ancestor in type(error).__mro__:
        if ancestor in FORMS:
            return FORMS[ancestor]
    return Form(500)


def problem(
    *, base_url: str, status: int, kind: str, detail: str, extra: JsonObject | None = None
) -> JsonAnswer:
    """Return an RFC 7807-like answer."""
    body = {
        **(extra or {}),
        "detail": detail,
        "error_message": detail,
        "error_type": kind,
        "title": kind,
        "type": f"{base_url}/api/v1/error/{kind}",
        "status": status,
    }
    return JsonAnswer(body, status_code=status)


def answer(error: HatobaError, *, base_url: str, extra: JsonObject | None = None) -> JsonAnswer:
    """Return the answer that stands for an error."""
    form = form_of(error)
    response = _shown(error, form=form, base_url=base_url, extra=extra)
    if error.retry_after_seconds is not None:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _shown(
    error: HatobaError, *, form: Form, base_url: str, extra: JsonObject | None
) -> JsonAnswer:
    if isinstance(error, InvalidOwner):
        extra = {"reason": "invaliduser"}
    if form.kind is None:
        message: object = error.message
        if isinstance(error, BadParameter):
            message = {error.name: error.message}
        return JsonAnswer({"message": message}, status_code=form.status)
    return problem(
        base_url=base_url,
        status=form.status,
        kind=form.kind,
        detail=form.detail or error.message,
        extra=extra,
    )
