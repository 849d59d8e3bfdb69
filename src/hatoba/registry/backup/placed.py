"""Whether the blobs that a database names lie in a volume: what a move of blobs is judged by.

A blob may have been lost before; a move must not lose one more.
"""

from pathlib import Path
from typing import Final

import structlog
from sqlalchemy import select

from hatoba.config.schema import QuayConfig
from hatoba.config.schema.storage import DirectoryLocation
from hatoba.kernel.digests import Digest
from hatoba.registry.backup.errors import CopyDiffers, VolumeUnusable
from hatoba.registry.backup.volumes import Copied, Volumes, settle
from hatoba.registry.blobs.filesystem import FilesystemBlobs
from hatoba.registry.db.tables.blobs import image_storages
from hatoba.sql.engine import Database

log = structlog.get_logger()

_ROWS: Final = 5000
_SHOWN: Final = 5


async def settle_placed(
    volumes: Volumes, database: Database, *, settings: QuayConfig
) -> tuple[Copied, int]:
    """Make both volumes the same; return what that took, and how many blobs were lost before.

    Raises:
        VolumeUnusable: the old volume is not where this database's blobs lie.
        CopyDiffers: the new one lacks blobs which the old one has.
        DatabaseUnavailable: the server does not answer.
        BlobsDamaged, RoomMissing, CopyRunning: as `settle`.
    """
    place = _place(settings)
    named, before = await _lacking(database, volumes.source / place)
    if named and len(before) == named:
        raise VolumeUnusable(
            f"the old volume holds none of the {named} blobs that the database names"
        )
    done = settle(volumes)
    _, after = await _lacking(database, volumes.target / place)
    if lost := sorted(map(str, after - before)):
        raise CopyDiffers(
            f"the new volume lacks {len(lost)} blobs that the database names: "
            f"{', '.join(lost[:_SHOWN])}"
        )
    return done, len(before)


def _place(settings: QuayConfig) -> str:
    """Return where in the volume blobs lie."""
    for location in settings.storage_locations.values():
        if isinstance(location, DirectoryLocation) and not Path(location.path).is_absolute():
            return location.path
    raise VolumeUnusable("config.yaml names no location in a volume of the registry's own")


async def _lacking(database: Database, root: Path) -> tuple[int, set[Digest]]:
    """Return how many blobs have a row, and which of them have no bytes below a directory."""
    place = FilesystemBlobs(root)
    column = image_storages.c.content_checksum
    named, lacking, after = 0, set[Digest](), ""
    while True:
        # Quay's oldest blobs do not lie under their digests; they are copied all the same.
        page = select(column).where(image_storages.c.cas_path, column > after).distinct()
        async with database.read() as connection:
            rows = (await connection.execute(page.order_by(column).limit(_ROWS))).scalars().all()
        if not rows:
            return named, lacking
        named, after = named + len(rows), rows[-1]
        lacking |= {
            digest for digest in map(Digest.parse, rows) if not place.blob_path(digest).is_file()
        }
