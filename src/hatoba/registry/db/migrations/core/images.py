"""Repositories, images and blobs, as revision 0001 made them. Frozen."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
)

from hatoba.registry.db.migrations.core.metadata import BIG_ID, CORE

Table(
    "visibility",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("visibility_name", "name", unique=True),
)

Table(
    "repositorykind",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("repositorykind_name", "name", unique=True),
)

Table(
    "repository",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("namespace_user_id", Integer, ForeignKey("user.id"), nullable=True),
    Column("name", String(255), nullable=False),
    Column("visibility_id", Integer, ForeignKey("visibility.id"), nullable=False),
    Column("description", Text, nullable=True),
    Column("badge_token", String(255), nullable=False),
    Column("kind_id", Integer, ForeignKey("repositorykind.id"), nullable=False, server_default="1"),
    Column("trust_enabled", Boolean, nullable=False, server_default=false()),
    Column("state", Integer, nullable=False, server_default="0"),
    Index(
        "repository_description__fulltext",
        "description",
        postgresql_using="gin",
        postgresql_ops={"description": "gin_trgm_ops"},
    ).ddl_if(dialect="postgresql"),
    Index("repository_kind_id", "kind_id"),
    Index(
        "repository_name__fulltext",
        "name",
        postgresql_using="gin",
        postgresql_ops={"name": "gin_trgm_ops"},
    ).ddl_if(dialect="postgresql"),
    Index("repository_namespace_user_id", "namespace_user_id"),
    Index("repository_namespace_user_id_name", "namespace_user_id", "name", unique=True),
    Index("repository_state", "state"),
    Index("repository_visibility_id", "visibility_id"),
)

Table(
    "star",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("user_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("created", DateTime, nullable=False),
    Index("star_repository_id", "repository_id"),
    Index("star_user_id", "user_id"),
    Index("star_user_id_repository_id", "user_id", "repository_id", unique=True),
)

Table(
    "repositoryactioncount",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("count", Integer, nullable=False),
    Column("date", Date, nullable=False),
    Index("repositoryactioncount_date", "date"),
    Index("repositoryactioncount_repository_id", "repository_id"),
    Index("repositoryactioncount_repository_id_date", "repository_id", "date", unique=True),
)

Table(
    "repositorysearchscore",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("score", BigInteger, nullable=False),
    Column("last_updated", DateTime, nullable=True),
    Index("repositorysearchscore_repository_id", "repository_id", unique=True),
    Index("repositorysearchscore_score", "score"),
)

Table(
    "deletedrepository",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("marked", DateTime, nullable=False),
    Column("original_name", String(255), nullable=False),
    Column("queue_id", String(255), nullable=True),
    Index("deletedrepository_original_name", "original_name"),
    Index("deletedrepository_queue_id", "queue_id"),
    Index("deletedrepository_repository_id", "repository_id", unique=True),
)

Table(
    "mediatype",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("mediatype_name", "name", unique=True),
)

Table(
    "manifest",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("digest", String(255), nullable=False),
    Column("media_type_id", Integer, ForeignKey("mediatype.id"), nullable=False),
    Column("manifest_bytes", Text, nullable=False),
    Column("config_media_type", String(255), nullable=True),
    Column("layers_compressed_size", BigInteger, nullable=True),
    Column("subject", String(255), nullable=True),
    Column("subject_backfilled", Boolean, nullable=True),
    Column("artifact_type", String(255), nullable=True),
    Column("artifact_type_backfilled", Boolean, nullable=True),
    Index("manifest_artifact_type_backfilled", "artifact_type_backfilled"),
    Index("manifest_digest", "digest"),
    Index("manifest_media_type_id", "media_type_id"),
    Index("manifest_repository_id", "repository_id"),
    Index("manifest_repository_id_artifact_type", "repository_id", "artifact_type"),
    Index("manifest_repository_id_config_media_type", "repository_id", "config_media_type"),
    Index("manifest_repository_id_digest", "repository_id", "digest", unique=True),
    Index("manifest_repository_id_media_type_id", "repository_id", "media_type_id"),
    Index("manifest_repository_id_subject", "repository_id", "subject"),
    Index("manifest_subject_backfilled", "subject_backfilled"),
)

Table(
    "manifestblob",
    CORE,
    Column("id", BIG_ID, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("manifest_id", Integer, ForeignKey("manifest.id"), nullable=False),
    Column("blob_id", Integer, ForeignKey("imagestorage.id"), nullable=False),
    Index("manifestblob_blob_id", "blob_id"),
    Index("manifestblob_manifest_id", "manifest_id"),
    Index("manifestblob_manifest_id_blob_id", "manifest_id", "blob_id", unique=True),
    Index("manifestblob_repository_id", "repository_id"),
    Index("manifestblob_repository_id_blob_id", "repository_id", "blob_id"),
)

Table(
    "manifestchild",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("manifest_id", Integer, ForeignKey("manifest.id"), nullable=False),
    Column("child_manifest_id", Integer, ForeignKey("manifest.id"), nullable=False),
    Index("manifestchild_child_manifest_id", "child_manifest_id"),
    Index("manifestchild_manifest_id", "manifest_id"),
    Index(
        "manifestchild_manifest_id_child_manifest_id",
        "manifest_id",
        "child_manifest_id",
        unique=True,
    ),
    Index("manifestchild_repository_id", "repository_id"),
    Index("manifestchild_repository_id_child_manifest_id", "repository_id", "child_manifest_id"),
    Index("manifestchild_repository_id_manifest_id", "repository_id", "manifest_id"),
    Index(
        "manifestchild_repository_id_manifest_id_child_manifest_id",
        "repository_id",
        "manifest_id",
        "child_manifest_id",
    ),
)

Table(
    "labelsourcetype",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("mutable", Boolean, nullable=False),
    Index("labelsourcetype_name", "name", unique=True),
)

Table(
    "label",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(255), nullable=False),
    Column("key", String(255), nullable=False),
    Column("value", Text, nullable=False),
    Column("media_type_id", Integer, ForeignKey("mediatype.id"), nullable=False),
    Column("source_type_id", Integer, ForeignKey("labelsourcetype.id"), nullable=False),
    Index("label_key", "key"),
    Index("label_media_type_id", "media_type_id"),
    Index("label_source_type_id", "source_type_id"),
    Index("label_uuid", "uuid", unique=True),
)

Table(
    "manifestlabel",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("manifest_id", Integer, ForeignKey("manifest.id"), nullable=False),
    Column("label_id", Integer, ForeignKey("label.id"), nullable=False),
    Index("manifestlabel_label_id", "label_id"),
    Index("manifestlabel_manifest_id", "manifest_id"),
    Index("manifestlabel_manifest_id_label_id", "manifest_id", "label_id", unique=True),
    Index("manifestlabel_repository_id", "repository_id"),
)

Table(
    "tagkind",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("tagkind_name", "name", unique=True),
)

Table(
    "tag",
    CORE,
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

Table(
    "tagpullstatistics",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("tag_name", String(255), nullable=False),
    Column("tag_pull_count", BigInteger, nullable=False),
    Column("last_tag_pull_date", DateTime, nullable=False),
    Column("current_manifest_digest", String(255), nullable=True),
    Index("tagpullstatistics_repository_id_tag_name", "repository_id", "tag_name", unique=True),
)

Table(
    "manifestpullstatistics",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("manifest_digest", String(255), nullable=False),
    Column("manifest_pull_count", BigInteger, nullable=False),
    Column("last_manifest_pull_date", DateTime, nullable=False),
    Index(
        "manifestpullstatistics_repository_id_manifest_digest",
        "repository_id",
        "manifest_digest",
        unique=True,
    ),
)

Table(
    "imagestoragelocation",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("imagestoragelocation_name", "name", unique=True),
)

Table(
    "imagestorage",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("uuid", String(255), nullable=False),
    Column("image_size", BigInteger, nullable=True),
    Column("uncompressed_size", BigInteger, nullable=True),
    Column("uploading", Boolean, nullable=True),
    Column("cas_path", Boolean, nullable=False, server_default=false()),
    Column("content_checksum", String(255), nullable=True),
    Index("imagestorage_content_checksum", "content_checksum"),
    Index("imagestorage_uuid", "uuid", unique=True),
)

Table(
    "imagestorageplacement",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("storage_id", Integer, ForeignKey("imagestorage.id"), nullable=False),
    Column("location_id", Integer, ForeignKey("imagestoragelocation.id"), nullable=False),
    Index("imagestorageplacement_location_id", "location_id"),
    Index("imagestorageplacement_storage_id", "storage_id"),
    Index("imagestorageplacement_storage_id_location_id", "storage_id", "location_id", unique=True),
)

Table(
    "uploadedblob",
    CORE,
    Column("id", BIG_ID, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("blob_id", Integer, ForeignKey("imagestorage.id"), nullable=False),
    Column("uploaded_at", DateTime, nullable=False),
    Column("expires_at", DateTime, nullable=False),
    Index("uploadedblob_blob_id", "blob_id"),
    Index("uploadedblob_expires_at", "expires_at"),
    Index("uploadedblob_repository_id", "repository_id"),
)

Table(
    "blobupload",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("uuid", String(255), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("sha_state", Text, nullable=True),
    Column("location_id", Integer, ForeignKey("imagestoragelocation.id"), nullable=False),
    Column("storage_metadata", Text, nullable=True),
    Column("chunk_count", Integer, nullable=False, server_default="0"),
    Column("uncompressed_byte_count", BigInteger, nullable=True),
    Column("created", DateTime, nullable=False),
    Column("piece_sha_state", Text, nullable=True),
    Column("piece_hashes", Text, nullable=True),
    Index("blobupload_created", "created"),
    Index("blobupload_location_id", "location_id"),
    Index("blobupload_repository_id", "repository_id"),
    Index("blobupload_repository_id_uuid", "repository_id", "uuid", unique=True),
    Index("blobupload_uuid", "uuid", unique=True),
)

Table(
    "manifestsecuritystatus",
    CORE,
    Column("id", Integer, primary_key=True),
    Column("manifest_id", Integer, ForeignKey("manifest.id"), nullable=False),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("index_status", Integer, nullable=False),
    Column("error_json", Text, nullable=False),
    Column("last_indexed", DateTime, nullable=False),
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
