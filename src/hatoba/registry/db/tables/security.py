"""What the scanner said about a manifest's index."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Text

from hatoba.registry.db.tables.columns import METADATA, Moment

manifest_security_statuses = Table(
    "manifestsecuritystatus",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("manifest_id", Integer, ForeignKey("manifest.id"), nullable=False),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("index_status", Integer, nullable=False),
    Column("error_json", Text, nullable=False),
    Column("last_indexed", Moment(), nullable=False),
    Column("indexer_hash", String(128), nullable=False),
    Column("indexer_version", Integer, nullable=False),
    Column("metadata_json", Text, nullable=False),
    Index("manifestsecuritystatus_index_status", "index_status"),
    Index("manifestsecuritystatus_indexer_hash", "indexer_hash"),
    Index("manifestsecuritystatus_indexer_version", "indexer_version"),
    Index("manifestsecuritystatus_last_indexed", "last_indexed"),
    Index("manifestsecuritystatus_manifest_id", "manifest_id", unique=True),
    Index("manifestsecuritystatus_repository_id", "repository_id"),
)
