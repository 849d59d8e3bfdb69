"""Blobs: pull with ranges (end-2); deleting one by itself is not offered (end-10)."""

from collections.abc import AsyncGenerator

from hatoba.kernel.digests import Digest
from hatoba.registry.content.models import BlobRecord
from hatoba.registry.v2.manifests import IMMUTABLE_CACHE
from hatoba.registry.v2.messages import Reply, Request
from hatoba.registry.v2.problems import MethodUnsupported
from hatoba.registry.v2.ranges import ByteRange, Unsatisfiable, parse_range
from hatoba.registry.v2.services import V2Services


async def pull_blob(request: Request, services: V2Services) -> Reply:
    """GET, HEAD: bytes never change under a digest, so clients may keep them for a year."""
    digest = Digest.parse(request.parameters["digest"])
    record = await services.holdings.find_blob(services.name_of(request), digest=digest)
    etag = f'"{digest}"'
    headers = [
        ("Docker-Content-Digest", str(digest)),
        ("ETag", etag),
        ("Accept-Ranges", "bytes"),
        IMMUTABLE_CACHE,
    ]
    if request.header("if-none-match") == etag:
        return Reply(status=304, headers=headers)
    try:
        part = parse_range(_range_header(request, etag), size=record.size)
    except Unsatisfiable:
        return Reply(status=416, headers=[*headers, ("Content-Range", f"bytes */{record.size}")])
    status, wanted = 200, ByteRange(0, record.size)
    if part is not None:
        status, wanted = 206, part
        shown = f"bytes {part.start}-{part.end - 1}/{record.size}"
        headers.append(("Content-Range", shown))
    stream = None
    if request.method == "GET":
        stream = await _opened(services, record, wanted=wanted)
    return Reply(
        status=status,
        headers=headers,
        content_type="application/octet-stream",
        stream=stream,
        length=wanted.length,
    )


async def delete_blob(_request: Request, _services: V2Services) -> Reply:
    """DELETE: blobs go with the last manifest that names them."""
    raise MethodUnsupported("The operation is unsupported.")


def _range_header(request: Request, etag: str) -> str | None:
    """Spec: RFC 9110 13.1.5: with another If-Range, the whole is sent."""
    condition = request.header("if-range")
    return request.header("range") if condition in (None, etag) else None


async def _opened(
    services: V2Services, record: BlobRecord, *, wanted: ByteRange
) -> AsyncGenerator[bytes]:
    """Open the blob now, so that its absence is still an error with a status."""
    stack = services.holdings.open_blob(record)
    reader = await stack.__aenter__()

    async def stream() -> AsyncGenerator[bytes]:
        try:
            async for data in reader.read(start=wanted.start, end=wanted.end):
                yield data
        finally:
            await stack.__aexit__(None, None, None)

    return stream()
