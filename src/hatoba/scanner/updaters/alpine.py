"""Alpine's secdb: one file per release and repository.

Source: secdb.alpinelinux.org `vX.Y/{main,community}.json`: `{distroversion, reponame, packages:
[{pkg: {name, secfixes: {version: [identifier]}}}]}`. It knows no severities. Version "0" says that
the release never was vulnerable.
"""

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from hatoba.scanner.models import PACKAGE_NAME, AdvisedPackage, Distribution, Vulnerability
from hatoba.scanner.updaters.errors import AdvisoriesMalformed

URL: Final = "https://secdb.alpinelinux.org"
RELEASES: Final = (*(f"v3.{minor}" for minor in range(14, 24)), "edge")
REPOSITORIES: Final = ("main", "community")
_LINK: Final = "https://security.alpinelinux.org/vuln/"
_IDENTIFIER: Final = re.compile(r"[A-Z]+-[A-Za-z0-9-]+")


class _Package(msgspec.Struct):
    name: str
    secfixes: dict[str, list[str] | None] | None = None


class _Row(msgspec.Struct):
    pkg: _Package


class _File(msgspec.Struct):
    distroversion: str
    reponame: str
    packages: list[_Row] = []


_DECODER = msgspec.json.Decoder(_File)


def updater_name(release: str, repository: str) -> str:
    """Return the updater's name, as claircore makes it."""
    return f"alpine-{repository}-{release}-updater"


def distribution(release: str) -> Distribution:
    """Return a release as its own os-release describes it, but for the patch level."""
    return Distribution(
        did="alpine",
        name="Alpine Linux",
        version=release.removeprefix("v"),
        version_id=release.removeprefix("v"),
        pretty_name=f"Alpine Linux {release}",
    )


def updater_of(content: bytes) -> str:
    """Return the updater to which a file belongs.

    Raises:
        AdvisoriesMalformed: it is not a file of the secdb.
    """
    file = _decode(content)
    return updater_name(file.distroversion, file.reponame)


def parse(content: bytes) -> Iterator[Vulnerability]:
    """Read a file of the secdb.

    Raises:
        AdvisoriesMalformed: it is something else.
    """
    file = _decode(content)
    where = distribution(file.distroversion)
    updater = updater_name(file.distroversion, file.reponame)
    for row in file.packages:
        if not PACKAGE_NAME.fullmatch(row.pkg.name):
            continue
        for version, names in (row.pkg.secfixes or {}).items():
            # One text may hold several identifiers, and remarks: "CVE-2019-1 XSA-7 (partial)".
            for name in dict.fromkeys(_IDENTIFIER.findall(" ".join(names or []))):
                yield Vulnerability(
                    updater=updater,
                    name=name,
                    links=_LINK + name,
                    package=AdvisedPackage(name=row.pkg.name),
                    distribution=where,
                    fixed_in_version=version,
                )


def _decode(content: bytes) -> _File:
    try:
        file = _DECODER.decode(content)
    except msgspec.DecodeError as error:
        raise AdvisoriesMalformed(f"not a file of Alpine's secdb: {error}") from error
    if not re.fullmatch(r"v[0-9.]+|edge", file.distroversion):
        raise AdvisoriesMalformed(f"unknown release {file.distroversion[:50]!r}")
    return file
