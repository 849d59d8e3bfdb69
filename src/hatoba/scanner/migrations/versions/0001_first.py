# ruff: noqa: INP001 -- Alembic loads revisions by path
"""The first tables.

Revision ID: 0001
Revises:
"""

from typing import Any

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    String,
    Text,
    UniqueConstraint,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
kind = "expand"

BIG_KEY = BigInteger().with_variant(Integer, "sqlite")


def upgrade() -> None:
    """Create what is missing: tables without a record of their revision stay as they are."""
    _index_data()
    _advisories()
    _table(
        "scanner_updater_attempt",
        Column("updater", String(255), primary_key=True),
        Column("attempted_at_ms", BigInteger, nullable=False),
        Column("succeeded_at_ms", BigInteger, nullable=True),
        Column("error", Text, nullable=True),
    )
    _table(
        "scanner_lease",
        Column("name", String(255), primary_key=True),
        Column("holder", String(255), nullable=False),
        Column("expires_at_ms", BigInteger, nullable=False),
    )


def _index_data() -> None:
    _table(
        "scanner_layer",
        Column("digest", String(135), primary_key=True),
        Column("scanners", String(32), primary_key=True),
        Column("content", Text, nullable=False),
    )
    _table(
        "scanner_index_report",
        Column("manifest", String(135), primary_key=True),
        Column("scanners", String(32), nullable=False),
        Column("state", String(32), nullable=False),
        Column("report", Text, nullable=False),
        Column("updated_at_ms", BigInteger, nullable=False),
    )
    _table(
        "scanner_manifest_package",
        Column("name", String(255), primary_key=True),
        Column("manifest", String(135), primary_key=True),
    )
    _index("scanner_manifest_package_manifest", "scanner_manifest_package", "manifest")


def _advisories() -> None:
    _table(
        "scanner_update_operation",
        Column("id", BIG_KEY, primary_key=True, autoincrement=True),
        Column("ref", String(36), nullable=False, unique=True),
        Column("updater", String(255), nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("made_at_ms", BigInteger, nullable=False),
    )
    _index("scanner_update_operation_updater", "scanner_update_operation", "updater", "id")
    _table(
        "scanner_advisory",
        Column("id", BIG_KEY, primary_key=True, autoincrement=True),
        Column("hash", String(64), nullable=False),
        Column("package", String(255), nullable=False),
        Column("did", String(64), nullable=False),
        Column("release", String(255), nullable=False),
        Column("document", Text, nullable=False),
        UniqueConstraint("hash", name="scanner_advisory_hash"),
    )
    _index("scanner_advisory_lookup", "scanner_advisory", "did", "release", "package")
    operation = ForeignKey("scanner_update_operation.id", ondelete="CASCADE")
    advisory = ForeignKey("scanner_advisory.id", ondelete="CASCADE")
    _table(
        "scanner_operation_advisory",
        Column("operation", BIG_KEY, operation, primary_key=True),
        Column("advisory", BIG_KEY, advisory, primary_key=True),
    )
    _index("scanner_operation_advisory_advisory", "scanner_operation_advisory", "advisory")


def _table(name: str, *parts: Column[Any] | UniqueConstraint) -> None:
    op.create_table(name, *parts, if_not_exists=True)


def _index(name: str, table: str, *columns: str) -> None:
    op.create_index(name, table, columns, if_not_exists=True)


def downgrade() -> None:
    """Drop everything: reports and advisories can be made again."""
    for table in (
        "scanner_operation_advisory",
        "scanner_advisory",
        "scanner_update_operation",
        "scanner_updater_attempt",
        "scanner_manifest_package",
        "scanner_index_report",
        "scanner_layer",
        "scanner_lease",
    ):
        op.drop_table(table)
