"""Public keys that verify registry tokens."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from hatoba.registry.db.tables.columns import METADATA, Moment

service_key_approvals = Table(
    "servicekeyapproval",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("approver_id", Integer, nullable=True),
    Column("approval_type", String(255), nullable=False),
    Column("approved_date", Moment(), nullable=False),
    Column("notes", Text, nullable=False),
    Index("servicekeyapproval_approval_type", "approval_type"),
    Index("servicekeyapproval_approver_id", "approver_id"),
)

service_keys = Table(
    "servicekey",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("kid", String(255), nullable=False),
    Column("service", String(255), nullable=False),
    Column("jwk", Text, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_date", Moment(), nullable=False),
    Column("expiration_date", Moment(), nullable=True),
    Column("rotation_duration", Integer, nullable=True),
    Column("approval_id", Integer, ForeignKey("servicekeyapproval.id"), nullable=True),
    Index("servicekey_approval_id", "approval_id"),
    Index("servicekey_kid", "kid", unique=True),
    Index("servicekey_service", "service"),
)
