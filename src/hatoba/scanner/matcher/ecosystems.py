"""The kinds of distribution whose packages can be compared with advisories.

Pure. An ecosystem says which release a distribution is, by the name that its advisories use, and
how its package manager orders versions. `updaters` write advisories under the same names.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from hatoba.scanner.models import Distribution, Package, Vulnerability
from hatoba.scanner.versions import apk, dpkg
from hatoba.scanner.versions.errors import MalformedVersion

DEBIAN_RELEASES: Final[Mapping[str, str]] = {
    "wheezy": "7",
    "jessie": "8",
    "stretch": "9",
    "buster": "10",
    "bullseye": "11",
    "bookworm": "12",
    "trixie": "13",
    "forky": "14",
    "duke": "15",
}
"""Code names, which Debian's tracker speaks of, and versions, which os-release speaks of."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Ecosystem:
    """Distributions with one package manager and one kind of advisory."""

    did: str
    release: Callable[[Distribution], str]
    version_key: Callable[[str], Any]


def debian_release(distribution: Distribution) -> str:
    """Return the version; testing names none yet, and sid never does."""
    code_name = distribution.version_code_name
    return distribution.version_id or DEBIAN_RELEASES.get(code_name, code_name)


def _alpine_release(distribution: Distribution) -> str:
    """Return `Alpine Linux v3.18` or `Alpine Linux edge`: versions have a patch level too much."""
    return distribution.pretty_name


ECOSYSTEMS: Final[Mapping[str, Ecosystem]] = {
    "debian": Ecosystem(did="debian", release=debian_release, version_key=dpkg.key),
    "alpine": Ecosystem(did="alpine", release=_alpine_release, version_key=apk.key),
}


def is_affected(package: Package, advisory: Vulnerability, *, ecosystem: Ecosystem) -> bool:
    """Tell whether an installed package is vulnerable by an advisory about its name.

    No fixed version: every version is. Fixed in "0": the release never was. A version that its
    package manager could not have installed is not called vulnerable.
    Source: claircore `debian.Matcher`, `alpine.Matcher`.
    """
    about = package.source if advisory.package.kind == "source" else package
    if advisory.package.name != about.name or advisory.fixed_in_version == "0":
        return False
    if not advisory.fixed_in_version:
        return True
    try:
        installed = ecosystem.version_key(about.version)
        return bool(installed < ecosystem.version_key(advisory.fixed_in_version))
    except MalformedVersion:
        return False
