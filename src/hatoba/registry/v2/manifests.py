"""Manifests: pull (end-3), push (end-7), delete (end-9)."""

from typing import Final

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import MalformedTag, RepositoryName
from hatoba.registry.content.errors import ManifestUnknown
from hatoba.registry.content.manifests import pull_entry
from hatoba.registry.content.models import ManifestRecord, Reference
from hatoba.registry.v2.messages import Pulled, Reply, Request
from hatoba.registry.v2.services import V2Services, caller_of, reference_of

IMMUTABLE_CACHE = ("Cache-Control", "max-age=31536000")
REMEMBERED_CONTENT_BYTES: Final = 16 << 10
"""Of a manifest whose answer is kept with its request; longer ones are answered anew each time."""


async def pull_manifest(request: Request, services: V2Services) -> Reply:
    """GET, HEAD: by tag or digest. A HEAD is not a pull, and not audited as one.

    What a request names is looked for each time. Only where it is what the same words were
    answered with before, to whom the same token belongs, is the answer not made anew.
    """
    pulled = request.pulled
    if pulled is None:
        name, reference = services.name_of(request), _known_reference(request)
    else:
        name, reference = pulled.name, pulled.reference
    record = await services.manifests.find_manifest(name, reference=reference)
    if pulled is None or pulled.record is not record or pulled.claims is not request.claims:
        pulled = _pulled(request, name, reference=reference, record=record)
        is_short = len(record.content) <= REMEMBERED_CONTENT_BYTES
        request.pulled = pulled if is_short else None
    if pulled.entry is not None:
        services.manifests.audit_pull(pulled.entry)
    return pulled.reply


def _pulled(
    request: Request, name: RepositoryName, *, reference: Reference, record: ManifestRecord
) -> Pulled:
    etag = f'"{record.digest}"'
    headers = [("Docker-Content-Digest", str(record.digest)), ("ETag", etag)]
    if isinstance(reference, Digest):
        headers.append(IMMUTABLE_CACHE)
    if is_unchanged(request.header("if-none-match"), etag):
        reply = Reply(status=304, headers=headers)
    else:
        reply = Reply(
            status=200, headers=headers, body=record.content, content_type=record.media_type
        )
    entry = None
    if request.method == "GET":
        entry = pull_entry(record, reference=reference, caller=caller_of(request))
    return Pulled(
        name=name,
        reference=reference,
        claims=request.claims,
        record=record,
        entry=entry,
        reply=reply,
    )


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
