"""Manifests: pull (end-3), push (end-7), delete (end-9)."""

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import MalformedTag
from hatoba.registry.content.errors import ManifestUnknown
from hatoba.registry.content.models import Reference
from hatoba.registry.v2.messages import Reply, Request
from hatoba.registry.v2.services import V2Services, caller_of, reference_of

IMMUTABLE_CACHE = ("Cache-Control", "max-age=31536000")


async def pull_manifest(request: Request, services: V2Services) -> Reply:
    """GET, HEAD: by tag or digest. A HEAD is not a pull, and not audited as one."""
    name, reference = services.name_of(request), _known_reference(request)
    caller = caller_of(request) if request.method == "GET" else None
    record = await services.manifests.resolve_reference(name, reference=reference, caller=caller)
    etag = f'"{record.digest}"'
    headers = [("Docker-Content-Digest", str(record.digest)), ("ETag", etag)]
    if isinstance(reference, Digest):
        headers.append(IMMUTABLE_CACHE)
    if is_unchanged(request.header("if-none-match"), etag):
        return Reply(status=304, headers=headers)
    return Reply(status=200, headers=headers, body=record.content, content_type=record.media_type)


def is_unchanged(header: str | None, etag: str) -> bool:
    """Say whether the client has what it asks for. Spec: RFC 9110 13.1.2, weak comparison."""
    if header is None:
        return False
    given = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in given or etag in given


async def push_manifest(request: Request, services: V2Services) -> Reply:
    """PUT: durable when 201 is sent."""
    name, reference = services.name_of(request), reference_of(request)
    content = await request.body(maximum=services.settings.maximum_manifest_bytes)
    pushed = await services.manifests.push_manifest(
        name,
        reference=reference,
        content=content,
        content_type=request.header("content-type") or "",
        caller=caller_of(request),
    )
    headers = [
        ("Docker-Content-Digest", str(pushed.digest)),
        ("Location", f"/v2/{name}/manifests/{pushed.digest}"),
    ]
    if pushed.subject is not None:
        # Tells the client that the referrers list knows it, so no fallback tag is needed.
        headers.append(("OCI-Subject", str(pushed.subject)))
    return Reply(
        status=201,
        headers=headers,
        body=b"OK",
        content_type="text/plain; charset=utf-8",
        media_type=pushed.media_type,
    )


async def delete_manifest(request: Request, services: V2Services) -> Reply:
    """DELETE: a tag, or every tag of a digest."""
    name, reference = services.name_of(request), _known_reference(request)
    await services.manifests.delete_manifest(name, reference=reference, caller=caller_of(request))
    return Reply(status=202)


def _known_reference(request: Request) -> Reference:
    """Return what the path names; what cannot be a tag names nothing that exists.

    Raises:
        ManifestUnknown: it is no tag. Spec: end-3 and end-9, 404.
        MalformedDigest: it is no digest.
    """
    try:
        return reference_of(request)
    except MalformedTag as error:
        raise ManifestUnknown("manifest unknown") from error
