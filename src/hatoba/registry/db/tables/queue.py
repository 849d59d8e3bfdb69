"""Queue items of the background workers."""

from sqlalchemy import Boolean, Column, Index, Integer, String, Table, Text

from hatoba.registry.db.tables.columns import METADATA, Moment

queue_items = Table(
    "queueitem",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("queue_name", String(1024), nullable=False),
    Column("body", Text, nullable=False),
    Column("available_after", Moment(), nullable=False),
    Column("available", Boolean, nullable=False),
    Column("processing_expires", Moment(), nullable=True),
    Column("retries_remaining", Integer, nullable=False),
    Column("state_id", String(255), nullable=False, server_default=""),
    Index(
        "queueitem_pe_aafter_qname_rremaining_available",
        "processing_expires",
        "available_after",
        "queue_name",
        "retries_remaining",
        "available",
    ),
    Index(
        "queueitem_pexpires_aafter_rremaining_available",
        "processing_expires",
        "available_after",
        "retries_remaining",
        "available",
    ),
    Index("queueitem_processing_expires_available", "processing_expires", "available"),
    Index(
        "queueitem_processing_expires_queue_name_available",
        "processing_expires",
        "queue_name",
        "available",
    ),
    Index("queueitem_queue_name", "queue_name"),
    Index("queueitem_state_id", "state_id", unique=True),
)
