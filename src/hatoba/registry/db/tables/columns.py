"""What the table files are made of: the metadata, and columns that differ between databases.

Names, types and indexes are those of a Quay database (PostgreSQL 15, head 9fa37f66a9b6), so that
an existing one is adopted in place. Tables of our own begin with `hatoba_`.
"""

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Column, DateTime, Dialect, Index, Integer, MetaData
from sqlalchemy.types import TypeDecorator
from typing_extensions import override

METADATA: Final = MetaData(
    naming_convention={
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)

BIG_ID: Final = BigInteger().with_variant(Integer(), "sqlite")
"""A 64-bit key. SQLite counts up by itself only in a column that is declared INTEGER."""


class Moment(TypeDecorator[datetime]):
    """A point in time: aware in Python, UTC without a zone in the database, as Quay keeps it."""

    impl = DateTime  # type: ignore[mutable-override]  # as SQLAlchemy documents it
    cache_ok = True  # type: ignore[mutable-override]

    @override
    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    @override
    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def trigram_index(column: Column[Any], *, name: str) -> None:
    """Index a text column for substring search, where the database can (PostgreSQL)."""
    index = Index(
        name, column, postgresql_using="gin", postgresql_ops={column.name: "gin_trgm_ops"}
    )
    index.ddl_if(dialect="postgresql")
