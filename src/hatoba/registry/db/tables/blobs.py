"""Blobs, where their bytes lie, and uploads in progress."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
)

from hatoba.registry.db.tables.columns import BIG_ID, METADATA, Moment

image_storage_locations = Table(
    "imagestoragelocation",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("name", String(255), nullable=False),
    Index("imagestoragelocation_name", "name", unique=True),
)

image_storages = Table(
    "imagestorage",
    METADATA,
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

image_storage_placements = Table(
    "imagestorageplacement",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("storage_id", Integer, ForeignKey("imagestorage.id"), nullable=False),
    Column("location_id", Integer, ForeignKey("imagestoragelocation.id"), nullable=False),
    Index("imagestorageplacement_location_id", "location_id"),
    Index("imagestorageplacement_storage_id", "storage_id"),
    Index("imagestorageplacement_storage_id_location_id", "storage_id", "location_id", unique=True),
)

uploaded_blobs = Table(
    "uploadedblob",
    METADATA,
    Column("id", BIG_ID, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("blob_id", Integer, ForeignKey("imagestorage.id"), nullable=False),
    Column("uploaded_at", Moment(), nullable=False),
    Column("expires_at", Moment(), nullable=False),
    Index("uploadedblob_blob_id", "blob_id"),
    Index("uploadedblob_expires_at", "expires_at"),
    Index("uploadedblob_repository_id", "repository_id"),
)

blob_uploads = Table(
    "blobupload",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("repository_id", Integer, ForeignKey("repository.id"), nullable=False),
    Column("uuid", String(255), nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("sha_state", Text, nullable=True),
    Column("location_id", Integer, ForeignKey("imagestoragelocation.id"), nullable=False),
    Column("storage_metadata", Text, nullable=True),
    Column("chunk_count", Integer, nullable=False, server_default="0"),
    Column("uncompressed_byte_count", BigInteger, nullable=True),
    Column("created", Moment(), nullable=False),
    Column("piece_sha_state", Text, nullable=True),
    Column("piece_hashes", Text, nullable=True),
    Index("blobupload_created", "created"),
    Index("blobupload_location_id", "location_id"),
    Index("blobupload_repository_id", "repository_id"),
    Index("blobupload_repository_id_uuid", "repository_id", "uuid", unique=True),
    Index("blobupload_uuid", "uuid", unique=True),
)
