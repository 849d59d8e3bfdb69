"""Ids of the lookup rows, read once per process: `role`, `visibility`, `mediatype` and the like.

The rows are written by migrations and never change while a process runs; an adopted database may
hold them under other ids than a fresh one, so ids are never spelt out in code.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import select

from hatoba.registry.db.tables import METADATA
from hatoba.registry.db.tables.contents import LOOKUPS
from hatoba.sql.engine import Database


@dataclass(slots=True, frozen=True, kw_only=True)
class Lookups:
    """Names and ids of every lookup table, by the table's name."""

    ids: Mapping[str, Mapping[str, int]]
    names: Mapping[str, Mapping[int, str]]

    def id(self, table: str, name: str) -> int:
        """Return the id of a name: `lookups.id("role", "admin")`."""
        return self.ids[table][name]

    def name(self, table: str, row_id: int) -> str:
        """Return the name behind an id."""
        return self.names[table][row_id]


async def load_lookups(database: Database) -> Lookups:
    """Read all lookup tables; the database must have been migrated."""
    ids: dict[str, dict[str, int]] = {}
    async with database.read() as connection:
        for table_name in (*LOOKUPS, "labelsourcetype"):
            table = METADATA.tables[table_name]
            rows = await connection.execute(select(table.c.name, table.c.id))
            ids[table_name] = {row.name: row.id for row in rows}
    names = {table: {value: key for key, value in rows.items()} for table, rows in ids.items()}
    return Lookups(ids=ids, names=names)
