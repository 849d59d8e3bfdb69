"""Alpine's package database: `lib/apk/db/installed`.

Spec: apk-tools `doc/apk-v2.5`, "Installed Database V2": one field per line, a letter and a colon,
packages separated by empty lines. P name, V version, A architecture, o origin.
"""

from hatoba.scanner.models import PACKAGE_NAME, PACKAGE_VERSION, Package, SourcePackage


def parse(content: bytes) -> list[Package]:
    """Return the packages, in the file's order."""
    text = content.decode("utf-8", "replace").replace("\r\n", "\n")
    found = []
    for stanza in text.split("\n\n"):
        fields: dict[str, str] = {}
        for line in stanza.split("\n"):
            if line[1:2] == ":" and line[0] in "PVAo":
                fields.setdefault(line[0], line[2:].strip())
        name, version = fields.get("P", ""), fields.get("V", "")
        origin = fields.get("o") or name
        if all(map(PACKAGE_NAME.fullmatch, (name, origin))) and PACKAGE_VERSION.fullmatch(version):
            # The origin is built in one go: its packages share one version.
            source = SourcePackage(name=origin, version=version)
            package = Package(name=name, version=version, arch=fields.get("A", ""), source=source)
            found.append(package)
    return found
