"""Mirrors, queues, audit and tables of our own, as revision 0001 made them. Frozen."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
)

from hatoba.registry.db.migrations.core.metadata import BIG_ID, CORE

Table(
    "repomirrorrule",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("creation_date", DateTime, nullable=False),
    Column("rule_type", Integer, nullable=False),
    Column("rule_value", Text, nullable=False),
    Column("left_child_id", Integer, ForeignKey("repomirrorrule.id"), nullable=True),
    Column("right_child_id", Integer, ForeignKey("repomirrorrule.id"), nullable=True),
    Index("repomirrorrule_left_child_id", "left_child_id"),
    Index("repomirrorrule_repository_id", "repository_id"),
    Index("repomirrorrule_right_child_id", "right_child_id"),
    Index("repomirrorrule_rule_type", "rule_type"),
    Index("repomirrorrule_uuid", "uuid", unique=True),
)

Table(
    "repomirrorconfig",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("creation_date", DateTime, nullable=False),
    Column("is_enabled", Boolean, nullable=False),
    Column("mirror_type", Integer, nullable=False),
    Column("internal_robot_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("external_registry_username", String(4096), nullable=True),
    Column("external_registry_config", Text, nullable=False),
    Column("sync_interval", Integer, nullable=False, server_default="60"),
    Column("sync_start_date", DateTime, nullable=True),
    Column("sync_expiration_date", DateTime, nullable=True),
    Column("sync_retries_remaining", Integer, nullable=False, server_default="3"),
    Column("sync_status", Integer, nullable=False),
    Column("sync_transaction_id", String(36), nullable=True),
    Column("root_rule_id", Integer, ForeignKey("repomirrorrule.id"), nullable=False),
    Column("external_reference", Text, nullable=False),
    Column("external_registry_password", String(9000), nullable=True),
    Column("skopeo_timeout", BigInteger, nullable=False, server_default="300"),
    Column("architecture_filter", Text, nullable=True),
    Index("repomirrorconfig_internal_robot_id", "internal_robot_id"),
    Index("repomirrorconfig_mirror_type", "mirror_type"),
    Index("repomirrorconfig_repository_id", "repository_id", unique=True),
    Index("repomirrorconfig_root_rule_id", "root_rule_id"),
    Index("repomirrorconfig_sync_status", "sync_status"),
    Index("repomirrorconfig_sync_transaction_id", "sync_transaction_id"),
)

Table(
    "queueitem",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("queue_name", String(1024), nullable=False),
    Column("body", Text, nullable=False),
    Column("available_after", DateTime, nullable=False),
    Column("available", Boolean, nullable=False),
    Column("processing_expires", DateTime, nullable=True),
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

Table(
    "logentrykind",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("logentrykind_name", "name", unique=True),
)

Table(
    "logentry3",
    CORE,
    Column("id", BIG_ID, primary_key=True),
    Column("kind_id", Integer, nullable=False),
    Column("account_id", Integer, nullable=False),
    Column("performer_id", Integer, nullable=True),
    Column("repository_id", Integer, nullable=True),
    Column("datetime", DateTime, nullable=False),
    Column("ip", String(255), nullable=True),
    Column("metadata_json", Text, nullable=False),
    Index("logentry3_account_id_datetime", "account_id", "datetime"),
    Index("logentry3_datetime", "datetime"),
    Index("logentry3_performer_id_datetime", "performer_id", "datetime"),
    Index("logentry3_repository_id_datetime_kind_id", "repository_id", "datetime", "kind_id"),
)

Table(
    "hatoba_lease",
    CORE,
    Column("name", String(255), primary_key=True),
    Column("holder", String(255), nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
)

Table(
    "hatoba_signing_key",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("kid", String(255), nullable=False),
    Column("encrypted_private_key", Text, nullable=False),
    Column("created_at", DateTime, nullable=False),
    Column("sign_until", DateTime, nullable=False),
    Index("hatoba_signing_key_kid", "kid", unique=True),
)
