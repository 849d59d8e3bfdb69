# ruff: noqa: INP001 -- Alembic loads revisions by path
"""The first tables.

Revision ID: 0001
Revises:
"""

from alembic import op

from hatoba.scanner.tables import METADATA

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create what is missing."""
    METADATA.create_all(op.get_bind())


def downgrade() -> None:
    """Drop everything: reports and advisories can be made again."""
    METADATA.drop_all(op.get_bind())
