"""Lists: tags (end-8), the catalog, referrers (end-12)."""

import re
from typing import Final
from urllib.parse import quote

from hatoba.kernel.digests import MalformedDigest, is_digest
from hatoba.oci.media_types import OCI_INDEX
from hatoba.registry.v2.messages import Reply, Request, RequestInvalid, json_reply
from hatoba.registry.v2.problems import EndpointUnknown
from hatoba.registry.v2.services import V2Services, page_links

_NUMBER: Final = re.compile(r"-?[0-9]{1,18}")


async def list_tags(request: Request, services: V2Services) -> Reply:
    """GET: in lexical order, `n` at a time, after `last`."""
    name = services.name_of(request)
    limit = _page_size(request, services)
    page = await services.listings.list_tags(name, after=_text(request, "last"), limit=limit)
    links = []
    if page.has_more:
        following = [("n", str(limit)), ("last", quote(page.items[-1]))]
        links.append(page_links(request.path, parameters=following))
    return json_reply({"name": str(name), "tags": list(page.items)}, headers=links)


async def list_catalog(request: Request, services: V2Services) -> Reply:
    """GET: the repositories that the token's account may see, in order of their names."""
    limit = _page_size(request, services)
    claims = request.claims
    page = await services.catalog.list_repositories(
        account_id=claims.account_id if claims else None,
        after=_text(request, "last"),
        limit=limit,
    )
    links = []
    if page.has_more:
        following = [("n", str(limit)), ("last", quote(page.items[-1], safe=""))]
        links.append(page_links(request.path, parameters=following))
    return json_reply({"repositories": list(page.items)}, headers=links)


async def list_referrers(request: Request, services: V2Services) -> Reply:
    """GET: an index of the manifests whose subject is the digest; empty where there are none."""
    if not services.settings.offers_referrers:
        raise EndpointUnknown("the referrers list is switched off")
    name, subject = services.name_of(request), request.parameters["digest"]
    if not is_digest(subject):
        raise MalformedDigest(f"{subject[:200]!r} is not a digest")
    artifact_type = _text(request, "artifactType")
    if artifact_type is not None:
        # A media type has no spaces: `spdx+json` was written as it is, and decoded as a form.
        artifact_type = artifact_type.replace(" ", "+")
    # A page without any referrer could not be told from the last one.
    limit = _page_size(request, services) or services.settings.page_size
    page = await services.listings.list_referrers(
        name,
        subject=subject,
        artifact_type=artifact_type,
        after=_text(request, "last"),
        limit=limit,
    )
    headers = [] if artifact_type is None else [("OCI-Filters-Applied", "artifactType")]
    if page.last is not None:
        following = [("n", str(limit)), ("last", quote(page.last))]
        if artifact_type is not None:
            following.append(("artifactType", quote(artifact_type, safe="")))
        headers.append(page_links(request.path, parameters=following))
    reply = json_reply(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(page.descriptors)},
        headers=headers,
    )
    reply.content_type = OCI_INDEX
    return reply


def _page_size(request: Request, services: V2Services) -> int:
    """Read `n`; as in Quay, what is no number asks for a full page and less than none for none."""
    largest = services.settings.page_size
    match = _NUMBER.fullmatch(request.query.get("n", ""))
    return largest if match is None else max(0, min(int(match[0]), largest))


def _text(request: Request, name: str) -> str | None:
    """Return a parameter that is looked up in the database, which takes no control characters.

    Raises:
        RequestInvalid: it holds one.
    """
    value = request.query.get(name)
    if value is not None and not value.isprintable():
        raise RequestInvalid(f"{name} must be printable")
    return value or None
