"""Uploads: begin or mount (end-4, end-11), chunks (end-5), finish (end-6), status (end-13)."""

from hatoba.kernel.digests import Digest, MalformedDigest
from hatoba.kernel.names import MalformedName, RepositoryName
from hatoba.registry.content.errors import (
    BlobUnknown,
    RangeNotSatisfiable,
    RepositoryUnknown,
    UploadDigestMismatch,
)
from hatoba.registry.content.models import BlobRecord
from hatoba.registry.v2.messages import Headers, Reply, Request
from hatoba.registry.v2.problems import UploadRefused
from hatoba.registry.v2.ranges import parse_content_range
from hatoba.registry.v2.services import V2Services


async def start_upload(request: Request, services: V2Services) -> Reply:
    """POST: begins an upload; with `mount` and `from`, or `digest`, it may end it at once."""
    name = services.name_of(request)
    mounted = await _mount(request, services, name)
    if mounted is not None:
        return _created(request, services, mounted)
    upload_id = await services.uploads.start_upload(name)
    if "digest" in request.query and "mount" not in request.query:
        record = await services.uploads.finish_upload(
            name,
            upload_id=upload_id,
            digest=_digest(request.query["digest"]),
            chunks=request.chunks(),
        )
        return _created(request, services, record)
    return Reply(
        status=202,
        headers=[
            *_upload_headers(request, services, name=name, upload_id=upload_id),
            ("Range", "0-0"),
        ],
    )


async def append_chunk(request: Request, services: V2Services) -> Reply:
    """PATCH: bytes that continue the upload; acknowledged bytes are on disk."""
    name, upload_id = services.name_of(request), request.parameters["upload_id"]
    span = parse_content_range(request.header("content-range"))
    try:
        received = await services.uploads.append_chunk(
            name,
            upload_id=upload_id,
            chunks=request.chunks(),
            start=span.start if span else None,
            length=span.length if span else None,
        )
    except RangeNotSatisfiable as error:
        return _not_satisfiable(request, services, name=name, error=error)
    headers = [
        *_upload_headers(request, services, name=name, upload_id=upload_id),
        ("Range", _range(received)),
    ]
    return Reply(status=202, headers=headers)


async def finish_upload(request: Request, services: V2Services) -> Reply:
    """PUT: the last bytes, if any, and the digest of them all."""
    name, upload_id = services.name_of(request), request.parameters["upload_id"]
    if "digest" not in request.query:
        raise UploadRefused("Missing digest arg on monolithic upload")
    span = parse_content_range(request.header("content-range"))
    try:
        digest = _digest(request.query["digest"])
        record = await services.uploads.finish_upload(
            name,
            upload_id=upload_id,
            digest=digest,
            chunks=request.chunks(),
            start=span.start if span else None,
        )
    except RangeNotSatisfiable as error:
        return _not_satisfiable(request, services, name=name, error=error)
    return _created(request, services, record)


async def upload_status(request: Request, services: V2Services) -> Reply:
    """GET: how much has been received."""
    name, upload_id = services.name_of(request), request.parameters["upload_id"]
    upload = await services.uploads.find_upload(name, upload_id=upload_id)
    headers = [
        *_upload_headers(request, services, name=name, upload_id=upload_id),
        ("Range", _range(upload.received)),
    ]
    return Reply(status=204, headers=headers)


async def cancel_upload(request: Request, services: V2Services) -> Reply:
    """DELETE: forget it."""
    name, upload_id = services.name_of(request), request.parameters["upload_id"]
    await services.uploads.cancel_upload(name, upload_id=upload_id)
    return Reply(status=204)


async def _mount(request: Request, services: V2Services, name: RepositoryName) -> BlobRecord | None:
    """Mount a blob of another repository; None where an ordinary upload has to follow."""
    mount, source = request.query.get("mount"), request.query.get("from")
    if mount is None or source is None:
        return None
    claims = request.claims
    if claims is None or not claims.allows("pull", source):
        return None
    try:
        return await services.holdings.mount_blob(
            name,
            digest=_digest(mount),
            from_repository=RepositoryName.parse(source, services.settings.library),
        )
    except (BlobUnknown, RepositoryUnknown, MalformedName):
        if await _is_missing(services, name):
            raise
        return None


async def _is_missing(services: V2Services, name: RepositoryName) -> bool:
    """Whether the repository that is pushed to does not exist at all."""
    try:
        await services.listings.list_tags(name, after=None, limit=0)
    except RepositoryUnknown:
        return True
    return False


def _digest(text: str) -> Digest:
    """Read the digest of an upload. As in Quay, a malformed one is an invalid upload."""
    try:
        return Digest.parse(text)
    except MalformedDigest as error:
        raise UploadDigestMismatch(str(error)) from error


def _range(received: int) -> str:
    """Spec: distribution-spec end-5: inclusive, `0-0` also where nothing was received."""
    return f"0-{max(received - 1, 0)}"


def _location(request: Request, services: V2Services, path: str) -> tuple[str, str]:
    """Return where to go on: absolute, as Quay says it, to those who came by the public name.

    Neighbours inside a cluster come by another name, at which they must stay.
    """
    settings = services.settings
    public = request.header("host") == settings.hostname
    return "Location", f"{settings.scheme}://{settings.hostname}{path}" if public else path


def _upload_headers(
    request: Request, services: V2Services, *, name: RepositoryName, upload_id: str
) -> Headers:
    path = f"/v2/{name}/blobs/uploads/{upload_id}"
    return [("Docker-Upload-UUID", upload_id), _location(request, services, path)]


def _created(request: Request, services: V2Services, record: BlobRecord) -> Reply:
    path = f"/v2/{record.repository.name}/blobs/{record.digest}"
    headers = [("Docker-Content-Digest", str(record.digest)), _location(request, services, path)]
    return Reply(status=201, headers=headers)


def _not_satisfiable(
    request: Request,
    services: V2Services,
    *,
    name: RepositoryName,
    error: RangeNotSatisfiable,
) -> Reply:
    upload_id = request.parameters["upload_id"]
    headers = [
        *_upload_headers(request, services, name=name, upload_id=upload_id),
        ("Range", _range(error.received)),
    ]
    return Reply(status=416, headers=headers)
