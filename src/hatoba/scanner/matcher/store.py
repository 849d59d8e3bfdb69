"""Advisories as the matcher asks for them: those in force about certain packages."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import func, select

from hatoba.scanner.models import Vulnerability
from hatoba.scanner.tables import ADVISORIES, OPERATION_ADVISORIES, OPERATIONS
from hatoba.sql.engine import Database


class AdvisoryStore:
    """Reads advisories of each updater's latest operation."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def is_initialised(self) -> bool:
        """Tell whether any updater has ever brought advisories."""
        async with self._database.read() as connection:
            found = await connection.execute(select(OPERATIONS.c.id).limit(1))
            return found.first() is not None

    async def about(
        self, packages: Sequence[str], *, did: str, release: str
    ) -> list[Vulnerability]:
        """Return the advisories in force about any of these packages, in one query."""
        latest = select(func.max(OPERATIONS.c.id)).group_by(OPERATIONS.c.updater)
        query = (
            select(ADVISORIES.c.id, ADVISORIES.c.document)
            .join(OPERATION_ADVISORIES, OPERATION_ADVISORIES.c.advisory == ADVISORIES.c.id)
            .where(
                ADVISORIES.c.did == did,
                ADVISORIES.c.release == release,
                ADVISORIES.c.package.in_(packages),
                OPERATION_ADVISORIES.c.operation.in_(latest),
            )
            .distinct()
            .order_by(ADVISORIES.c.id)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        decoder = msgspec.json.Decoder(Vulnerability)
        return [
            msgspec.structs.replace(decoder.decode(document), id=str(number))
            for number, document in rows
        ]
