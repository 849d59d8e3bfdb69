"""Update operations: what an updater brought at a time, and which advisories that was."""

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, delete, func, insert, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock, from_milliseconds, milliseconds
from hatoba.kernel.ids import new_uuid
from hatoba.scanner.matcher.ecosystems import ECOSYSTEMS
from hatoba.scanner.models import Vulnerability
from hatoba.scanner.tables import ADVISORIES, OPERATION_ADVISORIES, OPERATIONS, UPDATER_ATTEMPTS
from hatoba.sql.engine import Database

BATCH: Final = 500


@dataclass(slots=True, frozen=True, kw_only=True)
class OperationRecord:
    """An update operation."""

    ref: str
    updater: str
    fingerprint: str
    made_at: datetime


class UpdateStore:
    """The updaters' half of the database."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._insert = postgresql.insert if database.is_postgresql else sqlite.insert

    async def fingerprint(self, updater: str) -> str:
        """Return the fingerprint of an updater's latest operation; "" when there is none."""
        query = (
            select(OPERATIONS.c.fingerprint)
            .where(OPERATIONS.c.updater == updater)
            .order_by(OPERATIONS.c.id.desc())
            .limit(1)
        )
        async with self._database.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none() or ""

    async def add_operation(
        self,
        updater: str,
        advisories: Iterable[Vulnerability],
        *,
        fingerprint: str,
        retention: int,
    ) -> tuple[str, int]:
        """Add an operation and drop the oldest beyond `retention`, in one transaction.

        Returns its ref and the number of different advisories in it.
        """
        ref, count = new_uuid(), 0
        async with self._database.begin() as connection:
            made = await connection.execute(
                insert(OPERATIONS)
                .values(
                    ref=ref,
                    updater=updater,
                    fingerprint=fingerprint,
                    made_at_ms=milliseconds(self._clock.now()),
                )
                .returning(OPERATIONS.c.id)
            )
            operation = made.scalar_one()
            for batch in _batches(advisories):
                count += await self._add_batch(connection, operation, batch)
            await self._retire(connection, updater, retention)
        return ref, count

    async def operations(self, *, latest: bool) -> list[OperationRecord]:
        """Return the operations, newest first; with `latest`, one for each updater."""
        query = select(OPERATIONS).order_by(OPERATIONS.c.id.desc())
        if latest:
            newest = select(func.max(OPERATIONS.c.id)).group_by(OPERATIONS.c.updater)
            query = query.where(OPERATIONS.c.id.in_(newest))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            OperationRecord(
                ref=row.ref,
                updater=row.updater,
                fingerprint=row.fingerprint,
                made_at=from_milliseconds(row.made_at_ms),
            )
            for row in rows
        ]

    async def delete_operation(self, ref: str) -> bool:
        """Drop an operation; False when there is none of that ref."""
        async with self._database.begin() as connection:
            gone = await connection.execute(
                delete(OPERATIONS).where(OPERATIONS.c.ref == ref).returning(OPERATIONS.c.id)
            )
            found = gone.first() is not None
            await self._drop_orphans(connection)
        return found

    async def advisories_of(self, ref: str) -> dict[str, Vulnerability]:
        """Return the advisories of an operation, by id."""
        query = (
            select(ADVISORIES.c.id, ADVISORIES.c.document)
            .join(OPERATION_ADVISORIES, OPERATION_ADVISORIES.c.advisory == ADVISORIES.c.id)
            .join(OPERATIONS, OPERATIONS.c.id == OPERATION_ADVISORIES.c.operation)
            .where(OPERATIONS.c.ref == ref)
        )
        decoder = msgspec.json.Decoder(Vulnerability)
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return {
            str(number): msgspec.structs.replace(decoder.decode(document), id=str(number))
            for number, document in rows
        }

    async def record_attempt(self, updater: str, *, error: str | None) -> None:
        """Note that an updater ran, and how it ended."""
        now = milliseconds(self._clock.now())
        values: dict[str, Any] = {"updater": updater, "attempted_at_ms": now, "error": error}
        if error is None:
            values["succeeded_at_ms"] = now
        changed = {name: value for name, value in values.items() if name != "updater"}
        statement = self._insert(UPDATER_ATTEMPTS).values(values)
        statement = statement.on_conflict_do_update(
            index_elements=[UPDATER_ATTEMPTS.c.updater], set_=changed
        )
        async with self._database.begin() as connection:
            await connection.execute(statement)

    async def attempts(self) -> dict[str, tuple[datetime, bool]]:
        """Return when each updater ran last, and whether that went well."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(UPDATER_ATTEMPTS))).all()
        return {
            row.updater: (from_milliseconds(row.attempted_at_ms), row.error is None) for row in rows
        }

    async def _add_batch(
        self, connection: AsyncConnection, operation: int, batch: Sequence[Vulnerability]
    ) -> int:
        rows = {row["hash"]: row for row in map(_row, batch)}
        await connection.execute(
            self._insert(ADVISORIES).on_conflict_do_nothing(), list(rows.values())
        )
        known = select(literal(operation, BigInteger), ADVISORIES.c.id).where(
            ADVISORIES.c.hash.in_(list(rows))
        )
        linked = await connection.execute(
            self._insert(OPERATION_ADVISORIES)
            .from_select(["operation", "advisory"], known)
            .on_conflict_do_nothing()
        )
        return int(linked.rowcount)

    async def _retire(self, connection: AsyncConnection, updater: str, retention: int) -> None:
        kept = (
            select(OPERATIONS.c.id)
            .where(OPERATIONS.c.updater == updater)
            .order_by(OPERATIONS.c.id.desc())
            .limit(retention)
        )
        gone = await connection.execute(
            delete(OPERATIONS)
            .where(OPERATIONS.c.updater == updater, OPERATIONS.c.id.not_in(kept))
            .returning(OPERATIONS.c.id)
        )
        if gone.first() is not None:
            await self._drop_orphans(connection)

    async def _drop_orphans(self, connection: AsyncConnection) -> None:
        used = select(OPERATION_ADVISORIES.c.advisory).where(
            OPERATION_ADVISORIES.c.advisory == ADVISORIES.c.id
        )
        await connection.execute(delete(ADVISORIES).where(~used.exists()))


def _batches(advisories: Iterable[Vulnerability]) -> Iterator[list[Vulnerability]]:
    rest = iter(advisories)
    while batch := list(itertools.islice(rest, BATCH)):
        yield batch


def _row(advisory: Vulnerability) -> dict[str, str]:
    document = msgspec.json.encode(msgspec.structs.replace(advisory, id=""))
    ecosystem = ECOSYSTEMS[advisory.distribution.did]
    return {
        "hash": hashlib.sha256(document).hexdigest(),
        "package": advisory.package.name,
        "did": ecosystem.did,
        "release": ecosystem.release(advisory.distribution),
        "document": document.decode(),
    }
