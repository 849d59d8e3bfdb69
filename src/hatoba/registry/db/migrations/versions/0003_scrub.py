"""Add what scrubbing of the storage notes: passes, damaged blobs, bytes without a row.

Revision ID: 0003
Revises: 0002
"""

from alembic import op
from sqlalchemy import BigInteger, Column, DateTime, Integer, PrimaryKeyConstraint, String, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
kind = "expand"

BIG_ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    # A database whose own record of revisions was lost has the tables already.
    op.create_table(
        "hatoba_blob_damage",
        Column("id", BIG_ID, nullable=False),
        Column("digest", String(255), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("found_at", DateTime, nullable=False),
        PrimaryKeyConstraint("id", name="pk_hatoba_blob_damage"),
        if_not_exists=True,
    )
    _index("hatoba_blob_damage", "digest", unique=True)
    op.create_table(
        "hatoba_blob_orphan",
        Column("id", BIG_ID, nullable=False),
        Column("digest", String(255), nullable=False),
        Column("size_bytes", BigInteger, nullable=False),
        Column("first_seen", DateTime, nullable=False),
        Column("last_seen", DateTime, nullable=False),
        PrimaryKeyConstraint("id", name="pk_hatoba_blob_orphan"),
        if_not_exists=True,
    )
    _index("hatoba_blob_orphan", "digest", unique=True)
    _index("hatoba_blob_orphan", "last_seen")
    op.create_table(
        "hatoba_scrub",
        Column("id", BIG_ID, nullable=False),
        Column("started_at", DateTime, nullable=False),
        Column("finished_at", DateTime, nullable=True),
        Column("phase", String(16), nullable=False),
        Column("after_digest", String(255), nullable=True),
        Column("counts", Text, nullable=False),
        PrimaryKeyConstraint("id", name="pk_hatoba_scrub"),
        if_not_exists=True,
    )


def _index(table: str, column: str, *, unique: bool = False) -> None:
    op.create_index(f"{table}_{column}", table, [column], unique=unique, if_not_exists=True)


def downgrade() -> None:
    for table in ("hatoba_scrub", "hatoba_blob_orphan", "hatoba_blob_damage"):
        op.drop_table(table)
