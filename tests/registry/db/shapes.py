"""What a database looks like, as values that can be compared: two databases, or before and after."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, inspect, text

OWN = ("alembic_version", "hatoba_alembic_version", "scanner_alembic_version")


@dataclass(frozen=True, kw_only=True)
class TableShape:
    """A table: each part by its name."""

    columns: dict[str, dict[str, Any]]
    indexes: dict[str, str]
    constraints: dict[str, str]


Shape = dict[str, TableShape]


async def shape_of(database) -> Shape:
    async with database.read() as connection:
        return await connection.run_sync(_shape_blocking)


async def rows_of(database, tables) -> dict[str, list[tuple[Any, ...]]]:
    async with database.read() as connection:
        found = {}
        for table in tables:
            rows = await connection.execute(text(f'SELECT * FROM "{table}"'))
            found[table] = sorted((tuple(row) for row in rows), key=repr)
        return found


def _shape_blocking(connection: Connection) -> Shape:
    inspector = inspect(connection)
    definitions = _index_definitions(connection)
    return {
        name: TableShape(
            columns={
                column["name"]: _column(column, dialect=connection.dialect)
                for column in inspector.get_columns(name)
            },
            indexes=definitions.get(name, {}),
            constraints=_constraints(inspector, connection, name),
        )
        for name in inspector.get_table_names()
        if name not in OWN
    }


def _column(column, *, dialect):
    return {
        "type": column["type"].compile(dialect),
        "nullable": column["nullable"],
        "default": column["default"],
        "autoincrement": column.get("autoincrement"),
        "computed": column.get("computed"),
        "identity": column.get("identity"),
    }


def _index_definitions(connection: Connection) -> dict[str, dict[str, str]]:
    statement = (
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
        if connection.dialect.name == "postgresql"
        # What SQLite makes for a constraint by itself has no text.
        else "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''"
    )
    found: dict[str, dict[str, str]] = {}
    for table, name, definition in connection.execute(text(statement)):
        # IF NOT EXISTS is no part of what was made; SQLite keeps it.
        found.setdefault(table, {})[name] = definition.replace("IF NOT EXISTS ", "")
    return found


def _constraints(inspector, connection: Connection, table: str) -> dict[str, str]:
    if connection.dialect.name == "postgresql":
        statement = text(
            "SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
            " WHERE conrelid = CAST(:name AS regclass)"
        )
        rows = connection.execute(statement, {"name": f'"{table}"'})
        return {row.conname: row.definition for row in rows}
    parts = [
        inspector.get_pk_constraint(table),
        *inspector.get_foreign_keys(table),
        *inspector.get_unique_constraints(table),
        *inspector.get_check_constraints(table),
    ]
    return {part["name"] or repr(part): repr(part) for part in parts}


def subtractions(before: Shape, after: Shape) -> list[str]:
    """Say what code of before would miss or stumble over in a schema: nothing, if it was expanded.

    New tables are nobody's business. In a table that was there, a new column has to do without
    the writers of before, and nothing may forbid what they write or make them wait while it is
    built.
    """
    found = [f"table {name} is gone" for name in before if name not in after]
    for name in before.keys() & after.keys():
        found += _table_subtractions(name, before[name], after[name])
    changed = sorted(name for name in before.keys() & after.keys() if before[name] != after[name])
    if len(changed) > 1:
        # Whoever locks one while it waits for the other can meet a push that does the reverse.
        found.append(f"{', '.join(changed)} are changed in one transaction")
    return sorted(found)


def _table_subtractions(name: str, before: TableShape, after: TableShape) -> list[str]:
    found = []
    for part in dataclasses.fields(TableShape):
        old, new = getattr(before, part.name), getattr(after, part.name)
        for key, value in old.items():
            if new.get(key) != value:
                found.append(f"{part.name} of {name}: {key} is not what it was")
        for key in new.keys() - old.keys():
            harmless = part.name == "columns" and (
                new[key]["nullable"] or new[key]["default"] is not None
            )
            if not harmless:
                found.append(f"{part.name} of {name}: {key} is new to writers of before")
    return found
