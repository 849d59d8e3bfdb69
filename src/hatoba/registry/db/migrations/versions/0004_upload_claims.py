"""Add the uploads that are more than begun.

Revision ID: 0004
Revises: 0003
"""

from alembic import op
from sqlalchemy import Column, PrimaryKeyConstraint, Uuid

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
kind = "expand"


def upgrade() -> None:
    # A database whose own record of revisions was lost has the table already.
    op.create_table(
        "hatoba_upload_claim",
        Column("id", Uuid(), nullable=False),
        PrimaryKeyConstraint("id", name="pk_hatoba_upload_claim"),
        if_not_exists=True,
    )


def downgrade() -> None:
    op.drop_table("hatoba_upload_claim")
