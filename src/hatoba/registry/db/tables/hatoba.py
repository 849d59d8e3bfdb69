"""Tables of our own, which a Quay database does not have. Their names begin with `hatoba_`."""

from sqlalchemy import Column, Index, Integer, String, Table, Text

from hatoba.registry.db.tables.columns import METADATA, Moment
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
