"""Claims: one holder at a time, for a limited time.

Two forms. A *lease* is a named row of `hatoba_lease` ("the gc duty"), taken for a while and given
back or left to expire. `claim_rows` takes due rows of any table so that no two workers get the
same one: by SKIP LOCKED on PostgreSQL, by the write lock of `Database.begin()` on SQLite.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    MetaData,
    RowMapping,
    String,
    Table,
    delete,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.kernel.clock import Clock, milliseconds
from hatoba.sql.engine import Database


def lease_table(metadata: MetaData, *, name: str = "hatoba_lease") -> Table:
    """Declare the table of leases in the metadata of a part."""
    return Table(
        name,
        metadata,
        Column("name", String(255), primary_key=True),
        Column("holder", String(255), nullable=False),
        Column("expires_at_ms", BigInteger, nullable=False),
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class Leases:
    """The named leases of one database."""

    database: Database
    table: Table
    clock: Clock

    async def claim(self, name: str, *, holder: str, lifetime: timedelta) -> bool:
        """Take or prolong a lease; False when somebody else holds it."""
        async with self.database.begin() as connection:
            return await self.claim_in(connection, name, holder=holder, lifetime=lifetime)

    async def claim_in(
        self, connection: AsyncConnection, name: str, *, holder: str, lifetime: timedelta
    ) -> bool:
        """Do the same as a part of a transaction."""
        now = self.clock.now()
        values = {"name": name, "holder": holder, "expires_at_ms": milliseconds(now + lifetime)}
        free = or_(self.table.c.holder == holder, self.table.c.expires_at_ms <= milliseconds(now))
        dialect = postgresql if self.database.is_postgresql else sqlite
        statement = dialect.insert(self.table).values(values)
        claimed = statement.on_conflict_do_update(
            index_elements=[self.table.c.name],
            set_={"holder": holder, "expires_at_ms": values["expires_at_ms"]},
            where=free,
        ).returning(self.table.c.name)
        return (await connection.execute(claimed)).first() is not None

    async def release(self, name: str, *, holder: str) -> None:
        """Give a lease back; nothing happens when it is no longer held."""
        async with self.database.begin() as connection:
            await connection.execute(
                delete(self.table).where(self.table.c.name == name, self.table.c.holder == holder)
            )

    async def holder(self, name: str) -> str | None:
        """Return who holds a lease now."""
        now: datetime = self.clock.now()
        async with self.database.read() as connection:
            found = await connection.execute(
                select(self.table.c.holder).where(
                    self.table.c.name == name, self.table.c.expires_at_ms > milliseconds(now)
                )
            )
            return found.scalar_one_or_none()


async def claim_rows(
    connection: AsyncConnection,
    *,
    table: Table,
    due: ColumnElement[bool],
    changes: Mapping[str, Any],
    order_by: ColumnElement[Any] | None = None,
    limit: int = 1,
) -> list[RowMapping]:
    """Change up to `limit` due rows that nobody else is claiming, and return them as changed.

    Call it inside `Database.begin()`; the claim counts once that transaction is committed.
    """
    candidates = (
        select(table.c.id)
        .where(due)
        .order_by(table.c.id if order_by is None else order_by)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = (await connection.execute(candidates)).scalars().all()
    if not ids:
        return []
    changed = await connection.execute(
        update(table).where(table.c.id.in_(ids)).values(dict(changes)).returning(*table.c)
    )
    return list(changed.mappings())
