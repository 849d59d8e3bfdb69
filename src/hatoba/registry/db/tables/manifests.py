"""Manifests, the blobs and manifests they name, and their labels."""

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text

from hatoba.registry.db.tables.columns import BIG_ID, METADATA

media_types = Table(
    "mediatype",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("mediatype_name", "name", unique=True),
)

manifests = Table(
    "manifest",
    METADATA,
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

manifest_blobs = Table(
    "manifestblob",
    METADATA,
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

manifest_children = Table(
    "manifestchild",
    METADATA,
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

label_source_types = Table(
    "labelsourcetype",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Column("mutable", Boolean, nullable=False),
    Index("labelsourcetype_name", "name", unique=True),
)

labels = Table(
    "label",
    METADATA,
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

manifest_labels = Table(
    "manifestlabel",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("manifest_id", Integer, ForeignKey("manifest.id"), nullable=False),
    Column("label_id", Integer, ForeignKey("label.id"), nullable=False),
    Index("manifestlabel_label_id", "label_id"),
    Index("manifestlabel_manifest_id", "manifest_id"),
    Index("manifestlabel_manifest_id_label_id", "manifest_id", "label_id", unique=True),
    Index("manifestlabel_repository_id", "repository_id"),
)
