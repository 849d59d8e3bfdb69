"""Rows that hang on others in tables that we do not have.

An adopted database has Quay's other tables with their foreign keys. What they say about a tag or
a blob goes with it; what refers to a whole repository goes with the repository. The keys are read
from the database once.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, and_, column, delete, inspect, select, table, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hatoba.registry.db.tables import METADATA

CONTENT: Final = frozenset({"tag", "manifest", "manifestblob", "manifestchild", "uploadedblob"})
"""Never deleted because something else is: their rows keep what they name."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Reference:
    """A foreign key to the column `id` of a table."""

    table: str
    column: str
    is_nullable: bool
    has_id: bool


@dataclass(slots=True)
class Dependents:
    """The foreign keys of a database."""

    _references: dict[str, list[Reference]] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def delete(self, connection: AsyncConnection, name: str, ids: Sequence[int]) -> None:
        """Delete what tables of others say about rows of one of ours."""
        await self._delete(
            connection, name, lambda at: at.in_(ids), seen=frozenset(METADATA.tables)
        )

    async def delete_all(self, connection: AsyncConnection, name: str, row_id: int) -> None:
        """Delete everything that refers to a row but content, which must be gone already."""
        await self._delete(connection, name, lambda at: at == row_id, seen=CONTENT | {name})

    async def _delete(
        self, connection: AsyncConnection, name: str, condition: Any, *, seen: frozenset[str]
    ) -> None:
        for reference in (await self._load(connection)).get(name, ()):
            if reference.table in seen:
                continue
            target = table(reference.table, column("id"), column(reference.column))
            names = condition(target.c[reference.column])
            if reference.is_nullable:
                changes = {reference.column: None}
                await connection.execute(update(target).where(names).values(changes))
                continue
            if reference.has_id:
                rows = select(target.c.id).where(names)
                await self._delete(
                    connection,
                    reference.table,
                    lambda at, rows=rows: and_(at.in_(rows)),
                    seen=seen | {reference.table},
                )
            await connection.execute(delete(target).where(names))

    async def _load(self, connection: AsyncConnection) -> dict[str, list[Reference]]:
        async with self._lock:
            if self._references is None:
                self._references = await connection.run_sync(_read_blocking)
            return self._references


def _read_blocking(connection: Connection) -> dict[str, list[Reference]]:
    inspector = inspect(connection)
    columns = {
        name: {one["name"]: bool(one["nullable"]) for one in found}
        for (_, name), found in inspector.get_multi_columns().items()
    }
    references: dict[str, list[Reference]] = {}
    for (_, name), keys in inspector.get_multi_foreign_keys().items():
        for key in keys:
            (local,) = key["constrained_columns"]
            references.setdefault(key["referred_table"], []).append(
                Reference(
                    table=name,
                    column=local,
                    is_nullable=columns[name][local],
                    has_id="id" in columns[name],
                )
            )
    return references
