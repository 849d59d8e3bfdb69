"""Subjects of manifests that another version stored without reading them.

A database that Quay made, or that an old pod still writes to during an upgrade, holds manifests
whose columns `subject` and `artifact_type` nobody filled: referrers lists would miss them. Called
by a duty; goes through what is left in small batches, and asks one index when nothing is.
"""

from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import or_, select, update

from hatoba.kernel.errors import HatobaError
from hatoba.oci.manifests import parse_manifest
from hatoba.registry.content.shelf import Shelf
from hatoba.registry.db.tables.manifests import manifests

MANIFESTS_PER_BATCH: Final = 50
"""How many manifests one transaction reads: each may be megabytes."""

log = structlog.get_logger()


@dataclass(slots=True, frozen=True, kw_only=True)
class Backfill:
    """Fills in what manifests say and their rows do not."""

    shelf: Shelf

    async def fill_subjects(self, *, limit: int = MANIFESTS_PER_BATCH) -> int:
        """Read manifests that nobody has read, as many as the limit says; return how many.

        What cannot be read (schema 1, and what Quay took and the specification refuses) is marked
        as read, too: it has no subject, and would be read for ever.
        """
        flag = manifests.c.subject_backfilled
        waiting = (
            select(manifests.c.id, manifests.c.manifest_bytes, manifests.c.media_type_id)
            .where(or_(flag.is_(None), flag.is_(False)))
            .limit(limit)
        )
        async with self.shelf.database.begin() as connection:
            rows = (await connection.execute(waiting)).all()
            for row in rows:
                media_type = self.shelf.lookups.name("mediatype", row.media_type_id)
                found = _what_it_says(row.manifest_bytes, media_type=media_type)
                await connection.execute(
                    update(manifests)
                    .where(manifests.c.id == row.id)
                    .values(subject_backfilled=True, **found)
                )
        if rows:
            log.info("subjects of manifests filled in", manifests=len(rows))
        return len(rows)


def _what_it_says(text: str, *, media_type: str) -> dict[str, object]:
    content = text.encode("utf-8")
    try:
        manifest = parse_manifest(content, content_type=media_type, maximum_bytes=len(content))
    except HatobaError as error:
        log.debug("manifest cannot be read", error=error.message)
        return {}
    return {
        "subject": str(manifest.subject.digest) if manifest.subject else None,
        "artifact_type": manifest.artifact_type,
        "artifact_type_backfilled": True,
    }
