"""Add the uploads that are more than begun.

Revision ID: 0004
Revises: 0003
"""

from alembic import op

from hatoba.registry.db.tables.hatoba import upload_claims

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 0001 makes whatever is declared, so that a fresh database has the table already.
    upload_claims.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    upload_claims.drop(op.get_bind())
