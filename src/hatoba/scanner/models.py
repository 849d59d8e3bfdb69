"""The documents of Clair's API, as they travel and as they are kept.

Source: Clair v4 OpenAPI (`Manifest`, `IndexReport`, `VulnerabilityReport`). Field names are the
wire's; the key of the repositories is singular there, and stays so.
"""

import re
from typing import Final, Literal, TypeAlias

import msgspec

PackageKind: TypeAlias = Literal["source", "binary"]
Severity: TypeAlias = Literal["Unknown", "Negligible", "Low", "Medium", "High", "Critical"]


PACKAGE_NAME: Final = re.compile(r"[A-Za-z0-9._+@:/-]{1,200}")
"""No package manager goes beyond; what does is not a package name, and no key for an index."""
PACKAGE_VERSION: Final = re.compile(r"[\x21-\x7e]{1,500}")


class Layer(msgspec.Struct, kw_only=True, frozen=True):
    """A layer of a manifest, and how to get it."""

    hash: str
    uri: str
    headers: dict[str, list[str]] | None = None
    media_type: str = ""


class Manifest(msgspec.Struct, kw_only=True, frozen=True):
    """What is asked to be indexed; layers from the lowest up."""

    hash: str
    layers: list[Layer]


class SourcePackage(msgspec.Struct, kw_only=True, frozen=True):
    """The package that another one was built from."""

    id: str = ""
    name: str
    version: str
    kind: PackageKind = "source"
    normalized_version: str = ""
    cpe: str = ""


class Package(msgspec.Struct, kw_only=True, frozen=True):
    """An installed package."""

    id: str = ""
    name: str
    version: str
    kind: PackageKind = "binary"
    source: SourcePackage
    normalized_version: str = ""
    arch: str = ""
    cpe: str = ""


class Distribution(msgspec.Struct, kw_only=True, frozen=True):
    """An operating system, as os-release names it."""

    id: str = ""
    did: str = ""
    name: str = ""
    version: str = ""
    version_code_name: str = ""
    version_id: str = ""
    arch: str = ""
    cpe: str = ""
    pretty_name: str = ""


class Repository(msgspec.Struct, kw_only=True, frozen=True):
    """Where packages come from; empty for those of a distribution."""

    id: str = ""
    name: str = ""
    key: str = ""
    uri: str = ""
    cpe: str = ""


class Environment(msgspec.Struct, kw_only=True, frozen=True):
    """Where in the image a package was found."""

    package_db: str
    introduced_in: str
    distribution_id: str
    repository_ids: list[str] | None = None


class IndexReport(msgspec.Struct, kw_only=True, frozen=True):
    """What an image holds."""

    manifest_hash: str
    state: str
    packages: dict[str, Package] = {}
    distributions: dict[str, Distribution] = {}
    repository: dict[str, Repository] = {}
    environments: dict[str, list[Environment]] = {}
    success: bool = False
    err: str = ""


class AdvisedPackage(msgspec.Struct, kw_only=True, frozen=True):
    """The package that an advisory speaks of; a name without a version."""

    id: str = ""
    name: str
    version: str = ""
    kind: PackageKind = "source"
    normalized_version: str = ""
    cpe: str = ""


class Vulnerability(msgspec.Struct, kw_only=True, frozen=True):
    """An advisory about one package of one distribution; links are separated by spaces."""

    id: str = ""
    updater: str
    name: str
    description: str = ""
    issued: str = "0001-01-01T00:00:00Z"
    links: str = ""
    severity: str = ""
    normalized_severity: Severity = "Unknown"
    package: AdvisedPackage
    distribution: Distribution = Distribution()
    repository: Repository = Repository()
    fixed_in_version: str = ""


class VulnerabilityReport(msgspec.Struct, kw_only=True, frozen=True):
    """What an image holds, and which of it is vulnerable.

    `enrichments` stays empty: clients of Quay 3.6 take its first entry for CVSS scores.
    """

    manifest_hash: str
    packages: dict[str, Package]
    distributions: dict[str, Distribution]
    repository: dict[str, Repository]
    environments: dict[str, list[Environment]]
    vulnerabilities: dict[str, Vulnerability]
    package_vulnerabilities: dict[str, list[str]]
    enrichments: dict[str, list[msgspec.Raw]] = {}
