"""Debian's package database: `var/lib/dpkg/status`, and `status.d/*` of distroless images.

Spec: deb-control(5); dpkg-query(1) "STATE". A plain loop: parsers made for control files take
ten times as long on the 700 kB of a full system.
"""

import re

from hatoba.scanner.models import PACKAGE_NAME, PACKAGE_VERSION, Package, SourcePackage

_SOURCE = re.compile(r"(\S+)(?:\s+\(([^)]+)\))?")
_WANTED = {"package", "status", "version", "architecture", "source"}


def parse(content: bytes) -> list[Package]:
    """Return the packages that are installed, in the file's order."""
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    found = []
    for stanza in re.split(r"\n\s*\n", text):
        package = _package(_fields(stanza))
        if package is not None:
            found.append(package)
    return found


def _fields(stanza: str) -> dict[str, str]:
    fields = {}
    for line in stanza.split("\n"):
        if not line or line[0] in " \t":
            continue
        name, colon, value = line.partition(":")
        if colon and (key := name.lower()) in _WANTED:
            fields[key] = value.strip()
    return fields


def _package(fields: dict[str, str]) -> Package | None:
    name, version = fields.get("package", ""), fields.get("version", "")
    if not PACKAGE_NAME.fullmatch(name) or not PACKAGE_VERSION.fullmatch(version):
        return None
    # Files in status.d describe what is there and have no Status.
    state = fields.get("status", "install ok installed").split()
    if "ok" not in state or "installed" not in state:
        return None
    source_name, source_version = name, version
    if match := _SOURCE.fullmatch(fields.get("source", "")):
        source_name, source_version = match[1], match[2] or version
    if not PACKAGE_NAME.fullmatch(source_name):
        return None
    return Package(
        name=name,
        version=version,
        arch=fields.get("architecture", ""),
        source=SourcePackage(name=source_name, version=source_version),
    )
