"""Add the quarantine of blobs that nothing refers to.

Revision ID: 0002
Revises: 0001
"""

from alembic import op
from sqlalchemy import BigInteger, Column, DateTime, Integer, PrimaryKeyConstraint

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
kind = "expand"

BIG_ID = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    # A database whose own record of revisions was lost has the table already.
    op.create_table(
        "hatoba_blob_quarantine",
        Column("id", BIG_ID, nullable=False),
        Column("storage_id", Integer, nullable=False),
        Column("since", DateTime, nullable=False),
        PrimaryKeyConstraint("id", name="pk_hatoba_blob_quarantine"),
        if_not_exists=True,
    )
    op.create_index(
        "hatoba_blob_quarantine_storage_id",
        "hatoba_blob_quarantine",
        ["storage_id"],
        unique=True,
        if_not_exists=True,
    )
    op.create_index(
        "hatoba_blob_quarantine_since", "hatoba_blob_quarantine", ["since"], if_not_exists=True
    )


def downgrade() -> None:
    op.drop_table("hatoba_blob_quarantine")
