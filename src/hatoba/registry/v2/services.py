"""What the handlers of this edge are given."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from hatoba.kernel.digests import Digest
from hatoba.kernel.names import RepositoryName, parse_tag
from hatoba.registry.access.tokens import RegistryClaims
from hatoba.registry.audit.models import Actor
from hatoba.registry.content.holdings import Holdings
from hatoba.registry.content.listings import Listings
from hatoba.registry.content.manifests import Manifests
from hatoba.registry.content.models import Caller, Page, Reference
from hatoba.registry.content.uploads import Uploads
from hatoba.registry.v2.messages import Request

REMEMBERED_CALLERS: Final = 1024
"""Those who called lately are not described anew."""


class ClaimsVerifier(Protocol):
    """Reads registry tokens."""

    async def verify(self, token: str) -> RegistryClaims:
        """Return what a token says, or raise `Unauthenticated`."""


class Catalog(Protocol):
    """Lists repositories."""

    async def list_repositories(
        self, *, account_id: int | None, after: str | None, limit: int
    ) -> Page:
        """Return names that an account may see, in order, beginning after `after`."""

    async def find_holder(
        self, digest: Digest, *, account_id: int | None, among: Sequence[RepositoryName]
    ) -> RepositoryName | None:
        """Return a repository that holds a blob and that an account may pull from."""


@dataclass(slots=True, frozen=True, kw_only=True)
class V2Settings:
    """What the configuration says to this edge."""

    hostname: str
    scheme: str
    library: str | None = "library"
    page_size: int = 100
    maximum_manifest_bytes: int = 4 << 20
    maximum_ranges: int = 16
    accepts_pushes: bool = True
    is_readonly: bool = False
    allows_anonymous: bool = True
    offers_referrers: bool = True


@dataclass(slots=True, frozen=True, kw_only=True)
class V2Services:
    """Collaborators of the edge."""

    settings: V2Settings
    verifier: ClaimsVerifier
    manifests: Manifests
    uploads: Uploads
    holdings: Holdings
    listings: Listings
    catalog: Catalog

    def name_of(self, request: Request) -> RepositoryName:
        """Return the repository that the path names.

        Raises:
            MalformedName: it breaks the grammar.
        """
        return RepositoryName.parse(request.parameters["name"], self.settings.library)


def reference_of(request: Request) -> Reference:
    """Return the tag or digest that the path names.

    Raises:
        MalformedTag, MalformedDigest: it is neither.
    """
    text = request.parameters["reference"]
    return Digest.parse(text) if ":" in text else parse_tag(text)


def caller_of(request: Request) -> Caller:
    """Return on whose behalf the request acts."""
    claims, user_agent = request.claims, (request.header("user-agent") or "")[:255]
    if claims is None:
        return _caller(None, None, request.client_ip, user_agent)
    return _caller(claims.account_id, claims.username, request.client_ip, user_agent)


@lru_cache(maxsize=REMEMBERED_CALLERS)
def _caller(
    account_id: int | None, username: str | None, ip: str | None, user_agent: str
) -> Caller:
    actor = Actor(account_id=account_id, ip=ip)
    return Caller(actor=actor, username=username, user_agent=user_agent)


def page_links(path: str, *, parameters: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return the `Link` header of a page that has a next one. Spec: RFC 8288."""
    query = "&".join(f"{name}={value}" for name, value in parameters)
    return ("Link", f'<{path}?{query}>; rel="next"')
