"""Mirror configurations of repositories."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from hatoba.registry.db.tables.columns import METADATA, Moment

repo_mirror_rules = Table(
    "repomirrorrule",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(36), nullable=False),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("creation_date", Moment(), nullable=False),
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

repo_mirror_configs = Table(
    "repomirrorconfig",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("creation_date", Moment(), nullable=False),
    Column("is_enabled", Boolean, nullable=False),
    Column("mirror_type", Integer, nullable=False),
    Column("internal_robot_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("external_registry_username", String(4096), nullable=True),
    Column("external_registry_config", Text, nullable=False),
    Column("sync_interval", Integer, nullable=False, server_default="60"),
    Column("sync_start_date", Moment(), nullable=True),
    Column("sync_expiration_date", Moment(), nullable=True),
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
