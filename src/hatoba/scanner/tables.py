"""The scanner's tables.

Index data and advisories may live in two databases; each gets all tables and uses its half.
Documents are kept as JSON text: they are read whole, and never searched in.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from hatoba.sql.leases import lease_table

METADATA = MetaData()
_BIG_KEY = BigInteger().with_variant(Integer, "sqlite")

LEASES = lease_table(METADATA, name="scanner_lease")

LAYERS = Table(
    "scanner_layer",
    METADATA,
    Column("digest", String(135), primary_key=True),
    # What was read depends on who read it: a newer set of scanners reads a layer anew.
    Column("scanners", String(32), primary_key=True),
    Column("content", Text, nullable=False),
)

REPORTS = Table(
    "scanner_index_report",
    METADATA,
    Column("manifest", String(135), primary_key=True),
    Column("scanners", String(32), nullable=False),
    Column("state", String(32), nullable=False),
    Column("report", Text, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
)

MANIFEST_PACKAGES = Table(
    "scanner_manifest_package",
    METADATA,
    Column("name", String(255), primary_key=True),
    Column("manifest", String(135), primary_key=True),
    Index("scanner_manifest_package_manifest", "manifest"),
)

OPERATIONS = Table(
    "scanner_update_operation",
    METADATA,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    Column("ref", String(36), nullable=False, unique=True),
    Column("updater", String(255), nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("made_at_ms", BigInteger, nullable=False),
    Index("scanner_update_operation_updater", "updater", "id"),
)

ADVISORIES = Table(
    "scanner_advisory",
    METADATA,
    Column("id", _BIG_KEY, primary_key=True, autoincrement=True),
    Column("hash", String(64), nullable=False),
    Column("package", String(255), nullable=False),
    Column("did", String(64), nullable=False),
    Column("release", String(255), nullable=False),
    Column("document", Text, nullable=False),
    UniqueConstraint("hash", name="scanner_advisory_hash"),
    Index("scanner_advisory_lookup", "did", "release", "package"),
)

OPERATION_ADVISORIES = Table(
    "scanner_operation_advisory",
    METADATA,
    Column(
        "operation",
        _BIG_KEY,
        ForeignKey("scanner_update_operation.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column(
        "advisory",
        _BIG_KEY,
        ForeignKey("scanner_advisory.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Index("scanner_operation_advisory_advisory", "advisory"),
)

UPDATER_ATTEMPTS = Table(
    "scanner_updater_attempt",
    METADATA,
    Column("updater", String(255), primary_key=True),
    Column("attempted_at_ms", BigInteger, nullable=False),
    Column("succeeded_at_ms", BigInteger),
    Column("error", Text),
)
