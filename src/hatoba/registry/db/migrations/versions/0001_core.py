"""Create the core tables, or complete those of an adopted Quay database.

Revision ID: 0001
Revises:
"""

from alembic import op

from hatoba.registry.db.schema import converge

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
kind = "expand"


def upgrade() -> None:
    converge(op.get_bind())


def downgrade() -> None:
    raise NotImplementedError("the tables hold the registry; restore a backup instead")
