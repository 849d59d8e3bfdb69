"""The wire form of answers and errors: media types, entity tags, Clair's error body."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hatoba.kernel.errors import (
    HatobaError,
    InvalidInput,
    NotFound,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

JSON: Final = "application/json"
MAXIMUM_BODY_BYTES: Final = 32 << 20
_KINDS: Final[tuple[tuple[type[HatobaError], int, str], ...]] = (
    (InvalidInput, 400, "bad-request"),
    (Unauthenticated, 401, "unauthorized"),
    (NotFound, 404, "not-found"),
    (TooLarge, 413, "bad-request"),
    (RateLimited, 429, "too-many-requests"),
    (Unsupported, 400, "bad-request"),
    (Unavailable, 500, "internal-error"),
)
_CODES: Final = {404: "not-found", 405: "method-not-allowed", 415: "bad-request"}

log = structlog.get_logger()


class BadRequest(InvalidInput):
    """A request that cannot be understood."""


class UnknownManifest(NotFound):
    """A manifest that was not indexed, or not to the end."""


def media_type(name: str) -> str:
    """Return `application/vnd.clair.<name>.v1+json`."""
    return f"application/vnd.clair.{name}.v1+json"


def negotiate(request: Request, name: str) -> str:
    """Return the media type to answer in. Spec: RFC 9110 12.5.1.

    Raises:
        HTTPException: 415, as Clair answers where the specification says 406.
    """
    offered = (media_type(name), JSON)
    accepted = request.headers.get("accept", "*/*")
    best, chosen = 0.0, ""
    for part in accepted.split(","):
        wanted, *parameters = (piece.strip() for piece in part.split(";"))
        quality = _quality(parameters)
        for offer in offered:
            matches = wanted in {offer, "*/*", "application/*"}
            if matches and quality > best:
                best, chosen = quality, offer
    if not chosen:
        raise HTTPException(415, "unable to negotiate a content type")
    return chosen


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def answer(
    document: Any,
    *,
    content_type: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Encode a document."""
    return Response(
        msgspec.json.encode(document), status, headers=dict(headers or {}), media_type=content_type
    )


async def read_body(request: Request) -> bytes:
    """Read a body of bounded size.

    Raises:
        BadRequest: there is more than anybody needs.
    """
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MAXIMUM_BODY_BYTES:
            raise BadRequest(f"the body has more than {MAXIMUM_BODY_BYTES} bytes")
    return bytes(content)


def failure(status: int, code: str, message: str) -> Response:
    """Return Clair's error body."""
    return answer({"code": code, "message": message}, content_type=JSON, status=status)


async def on_error(_request: Request, error: Exception) -> Response:
    """Answer an error that was raised on purpose."""
    if isinstance(error, HTTPException):
        code = _CODES.get(error.status_code, "bad-request")
        return failure(error.status_code, code, str(error.detail))
    assert isinstance(error, HatobaError)
    for kind, status, code in _KINDS:
        if isinstance(error, kind):
            if status >= 500:
                log.error("request failed", reason=error.message)
            return failure(status, code, error.message)
    log.error("request failed", reason=error.message)
    return failure(500, "internal-error", "the request failed")


async def on_crash(request: Request, error: Exception) -> Response:
    """Answer what nobody raised on purpose; the cause goes to the log alone."""
    log.error("request crashed", path=request.url.path, exc_info=error)
    return failure(500, "internal-error", "the request failed")
