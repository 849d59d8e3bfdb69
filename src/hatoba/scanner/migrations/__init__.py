"""Alembic revisions of the scanner's tables."""
