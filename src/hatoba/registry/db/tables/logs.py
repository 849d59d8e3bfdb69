"""The audit log."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from hatoba.registry.db.tables.columns import BIG_ID, METADATA, Moment

log_entry_kinds = Table(
    "logentrykind",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("logentrykind_name", "name", unique=True),
)

log_entries = Table(
    "logentry3",
    METADATA,
    Column("id", BIG_ID, primary_key=True),
    Column("kind_id", Integer, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("performer_id", Integer, nullable=True),
    Column("repository_id", Integer, nullable=True),
    Column("datetime", Moment(), nullable=False),
    Column("ip", String(255), nullable=True),
    Column("metadata_json", Text, nullable=False),
    Index("logentry3_account_id_datetime", "account_id", "datetime"),
    Index("logentry3_datetime", "datetime"),
    Index("logentry3_performer_id_datetime", "performer_id", "datetime"),
    Index("logentry3_repository_id_datetime_kind_id", "repository_id", "datetime", "kind_id"),
)
