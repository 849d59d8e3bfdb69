"""What is known about a backup."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from hatoba.kernel.digests import Digest
from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject
from hatoba.registry.backup.errors import FormatUnknown

LAYOUT: Final = 1
"""Version of what a backup's files hold; that of sealed files is theirs."""


class BlobMode(StrEnum):
    """What a backup does about the bytes of blobs."""

    COPY = "copy"
    REFERENCE = "reference"


class BlobState(StrEnum):
    """What a backup knows of one blob."""

    COPIED = "copied"
    REFERENCED = "referenced"
    MISSING = "missing"
    """The registry itself has lost it, or holds other bytes under its digest."""


@dataclass(slots=True, frozen=True, kw_only=True)
class BackedBlob:
    """A blob that the database of a backup names."""

    digest: Digest
    size: int
    state: BlobState

    def line(self) -> bytes:
        """Return the line of the list of blobs."""
        return f"{self.digest} {self.size} {self.state}\n".encode()

    @classmethod
    def parse(cls, line: str) -> "BackedBlob":
        """Read a line of the list.

        Raises:
            FormatUnknown: it says something else.
        """
        try:
            digest, size, state = line.split()
            return cls(digest=Digest.parse(digest), size=int(size), state=BlobState(state))
        except (ValueError, HatobaError) as error:
            raise FormatUnknown(f"the list of blobs has the line {line[:200]!r}") from error


@dataclass(slots=True, frozen=True, kw_only=True)
class Summary:
    """What a backup says of itself. It is written last: without it there is no backup."""

    id: str
    created_at: str
    finished_at: str
    version: str
    """The version of Hatoba that made it."""
    hostname: str
    database: str
    """`postgresql` or `sqlite`."""
    revision: str
    database_bytes: int
    blobs: str
    """`copy` or `reference`."""
    blob_count: int
    blob_bytes: int
    copied_count: int
    """How many blobs no earlier backup of the vault had."""
    copied_bytes: int
    missing: tuple[str, ...] = ()
    """Digests whose bytes the registry has lost."""
    attached: Mapping[str, int] = field(default_factory=dict)
    """Files of the configuration, and their sizes."""
    layout: int = LAYOUT

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    def to_json(self) -> JsonObject:
        """Return it as people and programs see it."""
        return {**asdict(self), "missing": list(self.missing)}

    @classmethod
    def parse(cls, content: bytes) -> "Summary":
        """Read it.

        Raises:
            FormatUnknown: a newer version wrote it.
        """
        try:
            given = json.loads(content)
            layout = given["layout"]
            if layout != LAYOUT:
                raise FormatUnknown(f"the backup has layout {layout}, known here is {LAYOUT}")
            return cls(**{**given, "missing": tuple(given["missing"])})
        except (ValueError, TypeError, KeyError) as error:
            raise FormatUnknown("the summary of the backup cannot be read") from error


@dataclass(slots=True, frozen=True, kw_only=True)
class BackupPolicy:
    """How backups are made and kept."""

    hold_lifetime: timedelta = timedelta(minutes=10)
    """For how long a backup that died keeps the collection of garbage from removing blobs."""
    renewal: timedelta = timedelta(minutes=1)
    """How often a backup that lives says so."""
    parallel: int = 4
    """How many blobs are copied at once."""
    unfinished_lifetime: timedelta = timedelta(days=1)
    """How long files that belong to no backup are left alone: they may belong to one to come."""


def summary_name(backup_id: str) -> str:
    """Return the file whose presence makes a backup."""
    return f"backups/{backup_id}/summary"


def database_name(backup_id: str) -> str:
    """Return the file with the dump."""
    return f"backups/{backup_id}/database"


def blob_list_name(backup_id: str) -> str:
    """Return the file that names all blobs."""
    return f"backups/{backup_id}/blobs"


def attachments_name(backup_id: str) -> str:
    """Return the file with the configuration."""
    return f"backups/{backup_id}/configuration"
