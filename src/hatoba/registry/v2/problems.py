"""One table from error class to its code and status on the wire.

Spec: distribution-spec "Error Codes"; the statuses and texts are Quay's where they differ.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from hatoba.kernel.digests import MalformedDigest
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
from hatoba.kernel.names import MalformedName, MalformedTag
from hatoba.oci.descriptors import MalformedManifest
from hatoba.oci.manifests import ManifestTooLarge, UnknownManifestType
from hatoba.registry.blobs.driver import UploadBusy, UploadMissing
from hatoba.registry.content import errors
from hatoba.registry.v2.messages import BodyTooLarge, Headers, Reply, RequestInvalid, json_reply


class MethodUnsupported(Unsupported):
    """A known path, a method that it does not offer."""


class EndpointUnknown(NotFound):
    """A path that this edge does not have."""


class PushesDisabled(Unsupported):
    """DISABLE_PUSHES refuses every push."""

    def __init__(self) -> None:
        super().__init__(
            "Pushes to the registry are currently disabled. Please contact the administrator "
            "for more information."
        )


class RegistryReadOnly(Unsupported):
    """REGISTRY_STATE refuses every change."""

    def __init__(self) -> None:
        super().__init__(
            "System is currently read-only. Pulls will succeed but all write operations are "
            "currently suspended."
        )


class UploadRefused(InvalidInput):
    """An upload that is asked to end without what it takes."""


class AccessDenied(Unauthenticated):
    """No token, or one that does not grant what is asked."""


class TokenInvalid(Unauthenticated):
    """A credential that is no valid registry token."""


@dataclass(slots=True, frozen=True)
class Wire:
    """How a class of error looks on the wire."""

    status: int
    code: str
    message: str | None = None
    """Fixed text; the error's own sentence then goes into `detail.message`."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further keys of the error."""


WIRE: Final[dict[type[HatobaError], Wire]] = {
    AccessDenied: Wire(401, "UNAUTHORIZED"),
    TokenInvalid: Wire(401, "UNAUTHORIZED"),
    MethodUnsupported: Wire(405, "UNSUPPORTED"),
    EndpointUnknown: Wire(404, "NOT_FOUND"),
    PushesDisabled: Wire(405, "METHOD NOT ALLOWED"),
    RegistryReadOnly: Wire(405, "DENIED", extra={"is_readonly": True}),
    RequestInvalid: Wire(400, "INVALID_REQUEST"),
    BodyTooLarge: Wire(413, "SIZE_INVALID"),
    MalformedName: Wire(400, "NAME_INVALID"),
    MalformedTag: Wire(400, "TAG_INVALID"),
    MalformedDigest: Wire(400, "DIGEST_INVALID"),
    MalformedManifest: Wire(400, "MANIFEST_INVALID", "manifest invalid"),
    UnknownManifestType: Wire(415, "MANIFEST_INVALID", "manifest invalid"),
    ManifestTooLarge: Wire(413, "SIZE_INVALID"),
    UploadRefused: Wire(400, "BLOB_UPLOAD_INVALID", "blob upload invalid"),
    UploadBusy: Wire(409, "BLOB_UPLOAD_INVALID"),
    UploadMissing: Wire(404, "BLOB_UPLOAD_UNKNOWN"),
    errors.RepositoryUnknown: Wire(404, "NAME_UNKNOWN"),
    errors.ManifestUnknown: Wire(404, "MANIFEST_UNKNOWN"),
    errors.TagUnknown: Wire(404, "MANIFEST_UNKNOWN"),
    errors.TagExpired: Wire(404, "TAG_EXPIRED"),
    errors.TagImmutable: Wire(409, "TAG_IMMUTABLE"),
    errors.BlobUnknown: Wire(404, "BLOB_UNKNOWN"),
    errors.UploadUnknown: Wire(404, "BLOB_UPLOAD_UNKNOWN"),
    errors.ManifestContentUnknown: Wire(400, "MANIFEST_INVALID", "manifest invalid"),
    errors.ManifestDigestMismatch: Wire(400, "MANIFEST_INVALID", "manifest invalid"),
    errors.UploadDigestMismatch: Wire(400, "BLOB_UPLOAD_INVALID", "blob upload invalid"),
    errors.RangeNotSatisfiable: Wire(416, "BLOB_UPLOAD_INVALID"),
    errors.BlobTooLarge: Wire(413, "SIZE_INVALID"),
    InvalidInput: Wire(400, "INVALID_REQUEST"),
    Unauthenticated: Wire(401, "UNAUTHORIZED"),
    Forbidden: Wire(403, "DENIED"),
    NotFound: Wire(404, "NOT_FOUND"),
    Unsupported: Wire(405, "UNSUPPORTED"),
    Conflict: Wire(409, "INVALID_REQUEST"),
    Gone: Wire(410, "INVALID_REQUEST"),
    TooLarge: Wire(413, "SIZE_INVALID"),
    RateLimited: Wire(429, "TOOMANYREQUESTS"),
    Unavailable: Wire(503, "UNAVAILABLE"),
}


def wire_of(error: HatobaError) -> Wire:
    """Return the row of an error: its class's, else that of its nearest ancestor."""
    for ancestor in type(error).__mro__:
        if ancestor in WIRE:
            return WIRE[ancestor]
    return Wire(500, "UNKNOWN")


def problem_reply(error: HatobaError, *, headers: Headers = ()) -> Reply:
    """Return the answer that tells of an error."""
    wire = wire_of(error)
    detail: JsonObject = {}
    if wire.message is not None:
        detail = {"message": error.message}
    body = {
        "code": wire.code,
        "message": wire.message or error.message,
        "detail": detail,
        **wire.extra,
    }
    if error.retry_after_seconds is not None:
        headers = [*headers, ("Retry-After", str(error.retry_after_seconds))]
    return json_reply({"errors": [body]}, status=wire.status, headers=headers)
