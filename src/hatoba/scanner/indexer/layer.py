"""Take one layer apart: package databases, os-release, and what it hides of the layers below.

A layer is looked at once, whatever images it is part of; `coalesce` puts layers together.
Spec: image-spec "Whiteouts": `.wh.<name>` hides a name, `.wh..wh..opq` all that is below its
directory; both speak of lower layers alone.
"""

import posixpath
from pathlib import Path
from typing import Final

import msgspec

from hatoba.scanner.indexer import apk, distribution, dpkg
from hatoba.scanner.indexer.compression import opened_blocking
from hatoba.scanner.indexer.errors import LayerTooLarge
from hatoba.scanner.indexer.tar import Archive, Entry
from hatoba.scanner.models import Distribution, Package

SCANNERS: Final = (
    "apk:1:package",
    "dpkg:1:package",
    "os-release:1:distribution",
    "whiteout:1:file",
)
"""Name, version and kind. A change in what a layer yields raises the version: all is read anew."""
MAXIMUM_DATABASE_BYTES: Final = 64 << 20
MAXIMUM_WHITEOUTS: Final = 200_000
_APK_PATHS: Final = frozenset({"lib/apk/db/installed", "usr/lib/apk/db/installed"})
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_STATUS_START: Final = b"Package:"


class PackageDatabase(msgspec.Struct, kw_only=True, frozen=True):
    """A package manager's database in a layer."""

    path: str
    packages: list[Package]


class LayerContent(msgspec.Struct, kw_only=True, frozen=True):
    """What one layer says."""

    databases: list[PackageDatabase] = []
    distribution: Distribution | None = None
    hidden: list[str] = []
    """Paths of lower layers that are gone, with all below them."""
    emptied: list[str] = []
    """Directories whose content in lower layers is gone; "" is the root."""


def read_layer_blocking(path: Path) -> LayerContent:
    """Read a layer's file.

    Raises:
        LayerMalformed, LayerEncodingUnsupported, LayerTooLarge.
    """
    reading = _Reading()
    with opened_blocking(path) as source:
        for entry in Archive(source).entries():
            reading.take(entry)
    return reading.content()


class _Reading:
    """What has been seen of a layer so far."""

    def __init__(self) -> None:
        self._status: dict[str, bytes] = {}
        self._info: set[str] = set()
        self._databases: dict[str, list[Package]] = {}
        self._releases: dict[str, bytes] = {}
        self._hidden: list[str] = []
        self._emptied: list[str] = []

    def take(self, entry: Entry) -> None:
        directory, name = posixpath.split(entry.path)
        if name == "info" or posixpath.basename(directory) == "info":
            self._info.add(directory if name == "info" else posixpath.dirname(directory))
        if name.startswith(_WHITEOUT):
            self._take_whiteout(directory, name)
        elif entry.is_regular:
            self._take_file(entry, directory=directory, name=name)

    def _take_whiteout(self, directory: str, name: str) -> None:
        if len(self._hidden) + len(self._emptied) >= MAXIMUM_WHITEOUTS:
            raise LayerTooLarge(f"the layer has more than {MAXIMUM_WHITEOUTS} whiteouts")
        if name == _OPAQUE:
            self._emptied.append(directory)
        elif not name.startswith(".wh..wh."):
            self._hidden.append(posixpath.join(directory, name.removeprefix(_WHITEOUT)))

    def _take_file(self, entry: Entry, *, directory: str, name: str) -> None:
        if entry.path in _APK_PATHS:
            self._databases[entry.path] = apk.parse(entry.read(limit=MAXIMUM_DATABASE_BYTES))
        elif entry.path in distribution.PATHS:
            self._releases[entry.path] = entry.read(limit=1 << 20)
        elif directory.endswith("/status.d") and not name.endswith(".md5sums"):
            self._databases[entry.path] = dpkg.parse(entry.read(limit=MAXIMUM_DATABASE_BYTES))
        elif name == "status" and entry.size <= MAXIMUM_DATABASE_BYTES:
            content = entry.read(limit=MAXIMUM_DATABASE_BYTES)
            if content.startswith(_STATUS_START) or entry.path == "var/lib/dpkg/status":
                self._status[directory] = content

    def content(self) -> LayerContent:
        for directory, status in self._status.items():
            # Elsewhere a file called "status" is a database only beside an "info" directory.
            if directory in self._info or directory == "var/lib/dpkg":
                self._databases[posixpath.join(directory, "status")] = dpkg.parse(status)
        found = [self._releases[path] for path in distribution.PATHS if path in self._releases]
        return LayerContent(
            databases=[
                PackageDatabase(path=path, packages=packages)
                for path, packages in sorted(self._databases.items())
            ],
            distribution=distribution.parse(found[0]) if found else None,
            hidden=self._hidden,
            emptied=self._emptied,
        )
