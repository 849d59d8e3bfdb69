"""Blobs: pull with ranges (end-2), delete (end-10).

Where the storage serves clients itself, GET answers 307 with a URL that is signed for a short
while. HEAD and requests for several ranges, which storages do not know, are answered here.
"""

import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from hatoba.kernel.digests import Digest
from hatoba.registry.blobs.driver import FilePart
from hatoba.registry.content.models import BlobRecord
from hatoba.registry.v2.manifests import IMMUTABLE_CACHE, is_unchanged
from hatoba.registry.v2.messages import Headers, Reply, Request
from hatoba.registry.v2.ranges import ByteRange, Unsatisfiable, parse_ranges
from hatoba.registry.v2.services import V2Services

OCTETS: Final = "application/octet-stream"


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
    if is_unchanged(request.header("if-none-match"), etag):
        return Reply(status=304, headers=headers)
    if request.method == "HEAD":
        # RFC 9110 14.2: a range has a meaning for GET alone.
        return Reply(status=200, headers=headers, content_type=OCTETS, length=record.size)
    try:
        parts = parse_ranges(
            _range_header(request, etag), size=record.size, maximum=services.settings.maximum_ranges
        )
    except Unsatisfiable:
        return Reply(status=416, headers=[*headers, ("Content-Range", f"bytes */{record.size}")])
    if len(parts) > 1:
        return await _several(services, record, parts=parts, headers=headers)
    url = await services.holdings.direct_url(record)
    if url is not None:
        return _sent_elsewhere(digest, url)
    wanted = parts[0] if parts else ByteRange(0, record.size)
    if parts:
        headers.append(("Content-Range", wanted.shown(record.size)))
    return Reply(
        status=206 if parts else 200,
        headers=headers,
        content_type=OCTETS,
        stream=await _opened(services, record, sections=[wanted]),
        length=wanted.length,
    )


def _sent_elsewhere(digest: Digest, url: str) -> Reply:
    """Send the client to the storage. It repeats its Range there; the URL is kept by nobody."""
    headers = [
        ("Docker-Content-Digest", str(digest)),
        ("Location", url),
        ("Cache-Control", "no-store"),
    ]
    return Reply(status=307, headers=headers)


async def delete_blob(request: Request, services: V2Services) -> Reply:
    """DELETE: the repository lets go of a blob that none of its manifests names."""
    digest = Digest.parse(request.parameters["digest"])
    await services.holdings.release_blob(services.name_of(request), digest=digest)
    return Reply(status=202)


def _range_header(request: Request, etag: str) -> str | None:
    """Spec: RFC 9110 13.1.5: with another If-Range, the whole is sent."""
    condition = request.header("if-range")
    return request.header("range") if condition in (None, etag) else None


async def _several(
    services: V2Services, record: BlobRecord, *, parts: Sequence[ByteRange], headers: Headers
) -> Reply:
    """Return several parts of a blob in one body. Spec: RFC 9110 14.6."""
    # Nobody can have put it into the blob: it is drawn now.
    boundary = secrets.token_hex(16)
    sections: list[bytes | ByteRange] = []
    for part in parts:
        head = f"\r\n--{boundary}\r\nContent-Type: {OCTETS}\r\n"
        sections += [f"{head}Content-Range: {part.shown(record.size)}\r\n\r\n".encode(), part]
    sections.append(f"\r\n--{boundary}--\r\n".encode())
    return Reply(
        status=206,
        headers=headers,
        content_type=f"multipart/byteranges; boundary={boundary}",
        stream=await _opened(services, record, sections=sections),
        length=sum(len(one) if isinstance(one, bytes) else one.length for one in sections),
    )


async def _opened(
    services: V2Services, record: BlobRecord, *, sections: Sequence[bytes | ByteRange]
) -> AsyncGenerator[bytes | FilePart]:
    """Open the blob now, so that its absence is still an error with a status.

    The generator is begun, so that closing it closes the blob even if nothing was read.
    """
    stream = _stream(services, record, sections=sections)
    await anext(stream)
    return stream


async def _stream(
    services: V2Services, record: BlobRecord, *, sections: Sequence[bytes | ByteRange]
) -> AsyncGenerator[bytes | FilePart]:
    async with services.holdings.open_blob(record) as reader:
        yield b""
        for section in sections:
            if isinstance(section, bytes):
                yield section
                continue
            async for part in reader.parts(start=section.start, end=section.end):
                yield part
