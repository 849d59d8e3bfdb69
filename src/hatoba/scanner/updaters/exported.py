"""The offline file of `clairctl export-updaters`: a stream of JSON objects.

Source: claircore `libvuln/jsonblob`: `{Updater, Fingerprint, Date, Kind, Ref, Vuln|Enrichment}`,
one object per line; those with one Ref belong to one operation. Advisories about distributions
that the matcher does not know, and enrichments, are left out and counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from hatoba.scanner.matcher.ecosystems import ECOSYSTEMS
from hatoba.scanner.models import PACKAGE_NAME, Vulnerability
from hatoba.scanner.updaters.errors import AdvisoriesMalformed


class _Line(msgspec.Struct):
    updater: str = msgspec.field(name="Updater")
    ref: str = msgspec.field(name="Ref", default="")
    fingerprint: str = msgspec.field(name="Fingerprint", default="")
    kind: str = msgspec.field(name="Kind", default="vulnerability")
    vulnerability: Vulnerability | None = msgspec.field(name="Vuln", default=None)


@dataclass(slots=True, kw_only=True)
class ExportedOperation:
    """What one updater brought."""

    updater: str
    fingerprint: str
    advisories: list[Vulnerability] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Export:
    """A file that was read."""

    operations: list[ExportedOperation] = field(default_factory=list)
    left_out: int = 0


def is_export(content: bytes) -> bool:
    """Tell by its first line whether a file is an export."""
    try:
        return bool(msgspec.json.decode(content.split(b"\n", 1)[0], type=_Line).updater)
    except msgspec.DecodeError:
        return False


def parse(content: bytes) -> Export:
    """Read an export.

    Raises:
        AdvisoriesMalformed: a line is not what it should be; says which.
    """
    export = Export()
    by_ref: dict[tuple[str, str], ExportedOperation] = {}
    for line in _lines(content):
        if line.vulnerability is None or not _is_matched(line.vulnerability):
            export.left_out += 1
            continue
        key = line.updater, line.ref
        operation = by_ref.get(key)
        if operation is None:
            operation = ExportedOperation(updater=line.updater, fingerprint=line.fingerprint)
            by_ref[key] = operation
            export.operations.append(operation)
        operation.advisories.append(line.vulnerability)
    return export


def _is_matched(advisory: Vulnerability) -> bool:
    known = advisory.distribution.did in ECOSYSTEMS
    return known and PACKAGE_NAME.fullmatch(advisory.package.name) is not None


def _lines(content: bytes) -> Iterator[_Line]:
    decoder = msgspec.json.Decoder(_Line)
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise AdvisoriesMalformed(f"line {number}: {error}") from error
