"""What a robot account has beside its row in `user`."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, false

from hatoba.registry.db.tables.columns import METADATA

robot_account_tokens = Table(
    "robotaccounttoken",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("robot_account_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("token", String(255), nullable=False),
    Column("fully_migrated", Boolean, nullable=False, server_default=false()),
    Index("robotaccounttoken_robot_account_id", "robot_account_id", unique=True),
)

robot_account_metadata = Table(
    "robotaccountmetadata",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("robot_account_id", Integer, ForeignKey("user.id"), nullable=False),
    Column("description", String(255), nullable=False),
    Column("unstructured_json", Text, nullable=False),
    Index("robotaccountmetadata_robot_account_id", "robot_account_id", unique=True),
)
