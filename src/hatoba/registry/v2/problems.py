"""One table from error class to its code and status on the wire.

Spec: distribution-spec "Error Codes": a 4xx carries one of code-1 to code-14. Statuses and texts
are Quay's; a code that only Quay has is told as `detail.reason`.
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
from hatoba.registry.v2.messages import (
    BodyTooLarge,
    Headers,
    Reply,
    RequestInvalid,
    TokenInvalid,
    json_reply,
)

MAXIMUM_REPORTED: Final = 100
"""How many missing blobs an answer names; a client uploads them and asks again."""


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


class ContentRangeMalformed(InvalidInput):
    """A Content-Range that is not `<start>-<end>`."""


class ChunkLengthMismatch(InvalidInput):
    """A Content-Range and a Content-Length that contradict each other."""


class AccessDenied(Unauthenticated):
    """No token, or one that does not grant what is asked."""


@dataclass(slots=True, frozen=True)
class Wire:
    """How a class of error looks on the wire."""

    status: int
    code: str
    message: str | None = None
    """Fixed text; the error's own sentence then goes into `detail.message`."""
    reason: str | None = None
    """Quay's own code, where the specification has none like it."""
    extra: Mapping[str, object] = field(default_factory=dict)
    """Further keys of the error."""


WIRE: Final[dict[type[HatobaError], Wire]] = {
    AccessDenied: Wire(401, "UNAUTHORIZED"),
    TokenInvalid: Wire(401, "UNAUTHORIZED"),
    MethodUnsupported: Wire(405, "UNSUPPORTED"),
    EndpointUnknown: Wire(404, "UNSUPPORTED"),
    PushesDisabled: Wire(405, "UNSUPPORTED", reason="METHOD NOT ALLOWED"),
    RegistryReadOnly: Wire(405, "DENIED", extra={"is_readonly": True}),
    RequestInvalid: Wire(400, "UNSUPPORTED", reason="INVALID_REQUEST"),
    BodyTooLarge: Wire(413, "SIZE_INVALID"),
    MalformedName: Wire(400, "NAME_INVALID"),
    MalformedTag: Wire(400, "MANIFEST_INVALID", reason="TAG_INVALID"),
    MalformedDigest: Wire(400, "DIGEST_INVALID"),
    MalformedManifest: Wire(400, "MANIFEST_INVALID", "manifest invalid"),
    UnknownManifestType: Wire(415, "MANIFEST_INVALID", "manifest invalid"),
    ManifestTooLarge: Wire(413, "SIZE_INVALID"),
    UploadRefused: Wire(400, "BLOB_UPLOAD_INVALID", "blob upload invalid"),
    ContentRangeMalformed: Wire(400, "BLOB_UPLOAD_INVALID", reason="INVALID_REQUEST"),
    ChunkLengthMismatch: Wire(400, "SIZE_INVALID"),
    UploadBusy: Wire(409, "BLOB_UPLOAD_INVALID"),
    UploadMissing: Wire(404, "BLOB_UPLOAD_UNKNOWN"),
    errors.RepositoryUnknown: Wire(404, "NAME_UNKNOWN"),
    errors.RepositoryTakesNoPushes: Wire(403, "DENIED"),
    errors.ManifestUnknown: Wire(404, "MANIFEST_UNKNOWN"),
    errors.TagUnknown: Wire(404, "MANIFEST_UNKNOWN"),
    errors.TagExpired: Wire(404, "MANIFEST_UNKNOWN", reason="TAG_EXPIRED"),
    errors.TagImmutable: Wire(409, "DENIED", reason="TAG_IMMUTABLE"),
    errors.ManifestInUse: Wire(405, "UNSUPPORTED"),
    errors.BlobInUse: Wire(405, "UNSUPPORTED"),
    errors.BlobUnknown: Wire(404, "BLOB_UNKNOWN"),
    errors.UploadUnknown: Wire(404, "BLOB_UPLOAD_UNKNOWN"),
    errors.ManifestContentUnknown: Wire(400, "MANIFEST_BLOB_UNKNOWN"),
    errors.ManifestSizeMismatch: Wire(400, "MANIFEST_INVALID", "manifest invalid"),
    errors.ManifestDigestMismatch: Wire(400, "DIGEST_INVALID"),
    errors.UploadDigestMismatch: Wire(400, "DIGEST_INVALID"),
    errors.RangeNotSatisfiable: Wire(416, "BLOB_UPLOAD_INVALID"),
    errors.BlobTooLarge: Wire(413, "SIZE_INVALID"),
    InvalidInput: Wire(400, "UNSUPPORTED", reason="INVALID_REQUEST"),
    Unauthenticated: Wire(401, "UNAUTHORIZED"),
    Forbidden: Wire(403, "DENIED"),
    NotFound: Wire(404, "UNSUPPORTED"),
    Unsupported: Wire(405, "UNSUPPORTED"),
    Conflict: Wire(409, "DENIED"),
    Gone: Wire(410, "UNSUPPORTED"),
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
    details = _details(error, wire)
    body = {
        "errors": [
            {
                "code": wire.code,
                "message": wire.message or error.message,
                "detail": detail,
                **wire.extra,
            }
            for detail in details
        ]
    }
    if error.retry_after_seconds is not None:
        headers = [*headers, ("Retry-After", str(error.retry_after_seconds))]
    return json_reply(body, status=wire.status, headers=headers)


def _details(error: HatobaError, wire: Wire) -> list[JsonObject]:
    """Return the detail of each error that is told; one for each missing blob or manifest.

    Spec: distribution-spec "Pushing Manifests": one or more MANIFEST_BLOB_UNKNOWN.
    """
    if isinstance(error, errors.ManifestContentUnknown):
        return [{"digest": str(digest)} for digest in error.missing[:MAXIMUM_REPORTED]]
    detail: JsonObject = {}
    if wire.message is not None:
        detail["message"] = error.message
    if wire.reason is not None:
        detail["reason"] = wire.reason
    return [detail]
