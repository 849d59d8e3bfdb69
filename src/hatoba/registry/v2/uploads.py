"""Uploads: begin or mount (end-4, end-11), chunks (end-5), finish (end-6), status (end-13)."""

import re
from contextlib import suppress
from typing import Final

from hatoba.kernel.digests import Digest, MalformedDigest
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.names import MalformedName, RepositoryName
from hatoba.registry.content.errors import (
    BlobUnknown,
    RangeNotSatisfiable,
    RepositoryUnknown,
    UploadUnknown,
)
from hatoba.registry.content.models import BlobRecord
from hatoba.registry.v2.messages import ClientGone, Headers, Reply, Request
from hatoba.registry.v2.problems import ChunkLengthMismatch, UploadRefused
from hatoba.registry.v2.ranges import ByteRange, parse_content_range
from hatoba.registry.v2.services import V2Services

_UPLOAD_ID: Final = re.compile(r"[A-Za-z0-9-]{1,255}")
WHOLE_CREDENTIALS: Final = frozenset({"user", "robot", "appspecifictoken"})
"""Credentials that may do whatever their account may."""


async def start_upload(request: Request, services: V2Services) -> Reply:
    """POST: begins an upload; with `mount`, or `digest`, it may end it at once."""
    name = services.name_of(request)
    mounted = await _mount(request, services, name)
    if mounted is not None:
        return _created(request, services, mounted)
    if "digest" in request.query and "mount" not in request.query:
        return await _push_at_once(request, services, name)
    upload_id = await services.uploads.start_upload(name)
    return Reply(
        status=202,
        headers=[
            *_upload_headers(request, services, name=name, upload_id=upload_id),
            ("Range", "0-0"),
        ],
    )


async def _push_at_once(request: Request, services: V2Services, name: RepositoryName) -> Reply:
    """Take a whole blob in one request (end-4b).

    Nobody learns the id of this upload: when it fails, nobody else can end it.
    """
    digest = Digest.parse(request.query["digest"])
    upload_id = await services.uploads.start_upload(name)
    try:
        record = await services.uploads.finish_upload(
            name, upload_id=upload_id, digest=digest, chunks=request.chunks()
        )
    except (HatobaError, ClientGone):
        with suppress(UploadUnknown):
            await services.uploads.cancel_upload(name, upload_id=upload_id)
        raise
    return _created(request, services, record)


async def append_chunk(request: Request, services: V2Services) -> Reply:
    """PATCH: bytes that continue the upload; acknowledged bytes are on disk."""
    name, upload_id = services.name_of(request), _upload_id(request)
    try:
        span = await _span(request, services, name=name, upload_id=upload_id)
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
    name, upload_id = services.name_of(request), _upload_id(request)
    if "digest" not in request.query:
        raise UploadRefused("Missing digest arg on monolithic upload")
    digest = Digest.parse(request.query["digest"])
    try:
        span = await _span(request, services, name=name, upload_id=upload_id)
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
    name, upload_id = services.name_of(request), _upload_id(request)
    upload = await services.uploads.find_upload(name, upload_id=upload_id)
    headers = [
        *_upload_headers(request, services, name=name, upload_id=upload_id),
        ("Range", _range(upload.received)),
    ]
    return Reply(status=204, headers=headers)


async def cancel_upload(request: Request, services: V2Services) -> Reply:
    """DELETE: forget it."""
    name, upload_id = services.name_of(request), _upload_id(request)
    await services.uploads.cancel_upload(name, upload_id=upload_id)
    return Reply(status=204)


async def _mount(request: Request, services: V2Services, name: RepositoryName) -> BlobRecord | None:
    """Mount a blob of another repository; None where an ordinary upload has to follow."""
    if "mount" not in request.query:
        return None
    try:
        digest = Digest.parse(request.query["mount"])
        source = await _mount_source(request, services, digest=digest)
        if source is None:
            return None
        return await services.holdings.mount_blob(name, digest=digest, from_repository=source)
    except (BlobUnknown, RepositoryUnknown, MalformedName, MalformedDigest):
        if await _is_missing(services, name):
            raise
        return None


async def _mount_source(
    request: Request, services: V2Services, *, digest: Digest
) -> RepositoryName | None:
    """Return the repository to mount from: the one that is named, else any that may be pulled.

    Whoever may not pull a blob is answered as if it did not exist.
    """
    claims, source = request.claims, request.query.get("from")
    if claims is None:
        return None
    library = services.settings.library
    if source is not None:
        return RepositoryName.parse(source, library) if claims.allows("pull", source) else None
    granted = [_parsed(name, library) for name in claims.grants if claims.allows("pull", name)]
    # A token of an application may hold less than its account: it reaches what it names.
    is_whole = claims.entity_kind in WHOLE_CREDENTIALS
    return await services.catalog.find_holder(
        digest,
        account_id=claims.account_id if is_whole else None,
        among=[name for name in granted if name is not None],
    )


def _parsed(name: str, library: str | None) -> RepositoryName | None:
    """Read a name as the token was asked for it; None for one that no path can have."""
    try:
        return RepositoryName.parse(name, library)
    except MalformedName:
        return None


def _upload_id(request: Request) -> str:
    """Return the id that the path names.

    Raises:
        UploadUnknown: it has not the shape of one.
    """
    upload_id = request.parameters["upload_id"]
    if _UPLOAD_ID.fullmatch(upload_id) is None:
        raise UploadUnknown("blob upload unknown to registry")
    return upload_id


async def _span(
    request: Request, services: V2Services, *, name: RepositoryName, upload_id: str
) -> ByteRange | None:
    """Return which bytes of the blob the body is said to be, if it is said.

    Raises:
        ContentRangeMalformed: it cannot be read.
        UploadUnknown, RangeNotSatisfiable: nothing can be appended there.
        ChunkLengthMismatch: the body is announced with another length.
    """
    span = parse_content_range(request.header("content-range"))
    announced = request.header("content-length")
    if span is None or announced in (None, str(span.length)):
        return span
    # A chunk out of order is told as such (416) first: the client can go on from there.
    upload = await services.uploads.find_upload(name, upload_id=upload_id)
    if upload.received != span.start:
        raise RangeNotSatisfiable(received=upload.received)
    raise ChunkLengthMismatch("provided length did not match content length")


async def _is_missing(services: V2Services, name: RepositoryName) -> bool:
    """Whether the repository that is pushed to does not exist at all."""
    try:
        await services.listings.list_tags(name, after=None, limit=0)
    except RepositoryUnknown:
        return True
    return False


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
    upload_id = _upload_id(request)
    headers = [
        *_upload_headers(request, services, name=name, upload_id=upload_id),
        ("Range", _range(error.received)),
    ]
    return Reply(status=416, headers=headers)
