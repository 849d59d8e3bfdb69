"""Tags with their lifetimes, and pull statistics by tag and digest."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, false

from hatoba.registry.db.tables.columns import METADATA, Moment

tag_kinds = Table(
    "tagkind",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("tagkind_name", "name", unique=True),
)

tags = Table(
    "tag",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("manifest_id", Integer, ForeignKey("manifest.id"), nullable=True),
    Column("lifetime_start_ms", BigInteger, nullable=False),
    Column("lifetime_end_ms", BigInteger, nullable=True),
    Column("hidden", Boolean, nullable=False, server_default=false()),
    Column("reversion", Boolean, nullable=False, server_default=false()),
    Column("tag_kind_id", Integer, ForeignKey("tagkind.id"), nullable=False),
    Column("linked_tag_id", Integer, ForeignKey("tag.id"), nullable=True),
    Column("immutable", Boolean, nullable=False, server_default=false()),
    Index("tag_lifetime_end_ms", "lifetime_end_ms"),
    Index("tag_linked_tag_id", "linked_tag_id"),
    Index("tag_manifest_id", "manifest_id"),
    Index("tag_manifest_id_immutable", "manifest_id", "immutable"),
    Index("tag_manifest_id_lifetime_end_ms", "manifest_id", "lifetime_end_ms"),
    Index("tag_repository_id", "repository_id"),
    Index("tag_repository_id_immutable", "repository_id", "immutable"),
    Index("tag_repository_id_lifetime_end_ms", "repository_id", "lifetime_end_ms"),
    Index("tag_repository_id_lifetime_start_ms", "repository_id", "lifetime_start_ms"),
    Index("tag_repository_id_name", "repository_id", "name"),
    Index("tag_repository_id_name_hidden", "repository_id", "name", "hidden"),
    Index(
        "tag_repository_id_name_lifetime_end_ms",
        "repository_id",
        "name",
        "lifetime_end_ms",
        unique=True,
    ),
    Index("tag_repository_id_name_tag_kind_id", "repository_id", "name", "tag_kind_id"),
    Index("tag_tag_kind_id", "tag_kind_id"),
)

tag_pull_statistics = Table(
    "tagpullstatistics",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("tag_name", String(255), nullable=False),
    Column("tag_pull_count", BigInteger, nullable=False),
    Column("last_tag_pull_date", Moment(), nullable=False),
    Column("current_manifest_digest", String(255), nullable=True),
    Index("tagpullstatistics_repository_id_tag_name", "repository_id", "tag_name", unique=True),
)

manifest_pull_statistics = Table(
    "manifestpullstatistics",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("manifest_digest", String(255), nullable=False),
    Column("manifest_pull_count", BigInteger, nullable=False),
    Column("last_manifest_pull_date", Moment(), nullable=False),
    Index(
        "manifestpullstatistics_repository_id_manifest_digest",
        "repository_id",
        "manifest_digest",
        unique=True,
    ),
)
