"""Add the quarantine of blobs that nothing refers to.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

from hatoba.registry.db.tables.hatoba import blob_quarantine

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # 0001 makes whatever is declared, so that a fresh database has the table already.
    blob_quarantine.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    blob_quarantine.drop(op.get_bind())
