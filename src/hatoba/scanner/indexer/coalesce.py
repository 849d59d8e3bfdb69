"""Put the layers of an image together: which packages does the finished image hold?

Pure. The newest occurrence of each package database counts, unless a layer above hides it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from hatoba.kernel.digests import Digest
from hatoba.scanner.indexer.layer import LayerContent, PackageDatabase
from hatoba.scanner.models import Distribution, Environment, IndexReport, Package

FINISHED = "IndexFinished"


@dataclass(slots=True, kw_only=True)
class _Draft:
    packages: dict[str, Package] = field(default_factory=dict)
    distributions: dict[Distribution, str] = field(default_factory=dict)
    environments: dict[str, list[Environment]] = field(default_factory=dict)


def coalesce(manifest: Digest, layers: Sequence[tuple[Digest, LayerContent]]) -> IndexReport:
    """Return the finished report; `layers` from the lowest up."""
    draft = _Draft()
    contents = [content for _, content in layers]
    for position, database in _visible_databases(contents):
        found = _nearest_distribution(contents, position)
        distribution_id = ""
        if found is not None:
            distribution_id = draft.distributions.setdefault(
                found, str(len(draft.distributions) + 1)
            )
        lowest = _introductions(layers, database.path)
        for package in database.packages:
            number = str(len(draft.packages) + 1)
            source = msgspec.structs.replace(package.source, id=f"{number}-source")
            draft.packages[number] = msgspec.structs.replace(package, id=number, source=source)
            draft.environments[number] = [
                Environment(
                    package_db=database.path,
                    introduced_in=lowest[_identity(package)],
                    distribution_id=distribution_id,
                )
            ]
    return IndexReport(
        manifest_hash=str(manifest),
        state=FINISHED,
        packages=draft.packages,
        distributions={
            number: msgspec.structs.replace(found, id=number)
            for found, number in draft.distributions.items()
        },
        environments=draft.environments,
        success=True,
    )


def _visible_databases(contents: Sequence[LayerContent]) -> list[tuple[int, PackageDatabase]]:
    """Return each database once, with its layer's position, ordered by path."""
    visible: dict[str, tuple[int, PackageDatabase]] = {}
    for position in range(len(contents) - 1, -1, -1):
        for database in contents[position].databases:
            above = contents[position + 1 :]
            if database.path not in visible and not any(
                _hides(layer, database.path) for layer in above
            ):
                visible[database.path] = (position, database)
    return [visible[path] for path in sorted(visible)]


def _hides(layer: LayerContent, path: str) -> bool:
    """Tell whether a layer removes a path of the layers below it."""
    return any(path == gone or path.startswith(gone + "/") for gone in layer.hidden) or any(
        not directory or path.startswith(directory + "/") for directory in layer.emptied
    )


def _nearest_distribution(contents: Sequence[LayerContent], position: int) -> Distribution | None:
    """Return the one in force at a layer: its own or the next below, else the next above."""
    below = range(position, -1, -1)
    above = range(position + 1, len(contents))
    for index in (*below, *above):
        found: Distribution | None = contents[index].distribution
        if found is not None:
            return found
    return None


def _identity(package: Package) -> tuple[str, str, str]:
    return package.name, package.version, package.arch


def _introductions(
    layers: Sequence[tuple[Digest, LayerContent]], path: str
) -> dict[tuple[str, str, str], str]:
    """Return, for each package of a database, the lowest layer that carries it."""
    lowest: dict[tuple[str, str, str], str] = {}
    for digest, content in layers:
        for database in content.databases:
            if database.path == path:
                for package in database.packages:
                    lowest.setdefault(_identity(package), str(digest))
    return lowest
