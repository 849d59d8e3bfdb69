"""Index reports, the contents of layers, and which manifest holds which package."""

from collections.abc import Iterable, Sequence

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from hatoba.kernel.clock import Clock, milliseconds
from hatoba.kernel.digests import Digest
from hatoba.scanner.indexer.layer import LayerContent
from hatoba.scanner.models import IndexReport
from hatoba.scanner.tables import LAYERS, MANIFEST_PACKAGES, REPORTS
from hatoba.sql.engine import Database


class KeptReport(msgspec.Struct, kw_only=True, frozen=True):
    """A report and the scanners that made it."""

    scanners: str
    report: IndexReport


class IndexStore:
    """The indexer's half of the database."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._insert = postgresql.insert if database.is_postgresql else sqlite.insert

    async def layers(
        self, digests: Iterable[Digest], *, scanners: str
    ) -> dict[Digest, LayerContent]:
        """Return those layers that these scanners have read before."""
        wanted = {str(digest): digest for digest in digests}
        query = select(LAYERS.c.digest, LAYERS.c.content).where(
            LAYERS.c.digest.in_(wanted), LAYERS.c.scanners == scanners
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return {
            wanted[digest]: msgspec.json.decode(content, type=LayerContent)
            for digest, content in rows
        }

    async def keep_layer(self, digest: Digest, content: LayerContent, *, scanners: str) -> None:
        """Keep what a layer holds; a second reader of the same layer changes nothing."""
        statement = (
            self._insert(LAYERS)
            .values(digest=str(digest), scanners=scanners, content=_text(content))
            .on_conflict_do_nothing()
        )
        async with self._database.begin() as connection:
            await connection.execute(statement)

    async def report(self, manifest: Digest) -> KeptReport | None:
        """Return the report of a manifest, finished or not."""
        query = select(REPORTS.c.scanners, REPORTS.c.report).where(
            REPORTS.c.manifest == str(manifest)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        report = msgspec.json.decode(row.report, type=IndexReport)
        return KeptReport(scanners=row.scanners, report=report)

    async def keep_report(self, report: IndexReport, *, scanners: str) -> None:
        """Keep a report in place of an earlier one."""
        values = {
            "manifest": report.manifest_hash,
            "scanners": scanners,
            "state": report.state,
            "report": _text(report),
            "updated_at_ms": milliseconds(self._clock.now()),
        }
        changed = {name: value for name, value in values.items() if name != "manifest"}
        statement = self._insert(REPORTS).values(values)
        statement = statement.on_conflict_do_update(
            index_elements=[REPORTS.c.manifest], set_=changed
        )
        names = {package.name for package in report.packages.values()}
        names |= {package.source.name for package in report.packages.values()}
        async with self._database.begin() as connection:
            await connection.execute(statement)
            await connection.execute(
                delete(MANIFEST_PACKAGES).where(
                    MANIFEST_PACKAGES.c.manifest == report.manifest_hash
                )
            )
            if names:
                await connection.execute(
                    insert(MANIFEST_PACKAGES),
                    [{"name": name, "manifest": report.manifest_hash} for name in sorted(names)],
                )

    async def delete(self, manifests: Sequence[Digest]) -> list[Digest]:
        """Forget manifests; return those that were known. What their layers hold is kept."""
        wanted = {str(digest): digest for digest in manifests}
        async with self._database.begin() as connection:
            await connection.execute(
                delete(MANIFEST_PACKAGES).where(MANIFEST_PACKAGES.c.manifest.in_(wanted))
            )
            gone = await connection.execute(
                delete(REPORTS).where(REPORTS.c.manifest.in_(wanted)).returning(REPORTS.c.manifest)
            )
            deleted = set(gone.scalars())
        return [digest for text, digest in wanted.items() if text in deleted]

    async def manifests_holding(self, names: Iterable[str]) -> list[Digest]:
        """Return the manifests that hold a package with one of these names."""
        query = (
            select(MANIFEST_PACKAGES.c.manifest)
            .where(MANIFEST_PACKAGES.c.name.in_(list(names)))
            .distinct()
            .order_by(MANIFEST_PACKAGES.c.manifest)
        )
        async with self._database.read() as connection:
            return [Digest.parse(text) for text in (await connection.execute(query)).scalars()]


def _text(document: msgspec.Struct) -> str:
    return msgspec.json.encode(document).decode()
