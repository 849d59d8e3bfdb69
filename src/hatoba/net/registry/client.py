"""Read from another registry: tags, manifests, blobs.

Used by the mirror worker. One client serves one repository for one synchronisation; the session
(connection limits, trust, guard against private addresses) is handed in and belongs to the caller.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
import msgspec

from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import HatobaError
from hatoba.net.registry.authentication import Challenge, Credentials, parse_challenge
from hatoba.net.registry.errors import (
    ContentMismatch,
    RegistryFaulty,
    RegistryRefused,
    RegistryUnreachable,
    RemoteTooLarge,
    RemoteUnknown,
)
from hatoba.net.registry.reference import RemoteRepository

MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MAXIMUM_MANIFEST_BYTES: Final = 4 << 20
MAXIMUM_ANSWER_BYTES: Final = 8 << 20
MAXIMUM_TAGS: Final = 100_000
CHUNK_BYTES: Final = 1 << 20
ATTEMPTS: Final = 4
_RETRIED: Final = frozenset({429, 500, 502, 503, 504})


@dataclass(slots=True, frozen=True, kw_only=True)
class RemoteManifest:
    """A manifest's bytes, which have been found to have this digest."""

    content: bytes
    media_type: str
    digest: Digest


class _TagPage(msgspec.Struct):
    tags: list[str] | None = None


class RemoteRegistry:
    """One repository of another registry."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        repository: RemoteRepository,
        *,
        credentials: Credentials | None = None,
        verify_tls: bool = True,
        pause: Callable[[int], float] = lambda attempt: 0.5 * 2**attempt,
    ) -> None:
        """Take collaborators; `pause` gives the seconds to wait after a failed attempt."""
        self._session = session
        self._repository = repository
        self._credentials = credentials
        self._ssl: bool | ssl.SSLContext = verify_tls
        # Registries without TLS are spoken to only where the owner said not to verify it.
        self._schemes = ("https",) if verify_tls else ("https", "http")
        self._authorization: str | None = None
        self._base = ""
        self._pause = pause

    async def list_tags(self) -> list[str]:
        """Return all tags in the registry's order, following its pages.

        Raises:
            RemoteUnknown, RegistryRefused, RegistryUnreachable, RegistryFaulty, RemoteTooLarge.
        """
        url: str | None = f"/v2/{self._repository.repository}/tags/list?n=1000"
        tags: list[str] = []
        while url is not None:
            async with self._get(url) as answer:
                content = await _read(answer, MAXIMUM_ANSWER_BYTES)
                tags += _tags(content)
                url = _next_page(answer)
            if len(tags) > MAXIMUM_TAGS:
                raise RemoteTooLarge(f"{self._repository} has more than {MAXIMUM_TAGS} tags")
        return tags

    async def manifest(self, reference: str) -> RemoteManifest:
        """Return the manifest of a tag or digest, its bytes verbatim.

        Raises:
            ContentMismatch: the bytes are not what the digest says.
            RemoteUnknown, RegistryRefused, RegistryUnreachable, RegistryFaulty, RemoteTooLarge.
        """
        url = f"/v2/{self._repository.repository}/manifests/{quote(reference, safe=':')}"
        async with self._get(url, accept=", ".join(MANIFEST_TYPES)) as answer:
            content = await _read(answer, MAXIMUM_MANIFEST_BYTES)
            media_type = answer.content_type
        wanted = reference if ":" in reference else answer.headers.get("Docker-Content-Digest")
        expected = Digest.parse(wanted) if wanted else Digest.of(content)
        if Digest.of(content, expected.algorithm) != expected:
            raise ContentMismatch(f"the manifest {reference} does not have the digest {expected}")
        return RemoteManifest(content=content, media_type=media_type, digest=expected)

    @asynccontextmanager
    async def blob(self, digest: Digest) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a blob; the chunks are at most 1 MiB each and not yet checked against the digest.

        Raises:
            RemoteUnknown, RegistryRefused, RegistryUnreachable, RegistryFaulty; the iterator
            raises RegistryUnreachable when the connection breaks.
        """
        async with self._get(f"/v2/{self._repository.repository}/blobs/{digest}") as answer:
            yield _chunks(answer)

    @asynccontextmanager
    async def _get(self, url: str, *, accept: str = "*/*") -> AsyncIterator[aiohttp.ClientResponse]:
        """GET with authentication and retries; yields an answer of status 200."""
        answer = await self._answer(url, accept)
        try:
            yield answer
        finally:
            answer.release()

    async def _answer(self, url: str, accept: str) -> aiohttp.ClientResponse:
        last: HatobaError | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._pause(attempt))
            try:
                answer = await self._authenticated(url, accept)
            except RegistryUnreachable as error:
                last = error
                continue
            if answer.status == 200:
                return answer
            last = await _refusal(answer, self._repository, url)
            if answer.status not in _RETRIED:
                break
        assert last is not None
        raise last

    async def _authenticated(self, url: str, accept: str) -> aiohttp.ClientResponse:
        """Send once, and once more with what the registry's challenge asks for."""
        answer = await self._send(url, accept)
        if answer.status != 401:
            return answer
        header = answer.headers.get("WWW-Authenticate", "")
        answer.release()
        self._authorization = await self._authorize(parse_challenge(header))
        return await self._send(url, accept)

    async def _send(self, url: str, accept: str) -> aiohttp.ClientResponse:
        headers = {"Accept": accept}
        if self._authorization:
            headers["Authorization"] = self._authorization
        failure: Exception | None = None
        possible = [f"{scheme}://{self._repository.authority}" for scheme in self._schemes]
        for base in [self._base] if self._base else possible:
            try:
                answer = await self._session.get(urljoin(base, url), headers=headers, ssl=self._ssl)
            except (aiohttp.ClientError, TimeoutError) as error:
                failure = error
            else:
                self._base = base
                return answer
        message = f"{self._repository.host} cannot be reached: {failure}"
        raise RegistryUnreachable(message) from failure

    async def _authorize(self, challenge: Challenge | None) -> str:
        """Return the Authorization header that the challenge asks for."""
        if challenge is not None and challenge.scheme == "basic" and self._credentials:
            return self._credentials.basic
        if challenge is None or challenge.scheme != "bearer" or "realm" not in challenge.parameters:
            raise RegistryRefused(f"{self._repository.host} demands credentials")
        return f"Bearer {await self._token(challenge)}"

    async def _token(self, challenge: Challenge) -> str:
        realm = challenge.parameters["realm"]
        if urlsplit(realm).scheme not in self._schemes:
            raise RegistryRefused(f"{self._repository.host} names a token service without TLS")
        query = {
            "service": challenge.parameters.get("service", ""),
            "scope": challenge.parameters.get(
                "scope", f"repository:{self._repository.repository}:pull"
            ),
        }
        headers = {"Authorization": self._credentials.basic} if self._credentials else {}
        try:
            async with self._session.get(
                realm, params=query, headers=headers, ssl=self._ssl
            ) as answer:
                if answer.status != 200:
                    raise RegistryRefused(
                        f"{urlsplit(realm).netloc} gives no token: status {answer.status}"
                    )
                body = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise RegistryUnreachable(f"the token service cannot be reached: {error}") from error
        token = body.get("token") or body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str):
            raise RegistryFaulty(f"{urlsplit(realm).netloc} answers without a token")
        return token


