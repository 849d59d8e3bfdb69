"""Debian's security tracker: `data/json`.

Source: security-tracker.debian.org; `{source package: {CVE: {description, releases: {code name:
{status, fixed_version, urgency}}}}}`. Urgencies map to severities as claircore maps them.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from hatoba.scanner.matcher.ecosystems import DEBIAN_RELEASES
from hatoba.scanner.models import (
    PACKAGE_NAME,
    AdvisedPackage,
    Distribution,
    Severity,
    Vulnerability,
)
from hatoba.scanner.updaters.errors import AdvisoriesMalformed

UPDATER: Final = "debian/updater"
URL: Final = "https://security-tracker.debian.org/tracker/data/json"
_LINK: Final = "https://security-tracker.debian.org/tracker/"
_SEVERITIES: Final[Mapping[str, Severity]] = {
    "unimportant": "Low",
    "low": "Medium",
    "medium": "High",
    "high": "Critical",
}


class _Release(msgspec.Struct):
    status: str = ""
    fixed_version: str = ""
    urgency: str = ""


class _Issue(msgspec.Struct):
    description: str = ""
    releases: dict[str, _Release] = {}


_DECODER = msgspec.json.Decoder(dict[str, dict[str, _Issue]])


def distribution(code_name: str) -> Distribution:
    """Return a release as its own os-release describes it."""
    version = DEBIAN_RELEASES.get(code_name, "")
    full = f"{version} ({code_name})" if version else code_name
    return Distribution(
        did="debian",
        name="Debian GNU/Linux",
        version=full,
        version_code_name=code_name,
        version_id=version,
        pretty_name=f"Debian GNU/Linux {full}",
    )


def parse(content: bytes) -> Iterator[Vulnerability]:
    """Read the tracker's file.

    Raises:
        AdvisoriesMalformed: it is something else.
    """
    try:
        packages = _DECODER.decode(content)
    except msgspec.DecodeError as error:
        raise AdvisoriesMalformed(f"not the tracker's JSON: {error}") from error
    # The text is as large as what was read from it, and not needed any more.
    del content
    distributions: dict[str, Distribution] = {}
    for package, issues in packages.items():
        if not PACKAGE_NAME.fullmatch(package):
            continue
        for name, issue in issues.items():
            for code_name, release in issue.releases.items():
                where = distributions.setdefault(code_name, distribution(code_name))
                yield _advisory(package, name, issue, release, where)


def _advisory(
    package: str, name: str, issue: _Issue, release: _Release, where: Distribution
) -> Vulnerability:
    return Vulnerability(
        updater=UPDATER,
        name=name,
        description=issue.description,
        links=_LINK + name,
        severity=release.urgency,
        normalized_severity=_SEVERITIES.get(release.urgency.rstrip("*"), "Unknown"),
        package=AdvisedPackage(name=package),
        distribution=where,
        fixed_in_version=release.fixed_version,
    )
