"""Bringing whatever is in a database to the tables of revision 0001: nothing is dropped or changed.

An empty database gets everything. A database that Quay made, of this or an older version, keeps
its rows and gets the tables, columns, indexes and lookup rows that it lacks. Called by revision
0001 only, and knows nothing of what later revisions brought.
"""

from sqlalchemy import Column, Connection, Dialect, Index, Table, inspect, select, text
from sqlalchemy.engine.reflection import Inspector
from sqlalchemy.schema import CreateColumn

from hatoba.kernel.errors import Conflict
from hatoba.registry.db.migrations.core import CORE, LABEL_SOURCES, LOOKUPS


class IncompatibleSchema(Conflict):
    """A table of an adopted database lacks a column that cannot be filled in."""


def converge(connection: Connection) -> None:
    """Create what is missing. Idempotent; runs in the caller's transaction."""
    if connection.dialect.name == "postgresql":
        _require_trigrams(connection)
    inspector = inspect(connection)
    existing = set(inspector.get_table_names())
    for table in CORE.sorted_tables:
        if table.name in existing:
            _add_missing_parts(connection, table, inspector)
        else:
            table.create(connection)
    _fill_lookups(connection)


def _require_trigrams(connection: Connection) -> None:
    found = connection.execute(text("SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'"))
    if found.first() is None:
        connection.execute(text("CREATE EXTENSION pg_trgm"))


def _add_missing_parts(connection: Connection, table: Table, inspector: Inspector) -> None:
    present = {column["name"] for column in inspector.get_columns(table.name)}
    for column in table.columns:
        if column.name not in present:
            _add_column(connection, column)
    indexes = {index["name"] for index in inspector.get_indexes(table.name)}
    for index in sorted(table.indexes, key=lambda index: str(index.name)):
        if index.name not in indexes and _applies(index, connection.dialect):
            index.create(connection)


def _add_column(connection: Connection, column: Column[object]) -> None:
    if not column.nullable and column.server_default is None:
        raise IncompatibleSchema(f"column {column.table.name}.{column.name} is missing")
    preparer = connection.dialect.identifier_preparer
    definition = CreateColumn(column).compile(dialect=connection.dialect)
    table_name = preparer.format_table(column.table)
    connection.execute(text(f"ALTER TABLE {table_name} ADD COLUMN {definition}"))


def _applies(index: Index, dialect: Dialect) -> bool:
    return not index.dialect_kwargs.get("postgresql_using") or dialect.name == "postgresql"


def _fill_lookups(connection: Connection) -> None:
    for name, expected in LOOKUPS.items():
        table = CORE.tables[name]
        present = set(connection.execute(select(table.c.name)).scalars())
        missing = [{"name": value} for value in expected if value not in present]
        if missing:
            # One statement per row keeps the ids in order, as a fresh Quay database has them.
            for row in missing:
                connection.execute(table.insert().values(row))
    sources = CORE.tables["labelsourcetype"]
    present = set(connection.execute(select(sources.c.name)).scalars())
    for name, mutable in LABEL_SOURCES.items():
        if name not in present:
            connection.execute(sources.insert().values(name=name, mutable=mutable))