async def _refusal(
    answer: aiohttp.ClientResponse, repository: RemoteRepository, url: str
) -> HatobaError:
    """Turn an answer that is not 200 into the error that says what it means."""
    status = answer.status
    answer.release()
    if status in {401, 403}:
        return RegistryRefused(f"{repository.host} refuses access to {repository.path}")
    if status == 404:
        return RemoteUnknown(f"{repository.host} does not have {url.split('?', maxsplit=1)[0]}")
    return RegistryFaulty(f"{repository.host} answers {status} for {url}")


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    content = bytearray()
    async for chunk in _chunks(answer):
        content += chunk
        if len(content) > limit:
            raise RemoteTooLarge(f"an answer of {answer.url.host} is larger than {limit} bytes")
    return bytes(content)


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
            yield chunk
    except (aiohttp.ClientError, TimeoutError) as error:
        raise RegistryUnreachable(f"the connection to {answer.url.host} broke: {error}") from error


def _tags(content: bytes) -> list[str]:
    """Return the tags of one page; a repository without tags answers null."""
    try:
        page = msgspec.json.decode(content, type=_TagPage)
    except msgspec.DecodeError as error:
        raise RegistryFaulty(f"the list of tags cannot be understood: {error}") from error
    return page.tags or []


def _next_page(answer: aiohttp.ClientResponse) -> str | None:
    """Return the `Link` to the next page, which must lie on the same host."""
    link = answer.links.get("next")
    if link is None:
        return None
    url = urlsplit(str(link["url"]))
    return f"{url.path}?{url.query}" if url.query else url.path
