"""Add what scrubbing of the storage notes: passes, damaged blobs, bytes without a row.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

from hatoba.registry.db.tables.hatoba import blob_damages, blob_orphans, scrubs

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = (blob_damages, blob_orphans, scrubs)


def upgrade() -> None:
    # 0001 makes whatever is declared, so that a fresh database has the tables already.
    for table in TABLES:
        table.create(op.get_bind(), checkfirst=True)


def downgrade() -> None:
    for table in TABLES:
        table.drop(op.get_bind())
