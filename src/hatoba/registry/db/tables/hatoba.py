"""Tables of our own, which a Quay database does not have. Their names begin with `hatoba_`."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text, Uuid

from hatoba.registry.db.tables.columns import BIG_ID, METADATA, Moment
from hatoba.sql.leases import lease_table

leases = lease_table(METADATA)

signing_keys = Table(
    "hatoba_signing_key",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("kid", String(255), nullable=False),
    # Encrypted with DATABASE_SECRET_KEY: every replica signs with the same key.
    Column("encrypted_private_key", Text, nullable=False),
    Column("created_at", Moment(), nullable=False),
    Column("sign_until", Moment(), nullable=False),
    Index("hatoba_signing_key_kid", "kid", unique=True),
)

upload_claims = Table(
    "hatoba_upload_claim",
    METADATA,
    # Of an upload that was gone on with, finished or cancelled: what is only begun is told by its
    # signed id and has no row anywhere. The id begins with the moment, so that rows are added at
    # the end of the one index and go at its beginning.
    Column("id", Uuid(), primary_key=True),
)

blob_quarantine = Table(
    "hatoba_blob_quarantine",
    METADATA,
    Column("id", BIG_ID, primary_key=True),
    # imagestorage.id, without a foreign key: a database that goes back to Quay must be able to
    # delete its blobs.
    Column("storage_id", Integer, nullable=False),
    Column("since", Moment(), nullable=False),
    Index("hatoba_blob_quarantine_storage_id", "storage_id", unique=True),
    Index("hatoba_blob_quarantine_since", "since"),
)

blob_damages = Table(
    "hatoba_blob_damage",
    METADATA,
    Column("id", BIG_ID, primary_key=True),
    # By digest, as the bytes are; the table is empty but for blobs that are not offered.
    Column("digest", String(255), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("found_at", Moment(), nullable=False),
    Index("hatoba_blob_damage_digest", "digest", unique=True),
)

blob_orphans = Table(
    "hatoba_blob_orphan",
    METADATA,
    Column("id", BIG_ID, primary_key=True),
    Column("digest", String(255), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("first_seen", Moment(), nullable=False),
    Column("last_seen", Moment(), nullable=False),
    Index("hatoba_blob_orphan_digest", "digest", unique=True),
    Index("hatoba_blob_orphan_last_seen", "last_seen"),
)

scrubs = Table(
    "hatoba_scrub",
    METADATA,
    Column("id", BIG_ID, primary_key=True),
    Column("started_at", Moment(), nullable=False),
    Column("finished_at", Moment(), nullable=True),
    Column("phase", String(16), nullable=False),
    # The digest that was looked at last, within the phase.
    Column("after_digest", String(255), nullable=True),
    # What was counted so far (JSON).
    Column("counts", Text, nullable=False),
)
