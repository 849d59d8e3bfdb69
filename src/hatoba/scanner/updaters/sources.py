"""Where files of advisories come from: a URL, asked whether there is anything new, or a path."""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from typing_extensions import override

from hatoba.net.http import AnswerTooLarge, HttpClient, PeerUnreachable, PrivateAddressRefused
from hatoba.scanner.models import Vulnerability
from hatoba.scanner.settings import ScannerMisconfigured
from hatoba.scanner.updaters import alpine, debian
from hatoba.scanner.updaters.errors import (
    AdvisoriesAbsent,
    AdvisoriesMalformed,
    AdvisoriesUnreachable,
)

MAXIMUM_FILE_BYTES: Final = 512 << 20
DEADLINE_SECONDS: Final = 300.0


@dataclass(slots=True, frozen=True, kw_only=True)
class Fetched:
    """A file, and what tells it from its other versions."""

    content: bytes
    fingerprint: str


class Source(Protocol):
    """Something that may have a new file."""

    @property
    def origin(self) -> str:
        """The host or path: sources of one origin fail together."""

    async def fetch(self, fingerprint: str) -> Fetched | None:
        """Return the file; None when it is still the one with this fingerprint."""


@dataclass(slots=True, frozen=True, kw_only=True)
class UrlSource(Source):
    """A file on the network. Spec: RFC 9110 13.1 for conditional requests."""

    url: str
    client: HttpClient

    @property
    @override
    def origin(self) -> str:
        return urlsplit(self.url).netloc

    @override
    async def fetch(self, fingerprint: str) -> Fetched | None:
        headers = {"Accept-Encoding": "gzip", "User-Agent": "hatoba-scanner"}
        name, _, value = fingerprint.partition(" ")
        if name in {"If-None-Match", "If-Modified-Since"}:
            headers[name] = value
        try:
            answer = await self.client.call(
                "GET",
                self.url,
                headers=headers,
                deadline_seconds=DEADLINE_SECONDS,
                limit=MAXIMUM_FILE_BYTES,
            )
        except (PeerUnreachable, PrivateAddressRefused, AnswerTooLarge) as error:
            raise AdvisoriesUnreachable(f"{_host(self.url)}: {error.message}") from error
        if answer.status == 304:
            return None
        if answer.status == 404:
            raise AdvisoriesAbsent(f"{_host(self.url)} has no such file")
        if answer.status != 200:
            raise AdvisoriesUnreachable(f"{_host(self.url)} answered {answer.status}")
        content = unpacked(answer.body)
        if etag := answer.headers.get("ETag"):
            return Fetched(content=content, fingerprint=f"If-None-Match {etag}")
        if modified := answer.headers.get("Last-Modified"):
            return Fetched(content=content, fingerprint=f"If-Modified-Since {modified}")
        return _by_content(content, fingerprint)


@dataclass(slots=True, frozen=True, kw_only=True)
class FileSource(Source):
    """A file that somebody else keeps fresh."""

    path: Path

    @property
    @override
    def origin(self) -> str:
        return str(self.path)

    @override
    async def fetch(self, fingerprint: str) -> Fetched | None:
        try:
            if self.path.stat().st_size > MAXIMUM_FILE_BYTES:
                raise AdvisoriesMalformed(f"{self.path} is larger than {MAXIMUM_FILE_BYTES} bytes")
            content = unpacked(self.path.read_bytes())
        except OSError as error:
            raise AdvisoriesUnreachable(f"{self.path}: {error.strerror}") from error
        return _by_content(content, fingerprint)


def _by_content(content: bytes, fingerprint: str) -> Fetched | None:
    found = "sha256 " + hashlib.sha256(content).hexdigest()
    return None if found == fingerprint else Fetched(content=content, fingerprint=found)


def unpacked(content: bytes) -> bytes:
    """Return the content of a gzip file, or what was given when it is none.

    Raises:
        AdvisoriesMalformed: damaged, or more than is taken when unpacked.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        decompressor = zlib.decompressobj(wbits=31)
        found = decompressor.decompress(content, MAXIMUM_FILE_BYTES)
    except zlib.error as error:
        raise AdvisoriesMalformed("the gzip data are damaged") from error
    if not decompressor.eof:
        raise AdvisoriesMalformed("the gzip data are cut off, or too large")
    return found


class Parse(Protocol):
    """Reads a file of advisories."""

    def __call__(self, content: bytes, /) -> Iterator[Vulnerability]:
        """Give the advisories in the file."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Updater:
    """A named source of advisories and how to read it."""

    name: str
    source: Source
    parse: Parse
    may_be_absent: bool = False
    """True where a missing file only says that there is no such release."""


SETS: Final = ("debian", "alpine")


def configured_updaters(config: dict[str, dict[str, Any]], client: HttpClient) -> list[Updater]:
    """Return the updaters of each configured set.

    Raises:
        ScannerMisconfigured: a set's configuration has values of a wrong kind.
    """
    found: list[Updater] = []
    for name in SETS:
        if name not in config:
            continue
        settings = config[name] or {}
        files = settings.get("files", [])
        url = settings.get("url")
        if not isinstance(files, list) or not (url is None or isinstance(url, str)):
            raise ScannerMisconfigured(f"updaters.config.{name}: files is a list, url a text")
        found += _BUILDERS[name](settings, [Path(str(path)) for path in files], client)
    return found


def _debian(settings: dict[str, Any], files: list[Path], client: HttpClient) -> list[Updater]:
    source: Source = UrlSource(url=settings.get("url") or debian.URL, client=client)
    if files:
        source = FileSource(path=files[0])
    return [Updater(name=debian.UPDATER, source=source, parse=debian.parse)]


def _alpine(settings: dict[str, Any], files: list[Path], client: HttpClient) -> list[Updater]:
    if files:
        return [
            Updater(
                name=f"alpine-file-{path.name}", source=FileSource(path=path), parse=alpine.parse
            )
            for path in files
        ]
    base = (settings.get("url") or alpine.URL).rstrip("/")
    releases = settings.get("releases") or alpine.RELEASES
    return [
        Updater(
            name=alpine.updater_name(release, repository),
            source=UrlSource(url=f"{base}/{release}/{repository}.json", client=client),
            parse=alpine.parse,
            may_be_absent=True,
        )
        for release in releases
        for repository in alpine.REPOSITORIES
    ]


_BUILDERS: Final = {"debian": _debian, "alpine": _alpine}


def _host(url: str) -> str:
    return urlsplit(url).hostname or "the source"
